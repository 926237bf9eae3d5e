/* uniface._native: models, engines, devices. */
#include <stdlib.h>
#include <string.h>

#include "native.h"

static void close_model(void *m)
{
    uf_model_close(m);
}

static void close_engine(void *e)
{
    uf_engine_destroy(e);
}

const handle_kind model_kind = {"uniface.model", close_model, false};
const handle_kind engine_kind = {"uniface.engine", close_engine, false};

/* ---- models ---- */

static PyObject *model_result(uf_status st, uf_model *m, const uf_error *err)
{
    return st ? raise_status(st, err) : handle_new(&model_kind, m, NULL);
}

static uf_status open_trusted(uf_model **m, const char *path, const char *keys,
                              const char *releases, uf_error *err)
{
    uf_trust *trust = NULL;
    uf_status st = uf_trust_create(&trust, releases, err);
    if (!st)
        st = uf_trust_add(trust, keys, err);
    if (!st)
        st = uf_model_open_trusted(m, path, trust, 0, err);
    uf_trust_destroy(trust);
    return st;
}

/* model_open(path, keys, releases): keys empty: any model; else one that is signed by these. */
static PyObject *py_model_open(PyObject *self, PyObject *args)
{
    const char *path, *keys, *releases;
    uf_error err;
    uf_model *m = NULL;
    if (!PyArg_ParseTuple(args, "yyy:model_open", &path, &keys, &releases))
        return NULL;
    call_state s = call_begin();
    uf_status st =
        *keys ? open_trusted(&m, path, keys, releases, &err) : uf_model_open(&m, path, &err);
    call_end(s);
    return model_result(st, m, &err);
}

/* model_import(path, preset, licence): preset None: as the file says, or recognised. */
static PyObject *py_model_import(PyObject *self, PyObject *args)
{
    const char *path;
    uf_import_options o = UF_IMPORT_OPTIONS_INIT;
    uf_error err;
    uf_model *m = NULL;
    if (!PyArg_ParseTuple(args, "yzz:model_import", &path, &o.preset, &o.licence))
        return NULL;
    call_state s = call_begin();
    uf_status st = uf_model_import(&m, path, &o, &err);
    call_end(s);
    return model_result(st, m, &err);
}

static PyObject *py_model_from_bytes(PyObject *self, PyObject *args)
{
    const char *data;
    Py_ssize_t size;
    uf_error err;
    uf_model *m = NULL;
    if (!PyArg_ParseTuple(args, "y#:model_from_bytes", &data, &size))
        return NULL;
    call_state s = call_begin();
    uf_status st = uf_model_open_memory(&m, data, (size_t)size, &err);
    call_end(s);
    return model_result(st, m, &err);
}

static PyObject *py_model_save(PyObject *self, PyObject *args)
{
    PyObject *capsule;
    const char *path;
    uf_error err;
    if (!PyArg_ParseTuple(args, "Oy:model_save", &capsule, &path))
        return NULL;
    handle *h = handle_enter(capsule, &model_kind);
    if (!h)
        return NULL;
    call_state s = call_begin();
    uf_status st = uf_model_save(h->object, path, &err);
    call_end(s);
    handle_leave(h);
    if (st)
        return raise_status(st, &err);
    Py_RETURN_NONE;
}

static int set_text(PyObject *dict, const char *key, const char *value)
{
    PyObject *text = text_of(value);
    const int failed = !text || PyDict_SetItemString(dict, key, text) != 0;
    Py_XDECREF(text);
    return failed;
}

static PyObject *py_model_meta(PyObject *self, PyObject *capsule)
{
    handle *h = handle_enter(capsule, &model_kind);
    PyObject *dict = h ? PyDict_New() : NULL;
    for (size_t i = 0; dict && i < uf_model_meta_count(h->object); i++) {
        const char *key = uf_model_meta_key(h->object, i);
        if (set_text(dict, key, uf_model_meta(h->object, key)))
            Py_CLEAR(dict);
    }
    if (h)
        handle_leave(h);
    return dict;
}

static PyObject *shape_of(const uf_tensor_info *t)
{
    PyObject *shape = PyTuple_New((Py_ssize_t)t->rank);
    for (uint32_t d = 0; shape && d < t->rank; d++) {
        PyObject *n = PyLong_FromLongLong(t->dims[d]);
        if (!n || PyTuple_SetItem(shape, (Py_ssize_t)d, n) != 0)
            Py_CLEAR(shape);
    }
    return shape;
}

static int append(PyObject *list, PyObject *item)
{
    const int failed = !item || PyList_Append(list, item) != 0;
    Py_XDECREF(item);
    return failed;
}

/* model_tensors(model, outputs): [(name, dtype, shape)], -1 in a shape: any number. */
static PyObject *py_model_tensors(PyObject *self, PyObject *args)
{
    PyObject *capsule;
    int outputs;
    if (!PyArg_ParseTuple(args, "Op:model_tensors", &capsule, &outputs))
        return NULL;
    handle *h = handle_enter(capsule, &model_kind);
    PyObject *list = h ? PyList_New(0) : NULL;
    const size_t count = !h        ? 0
                         : outputs ? uf_model_output_count(h->object)
                                   : uf_model_input_count(h->object);
    for (size_t i = 0; list && i < count; i++) {
        uf_tensor_info t;
        uf_error err;
        uf_status st = outputs ? uf_model_output(h->object, i, &t, &err)
                               : uf_model_input(h->object, i, &t, &err);
        if (st)
            raise_status(st, &err);
        if (st || append(list, Py_BuildValue("(NiN)", text_of(t.name), (int)t.dtype, shape_of(&t))))
            Py_CLEAR(list);
    }
    if (h)
        handle_leave(h);
    return list;
}

/* model_facts(model): (id, nodes, parameters) */
static PyObject *py_model_facts(PyObject *self, PyObject *capsule)
{
    handle *h = handle_enter(capsule, &model_kind);
    if (!h)
        return NULL;
    PyObject *facts =
        Py_BuildValue("(snK)", uf_model_id(h->object), (Py_ssize_t)uf_model_node_count(h->object),
                      (unsigned long long)uf_model_parameter_count(h->object));
    handle_leave(h);
    return facts;
}

static PyObject *py_model_threshold(PyObject *self, PyObject *args)
{
    PyObject *capsule;
    double far;
    uf_threshold t;
    uf_error err;
    if (!PyArg_ParseTuple(args, "Od:model_threshold", &capsule, &far))
        return NULL;
    handle *h = handle_enter(capsule, &model_kind);
    if (!h)
        return NULL;
    uf_status st = uf_model_threshold(h->object, (float)far, &t, &err);
    handle_leave(h);
    if (st)
        return raise_status(st, &err);
    return Py_BuildValue("(dddddKK)", (double)t.far, (double)t.threshold, (double)t.far_low,
                         (double)t.far_high, (double)t.tar, (unsigned long long)t.impostor_trials,
                         (unsigned long long)t.genuine_trials);
}

/* model_calibrate(model, genuine, count, impostor, count): number of thresholds stored. */
static PyObject *py_model_calibrate(PyObject *self, PyObject *args)
{
    PyObject *capsule;
    unsigned long long genuine, impostor;
    Py_ssize_t genuines, impostors;
    size_t count = 0;
    uf_error err;
    if (!PyArg_ParseTuple(args, "OKnKn:model_calibrate", &capsule, &genuine, &genuines, &impostor,
                          &impostors))
        return NULL;
    handle *h = handle_enter(capsule, &model_kind);
    if (!h)
        return NULL;
    /* The GIL is kept: metadata may not change while another thread reads it. */
    uf_status st = uf_model_calibrate(h->object, ADDRESS(genuine), (size_t)genuines,
                                      ADDRESS(impostor), (size_t)impostors, NULL, 0, &count, &err);
    handle_leave(h);
    return st ? raise_status(st, &err) : PyLong_FromSize_t(count);
}

/* ---- engines ---- */

static PyObject *py_engine_new(PyObject *self, PyObject *args)
{
    PyObject *model;
    uf_engine_options o = UF_ENGINE_OPTIONS_INIT;
    uf_error err;
    uf_engine *e = NULL;
    if (!PyArg_ParseTuple(args, "OsI:engine_new", &model, &o.device, &o.threads))
        return NULL;
    handle *h = handle_enter(model, &model_kind);
    if (!h)
        return NULL;
    call_state s = call_begin();
    uf_status st = uf_engine_create(&e, h->object, &o, &err);
    call_end(s);
    handle_leave(h);
    return st ? raise_status(st, &err) : handle_new(&engine_kind, e, model);
}

static PyObject *py_engine_facts(PyObject *self, PyObject *capsule)
{
    handle *h = handle_enter(capsule, &engine_kind);
    if (!h)
        return NULL;
    PyObject *facts =
        Py_BuildValue("(sI)", uf_engine_device(h->object), (unsigned)uf_engine_threads(h->object));
    handle_leave(h);
    return facts;
}

/* A shape of Python, filled into `t`; 0, or -1 with an exception. */
static int read_shape(uf_tensor_info *t, PyObject *shape)
{
    const Py_ssize_t rank = PyTuple_Size(shape);
    if (rank < 0)
        return -1;
    if (rank > UF_MAX_DIMS) {
        PyErr_Format(PyExc_ValueError, "a shape has at most %d dimensions", UF_MAX_DIMS);
        return -1;
    }
    *t = (uf_tensor_info){.rank = (uint32_t)rank};
    for (Py_ssize_t d = 0; d < rank; d++)
        t->dims[d] = PyLong_AsLongLong(PyTuple_GetItem(shape, d));
    return PyErr_Occurred() ? -1 : 0;
}

enum { MAX_INPUTS = 16 };
typedef struct engine_inputs {
    uf_tensor_info shapes[MAX_INPUTS];
    const void *data[MAX_INPUTS];
    size_t size_bytes[MAX_INPUTS], count;
} engine_inputs;

/* inputs: a tuple of (address, size_bytes, shape). */
static int read_inputs(engine_inputs *in, PyObject *inputs)
{
    const Py_ssize_t count = PyTuple_Size(inputs);
    if (count < 0)
        return -1;
    if (count > MAX_INPUTS) {
        PyErr_Format(PyExc_ValueError, "at most %d inputs", MAX_INPUTS);
        return -1;
    }
    in->count = (size_t)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        unsigned long long address;
        Py_ssize_t size;
        PyObject *shape;
        if (!PyArg_ParseTuple(PyTuple_GetItem(inputs, i), "KnO", &address, &size, &shape) ||
            read_shape(&in->shapes[i], shape))
            return -1;
        in->data[i] = ADDRESS(address);
        in->size_bytes[i] = (size_t)size;
    }
    return 0;
}

static uf_status run_engine(uf_engine *e, const engine_inputs *in, uf_error *err)
{
    uf_status st = uf_engine_prepare(e, in->shapes, in->count, err);
    for (size_t i = 0; !st && i < in->count; i++) {
        size_t room;
        void *to = uf_engine_input(e, i, &room);
        if (!to || room != in->size_bytes[i]) {
            PyOS_snprintf(err->message, sizeof err->message,
                          "input %zu wants %zu bytes, there are %zu: its type is another", i, room,
                          in->size_bytes[i]);
            return UF_E_ARG;
        }
        memcpy(to, in->data[i], room);
    }
    return st ? st : uf_engine_run(e, err);
}

static size_t element_bytes(uf_dtype t)
{
    static const uint8_t bytes[] = {0, 4, 2, 2, 8, 1, 1, 2, 2, 4, 4, 8, 8, 1};
    return (size_t)t < sizeof bytes ? bytes[t] : 0;
}

/* [(dtype, shape, bytes)] */
static PyObject *engine_outputs(const uf_engine *e)
{
    PyObject *list = PyList_New(0);
    uf_tensor_info t;
    const void *data;
    for (size_t i = 0; list && (data = uf_engine_output(e, i, &t)) != NULL; i++) {
        size_t bytes = element_bytes(t.dtype);
        for (uint32_t d = 0; d < t.rank; d++)
            bytes *= (size_t)t.dims[d];
        if (append(list, Py_BuildValue("(iNy#)", (int)t.dtype, shape_of(&t), (const char *)data,
                                       (Py_ssize_t)bytes)))
            Py_CLEAR(list);
    }
    return list;
}

static PyObject *py_engine_run(PyObject *self, PyObject *args)
{
    PyObject *capsule, *inputs;
    engine_inputs in;
    uf_error err = {UF_OK, ""};
    if (!PyArg_ParseTuple(args, "OO:engine_run", &capsule, &inputs) || read_inputs(&in, inputs))
        return NULL;
    handle *h = handle_enter(capsule, &engine_kind);
    if (!h)
        return NULL;
    call_state s = call_begin();
    uf_status st = run_engine(h->object, &in, &err);
    call_end(s);
    PyObject *outputs = st ? raise_status(st, &err) : engine_outputs(h->object);
    handle_leave(h);
    return outputs;
}

/* engine_profile(engine, on): switches profiling; [(op, name, kernel, macs, time_us)] of the last
 * run. */
static PyObject *py_engine_profile(PyObject *self, PyObject *args)
{
    PyObject *capsule;
    int on;
    if (!PyArg_ParseTuple(args, "Op:engine_profile", &capsule, &on))
        return NULL;
    handle *h = handle_enter(capsule, &engine_kind);
    if (!h)
        return NULL;
    uf_engine_set_profiling(h->object, on);
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < uf_engine_step_count(h->object); i++) {
        uf_step_profile p;
        uf_error err;
        uf_status st = uf_engine_step(h->object, i, &p, &err);
        if (st)
            raise_status(st, &err);
        if (st || append(list, Py_BuildValue("(sNsLd)", p.op, text_of(p.name), p.kernel,
                                             (long long)p.macs, p.time_us)))
            Py_CLEAR(list);
    }
    handle_leave(h);
    return list;
}

/* devices(): [(name, description, cores)] */
static PyObject *py_devices(PyObject *self, PyObject *none)
{
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < uf_device_count(); i++) {
        uf_device d;
        uf_error err;
        uf_status st = uf_device_get(i, &d, &err);
        if (st)
            raise_status(st, &err);
        if (st || append(list, Py_BuildValue("(ssI)", d.name, d.description, (unsigned)d.cores)))
            Py_CLEAR(list);
    }
    return list;
}

/* ---- the model store ---- */

/* A path, or the exception of the status. */
static PyObject *path_result(uf_status st, const char *path, const uf_error *err)
{
    return st ? raise_status(st, err) : PyBytes_FromString(path);
}

static PyObject *py_store_folder(PyObject *self, PyObject *unused)
{
    char path[4096];
    uf_error err;
    const uf_status st = uf_store_folder(path, sizeof path, &err);
    return path_result(st, path, &err);
}

static PyObject *py_store_find(PyObject *self, PyObject *args)
{
    const char *name;
    char path[4096];
    uf_error err;
    if (!PyArg_ParseTuple(args, "y:store_find", &name))
        return NULL;
    const uf_status st = uf_store_find(path, sizeof path, name, &err);
    return path_result(st, path, &err);
}

PyMethodDef model_methods[] = {
    {"store_folder", py_store_folder, METH_NOARGS, "store_folder(): bytes"},
    {"store_find", py_store_find, METH_VARARGS, "store_find(name): bytes"},
    {"model_open", py_model_open, METH_VARARGS, "model_open(path, keys, releases)"},
    {"model_import", py_model_import, METH_VARARGS, "model_import(path, preset, licence)"},
    {"model_from_bytes", py_model_from_bytes, METH_VARARGS, "model_from_bytes(data)"},
    {"model_save", py_model_save, METH_VARARGS, "model_save(model, path)"},
    {"model_meta", py_model_meta, METH_O, "model_meta(model): dict"},
    {"model_tensors", py_model_tensors, METH_VARARGS, "model_tensors(model, outputs)"},
    {"model_facts", py_model_facts, METH_O, "model_facts(model): (id, nodes, parameters)"},
    {"model_threshold", py_model_threshold, METH_VARARGS, "model_threshold(model, far)"},
    {"model_calibrate", py_model_calibrate, METH_VARARGS, "model_calibrate(model, g, n, i, n)"},
    {"engine_new", py_engine_new, METH_VARARGS, "engine_new(model, device, threads)"},
    {"engine_facts", py_engine_facts, METH_O, "engine_facts(engine): (device, threads)"},
    {"engine_run", py_engine_run, METH_VARARGS, "engine_run(engine, inputs)"},
    {"engine_profile", py_engine_profile, METH_VARARGS, "engine_profile(engine, on)"},
    {"devices", py_devices, METH_NOARGS, "devices(): [(name, description, cores)]"},
    {NULL, NULL, 0, NULL},
};
