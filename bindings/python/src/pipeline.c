/* uniface._native: pipelines. */
#include <stdlib.h>
#include <string.h>

#include "native.h"

static void destroy_pipeline(void *p)
{
    uf_pipeline_destroy(p);
}

const handle_kind pipeline_kind = {"uniface.pipeline", destroy_pipeline, true};

/* The models of a pipeline (None: NULL), entered. */
static bool enter_model(handle **h, PyObject *model)
{
    *h = model == Py_None ? NULL : handle_enter(model, &model_kind);
    return *h || model == Py_None;
}

static void leave_model(handle *h)
{
    if (h)
        handle_leave(h);
}

static PyObject *make_pipeline(PyObject *detector, PyObject *embedder, const uf_pipeline_options *o)
{
    handle *d, *e;
    uf_error err;
    uf_pipeline *p = NULL;
    if (!enter_model(&d, detector))
        return NULL;
    if (!enter_model(&e, embedder)) {
        leave_model(d);
        return NULL;
    }
    call_state s = call_begin();
    uf_status st = uf_pipeline_create(&p, d ? d->object : NULL, e ? e->object : NULL, o, &err);
    call_end(s);
    leave_model(d);
    leave_model(e);
    if (st)
        return raise_status(st, &err);
    PyObject *owners = PyTuple_Pack(2, detector, embedder);
    PyObject *capsule = owners ? handle_new(&pipeline_kind, p, owners) : NULL;
    if (!owners)
        uf_pipeline_destroy(p);
    Py_XDECREF(owners);
    return capsule;
}

/* pipeline_new(detector, embedder, device, threads, size, score, nms, decoders, batch, ring,
 * max_faces, flip, max_bytes, min_side, max_pixels) */
static PyObject *py_pipeline_new(PyObject *self, PyObject *args)
{
    PyObject *detector, *embedder;
    unsigned long long max_bytes, max_pixels;
    int flip;
    uf_pipeline_options o = UF_PIPELINE_OPTIONS_INIT;
    uf_detector_options *d = &o.detector;
    if (!PyArg_ParseTuple(args, "OOsIiffIIIIpKiK:pipeline_new", &detector, &embedder,
                          &d->engine.device, &d->engine.threads, &d->size, &d->score_threshold,
                          &d->nms_threshold, &o.decoders, &o.batch, &o.ring, &o.max_faces, &flip,
                          &max_bytes, &o.decode.min_side, &max_pixels))
        return NULL;
    o.flip = flip;
    o.max_bytes = max_bytes;
    o.decode.max_pixels = max_pixels;
    return make_pipeline(detector, embedder, &o);
}

/* pipeline_facts(pipeline): (room, pending, dimension) */
static PyObject *py_pipeline_facts(PyObject *self, PyObject *capsule)
{
    handle *h = handle_enter(capsule, &pipeline_kind);
    if (!h)
        return NULL;
    PyObject *facts = Py_BuildValue("(nnn)", (Py_ssize_t)uf_pipeline_room(h->object),
                                    (Py_ssize_t)uf_pipeline_pending(h->object),
                                    (Py_ssize_t)uf_pipeline_dimension(h->object));
    handle_leave(h);
    return facts;
}

/* pipeline_put(pipeline, data, is_path): bytes, of a path or of a file. */
static PyObject *py_pipeline_put(PyObject *self, PyObject *args)
{
    PyObject *capsule;
    const char *data;
    Py_ssize_t size;
    int is_path;
    uf_error err;
    if (!PyArg_ParseTuple(args, "Oy#p:pipeline_put", &capsule, &data, &size, &is_path))
        return NULL;
    handle *h = handle_enter(capsule, &pipeline_kind);
    if (!h)
        return NULL;
    call_state s = call_begin();
    uf_status st = is_path ? uf_pipeline_put(h->object, data, &err)
                           : uf_pipeline_put_bytes(h->object, data, (size_t)size, &err);
    call_end(s);
    handle_leave(h);
    if (st)
        return raise_status(st, &err);
    Py_RETURN_NONE;
}

/* Rows of FACE_FLOATS floats, or None without a detector. */
static PyObject *face_rows(const uf_pipeline_item *item)
{
    if (!item->faces)
        Py_RETURN_NONE;
    float *rows = malloc((item->face_count + 1) * FACE_FLOATS * sizeof *rows);
    if (!rows)
        return PyErr_NoMemory();
    for (size_t i = 0; i < item->face_count; i++)
        face_to_row(rows + i * FACE_FLOATS, &item->faces[i]);
    PyObject *bytes = PyBytes_FromStringAndSize(
        (const char *)rows, (Py_ssize_t)(item->face_count * FACE_FLOATS * sizeof *rows));
    free(rows);
    return bytes;
}

/* {number of the face: (status, message)} of those that have no template. */
static PyObject *faults_of(const uf_pipeline_item *item)
{
    PyObject *faults = PyDict_New();
    for (size_t i = 0; faults && item->faults && i < item->face_count; i++) {
        const uf_face_fault *f = &item->faults[i];
        if (!f->status)
            continue;
        PyObject *key = PyLong_FromSize_t(i);
        PyObject *fault = Py_BuildValue("(iN)", (int)f->status, text_of(f->message));
        if (!key || !fault || PyDict_SetItem(faults, key, fault))
            Py_CLEAR(faults);
        Py_XDECREF(key);
        Py_XDECREF(fault);
    }
    return faults;
}

/* pipeline_next(pipeline): (status, message, width, height, face rows or None, templates or None,
 * faults) */
static PyObject *py_pipeline_next(PyObject *self, PyObject *capsule)
{
    uf_pipeline_item item;
    uf_error err;
    handle *h = handle_enter(capsule, &pipeline_kind);
    if (!h)
        return NULL;
    call_state s = call_begin();
    uf_status st = uf_pipeline_next(h->object, &item, &err);
    call_end(s);
    PyObject *answer = NULL;
    if (st) {
        raise_status(st, &err);
    } else {
        const size_t floats = item.face_count * uf_pipeline_dimension(h->object);
        answer =
            Py_BuildValue("(iNiiNy#N)", (int)item.status, text_of(item.message), (int)item.width,
                          (int)item.height, face_rows(&item), (const char *)item.templates,
                          (Py_ssize_t)(floats * sizeof(float)), faults_of(&item));
    }
    handle_leave(h);
    return answer;
}

PyMethodDef pipeline_methods[] = {
    {"pipeline_new", py_pipeline_new, METH_VARARGS, "pipeline_new(detector, embedder, ...)"},
    {"pipeline_facts", py_pipeline_facts, METH_O, "pipeline_facts(pipeline)"},
    {"pipeline_put", py_pipeline_put, METH_VARARGS, "pipeline_put(pipeline, data, is_path)"},
    {"pipeline_next", py_pipeline_next, METH_O, "pipeline_next(pipeline)"},
    {NULL, NULL, 0, NULL},
};
