/*
 * Where everything lies. Step i of n goes forward at time i and back at time 2n - 1 - i. Data live
 * until their last reader, which may be a step on its way back; a gradient lives from the first
 * step that gives it to the step that made the blob. A sum's inputs have the sum's own gradient:
 * they share its place when nobody adds to one of them while another is still to be read.
 */
#include "train/net_impl.h"

typedef struct plan {
    ufi_net *net;
    ufi_buffer *buffers;
    uint32_t count;
    uint32_t *last; /* per blob: the time when its data are read for the last time */
} plan;

static uint32_t time_back(const plan *p, uint32_t step)
{
    return 2 * p->net->step_count - 1 - step;
}

uf_status ufi_step_temp(ufi_step *s, bool back, size_t bytes, uint32_t *index, uf_error *err)
{
    if (s->temp_count == UFI_STEP_TEMPS)
        return ufi_step_fail(s->node, err, UF_E_LIMIT, "more than %d temporary buffers",
                             UFI_STEP_TEMPS);
    *index = s->temp_count;
    s->temps[s->temp_count++] = (ufi_temp){bytes, back, NULL, UFI_NONE};
    return UF_OK;
}

static uint32_t add_buffer(plan *p, size_t bytes, uint32_t first, uint32_t last)
{
    p->buffers[p->count] = (ufi_buffer){bytes, first, last, -1, 0};
    return p->count++;
}

/* ---- who writes which gradient, and who adds ---- */

bool ufi_step_takes_part(const ufi_net *net, const ufi_step *s)
{
    for (uint32_t k = 0; k < s->out_count; k++)
        if (s->out[k] != UFI_NONE && net->blobs[s->out[k]].wants_grad)
            return true;
    return false;
}

uf_status ufi_net_find_writers(ufi_net *net, uf_error *err)
{
    net->writers = ufi_net_alloc(net, net->blob_count, sizeof *net->writers, err);
    net->second = ufi_net_alloc(net, net->blob_count, sizeof *net->second, err);
    if (!net->writers || !net->second)
        return UF_E_NOMEM;
    for (uint32_t i = 0; i < net->blob_count; i++)
        net->writers[i] = net->second[i] = UFI_NONE;
    for (uint32_t i = net->step_count; i-- > 0;) {
        ufi_step *s = &net->steps[i];
        for (uint32_t k = 0; ufi_step_takes_part(net, s) && k < s->in_count; k++) {
            uint32_t b = s->in[k];
            if (b == UFI_NONE || !net->blobs[b].wants_grad)
                continue;
            s->adds[k] = net->writers[b] != UFI_NONE;
            if (net->writers[b] == UFI_NONE)
                net->writers[b] = i;
            else if (net->second[b] == UFI_NONE)
                net->second[b] = i;
        }
    }
    return UF_OK;
}

/* Whether blob `m`, given its gradient by step `now`, can lie with `o`. */
static bool get_along(const plan *p, uint32_t m, uint32_t o, uint32_t now)
{
    const ufi_blob *a = &p->net->blobs[m], *b = &p->net->blobs[o];
    if (b->producer >= now) /* read to its end */
        return true;
    if (a->producer == UFI_NONE || b->producer == UFI_NONE)
        return false;
    bool a_waits = p->net->second[m] == UFI_NONE || p->net->second[m] < b->producer;
    bool b_waits = p->net->second[o] == UFI_NONE || p->net->second[o] < a->producer;
    return a_waits && b_waits;
}

static bool fits_all(const plan *p, uint32_t m, uint32_t root, uint32_t now)
{
    for (uint32_t o = 0; o < p->net->blob_count; o++) {
        uint32_t g = p->net->blobs[o].grad_buffer;
        if (o == m || g == UFI_NONE)
            continue;
        if ((g == root || p->buffers[g].same_as == (int32_t)root) && !get_along(p, m, o, now))
            return false;
    }
    return true;
}

/* Gradients are given places in the order in which they are first written. */
static void place_grads(plan *p)
{
    for (uint32_t i = p->net->step_count; i-- > 0;) {
        ufi_step *s = &p->net->steps[i];
        for (uint32_t k = 0; k < s->in_count; k++) {
            ufi_blob *b = ufi_blob_in(p->net, s, k);
            if (!b || !b->wants_grad || p->net->writers[s->in[k]] != i ||
                b->grad_buffer != UFI_NONE)
                continue;
            uint32_t last = time_back(p, b->producer);
            b->grad_buffer = add_buffer(p, ufi_blob_bytes(p->net, b), time_back(p, i), last);
            ufi_blob *y = ufi_blob_out(p->net, s, 0);
            if (!s->passes_grad || y->grad_buffer == UFI_NONE || s->adds[k])
                continue;
            int32_t above = p->buffers[y->grad_buffer].same_as;
            uint32_t root = above < 0 ? y->grad_buffer : (uint32_t)above;
            if (fits_all(p, s->in[k], root, i)) {
                p->buffers[b->grad_buffer].same_as = (int32_t)root;
                s->shares[k] = true;
            }
        }
    }
}

/* ---- data ---- */

/* When each blob's data are read for the last time. */
static void find_last_uses(plan *p)
{
    for (uint32_t i = 0; i < p->net->step_count; i++) {
        const ufi_step *s = &p->net->steps[i];
        const bool back = ufi_step_takes_part(p->net, s);
        for (uint32_t k = 0; k < s->out_count; k++)
            if (s->out[k] != UFI_NONE)
                p->last[s->out[k]] = k == 0 && s->keeps_out && back ? time_back(p, i) : i;
        for (uint32_t k = 0; k < s->in_count; k++) {
            const uint32_t t = s->keeps[k] && back ? time_back(p, i) : i;
            if (s->in[k] != UFI_NONE && t > p->last[s->in[k]])
                p->last[s->in[k]] = t;
        }
    }
}

/* in[0] is read by this step only, and its maker has no use for it either. */
static bool may_overwrite(const plan *p, const ufi_step *s, uint32_t index)
{
    const ufi_blob *x = ufi_blob_in(p->net, s, 0), *y = ufi_blob_out(p->net, s, 0);
    return s->overwrites && x->data_buffer != UFI_NONE && p->last[s->in[0]] == index &&
           ufi_blob_bytes(p->net, x) == ufi_blob_bytes(p->net, y);
}

static void place_data(plan *p)
{
    for (uint32_t i = 0; i < p->net->step_count; i++) {
        ufi_step *s = &p->net->steps[i];
        for (uint32_t k = 0; k < s->out_count; k++) {
            ufi_blob *b = ufi_blob_out(p->net, s, k);
            if (!b || b->given)
                continue;
            b->data_buffer = add_buffer(p, ufi_blob_bytes(p->net, b), i, p->last[s->out[k]]);
            if (k == 0 && may_overwrite(p, s, i)) {
                uint32_t x = ufi_blob_in(p->net, s, 0)->data_buffer;
                int32_t above = p->buffers[x].same_as;
                p->buffers[b->data_buffer].same_as = above < 0 ? (int32_t)x : above;
            }
        }
        for (uint32_t k = 0; k < s->temp_count; k++) {
            uint32_t t = s->temps[k].back ? time_back(p, i) : i;
            s->temps[k].buffer = add_buffer(p, s->temps[k].bytes, t, t);
        }
    }
}

/* ---- all together ---- */

static void *address(const plan *p, uint32_t buffer)
{
    return buffer == UFI_NONE ? NULL : p->net->memory + p->buffers[buffer].offset_bytes;
}

static void give_out(plan *p)
{
    ufi_net *net = p->net;
    for (uint32_t i = 0; i < net->blob_count; i++) {
        ufi_blob *b = &net->blobs[i];
        b->data = b->given ? b->given : address(p, b->data_buffer);
        b->grad = b->given_grad ? b->given_grad : address(p, b->grad_buffer);
    }
    for (uint32_t i = 0; i < net->step_count; i++)
        for (uint32_t k = 0; k < net->steps[i].temp_count; k++)
            net->steps[i].temps[k].data = address(p, net->steps[i].temps[k].buffer);
}

static size_t other_bytes(const ufi_net *net)
{
    size_t bytes = net->arena.used_bytes;
    for (uint32_t i = 0; i < net->variable_count; i++)
        bytes += net->variables[i].count * sizeof(float) * (net->variables[i].grad ? 2 : 1);
    for (uint32_t i = 0; i < net->blob_count; i++) {
        const ufi_blob *b = &net->blobs[i];
        bytes += b->count * sizeof(float) * (size_t)((b->given != NULL) + (b->given_grad != NULL));
    }
    return bytes;
}

static uf_status place_all(plan *p, uf_error *err)
{
    size_t total;
    find_last_uses(p);
    place_grads(p);
    place_data(p);
    uf_status st = ufi_memory_plan(p->buffers, p->count, &total, err);
    if (st)
        return st;
    p->net->memory = ufi_aligned_calloc(total + UFI_ALIGN);
    if (!p->net->memory)
        return ufi_fail(err, UF_E_NOMEM, "no memory for %zu MiB of activations and gradients",
                        total >> 20);
    give_out(p);
    p->net->bytes = total + other_bytes(p->net);
    return UF_OK;
}

uf_status ufi_net_plan(ufi_net *net, uf_error *err)
{
    size_t most = 2 * (size_t)net->blob_count;
    for (uint32_t i = 0; i < net->step_count; i++)
        most += net->steps[i].temp_count;
    plan p = {.net = net};
    p.buffers = ufi_calloc(most + 1, sizeof *p.buffers);
    p.last = ufi_calloc(net->blob_count + 1, sizeof *p.last);
    uf_status st = p.buffers && p.last ? place_all(&p, err)
                                       : ufi_fail(err, UF_E_NOMEM, "no memory to plan a network");
    ufi_free(p.buffers);
    ufi_free(p.last);
    return st;
}
