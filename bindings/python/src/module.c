/* uniface._native: handles, calls, exceptions, the module itself. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "native.h"

/* ---- fork ----
 *
 * A child has only the thread that forked: pools of threads are gone and locks that others held
 * stay locked. So a handle knows the process it was made in. Confined objects (engines, embedders)
 * are left alone in a child and made anew by the Python side. Models hold no threads, and their
 * lock is free unless a call was running while the process forked. */

static unsigned generation = 1;
static unsigned calls_running; /* with the GIL held */
static bool was_busy_at_fork;

static void after_fork_in_child(void)
{
    generation++;
    was_busy_at_fork = was_busy_at_fork || calls_running > 0;
    calls_running = 0;
}

/* ---- handles ---- */

static bool is_of_this_process(const handle *h)
{
    return h->generation == generation;
}

static void destroy_object(handle *h)
{
    void *object = h->object;
    h->object = NULL;
    /* What another process's threads were part of cannot be taken apart here. */
    if (!object || !is_of_this_process(h))
        return;
    call_state s = call_begin();
    h->kind->destroy(object);
    call_end(s);
}

static void handle_free(PyObject *capsule)
{
    handle *h = PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule));
    if (!h)
        return;
    destroy_object(h);
    Py_XDECREF(h->owner);
    pthread_mutex_destroy(&h->turn);
    free(h);
}

PyObject *handle_new(const handle_kind *kind, void *object, PyObject *owner)
{
    handle *h = calloc(1, sizeof *h);
    PyObject *capsule = h ? PyCapsule_New(h, kind->name, handle_free) : PyErr_NoMemory();
    if (!capsule) {
        free(h);
        kind->destroy(object);
        return NULL;
    }
    *h = (handle){.object = object, .kind = kind, .owner = owner, .generation = generation};
    pthread_mutex_init(&h->turn, NULL);
    Py_XINCREF(owner);
    return capsule;
}

handle *handle_enter(PyObject *capsule, const handle_kind *kind)
{
    handle *h = PyCapsule_GetPointer(capsule, kind->name);
    if (!h)
        return NULL;
    uf_error err = {UF_OK, ""};
    if (!h->object || h->closing)
        PyOS_snprintf(err.message, sizeof err.message, "the %s is closed", kind->name + 8);
    else if (!is_of_this_process(h) && (kind->may_not_fork || was_busy_at_fork))
        PyOS_snprintf(err.message, sizeof err.message,
                      "the %s was opened before this process was forked%s: open it in the child, "
                      "or start workers by \"spawn\"",
                      kind->name + 8, kind->may_not_fork ? "" : " in the middle of a call");
    if (err.message[0]) {
        raise_status(UF_E_STATE, &err);
        return NULL;
    }
    h->users++;
    return h;
}

void handle_leave(handle *h)
{
    if (--h->users == 0 && h->closing)
        destroy_object(h);
}

handle *handle_enter_turn(PyObject *capsule, const handle_kind *kind)
{
    handle *h = handle_enter(capsule, kind);
    if (h && pthread_mutex_trylock(&h->turn) != 0) {
        PyThreadState *s = PyEval_SaveThread();
        pthread_mutex_lock(&h->turn);
        PyEval_RestoreThread(s);
    }
    return h;
}

void handle_leave_turn(handle *h)
{
    pthread_mutex_unlock(&h->turn);
    handle_leave(h);
}

bool handle_is_of_this_process(PyObject *capsule, const handle_kind *kind)
{
    const handle *h = PyCapsule_GetPointer(capsule, kind->name);
    return h && is_of_this_process(h);
}

/* close(handle): now, or when the last call that uses it ends. */
static PyObject *py_close(PyObject *self, PyObject *capsule)
{
    const char *name = PyCapsule_GetName(capsule);
    handle *h = name ? PyCapsule_GetPointer(capsule, name) : NULL;
    if (!h)
        return NULL;
    h->closing = true;
    if (h->users == 0)
        destroy_object(h);
    Py_RETURN_NONE;
}

/* is_stale(handle): made in another process, which this one was forked from. */
static PyObject *py_is_stale(PyObject *self, PyObject *capsule)
{
    const char *name = PyCapsule_GetName(capsule);
    const handle *h = name ? PyCapsule_GetPointer(capsule, name) : NULL;
    return h ? PyBool_FromLong(!is_of_this_process(h)) : NULL;
}

/* ---- calls ---- */

call_state call_begin(void)
{
    calls_running++;
    return PyEval_SaveThread();
}

void call_end(call_state s)
{
    PyEval_RestoreThread(s);
    calls_running--;
}

PyObject *raise_status(uf_status st, const uf_error *err)
{
    if (PyErr_Occurred())
        return NULL;
    PyObject *module = PyImport_ImportModule("uniface.exceptions");
    PyObject *message = text_of(err && err->message[0] ? err->message : uf_status_text(st));
    PyObject *made =
        module && message ? PyObject_CallMethod(module, "of_status", "iO", (int)st, message) : NULL;
    if (made)
        PyErr_SetObject((PyObject *)Py_TYPE(made), made);
    Py_XDECREF(made);
    Py_XDECREF(message);
    Py_XDECREF(module);
    return NULL;
}

PyObject *text_of(const char *s)
{
    if (!s)
        Py_RETURN_NONE;
    return PyUnicode_DecodeUTF8(s, (Py_ssize_t)strlen(s), "replace");
}

int report_progress(void *user, size_t done, size_t total)
{
    const progress_call *p = user;
    PyGILState_STATE gil = PyGILState_Ensure();
    int stop = PyErr_CheckSignals();
    if (!stop && p->fn && p->fn != Py_None) {
        PyObject *answer = PyObject_CallFunction(p->fn, "nn", (Py_ssize_t)done, (Py_ssize_t)total);
        stop = !answer;
        Py_XDECREF(answer);
    }
    PyGILState_Release(gil);
    return stop != 0;
}

/* ---- the module ---- */

static PyObject *py_version(PyObject *self, PyObject *none)
{
    return text_of(uf_version());
}

static PyMethodDef methods[] = {
    {"close", py_close, METH_O, "close(handle): now, or when the last call that uses it ends."},
    {"is_stale", py_is_stale, METH_O, "is_stale(handle): made before this process was forked."},
    {"version", py_version, METH_NOARGS, "version() of the C library."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "uniface._native",
    .m_doc = "The C library behind uniface; private to the package.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__native(void);
PyMODINIT_FUNC PyInit__native(void)
{
    static bool is_watched;
    PyMethodDef *const tables[] = {model_methods,   face_methods,     optimize_methods,
                                   gallery_methods, evaluate_methods, pipeline_methods};
    PyObject *module = PyModule_Create(&definition);
    for (size_t i = 0; module && i < sizeof tables / sizeof *tables; i++)
        if (PyModule_AddFunctions(module, tables[i]) != 0)
            Py_CLEAR(module);
    if (module && !is_watched)
        is_watched = pthread_atfork(NULL, NULL, after_fork_in_child) == 0;
    return module;
}
