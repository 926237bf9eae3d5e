/* uniface._native: calibration, quantisation, pruning. */
#include "native.h"

static void destroy_calibration(void *c)
{
    uf_calibration_destroy(c);
}

const handle_kind calibration_kind = {"uniface.calibration", destroy_calibration, false};

/* calibration_new(model, device, threads): (calibration, width, height) */
static PyObject *py_calibration_new(PyObject *self, PyObject *args)
{
    PyObject *model;
    uf_engine_options o = UF_ENGINE_OPTIONS_INIT;
    uf_error err;
    uf_calibration *c = NULL;
    int32_t width = 0, height = 0;
    if (!PyArg_ParseTuple(args, "OsI:calibration_new", &model, &o.device, &o.threads))
        return NULL;
    handle *h = handle_enter(model, &model_kind);
    if (!h)
        return NULL;
    call_state s = call_begin();
    uf_status st = uf_calibration_create(&c, h->object, &o, &err);
    if (!st)
        uf_calibration_input_size(c, &width, &height);
    call_end(s);
    handle_leave(h);
    if (st)
        return raise_status(st, &err);
    PyObject *capsule = handle_new(&calibration_kind, c, model);
    return capsule ? Py_BuildValue("(Nii)", capsule, (int)width, (int)height) : NULL;
}

/* calibration_add(calibration, image, face_row): address of the row, 0: the whole picture. */
static PyObject *py_calibration_add(PyObject *self, PyObject *args)
{
    PyObject *capsule;
    uf_image image;
    unsigned long long row;
    uf_error err;
    if (!PyArg_ParseTuple(args, "OO&K:calibration_add", &capsule, image_of, &image, &row))
        return NULL;
    const uf_face face = row ? face_of_row(ADDRESS(row)) : (uf_face){0};
    handle *h = handle_enter(capsule, &calibration_kind);
    if (!h)
        return NULL;
    call_state s = call_begin();
    uf_status st = uf_calibration_add_image(h->object, &image, row ? &face : NULL, &err);
    call_end(s);
    handle_leave(h);
    if (st)
        return raise_status(st, &err);
    Py_RETURN_NONE;
}

/* The models and the calibration (None: NULL) of a call that makes a model. */
typedef struct making {
    handle *model, *calibration;
} making;

static bool begin_making(making *m, PyObject *model, PyObject *calibration)
{
    m->calibration = NULL;
    m->model = handle_enter(model, &model_kind);
    if (m->model && calibration != Py_None) {
        m->calibration = handle_enter(calibration, &calibration_kind);
        if (!m->calibration) {
            handle_leave(m->model);
            return false;
        }
    }
    return m->model != NULL;
}

static PyObject *end_making(making *m, uf_status st, uf_model *made, const uf_error *err)
{
    handle_leave(m->model);
    if (m->calibration)
        handle_leave(m->calibration);
    return st ? raise_status(st, err) : handle_new(&model_kind, made, NULL);
}

/* quantize(model, calibration, precision, range, min_agreement, progress) */
static PyObject *py_quantize(PyObject *self, PyObject *args)
{
    PyObject *model, *calibration;
    int precision, range;
    uf_quantize_options o = UF_QUANTIZE_OPTIONS_INIT;
    progress_call progress = {NULL};
    making m;
    uf_model *made = NULL;
    uf_error err;
    if (!PyArg_ParseTuple(args, "OOiifO:quantize", &model, &calibration, &precision, &range,
                          &o.min_agreement, &progress.fn) ||
        !begin_making(&m, model, calibration))
        return NULL;
    o.precision = (uf_precision)precision;
    o.range = (uf_range_method)range;
    o.progress = report_progress;
    o.progress_arg = &progress;
    call_state s = call_begin();
    uf_status st =
        uf_quantize(&made, m.model->object, m.calibration ? m.calibration->object : NULL, &o, &err);
    call_end(s);
    return end_making(&m, st, made, &err);
}

/* prune(model, calibration, keep, sparsity, min_agreement, progress) */
static PyObject *py_prune(PyObject *self, PyObject *args)
{
    PyObject *model, *calibration;
    uf_prune_options o = UF_PRUNE_OPTIONS_INIT;
    progress_call progress = {NULL};
    making m;
    uf_model *made = NULL;
    uf_error err;
    if (!PyArg_ParseTuple(args, "OOfffO:prune", &model, &calibration, &o.keep, &o.sparsity,
                          &o.min_agreement, &progress.fn) ||
        !begin_making(&m, model, calibration))
        return NULL;
    o.progress = report_progress;
    o.progress_arg = &progress;
    call_state s = call_begin();
    uf_status st =
        uf_prune(&made, m.model->object, m.calibration ? m.calibration->object : NULL, &o, &err);
    call_end(s);
    return end_making(&m, st, made, &err);
}

PyMethodDef optimize_methods[] = {
    {"calibration_new", py_calibration_new, METH_VARARGS,
     "calibration_new(model, device, threads)"},
    {"calibration_add", py_calibration_add, METH_VARARGS,
     "calibration_add(calibration, image, row)"},
    {"quantize", py_quantize, METH_VARARGS,
     "quantize(model, calibration, precision, range, min_agreement, progress)"},
    {"prune", py_prune, METH_VARARGS,
     "prune(model, calibration, keep, sparsity, min_agreement, progress)"},
    {NULL, NULL, 0, NULL},
};
