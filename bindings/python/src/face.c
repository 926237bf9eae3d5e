/* uniface._native: pictures, detectors, embedders. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "native.h"

static void destroy_detector(void *d)
{
    uf_detector_destroy(d);
}

static void destroy_embedder(void *e)
{
    uf_embedder_destroy(e);
}

static void destroy_picture(void *p)
{
    uf_picture_destroy(p);
}

const handle_kind detector_kind = {"uniface.detector", destroy_detector, false};
const handle_kind embedder_kind = {"uniface.embedder", destroy_embedder, false};
const handle_kind picture_kind = {"uniface.picture", destroy_picture, false};

/* ---- pictures ---- */

int image_of(PyObject *tuple, void *image)
{
    uf_image *out = image;
    unsigned long long address;
    int width, height, format;
    Py_ssize_t stride;
    if (!PyArg_ParseTuple(tuple, "Kiiin;an image is (address, width, height, format, stride)",
                          &address, &width, &height, &format, &stride))
        return 0;
    *out = (uf_image){.format = (uf_pixel_format)format, .width = width, .height = height};
    out->planes[0] = ADDRESS(address);
    out->strides[0] = (size_t)stride;
    return 1;
}

/* (picture, address, width, height, stride_bytes): RGB8 that lives as long as the handle. */
static PyObject *picture_result(uf_status st, uf_picture *p, const uf_error *err)
{
    if (st)
        return raise_status(st, err);
    size_t stride;
    const uint8_t *pixels = uf_picture_pixels(p, &stride);
    const uf_image view = uf_picture_view(p);
    PyObject *capsule = handle_new(&picture_kind, p, NULL);
    return capsule ? Py_BuildValue("(NKiin)", capsule, (unsigned long long)(uintptr_t)pixels,
                                   (int)view.width, (int)view.height, (Py_ssize_t)stride)
                   : NULL;
}

/* picture_load(path, min_side, max_pixels) */
static PyObject *py_picture_load(PyObject *self, PyObject *args)
{
    const char *path;
    unsigned long long max_pixels;
    uf_decode_options o = UF_DECODE_OPTIONS_INIT;
    uf_error err;
    uf_picture *p = NULL;
    if (!PyArg_ParseTuple(args, "yiK:picture_load", &path, &o.min_side, &max_pixels))
        return NULL;
    o.max_pixels = max_pixels;
    call_state s = call_begin();
    uf_status st = uf_picture_load(&p, path, &o, &err);
    call_end(s);
    return picture_result(st, p, &err);
}

/* picture_decode(bytes, min_side, max_pixels) */
static PyObject *py_picture_decode(PyObject *self, PyObject *args)
{
    const char *data;
    Py_ssize_t size;
    unsigned long long max_pixels;
    uf_decode_options o = UF_DECODE_OPTIONS_INIT;
    uf_error err;
    uf_picture *p = NULL;
    if (!PyArg_ParseTuple(args, "y#iK:picture_decode", &data, &size, &o.min_side, &max_pixels))
        return NULL;
    o.max_pixels = max_pixels;
    call_state s = call_begin();
    uf_status st = uf_picture_decode(&p, data, (size_t)size, &o, &err);
    call_end(s);
    return picture_result(st, p, &err);
}

/* picture_save(image, path) */
static PyObject *py_picture_save(PyObject *self, PyObject *args)
{
    uf_image image;
    const char *path;
    uf_error err;
    uf_picture *p = NULL;
    if (!PyArg_ParseTuple(args, "O&y:picture_save", image_of, &image, &path))
        return NULL;
    call_state s = call_begin();
    uf_status st = uf_picture_from_image(&p, &image, &err);
    if (!st)
        st = uf_picture_save(p, path, &err);
    uf_picture_destroy(p);
    call_end(s);
    if (st)
        return raise_status(st, &err);
    Py_RETURN_NONE;
}

/* resize(image, width, height, out) */
static PyObject *py_resize(PyObject *self, PyObject *args)
{
    uf_image image;
    int width, height;
    unsigned long long out;
    uf_error err;
    if (!PyArg_ParseTuple(args, "O&iiK:resize", image_of, &image, &width, &height, &out))
        return NULL;
    call_state s = call_begin();
    uf_status st = uf_image_resize(&image, width, height, ADDRESS(out), &err);
    call_end(s);
    if (st)
        return raise_status(st, &err);
    Py_RETURN_NONE;
}

/* ---- faces ---- */

void face_to_row(float row[FACE_FLOATS], const uf_face *f)
{
    row[0] = f->x, row[1] = f->y, row[2] = f->width, row[3] = f->height, row[4] = f->score;
    row[5] = f->has_landmarks ? 1.0f : 0.0f;
    for (int i = 0; i < UF_LANDMARKS; i++) {
        row[6 + 2 * i] = f->has_landmarks ? f->landmarks[i].x : NAN;
        row[7 + 2 * i] = f->has_landmarks ? f->landmarks[i].y : NAN;
    }
}

uf_face face_of_row(const float row[FACE_FLOATS])
{
    uf_face f = {row[0], row[1], row[2], row[3], row[4], row[5] != 0.0f, {{0, 0}}};
    for (int i = 0; f.has_landmarks && i < UF_LANDMARKS; i++)
        f.landmarks[i] = (uf_point){row[6 + 2 * i], row[7 + 2 * i]};
    return f;
}

/* face_quality(image, face_row): the numbers of uf_quality in their order, and the reason. */
static PyObject *py_face_quality(PyObject *self, PyObject *args)
{
    uf_image image;
    unsigned long long row;
    uf_quality q;
    uf_error err;
    if (!PyArg_ParseTuple(args, "O&K:face_quality", image_of, &image, &row))
        return NULL;
    const uf_face face = face_of_row(ADDRESS(row));
    call_state s = call_begin();
    uf_status st = uf_face_quality(&image, &face, &q, &err);
    call_end(s);
    if (st)
        return raise_status(st, &err);
    return Py_BuildValue("(ddddddddddN)", (double)q.size, (double)q.sharpness, (double)q.exposure,
                         (double)q.pose, (double)q.border, (double)q.score, (double)q.total,
                         (double)q.yaw, (double)q.pitch, (double)q.roll, text_of(q.reason));
}

/* face_align(image, landmarks, template_points, size, out): addresses; template 0: ArcFace's. */
static PyObject *py_face_align(PyObject *self, PyObject *args)
{
    uf_image image;
    unsigned long long landmarks, points, out;
    int size;
    uf_error err;
    if (!PyArg_ParseTuple(args, "O&KKiK:face_align", image_of, &image, &landmarks, &points, &size,
                          &out))
        return NULL;
    call_state s = call_begin();
    uf_status st =
        uf_face_align(&image, ADDRESS(landmarks), ADDRESS(points), size, ADDRESS(out), &err);
    call_end(s);
    if (st)
        return raise_status(st, &err);
    Py_RETURN_NONE;
}

/* ---- detectors ---- */

/* detector_new(model, device, threads, size, score_threshold, nms_threshold) */
static PyObject *py_detector_new(PyObject *self, PyObject *args)
{
    PyObject *model;
    uf_detector_options o = UF_DETECTOR_OPTIONS_INIT;
    uf_error err;
    uf_detector *d = NULL;
    if (!PyArg_ParseTuple(args, "OsIiff:detector_new", &model, &o.engine.device, &o.engine.threads,
                          &o.size, &o.score_threshold, &o.nms_threshold))
        return NULL;
    handle *h = handle_enter(model, &model_kind);
    if (!h)
        return NULL;
    call_state s = call_begin();
    uf_status st = uf_detector_create(&d, h->object, &o, &err);
    call_end(s);
    handle_leave(h);
    return st ? raise_status(st, &err) : handle_new(&detector_kind, d, model);
}

enum { FIRST_FACES = 64 };

/* All faces of a picture in memory of malloc; a second run where the first had too little room. */
static uf_status find_faces(uf_detector *d, const uf_image *image, uf_face **faces, size_t *count,
                            uf_error *err)
{
    size_t room = FIRST_FACES;
    for (;;) {
        uf_face *more = realloc(*faces, room * sizeof **faces);
        if (!more)
            return UF_E_NOMEM;
        *faces = more;
        uf_status st = uf_detector_run(d, image, *faces, room, count, err);
        if (st || *count <= room)
            return st;
        room = *count;
    }
}

/* detect(detector, image): bytes, rows of FACE_FLOATS floats. */
static PyObject *py_detect(PyObject *self, PyObject *args)
{
    PyObject *capsule, *rows = NULL;
    uf_image image;
    uf_face *faces = NULL;
    size_t count = 0;
    uf_error err = {UF_OK, ""};
    if (!PyArg_ParseTuple(args, "OO&:detect", &capsule, image_of, &image))
        return NULL;
    handle *h = handle_enter(capsule, &detector_kind);
    if (!h)
        return NULL;
    call_state s = call_begin();
    uf_status st = find_faces(h->object, &image, &faces, &count, &err);
    call_end(s);
    handle_leave(h);
    float *at = !st ? malloc((count + 1) * FACE_FLOATS * sizeof *at) : NULL;
    for (size_t i = 0; at && i < count; i++)
        face_to_row(at + i * FACE_FLOATS, &faces[i]);
    if (st)
        raise_status(st, &err);
    else if (!at)
        PyErr_NoMemory();
    else
        rows = PyBytes_FromStringAndSize((const char *)at,
                                         (Py_ssize_t)(count * FACE_FLOATS * sizeof *at));
    free(at);
    free(faces);
    return rows;
}

/* ---- embedders ---- */

/* embedder_new(model, device, threads, batch, flip) */
static PyObject *py_embedder_new(PyObject *self, PyObject *args)
{
    PyObject *model;
    uf_embedder_options o = UF_EMBEDDER_OPTIONS_INIT;
    int flip;
    uf_error err;
    uf_embedder *e = NULL;
    if (!PyArg_ParseTuple(args, "OsIip:embedder_new", &model, &o.engine.device, &o.engine.threads,
                          &o.batch, &flip))
        return NULL;
    o.flip = flip;
    handle *h = handle_enter(model, &model_kind);
    if (!h)
        return NULL;
    call_state s = call_begin();
    uf_status st = uf_embedder_create(&e, h->object, &o, &err);
    call_end(s);
    handle_leave(h);
    return st ? raise_status(st, &err) : handle_new(&embedder_kind, e, model);
}

/* embedder_facts(embedder): (dimension, crop_size) */
static PyObject *py_embedder_facts(PyObject *self, PyObject *capsule)
{
    handle *h = handle_enter(capsule, &embedder_kind);
    if (!h)
        return NULL;
    PyObject *facts = Py_BuildValue("(ni)", (Py_ssize_t)uf_embedder_dimension(h->object),
                                    (int)uf_embedder_crop_size(h->object));
    handle_leave(h);
    return facts;
}

/* A batch of pictures of one size, dense, [count][height][width][channels]. */
typedef struct batch {
    const void *data;
    size_t count, height, width, channels;
    int is_float; /* 0..1 instead of bytes */
} batch;

/* Floats of 0..1 to bytes; false when one lies outside (a little for rounding apart) or is no
 * number. The worst is looked for without branches, so that the loop is vectorised. */
static bool to_bytes(uint8_t *out, const float *in, size_t count)
{
    float worst = 0.0f;
    for (size_t i = 0; i < count; i++) {
        const float x = in[i], away = fabsf(x - 0.5f);
        worst = away > worst || away != away ? away : worst;
        const float clipped = x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f;
        out[i] = (uint8_t)(int)(clipped * 255.0f + 0.5f);
    }
    return worst <= 0.5f + 1e-3f;
}

static uf_status fit(uint8_t *crop, int32_t size, const batch *b, const uint8_t *pixels,
                     uf_error *err)
{
    const uf_image image = {.format = b->channels == 1   ? UF_PIXEL_GRAY8
                                      : b->channels == 4 ? UF_PIXEL_RGBA8
                                                         : UF_PIXEL_RGB8,
                            .width = (int32_t)b->width,
                            .height = (int32_t)b->height,
                            .planes = {pixels}};
    return uf_image_resize(&image, size, size, crop, err);
}

enum { CHUNK = 64 }; /* crops made at a time: memory does not grow with the batch */

static uf_status embed_chunk(uf_embedder *e, const batch *b, size_t first, size_t n, uint8_t *bytes,
                             uint8_t *crops, float *out, uf_error *err)
{
    const size_t side = (size_t)uf_embedder_crop_size(e), each = b->height * b->width * b->channels;
    const bool fits = b->height == side && b->width == side && b->channels == 3;
    uf_status st = UF_OK;
    for (size_t i = 0; !st && i < n; i++) {
        const uint8_t *pixels = (const uint8_t *)b->data + (first + i) * each;
        uint8_t *crop = crops + i * side * side * 3;
        if (b->is_float) {
            uint8_t *to = fits ? crop : bytes;
            if (!to_bytes(to, (const float *)b->data + (first + i) * each, each)) {
                PyOS_snprintf(err->message, sizeof err->message,
                              "picture %zu of the batch has values outside 0..1 or NaN", first + i);
                return UF_E_ARG;
            }
            pixels = to;
        }
        if (!fits)
            st = fit(crop, (int32_t)side, b, pixels, err);
    }
    return st ? st : uf_embedder_run_crops(e, crops, n, out, err);
}

static uf_status embed(uf_embedder *e, const batch *b, float *out, uf_error *err)
{
    const size_t side = (size_t)uf_embedder_crop_size(e), dimension = uf_embedder_dimension(e);
    if (!b->is_float && b->height == side && b->width == side && b->channels == 3)
        return uf_embedder_run_crops(e, b->data, b->count, out, err);
    uint8_t *bytes = malloc(b->height * b->width * b->channels + 1);
    uint8_t *crops = malloc((b->count < CHUNK ? b->count : CHUNK) * side * side * 3 + 1);
    uf_status st = bytes && crops ? UF_OK : UF_E_NOMEM;
    for (size_t i = 0; !st && i < b->count; i += CHUNK) {
        const size_t n = b->count - i < CHUNK ? b->count - i : CHUNK;
        st = embed_chunk(e, b, i, n, bytes, crops, out + i * dimension, err);
    }
    free(crops);
    free(bytes);
    return st;
}

/* embed_pixels(embedder, data, count, height, width, channels, is_float, out) */
static PyObject *py_embed_pixels(PyObject *self, PyObject *args)
{
    PyObject *capsule;
    unsigned long long data, out;
    Py_ssize_t count, height, width, channels;
    batch b = {0};
    uf_error err = {UF_OK, ""};
    if (!PyArg_ParseTuple(args, "OKnnnnpK:embed_pixels", &capsule, &data, &count, &height, &width,
                          &channels, &b.is_float, &out))
        return NULL;
    b.data = ADDRESS(data);
    b.count = (size_t)count, b.height = (size_t)height, b.width = (size_t)width;
    b.channels = (size_t)channels;
    handle *h = handle_enter_turn(capsule, &embedder_kind);
    if (!h)
        return NULL;
    call_state s = call_begin();
    uf_status st = embed(h->object, &b, ADDRESS(out), &err);
    call_end(s);
    handle_leave_turn(h);
    if (st)
        return raise_status(st, &err);
    Py_RETURN_NONE;
}

/* What NumPy shows of an array as `__array_struct__` (NumPy's array interface, version 3). Cheaper
 * than asking for its address by way of ctypes, which counts when the caches are full of weights.
 */
typedef struct array_interface {
    int two, nd;
    char typekind;
    int itemsize, flags;
    intptr_t *shape, *strides;
    void *data;
} array_interface;

enum { ARRAY_IS_C_CONTIGUOUS = 0x1, ARRAY_IS_ALIGNED = 0x100, ARRAY_IS_NATIVE = 0x200 };

/* Of a capsule that the caller lets go of; NULL with an exception when `array` has none. */
static const array_interface *interface_of(PyObject *array, PyObject **capsule)
{
    static PyObject *name;
    if (!name)
        name = PyUnicode_InternFromString("__array_struct__");
    *capsule = name ? PyObject_GetAttr(array, name) : NULL;
    const array_interface *a = *capsule ? PyCapsule_GetPointer(*capsule, NULL) : NULL;
    if (!a)
        Py_CLEAR(*capsule);
    return a;
}

/* Whether it is a batch that needs no conversion by Python: dense RGB of bytes or floats. */
static bool read_ready(batch *b, const array_interface *a)
{
    const int wanted = ARRAY_IS_C_CONTIGUOUS | ARRAY_IS_ALIGNED | ARRAY_IS_NATIVE;
    const bool is_float = a->typekind == 'f' && a->itemsize == 4;
    if (a->two != 2 || a->nd != 4 || (a->flags & wanted) != wanted ||
        (!is_float && (a->typekind != 'u' || a->itemsize != 1)))
        return false;
    *b = (batch){a->data, (size_t)a->shape[0], (size_t)a->shape[1], (size_t)a->shape[2], 3,
                 is_float};
    return a->shape[3] == 3 && a->shape[0] > 0 && a->shape[1] > 0 && a->shape[2] > 0 &&
           a->shape[1] <= UF_IMAGE_MAX_SIDE && a->shape[2] <= UF_IMAGE_MAX_SIDE;
}

/* embed_ready(embedder, batch, out): arrays; False when the batch must be converted first, or the
 * embedder be made anew after a fork. `out` is float32 (N, dimension) and dense. */
static PyObject *py_embed_ready(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    PyObject *batch_capsule, *out_capsule = NULL;
    batch b;
    uf_error err = {UF_OK, ""};
    if (count != 3)
        return PyErr_Format(PyExc_TypeError, "embed_ready takes 3 arguments, not %zd", count);
    const array_interface *in = interface_of(args[1], &batch_capsule);
    const array_interface *out = in ? interface_of(args[2], &out_capsule) : NULL;
    const bool ready =
        out && read_ready(&b, in) && handle_is_of_this_process(args[0], &embedder_kind);
    handle *h = ready ? handle_enter_turn(args[0], &embedder_kind) : NULL;
    uf_status st = UF_OK;
    if (h) {
        call_state s = call_begin();
        st = embed(h->object, &b, out->data, &err);
        call_end(s);
        handle_leave_turn(h);
    }
    Py_XDECREF(batch_capsule);
    Py_XDECREF(out_capsule);
    if (st)
        return raise_status(st, &err);
    return PyErr_Occurred() ? NULL : PyBool_FromLong(ready);
}

/* embed_faces(embedder, image, rows, count, out) */
static PyObject *py_embed_faces(PyObject *self, PyObject *args)
{
    PyObject *capsule;
    uf_image image;
    unsigned long long rows, out;
    Py_ssize_t count;
    uf_error err = {UF_OK, ""};
    uf_status st = UF_OK;
    if (!PyArg_ParseTuple(args, "OO&KnK:embed_faces", &capsule, image_of, &image, &rows, &count,
                          &out))
        return NULL;
    handle *h = handle_enter_turn(capsule, &embedder_kind);
    if (!h)
        return NULL;
    call_state s = call_begin();
    const size_t dimension = uf_embedder_dimension(h->object);
    for (size_t i = 0; !st && i < (size_t)count; i++) {
        const uf_face face = face_of_row((const float *)ADDRESS(rows) + i * FACE_FLOATS);
        st = uf_embedder_run(h->object, &image, &face, (float *)ADDRESS(out) + i * dimension, &err);
    }
    call_end(s);
    handle_leave_turn(h);
    if (st)
        return raise_status(st, &err);
    Py_RETURN_NONE;
}

PyMethodDef face_methods[] = {
    {"picture_load", py_picture_load, METH_VARARGS, "picture_load(path, min_side, max_pixels)"},
    {"picture_decode", py_picture_decode, METH_VARARGS, "picture_decode(data, min_side, max)"},
    {"picture_save", py_picture_save, METH_VARARGS, "picture_save(image, path)"},
    {"resize", py_resize, METH_VARARGS, "resize(image, width, height, out)"},
    {"face_quality", py_face_quality, METH_VARARGS, "face_quality(image, row)"},
    {"face_align", py_face_align, METH_VARARGS, "face_align(image, points, template, size, out)"},
    {"detector_new", py_detector_new, METH_VARARGS,
     "detector_new(model, device, threads, size, score_threshold, nms_threshold)"},
    {"detect", py_detect, METH_VARARGS, "detect(detector, image): rows of floats"},
    {"embedder_new", py_embedder_new, METH_VARARGS,
     "embedder_new(model, device, threads, batch, flip)"},
    {"embedder_facts", py_embedder_facts, METH_O, "embedder_facts(embedder): (dimension, size)"},
    {"embed_pixels", py_embed_pixels, METH_VARARGS,
     "embed_pixels(embedder, data, count, height, width, channels, is_float, out)"},
    {"embed_ready", (PyCFunction)(void (*)(void))py_embed_ready, METH_FASTCALL,
     "embed_ready(embedder, batch, out)"},
    {"embed_faces", py_embed_faces, METH_VARARGS, "embed_faces(embedder, image, rows, count, out)"},
    {NULL, NULL, 0, NULL},
};
