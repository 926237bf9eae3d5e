/*
 * Resize by whole factors with nearest neighbour, and bilinear: what feature pyramids use. Rarer
 * forms run by reference.
 */
#include <math.h>
#include <string.h>

#include "backend/cpu/build.h"

typedef struct resize_params {
    size_t factor_h, factor_w; /* nearest */
    const size_t *x0, *x1, *y0, *y1;
    const float *fx, *fy; /* bilinear: share of x1, y1 */
} resize_params;

static uf_status run_nearest(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    const resize_params *p = s->params;
    const int64_t *in = s->in[0].t.shape.dims, *out = s->out[0].t.shape.dims;
    size_t pixel = (size_t)out[1] * ufi_dtype_bytes(s->in[0].t.dtype); /* in bytes */
    size_t out_w = (size_t)out[3], in_w = (size_t)in[3];
    const uint8_t *from = s->in[0].t.data;
    uint8_t *to = s->out[0].t.data;
    for (size_t y = 0; y < (size_t)(out[0] * out[2]); y++) {
        const uint8_t *row = from + y / p->factor_h * in_w * pixel;
        if (y % p->factor_h) {
            memcpy(to, to - out_w * pixel, out_w * pixel);
        } else {
            for (size_t x = 0; x < out_w; x++)
                memcpy(to + x * pixel, row + x / p->factor_w * pixel, pixel);
        }
        to += out_w * pixel;
    }
    return UF_OK;
}

static uf_status run_bilinear(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    const resize_params *p = s->params;
    const int64_t *in = s->in[0].t.shape.dims, *out = s->out[0].t.shape.dims;
    size_t c = (size_t)out[1], out_w = (size_t)out[3], out_h = (size_t)out[2];
    float *to = s->out[0].t.data;
    for (size_t n = 0; n < (size_t)out[0]; n++) {
        const float *image = (const float *)s->in[0].t.data + n * c * (size_t)(in[2] * in[3]);
        for (size_t y = 0; y < out_h; y++) {
            const float *top = image + p->y0[y] * (size_t)in[3] * c;
            const float *bottom = image + p->y1[y] * (size_t)in[3] * c;
            for (size_t x = 0; x < out_w; x++, to += c) {
                size_t l = p->x0[x] * c, r = p->x1[x] * c;
                float fx = p->fx[x], fy = p->fy[y];
                for (size_t i = 0; i < c; i++) {
                    float a = top[l + i] + (top[r + i] - top[l + i]) * fx;
                    float d = bottom[l + i] + (bottom[r + i] - bottom[l + i]) * fx;
                    to[i] = a + (d - a) * fy;
                }
            }
        }
    }
    return UF_OK;
}

static bool nearest_by_factor(const ufi_node *n, const ufi_shape *x, const ufi_shape *y,
                              resize_params *p)
{
    const char *transform =
        ufi_node_string(n, UFI_ATTR_COORDINATE_TRANSFORMATION_MODE, "half_pixel");
    const char *nearest = ufi_node_string(n, UFI_ATTR_NEAREST_MODE, "round_prefer_floor");
    if (y->dims[2] % x->dims[2] || y->dims[3] % x->dims[3])
        return false;
    p->factor_h = (size_t)(y->dims[2] / x->dims[2]);
    p->factor_w = (size_t)(y->dims[3] / x->dims[3]);
    if (strcmp(transform, "asymmetric") == 0)
        return strcmp(nearest, "floor") == 0;
    /* With half_pixel the sample lies inside the source pixel: rounding finds it. */
    return strcmp(transform, "half_pixel") == 0 && strncmp(nearest, "round", 5) == 0;
}

/* Where output coordinate `i` lies in the input. */
static float source_of(const char *transform, size_t i, size_t in, size_t out, float scale)
{
    if (strcmp(transform, "asymmetric") == 0)
        return (float)i / scale;
    if (strcmp(transform, "align_corners") == 0)
        return out > 1 ? (float)i * (float)(in - 1) / (float)(out - 1) : 0;
    return ((float)i + 0.5f) / scale - 0.5f;
}

static bool fill_axis(cpu_builder *b, const char *transform, size_t in, size_t out,
                      const size_t **lo, const size_t **hi, const float **share)
{
    size_t *l = cpu_params(b, out * sizeof *l), *h = cpu_params(b, out * sizeof *h);
    float *f = cpu_params(b, out * sizeof *f);
    if (!l || !h || !f)
        return false;
    for (size_t i = 0; i < out; i++) {
        float at = source_of(transform, i, in, out, (float)out / (float)in);
        at = at < 0 ? 0 : at > (float)(in - 1) ? (float)(in - 1) : at;
        l[i] = (size_t)at;
        h[i] = l[i] + 1 < in ? l[i] + 1 : l[i];
        f[i] = at - (float)l[i];
    }
    *lo = l;
    *hi = h;
    *share = f;
    return true;
}

/* Scales that are not exactly out / in shift the samples; the reference handles those. */
static bool scales_exact(const cpu_builder *b, const ufi_node *n, const ufi_shape *x,
                         const ufi_shape *y)
{
    if (!cpu_has_input(n, 2) || ufi_shape_count(cpu_shape(b, n->in[2])) == 0)
        return true;
    if (!cpu_is_constant(b, n->in[2]) || ufi_shape_count(cpu_shape(b, n->in[2])) != 4)
        return false;
    const float *s = cpu_constant(b, n->in[2]).data;
    return s[2] == (float)y->dims[2] / (float)x->dims[2] &&
           s[3] == (float)y->dims[3] / (float)x->dims[3];
}

uf_status cpu_build_resize(cpu_builder *b, const ufi_node *n)
{
    const ufi_shape *x = cpu_shape(b, n->in[0]), *y = cpu_shape(b, n->out[0]);
    const char *mode = ufi_node_string(n, UFI_ATTR_MODE, "nearest");
    const char *transform =
        ufi_node_string(n, UFI_ATTR_COORDINATE_TRANSFORMATION_MODE, "half_pixel");
    const uf_dtype type = b->g->values[n->in[0]].dtype;
    const bool moved = (type == UF_U8 || type == UF_I16) && strcmp(mode, "nearest") == 0;
    if (x->rank != 4 || (!cpu_is_f32(b, n->in[0]) && !moved) || x->dims[0] != y->dims[0] ||
        x->dims[1] != y->dims[1] || ufi_node_attr(n, UFI_ATTR_AXES) || !scales_exact(b, n, x, y))
        return UF_E_UNSUPPORTED;
    resize_params *p = cpu_params(b, sizeof *p);
    if (!p)
        return UF_E_NOMEM;
    cpu_run_fn *run = run_nearest;
    if (strcmp(mode, "linear") == 0) {
        if (strcmp(transform, "half_pixel") != 0 && strcmp(transform, "asymmetric") != 0 &&
            strcmp(transform, "align_corners") != 0)
            return UF_E_UNSUPPORTED;
        run = run_bilinear;
        if (!fill_axis(b, transform, (size_t)x->dims[3], (size_t)y->dims[3], &p->x0, &p->x1,
                       &p->fx) ||
            !fill_axis(b, transform, (size_t)x->dims[2], (size_t)y->dims[2], &p->y0, &p->y1,
                       &p->fy))
            return UF_E_NOMEM;
    } else if (strcmp(mode, "nearest") != 0 || !nearest_by_factor(n, x, y, p)) {
        return UF_E_UNSUPPORTED;
    }
    cpu_operand in, out;
    uf_status st = cpu_in(b, n->in[0], UFI_NHWC, &in);
    if (!st)
        st = cpu_out(b, n->out[0], UFI_NHWC, NULL, &out);
    if (!st)
        st = cpu_add_step(b, n, run, "resize_c", &in, 1, &out, 1, p, NULL);
    return st;
}
