/*
 * uniface._native: what the files of the extension share.
 *
 * The extension is thin: it takes addresses of arrays that Python has checked, calls one function
 * of include/uniface, and turns a status into an exception. Everything about arrays, defaults and
 * names of models is decided in the Python files beside it.
 *
 * Only Python's limited interface of 3.10 is used, so that one binary serves all later versions.
 */
#ifndef UF_PYTHON_NATIVE_H
#define UF_PYTHON_NATIVE_H

#define Py_LIMITED_API 0x030A0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
#include <stdbool.h>

#include "uniface/uniface.h"

/* ---- handles: objects of the library in capsules ---- */

typedef struct handle_kind {
    const char *name; /* of the capsule: a handle of another kind is a TypeError */
    void (*destroy)(void *object);
    bool may_not_fork; /* its files and connections belong to the process that opened it */
} handle_kind;

/* All fields but the turn are read and written with the GIL held. */
typedef struct handle {
    void *object; /* NULL: closed */
    const handle_kind *kind;
    PyObject *owner; /* what must outlive the object, or NULL */
    unsigned users;  /* calls into the library that use it now */
    bool closing;    /* the last user destroys the object */
    unsigned generation;
    pthread_mutex_t turn; /* held by the call that uses a confined object */
} handle;

extern const handle_kind model_kind, engine_kind, detector_kind, embedder_kind, calibration_kind,
    picture_kind, gallery_kind, pipeline_kind;

/* A capsule that owns `object`, which is destroyed when that fails. */
PyObject *handle_new(const handle_kind *kind, void *object, PyObject *owner);
/* The handle of a capsule, entered; NULL with an exception when it is of another kind, closed, or
 * made before a fork. */
handle *handle_enter(PyObject *capsule, const handle_kind *kind);
void handle_leave(handle *h);
/* The same for a confined object: waits, without the GIL, until no other call uses it. */
handle *handle_enter_turn(PyObject *capsule, const handle_kind *kind);
void handle_leave_turn(handle *h);
/* False: made in another process, which this one was forked from. */
bool handle_is_of_this_process(PyObject *capsule, const handle_kind *kind);

/* ---- calls ---- */

/* Between these two the GIL is released. Calls are counted, so that a fork knows of them. */
typedef PyThreadState *call_state;
call_state call_begin(void);
void call_end(call_state s);

/* Raises what uniface.exceptions makes of the status; returns NULL. An exception that a callback
 * raised comes first. */
PyObject *raise_status(uf_status st, const uf_error *err);

/* Addresses come as Python integers. */
#define ADDRESS(number) ((void *)(uintptr_t)(number))

/* Py_BuildValue's "z" of a C string that is no UTF-8 would fail: undecodable bytes are replaced. */
PyObject *text_of(const char *s);

/* A progress function of Python: None, or callable(done, total). It may raise. */
typedef struct progress_call {
    PyObject *fn; /* borrowed; NULL or None: only signals are looked after */
} progress_call;
int report_progress(void *user, size_t done, size_t total);

/* (address, width, height, format, stride_bytes) */
int image_of(PyObject *tuple, void *image);

/* Faces cross as rows of 16 floats: x, y, width, height, score, has_landmarks, 10 coordinates. */
enum { FACE_FLOATS = 16 };
void face_to_row(float row[FACE_FLOATS], const uf_face *f);
uf_face face_of_row(const float row[FACE_FLOATS]);

extern PyMethodDef model_methods[], face_methods[], optimize_methods[], gallery_methods[],
    evaluate_methods[], pipeline_methods[];

#endif
