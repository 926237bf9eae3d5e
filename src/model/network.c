/* Pixels into networks. Inputs are written channels last, which is how the device keeps them. */
#include "model/network.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "kernels/kernels.h"

uf_status ufi_network_numbers(const ufi_network *n, const char *key, float *out, int count,
                              uf_error *err)
{
    int found = ufi_meta_floats(&n->file->meta, key, out, count);
    if (found == count)
        return UF_OK;
    return ufi_fail(err, UF_E_FORMAT,
                    "the model's metadata \"%s\" must hold %d numbers, it is \"%.60s\"", key, count,
                    ufi_meta_get(&n->file->meta, key) ? ufi_meta_get(&n->file->meta, key) : "");
}

static uf_status read_input(ufi_network *n, uf_error *err)
{
    float mean[3], scale[3];
    const char *order = ufi_meta_get(&n->file->meta, "input.order");
    uf_status st = ufi_network_numbers(n, "input.mean", mean, 3, err);
    if (!st)
        st = ufi_network_numbers(n, "input.scale", scale, 3, err);
    if (!st && (!order || (strcmp(order, "rgb") != 0 && strcmp(order, "bgr") != 0)))
        st = ufi_fail(err, UF_E_FORMAT, "the model's metadata \"input.order\" must be rgb or bgr");
    if (st)
        return st;
    n->bgr = !strcmp(order, "bgr");
    for (int c = 0; c < 3; c++) {
        n->scale[c] = scale[c];
        n->shift[c] = -mean[c] * scale[c];
    }
    return UF_OK;
}

static uf_status check_shape(ufi_network *n, uf_error *err)
{
    const ufi_graph *g = &n->file->graph;
    const ufi_value *x = g->input_count == 1 ? &g->values[g->inputs[0]] : NULL;
    if (!x || x->dtype != UF_F32 || !x->has_shape || x->shape.rank != 4 || x->shape.dims[1] != 3)
        return ufi_fail(err, UF_E_MISMATCH,
                        "the model does not take pictures: its input is not one "
                        "f32 tensor [N,3,H,W]");
    n->fixed_height = x->shape.dims[2];
    n->fixed_width = x->shape.dims[3];
    return UF_OK;
}

uf_status ufi_network_open(ufi_network *n, const ufi_model_file *file, ufi_program *program,
                           const char *task, unsigned threads, uf_error *err)
{
    const char *is = ufi_meta_get(&file->meta, "task");
    *n = (ufi_network){.file = file};
    if (!is || strcmp(is, task) != 0)
        return ufi_fail(err, UF_E_MISMATCH, "the model is no %s: its metadata says \"%.40s\"", task,
                        is ? is : "nothing");
    uf_status st = check_shape(n, err);
    if (!st)
        st = read_input(n, err);
    if (!st)
        st = ufi_context_create(&n->context, program, threads, err);
    return st;
}

void ufi_network_close(ufi_network *n)
{
    ufi_context_destroy(n->context);
    *n = (ufi_network){0};
}

uf_status ufi_network_prepare(ufi_network *n, size_t batch, size_t width, size_t height,
                              uf_error *err)
{
    if (n->batch == batch && n->width == width && n->height == height)
        return UF_OK;
    ufi_shape s = {.rank = 4, .dims = {(int64_t)batch, 3, (int64_t)height, (int64_t)width}};
    n->batch = 0;
    uf_status st = ufi_context_prepare(n->context, &s, 1, UFI_NHWC, err);
    if (st)
        return st;
    n->batch = batch;
    n->width = width;
    n->height = height;
    return UF_OK;
}

bool ufi_network_mixes_batch(const ufi_network *n)
{
    const ufi_graph *g = &n->file->graph;
    for (uint32_t i = 0; i < g->node_count; i++)
        if (g->nodes[i].op == UFI_OP_DYNAMIC_QUANTIZE_LINEAR)
            return true;
    return false;
}

/* Several threads share the work of a batch better than that of a picture. One thread gains only
 * that weights are read once for all, and loses where activations leave the cache for it: 16
 * pictures took a MobileFaceNet of 4 MB 20 % longer together than one by one. So pictures run
 * together as long as their activations are no more than the weights. */
size_t ufi_network_best_batch(const ufi_network *n, size_t most)
{
    const size_t activations = ufi_context_arena_bytes(n->context) / n->batch;
    if (ufi_context_threads(n->context) > 1 || !activations)
        return most;
    const size_t together = ufi_context_packed_bytes(n->context) / activations;
    return together < 1 ? 1 : together < most ? together : most;
}

void ufi_network_feed(ufi_network *n, size_t i, const uint8_t *rgb)
{
    float *to = ufi_context_input(n->context, 0)->data;
    size_t pixels = n->width * n->height;
    ufk_default_table()->normalize_u8_f32(to + i * pixels * 3, rgb, pixels, n->scale, n->shift,
                                          n->bgr);
}

/* ---- times ---- */

void ufi_network_begin(ufi_network *n)
{
    n->times = (uf_run_times){0};
    n->lap_ns = ufi_clock_ns();
}

void ufi_network_lap(ufi_network *n, double *part)
{
    const uint64_t now = ufi_clock_ns();
    *part += (double)(now - n->lap_ns) / 1e3;
    n->lap_ns = now;
}

uf_status ufi_network_run(ufi_network *n, uf_error *err)
{
    const uf_status st = ufi_context_run(n->context, err);
    n->times.runs++;
    ufi_network_lap(n, &n->times.network_us);
    return st;
}
