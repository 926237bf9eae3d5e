/*
 * What all detector families share: laying the picture into the network's input, coming back to the
 * picture's coordinates, and looking at several scales.
 */
#include "model/detector.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

/* Sizes of dynamic inputs are multiples of this: the coarsest stride of every family. */
#define SIZE_STEP 32
/* Most pictures in one run of the network, and most activations of a run: beyond that the caches
 * of a processor overflow, and 16 pictures at 320 x 320 take up to a fifth longer than alone. */
#define MAX_BATCH 16
#define MAX_BATCH_BYTES ((size_t)16 << 20)
/* In `auto`, the longest side at which a picture is looked at; larger ones are reduced to it. */
#define AUTO_MAX_SIDE 2048

typedef struct family {
    const char *name;
    ufi_decode_faces *decode;
} family;

static const family families[] = {{"yunet", ufi_decode_yunet},
                                  {"scrfd", ufi_decode_scrfd},
                                  {"ultraface", ufi_decode_ultraface},
                                  {"retinaface", ufi_decode_retinaface}};

struct uf_detector {
    ufi_network net;
    const family *family;
    ufi_detector_config config;
    ufi_fit fit;
    int32_t size; /* of dynamic inputs; -1: auto */
    int32_t native;
    size_t batch;       /* most pictures in one run; 0: not found out yet */
    double pixel_bytes; /* activations per pixel of the input */
    size_t together;    /* most pictures that one run has taken so far */
    uint8_t *canvas;
    size_t canvas_bytes;
    ufi_candidates found, all;
};

/* ---- the network's outputs ---- */

const float *ufi_detector_output(const ufi_detector_outputs *o, size_t rows, size_t columns, int k)
{
    for (uint32_t i = 0; i < o->count; i++)
        if (o->rows[i] == rows && o->columns[i] == columns && k-- == 0)
            return o->data[i];
    return NULL;
}

/* Picture `image` of a batch of `batch`. Outputs are [batch][rows][columns] or
 * [batch * rows][columns]. */
static uf_status read_outputs(const uf_detector *d, const ufi_context *c, size_t image,
                              size_t batch, ufi_detector_outputs *o, uf_error *err)
{
    const ufi_graph *g = &d->net.file->graph;
    if (g->output_count > UFI_DETECTOR_MAX_OUTPUTS)
        return ufi_fail(err, UF_E_MISMATCH, "the model has %u outputs, a detector has at most %d",
                        g->output_count, UFI_DETECTOR_MAX_OUTPUTS);
    o->count = g->output_count;
    for (uint32_t i = 0; i < g->output_count; i++) {
        const ufi_tensor *t = ufi_context_output(c, i);
        if (t->dtype != UF_F32 || t->shape.rank < 2)
            return ufi_fail(err, UF_E_MISMATCH, "output %u of the detector is no f32 matrix", i);
        size_t count = (size_t)ufi_shape_count(&t->shape) / batch;
        o->columns[i] = (size_t)t->shape.dims[t->shape.rank - 1];
        o->rows[i] = o->columns[i] ? count / o->columns[i] : 0;
        o->data[i] = (const float *)t->data + image * count;
    }
    return UF_OK;
}

/* ---- priors ---- */

void ufi_decode_prior_box(const ufi_detector_config *c, float x, float y, float size,
                          const float coded[4], uf_face *f)
{
    f->width = size * expf(coded[2] * c->variances[1]);
    f->height = size * expf(coded[3] * c->variances[1]);
    f->x = x + coded[0] * c->variances[0] * size - f->width / 2;
    f->y = y + coded[1] * c->variances[0] * size - f->height / 2;
}

size_t ufi_each_prior(const ufi_detector_config *c, const ufi_detector_outputs *o,
                      ufi_take_prior *take, void *arg)
{
    size_t i = 0;
    const float *sizes = c->priors;
    for (int s = 0; s < c->stride_count; sizes += c->prior_counts[s++]) {
        size_t stride = (size_t)c->strides[s];
        size_t columns = (o->width + stride - 1) / stride, rows = (o->height + stride - 1) / stride;
        for (size_t cell = 0; cell < columns * rows; cell++)
            for (int a = 0; a < c->prior_counts[s]; a++, i++)
                if (take)
                    take(arg, i, ((float)(cell % columns) + 0.5f) * (float)stride,
                         ((float)(cell / columns) + 0.5f) * (float)stride, sizes[a]);
    }
    return i;
}

/* ---- one look at (a part of) a picture ---- */

typedef struct region {
    int32_t x, y, width, height;
} region;

/* One look: where, into an input of which size, and which faces are taken from it. The larger side
 * of a face must lie in least .. most (pixels of the input); with several looks each is left the
 * sizes that it sees best, or the parts of one face would be found as faces of their own. */
typedef struct glance {
    region r;
    size_t width, height;
    float fraction; /* of the input that the picture takes */
    float least, most;
} glance;

static uf_image part_of(const uf_image *image, region r)
{
    uf_image part = *image;
    part.planes[0] += (size_t)r.y * part.strides[0] + (size_t)r.x * 3;
    part.width = r.width;
    part.height = r.height;
    return part;
}

static uf_status need_canvas(uf_detector *d, size_t bytes, uf_error *err)
{
    if (bytes <= d->canvas_bytes)
        return UF_OK;
    uint8_t *canvas = ufi_realloc(d->canvas, bytes, 1);
    if (!canvas)
        return ufi_fail(err, UF_E_NOMEM, "no memory for the detector's input");
    d->canvas = canvas;
    d->canvas_bytes = bytes;
    return UF_OK;
}

/* Moves what was found in the network's input to picture coordinates and collects it. */
static void collect(uf_detector *d, const ufi_letterbox *box, const glance *g)
{
    const region r = g->r;
    for (size_t i = 0; i < d->found.count; i++) {
        uf_face f = d->found.faces[i];
        float side = f.width > f.height ? f.width : f.height;
        if (side < g->least || side > g->most)
            continue;
        f.x = (f.x - box->offset_x) / box->scale_x + (float)r.x;
        f.y = (f.y - box->offset_y) / box->scale_y + (float)r.y;
        f.width /= box->scale_x;
        f.height /= box->scale_y;
        for (int k = 0; k < UF_LANDMARKS; k++) {
            f.landmarks[k].x = (f.landmarks[k].x - box->offset_x) / box->scale_x + (float)r.x;
            f.landmarks[k].y = (f.landmarks[k].y - box->offset_y) / box->scale_y + (float)r.y;
        }
        ufi_candidates_add(&d->all, &f);
    }
    d->all.no_memory |= d->found.no_memory;
}

static uf_status decode(uf_detector *d, ufi_detector_outputs *o, uf_error *err)
{
    d->found.count = 0;
    uf_status st = d->family->decode(&d->config, o, &d->found, err);
    if (!st)
        ufi_candidates_suppress(&d->found, d->config.nms, d->config.top);
    return st;
}

static uf_status decode_image(uf_detector *d, size_t image, uf_error *err)
{
    ufi_detector_outputs o = {.width = d->net.width, .height = d->net.height};
    uf_status st = read_outputs(d, d->net.context, image, d->net.batch, &o, err);
    return st ? st : decode(d, &o, err);
}

uf_status ufi_detector_decode(uf_detector *d, const ufi_context *c, size_t width, size_t height,
                              const uf_face **faces, size_t *count, uf_error *err)
{
    ufi_detector_outputs o = {.width = width, .height = height};
    uf_status st = read_outputs(d, c, 0, 1, &o, err);
    if (!st)
        st = decode(d, &o, err);
    *faces = d->found.faces;
    *count = st ? 0 : d->found.count;
    return st;
}

static uf_status look(uf_detector *d, const uf_image *image, const glance *g, uf_error *err)
{
    const size_t width = g->width, height = g->height;
    ufi_letterbox box;
    uf_image part = part_of(image, g->r);
    uf_status st = need_canvas(d, width * height * 3, err);
    ufi_network_lap(&d->net, &d->net.times.input_us);
    if (!st)
        st = ufi_network_prepare(&d->net, 1, width, height, err);
    ufi_network_lap(&d->net, &d->net.times.plan_us);
    if (st)
        return st;
    if (g->fraction >= 1) {
        st = ufi_image_letterbox(d->canvas, (int32_t)width, (int32_t)height, &part, d->fit, &box,
                                 err);
    } else {
        /* A smaller canvas inside a black one: rows are spread out from the last to the first. */
        size_t w = (size_t)((float)width * g->fraction), h = (size_t)((float)height * g->fraction);
        st = ufi_image_letterbox(d->canvas, (int32_t)w, (int32_t)h, &part, UFI_FIT_TOP_LEFT, &box,
                                 err);
        memset(d->canvas + w * h * 3, 0, (width * height - w * h) * 3);
        for (size_t y = h; y-- > 0;) {
            memmove(d->canvas + y * width * 3, d->canvas + y * w * 3, w * 3);
            memset(d->canvas + y * width * 3 + w * 3, 0, (width - w) * 3);
        }
    }
    if (st)
        return st;
    ufi_network_feed(&d->net, 0, d->canvas);
    ufi_network_lap(&d->net, &d->net.times.input_us);
    st = ufi_network_run(&d->net, err);
    if (!st)
        st = decode_image(d, 0, err);
    if (!st)
        collect(d, &box, g);
    ufi_network_lap(&d->net, &d->net.times.output_us);
    return st;
}

/* ---- scales ---- */

static int32_t round_to_step(double v)
{
    int32_t n = (int32_t)ceil(v / SIZE_STEP) * SIZE_STEP;
    return n < SIZE_STEP ? SIZE_STEP : n;
}

/* The network's input for the whole picture with its longest side at `side`. */
static void input_size(const uf_detector *d, const uf_image *image, int32_t side, size_t *width,
                       size_t *height)
{
    int32_t longest = image->width > image->height ? image->width : image->height;
    double s = (double)side / longest;
    *width =
        (size_t)(d->net.fixed_width > 0 ? d->net.fixed_width : round_to_step(image->width * s));
    *height =
        (size_t)(d->net.fixed_height > 0 ? d->net.fixed_height : round_to_step(image->height * s));
}

/* Faces up to this part of the native size are left to the looks at full resolution. */
#define SMALL_PART 0.2f

/* The picture in pieces of the network's size at full resolution, overlapping by a quarter. */
static uf_status look_at_tiles(uf_detector *d, const uf_image *image, size_t width, size_t height,
                               uf_error *err)
{
    int32_t w = (int32_t)width, h = (int32_t)height;
    glance g = {.width = width, .height = height, .fraction = 1};
    g.most = SMALL_PART * (float)d->native;
    uf_status st = UF_OK;
    for (int32_t y = 0; !st; y += h * 3 / 4) {
        int32_t top = y + h < image->height ? y : image->height > h ? image->height - h : 0;
        for (int32_t x = 0; !st; x += w * 3 / 4) {
            int32_t left = x + w < image->width ? x : image->width > w ? image->width - w : 0;
            g.r = (region){left, top, image->width - left < w ? image->width - left : w,
                           image->height - top < h ? image->height - top : h};
            st = look(d, image, &g, err);
            if (x + w >= image->width)
                break;
        }
        if (y + h >= image->height)
            break;
    }
    return st;
}

/* Half the size for faces that fill the picture, the native size, and twice the resolution (as far
 * as AUTO_MAX_SIDE allows), or tiles at full resolution, for the small ones. */
static uf_status look_at_all_scales(uf_detector *d, const uf_image *image, uf_error *err)
{
    int32_t longest = image->width > image->height ? image->width : image->height;
    glance g = {.r = {0, 0, image->width, image->height}, .fraction = 0.5f, .most = INFINITY};
    input_size(d, image, d->native, &g.width, &g.height);
    g.least = 0.3f * (float)d->native;
    uf_status st = look(d, image, &g, err);
    g.fraction = 1;
    g.least = 0;
    if (!st)
        st = look(d, image, &g, err);
    if (st || longest <= d->native / 2)
        return st;
    if (d->net.fixed_width > 0)
        return longest > d->native ? look_at_tiles(d, image, g.width, g.height, err) : UF_OK;
    int32_t side = 2 * longest < AUTO_MAX_SIDE ? 2 * longest : AUTO_MAX_SIDE;
    input_size(d, image, side, &g.width, &g.height);
    g.most = SMALL_PART * (float)d->native;
    return look(d, image, &g, err);
}

/* What was collected for one picture, best first. */
static uf_status give_faces(uf_detector *d, uf_face *faces, size_t cap, size_t *count,
                            uf_error *err)
{
    if (d->all.no_memory) {
        d->all.no_memory = d->found.no_memory = false;
        return ufi_fail(err, UF_E_NOMEM, "no memory for faces");
    }
    ufi_candidates_suppress(&d->all, d->config.nms, d->config.top);
    *count = d->all.count;
    if (faces && d->all.count)
        memcpy(faces, d->all.faces, (d->all.count < cap ? d->all.count : cap) * sizeof *faces);
    return UF_OK;
}

uf_status uf_detector_run(uf_detector *d, const uf_image *image, uf_face *faces, size_t cap,
                          size_t *count, uf_error *err)
{
    uf_image rgb;
    uf_picture *owned;
    size_t width, height;
    if (!d || !count || (!faces && cap))
        return ufi_fail(err, UF_E_ARG, "uf_detector_run: detector, faces and count must be given");
    *count = 0;
    ufi_network_begin(&d->net);
    uf_status st = ufi_image_to_rgb(&rgb, &owned, image, err);
    if (st)
        return st;
    d->all.count = 0;
    if (d->size < 0) {
        st = look_at_all_scales(d, &rgb, err);
    } else {
        input_size(d, &rgb, d->size, &width, &height);
        const glance g = {.r = {0, 0, rgb.width, rgb.height},
                          .width = width,
                          .height = height,
                          .fraction = 1,
                          .most = INFINITY};
        st = look(d, &rgb, &g, err);
    }
    uf_picture_destroy(owned);
    if (!st)
        st = give_faces(d, faces, cap, count, err);
    ufi_network_lap(&d->net, &d->net.times.output_us);
    return st;
}

/* ---- several pictures in one run ---- */

/* Pictures of a batch must come out as they would alone. That is so when each output has one more
 * than before along its first dimension and nothing else changed (and no operator mixes the batch).
 */
static bool has_batch(const ufi_graph *g, const ufi_context *c, const ufi_shape *alone, size_t n)
{
    for (uint32_t i = 0; i < g->output_count; i++) {
        ufi_shape s = ufi_context_output(c, i)->shape;
        if (s.rank < 3 || alone[i].rank < 3 || alone[i].dims[0] != 1 || s.dims[0] != (int64_t)n)
            return false;
        s.dims[0] = 1;
        if (!ufi_shape_equal(&s, &alone[i]))
            return false;
    }
    return true;
}

/* Finds out how many pictures one run may take: by planning for one and for two. */
static uf_status learn_batch(uf_detector *d, size_t width, size_t height, uf_error *err)
{
    const ufi_graph *g = &d->net.file->graph;
    ufi_shape alone[UFI_DETECTOR_MAX_OUTPUTS];
    if (d->batch)
        return UF_OK;
    if (g->output_count > UFI_DETECTOR_MAX_OUTPUTS || ufi_network_mixes_batch(&d->net)) {
        d->batch = 1;
        return UF_OK;
    }
    uf_status st = ufi_network_prepare(&d->net, 1, width, height, err);
    if (st)
        return st;
    d->pixel_bytes =
        (double)ufi_context_arena_bytes(d->net.context) / ((double)width * (double)height);
    const size_t best = ufi_network_best_batch(&d->net, MAX_BATCH);
    if (best == 1) {
        d->batch = 1;
        return UF_OK;
    }
    for (uint32_t i = 0; i < g->output_count; i++)
        alone[i] = ufi_context_output(d->net.context, i)->shape;
    st = ufi_network_prepare(&d->net, 2, width, height, NULL);
    if (st == UF_E_NOMEM)
        return ufi_fail(err, st, "no memory for a batch");
    d->batch = !st && has_batch(g, d->net.context, alone, 2) ? best : 1;
    return UF_OK;
}

/* The network's input for this picture, which is not converted yet; false for a view that is wrong:
 * running it alone tells why. */
static bool size_alone(const uf_detector *d, const uf_image *image, size_t *width, size_t *height)
{
    if (ufi_image_check(image, NULL))
        return false;
    uf_image upright = *image;
    if (image->rotation == UF_ROTATE_90 || image->rotation == UF_ROTATE_270) {
        upright.width = image->height;
        upright.height = image->width;
    }
    input_size(d, &upright, d->size, width, height);
    return true;
}

/* How many pictures from the first on come to the same size of input, as far as one run takes them.
 */
static size_t equal_sizes(const uf_detector *d, const uf_image *images, size_t n, size_t width,
                          size_t height)
{
    size_t count = 1, w, h;
    double fits = (double)MAX_BATCH_BYTES / (d->pixel_bytes * (double)width * (double)height);
    size_t most = fits < (double)d->batch ? (size_t)fits : d->batch;
    while (count < n && count < most && size_alone(d, &images[count], &w, &h) && w == width &&
           h == height)
        count++;
    return count;
}

static uf_status feed_batch(uf_detector *d, const uf_image *images, size_t n, ufi_letterbox *boxes,
                            glance *glances, uf_error *err)
{
    const size_t width = d->net.width, height = d->net.height;
    uf_status st = need_canvas(d, width * height * 3, err);
    for (size_t i = 0; !st && i < n; i++) {
        uf_image rgb;
        uf_picture *owned;
        st = ufi_image_to_rgb(&rgb, &owned, &images[i], err);
        if (st)
            return st;
        glances[i] = (glance){.r = {0, 0, rgb.width, rgb.height}, .most = INFINITY};
        st = ufi_image_letterbox(d->canvas, (int32_t)width, (int32_t)height, &rgb, d->fit,
                                 &boxes[i], err);
        if (!st)
            ufi_network_feed(&d->net, i, d->canvas);
        uf_picture_destroy(owned);
    }
    return st;
}

/* `n` pictures of one size of input, for which the network is prepared. */
static uf_status look_at_batch(uf_detector *d, const uf_image *images, size_t n, uf_face *faces,
                               size_t cap, size_t *counts, uf_error *err)
{
    ufi_letterbox boxes[MAX_BATCH];
    glance glances[MAX_BATCH];
    d->together = n > d->together ? n : d->together;
    uf_status st = feed_batch(d, images, n, boxes, glances, err);
    if (!st)
        st = ufi_context_run(d->net.context, err);
    for (size_t i = 0; !st && i < n; i++) {
        d->all.count = 0;
        st = decode_image(d, i, err);
        if (st)
            return st;
        collect(d, &boxes[i], &glances[i]);
        st = give_faces(d, faces ? faces + i * cap : NULL, cap, &counts[i], err);
    }
    return st;
}

/* The next pictures, in one run where that is possible; *done is how many. */
static uf_status run_next(uf_detector *d, const uf_image *images, size_t n, uf_face *faces,
                          size_t cap, size_t *counts, size_t *done, uf_error *err)
{
    size_t width, height, now = 1;
    uf_status st = UF_OK;
    if (n > 1 && d->size > 0 && d->batch != 1 && size_alone(d, images, &width, &height)) {
        st = learn_batch(d, width, height, err);
        if (st)
            return st;
        now = equal_sizes(d, images, n, width, height);
    }
    if (now > 1)
        st = ufi_network_prepare(&d->net, now, width, height, err);
    *done = now;
    if (now == 1)
        return uf_detector_run(d, images, faces, cap, counts, err);
    return st ? st : look_at_batch(d, images, now, faces, cap, counts, err);
}

uf_status uf_detector_run_batch(uf_detector *d, const uf_image *images, size_t n, uf_face *faces,
                                size_t cap, size_t *counts, uf_error *err)
{
    if (!d || (!images && n) || (!counts && n) || (!faces && cap))
        return ufi_fail(err, UF_E_ARG, "uf_detector_run_batch: an argument is NULL");
    for (size_t i = 0, done = 0; i < n; i += done) {
        uf_status st = run_next(d, images + i, n - i, faces ? faces + i * cap : NULL, cap,
                                counts + i, &done, err);
        if (st)
            return done > 1 ? ufi_wrap(err, st, "images %zu to %zu", i, i + done - 1)
                            : ufi_wrap(err, st, "image %zu", i);
    }
    return UF_OK;
}

uf_status uf_detector_batch(uf_detector *d, size_t *out, uf_error *err)
{
    if (!d || !out)
        return ufi_fail(err, UF_E_ARG, "uf_detector_batch: detector and out must be given");
    *out = 1;
    if (d->size < 0)
        return UF_OK;
    const size_t width = (size_t)(d->net.fixed_width > 0 ? d->net.fixed_width : d->size);
    const size_t height = (size_t)(d->net.fixed_height > 0 ? d->net.fixed_height : d->size);
    const uf_status st = learn_batch(d, width, height, err);
    if (!st)
        *out = d->batch;
    return st;
}

const ufi_network *ufi_detector_network(const uf_detector *d)
{
    return &d->net;
}

size_t ufi_detector_together(const uf_detector *d)
{
    return d->together;
}

int32_t uf_detector_min_side(const uf_detector *d)
{
    if (d->size < 0)
        return 0;
    return d->net.fixed_width > 0 ? (int32_t)d->net.fixed_width : d->size;
}

/* ---- making one ---- */

/* A list of whole numbers in the metadata; the number of them. */
static int read_list(const ufi_network *n, const char *key, int *out, int cap)
{
    float v[16];
    int count = ufi_meta_floats(&n->file->meta, key, v, cap < 16 ? cap : 16);
    for (int i = 0; i < count; i++) {
        out[i] = (int)v[i];
        if (out[i] < 1 || out[i] > 4096)
            return -1;
    }
    return count;
}

/* Priors are shared out evenly over the strides unless the metadata says how many each has. */
static bool read_priors(const ufi_network *n, ufi_detector_config *c)
{
    int total = 0;
    c->prior_count = ufi_meta_floats(&n->file->meta, "detector.priors", c->priors, 16);
    if (c->prior_count <= 0 || c->stride_count <= 0)
        return c->prior_count == 0;
    int given = read_list(n, "detector.prior_counts", c->prior_counts, UFI_DETECTOR_MAX_STRIDES);
    for (int i = 0; i < c->stride_count; i++) {
        if (given <= 0)
            c->prior_counts[i] = c->prior_count / c->stride_count;
        total += c->prior_counts[i];
    }
    return total == c->prior_count && (given == 0 || given == c->stride_count);
}

static uf_status read_config(uf_detector *d, const uf_detector_options *options, uf_error *err)
{
    ufi_detector_config *c = &d->config;
    const ufi_meta *meta = &d->net.file->meta;
    float score, nms, top, size;
    uf_status st = ufi_network_numbers(&d->net, "detector.score", &score, 1, err);
    if (!st)
        st = ufi_network_numbers(&d->net, "detector.nms", &nms, 1, err);
    if (!st)
        st = ufi_network_numbers(&d->net, "detector.top", &top, 1, err);
    if (!st)
        st = ufi_network_numbers(&d->net, "detector.size", &size, 1, err);
    if (st)
        return st;
    c->stride_count = read_list(&d->net, "detector.strides", c->strides, UFI_DETECTOR_MAX_STRIDES);
    if (ufi_meta_get(meta, "detector.anchors") &&
        read_list(&d->net, "detector.anchors", &c->anchors, 1) != 1)
        c->stride_count = -1;
    int variances = ufi_meta_floats(meta, "detector.variances", c->variances, 2);
    if (c->stride_count < 0 || !read_priors(&d->net, c) || (variances != 0 && variances != 2) ||
        !(top >= 1) || top > 1e6f || !(size >= SIZE_STEP) || size > 8192)
        return ufi_fail(err, UF_E_FORMAT, "the detector.* metadata of the model is malformed");
    c->score = options->score_threshold >= 0 ? options->score_threshold : score;
    c->nms = options->nms_threshold >= 0 ? options->nms_threshold : nms;
    c->top = (size_t)top;
    d->native = d->net.fixed_width > 0 ? (int32_t)d->net.fixed_width : (int32_t)size;
    d->size = options->size ? options->size : d->native;
    return UF_OK;
}

ufi_fit ufi_detector_fit(const ufi_meta *meta)
{
    const char *fit = ufi_meta_get(meta, "detector.fit");
    if (fit && !strcmp(fit, "stretch"))
        return UFI_FIT_STRETCH;
    return fit && !strcmp(fit, "center") ? UFI_FIT_CENTER : UFI_FIT_TOP_LEFT;
}

static uf_status read_family(uf_detector *d, uf_error *err)
{
    const char *name = ufi_meta_get(&d->net.file->meta, "family");
    for (size_t i = 0; name && i < sizeof families / sizeof *families; i++)
        if (!strcmp(name, families[i].name))
            d->family = &families[i];
    if (!d->family)
        return ufi_fail(err, UF_E_UNSUPPORTED, "detector family \"%.40s\" is not known",
                        name ? name : "");
    d->fit = ufi_detector_fit(&d->net.file->meta);
    return UF_OK;
}

uf_status ufi_detector_create(uf_detector **out, const ufi_model_file *file, ufi_program *program,
                              const uf_detector_options *options, uf_error *err)
{
    uf_detector *d = ufi_calloc(1, sizeof *d);
    *out = NULL;
    if (!d)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a detector");
    if (options->size < -1 || options->size > 8192 || isnan(options->score_threshold) ||
        isnan(options->nms_threshold)) {
        ufi_free(d);
        return ufi_fail(err, UF_E_ARG,
                        "detector options: size must be -1 to 8192, thresholds numbers");
    }
    uf_status st =
        ufi_network_open(&d->net, file, program, "detector", options->engine.threads, err);
    if (!st) {
        ufi_context_set_steady(d->net.context);
        st = read_family(d, err);
    }
    if (!st)
        st = read_config(d, options, err);
    if (st)
        uf_detector_destroy(d);
    else
        *out = d;
    return st;
}

void uf_detector_destroy(uf_detector *d)
{
    if (!d)
        return;
    ufi_network_close(&d->net);
    ufi_candidates_free(&d->found);
    ufi_candidates_free(&d->all);
    ufi_free(d->canvas);
    ufi_free(d);
}
