/* uniface._native: galleries. */
#include <stdlib.h>
#include <string.h>

#include "native.h"

static void close_gallery(void *g)
{
    uf_gallery_close(g);
}

const handle_kind gallery_kind = {"uniface.gallery", close_gallery, true};

/* gallery_open(name, flags, passphrase, key_file, threads, actor, keep_crops) */
static PyObject *py_gallery_open(PyObject *self, PyObject *args)
{
    const char *name;
    uf_gallery_options o = UF_GALLERY_OPTIONS_INIT;
    uf_error err;
    uf_gallery *g = NULL;
    if (!PyArg_ParseTuple(args, "yIzzIzI:gallery_open", &name, &o.flags, &o.passphrase, &o.key_file,
                          &o.threads, &o.actor, &o.keep_crops))
        return NULL;
    call_state s = call_begin();
    uf_status st = uf_gallery_open(&g, name, &o, &err);
    call_end(s);
    return st ? raise_status(st, &err) : handle_new(&gallery_kind, g, NULL);
}

/* ---- enrol ---- */

/* gallery_enroll(gallery, id, collection, metadata, consent, purpose, expires, vectors, count,
 * dimension, model_id, source, quality, crops, crop_size): templates [count][dimension] of one
 * person, crops [count][crop_size][crop_size][3] or 0; their numbers. */
static PyObject *py_gallery_enroll(PyObject *self, PyObject *args)
{
    PyObject *capsule;
    uf_enrolment e = {0};
    unsigned long long vectors, crops;
    long long expires;
    Py_ssize_t count;
    uf_template t = {0};
    uf_error err;
    if (!PyArg_ParseTuple(args, "OszzzzLKnIszfKI:gallery_enroll", &capsule, &e.person.id,
                          &e.person.collection, &e.person.metadata, &e.person.consent,
                          &e.person.purpose, &expires, &vectors, &count, &t.dimension, &t.model_id,
                          &t.source, &t.quality, &crops, &t.crop_size))
        return NULL;
    e.person.expires = expires;
    e.count = (size_t)count;
    uf_template *templates = calloc((size_t)count + 1, sizeof *templates);
    uint64_t *ids = calloc((size_t)count + 1, sizeof *ids);
    for (Py_ssize_t i = 0; templates && i < count; i++) {
        templates[i] = t;
        templates[i].vector = (const float *)ADDRESS(vectors) + (size_t)i * t.dimension;
        if (crops)
            templates[i].crop =
                (const uint8_t *)ADDRESS(crops) + (size_t)i * t.crop_size * t.crop_size * 3;
    }
    e.templates = templates;
    handle *h = templates && ids ? handle_enter(capsule, &gallery_kind) : NULL;
    PyObject *list = NULL;
    if (h) {
        call_state s = call_begin();
        uf_status st = uf_gallery_enroll(h->object, &e, 1, ids, &err);
        call_end(s);
        handle_leave(h);
        list = st ? raise_status(st, &err) : PyList_New(count);
        for (Py_ssize_t i = 0; list && i < count; i++)
            PyList_SetItem(list, i, PyLong_FromUnsignedLongLong(ids[i]));
    } else if (!PyErr_Occurred()) {
        PyErr_NoMemory();
    }
    free(templates);
    free(ids);
    return list;
}

/* ---- ask ---- */

static PyObject *candidates(const uf_candidate *found, size_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *one =
            Py_BuildValue("(NdKi)", text_of(found[i].id), (double)found[i].score,
                          (unsigned long long)found[i].template_id, (int)found[i].passes);
        if (!one || PyList_SetItem(list, (Py_ssize_t)i, one) != 0)
            Py_CLEAR(list);
    }
    return list;
}

enum { MAX_CANDIDATES = 10000 };

/* gallery_identify(gallery, vector, dimension, model_id, collection, top_k, fpir, threshold,
 * metadata, purpose, min_score): ([(id, score, template, passes)], threshold) */
static PyObject *py_gallery_identify(PyObject *self, PyObject *args)
{
    PyObject *capsule;
    unsigned long long vector;
    unsigned dimension;
    const char *model_id;
    uf_identify_options o = UF_IDENTIFY_OPTIONS_INIT;
    uf_gallery_filter filter = {0};
    uf_gallery_threshold_info info = {0};
    size_t count = 0;
    uf_error err;
    if (!PyArg_ParseTuple(args, "OKIszIdfzzf:gallery_identify", &capsule, &vector, &dimension,
                          &model_id, &o.collection, &o.top_k, &o.fpir, &o.threshold,
                          &filter.metadata, &o.purpose, &o.min_score))
        return NULL;
    if (o.top_k < 1 || o.top_k > MAX_CANDIDATES)
        return PyErr_Format(PyExc_ValueError, "top_k: got %u, wants 1..%d", o.top_k,
                            MAX_CANDIDATES);
    o.filter = filter.metadata ? &filter : NULL;
    uf_candidate *found = calloc(o.top_k, sizeof *found);
    handle *h = found ? handle_enter(capsule, &gallery_kind) : NULL;
    PyObject *answer = NULL;
    if (h) {
        call_state s = call_begin();
        uf_status st = uf_gallery_identify(h->object, ADDRESS(vector), dimension, model_id, &o,
                                           found, &count, &info, &err);
        call_end(s);
        handle_leave(h);
        answer = st ? raise_status(st, &err)
                    : Py_BuildValue("(Nd)", candidates(found, count), (double)info.threshold);
    } else if (!PyErr_Occurred()) {
        PyErr_NoMemory();
    }
    free(found);
    return answer;
}

/* gallery_verify(gallery, collection, id, vector, dimension, model_id, purpose): the best
 * similarity. */
static PyObject *py_gallery_verify(PyObject *self, PyObject *args)
{
    PyObject *capsule;
    unsigned long long vector;
    unsigned dimension;
    const char *collection, *id, *model_id, *purpose;
    float score = 0;
    uf_error err;
    if (!PyArg_ParseTuple(args, "OzsKIsz:gallery_verify", &capsule, &collection, &id, &vector,
                          &dimension, &model_id, &purpose))
        return NULL;
    handle *h = handle_enter(capsule, &gallery_kind);
    if (!h)
        return NULL;
    call_state s = call_begin();
    uf_status st = uf_gallery_verify(h->object, collection, id, ADDRESS(vector), dimension,
                                     model_id, purpose, &score, &err);
    call_end(s);
    handle_leave(h);
    return st ? raise_status(st, &err) : PyFloat_FromDouble((double)score);
}

/* ---- people ---- */

/* Called by the library, with the GIL released. */
static int add_person(void *user, const uf_person_info *p)
{
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *one = Py_BuildValue("(NNNNNLLLK)", text_of(p->id), text_of(p->collection),
                                  text_of(p->metadata), text_of(p->consent), text_of(p->purpose),
                                  (long long)p->expires, (long long)p->created,
                                  (long long)p->updated, (unsigned long long)p->templates);
    const int failed = !one || PyList_Append(user, one) != 0;
    Py_XDECREF(one);
    PyGILState_Release(gil);
    return failed;
}

/* gallery_people(gallery, collection, metadata) */
static PyObject *py_gallery_people(PyObject *self, PyObject *args)
{
    PyObject *capsule;
    const char *collection;
    uf_gallery_filter filter = {0};
    uf_error err;
    if (!PyArg_ParseTuple(args, "Ozz:gallery_people", &capsule, &collection, &filter.metadata))
        return NULL;
    handle *h = handle_enter(capsule, &gallery_kind);
    PyObject *list = h ? PyList_New(0) : NULL;
    if (!list) {
        if (h)
            handle_leave(h);
        return NULL;
    }
    call_state s = call_begin();
    uf_status st = uf_gallery_list(h->object, collection, filter.metadata ? &filter : NULL,
                                   add_person, list, &err);
    call_end(s);
    handle_leave(h);
    if (!st)
        return list;
    Py_DECREF(list);
    return raise_status(st, &err);
}

/* gallery_delete(gallery, collection, id): (templates, crops, time, entry, digest) */
static PyObject *py_gallery_delete(PyObject *self, PyObject *args)
{
    PyObject *capsule;
    const char *collection, *id;
    uf_receipt r = {0};
    uf_error err;
    if (!PyArg_ParseTuple(args, "Ozs:gallery_delete", &capsule, &collection, &id))
        return NULL;
    handle *h = handle_enter(capsule, &gallery_kind);
    if (!h)
        return NULL;
    call_state s = call_begin();
    uf_status st = uf_gallery_delete(h->object, collection, id, &r, &err);
    call_end(s);
    handle_leave(h);
    if (st)
        return raise_status(st, &err);
    return Py_BuildValue("(KKLKs)", (unsigned long long)r.templates, (unsigned long long)r.crops,
                         (long long)r.time, (unsigned long long)r.audit_entry, r.audit_digest);
}

/* ---- upkeep ---- */

static PyObject *py_gallery_stats(PyObject *self, PyObject *capsule)
{
    uf_gallery_stats t;
    uf_error err;
    handle *h = handle_enter(capsule, &gallery_kind);
    if (!h)
        return NULL;
    call_state s = call_begin();
    uf_status st = uf_gallery_describe(h->object, &t, &err);
    call_end(s);
    handle_leave(h);
    if (st)
        return raise_status(st, &err);
    return Py_BuildValue("(KKKKKKiNNN)", (unsigned long long)t.people,
                         (unsigned long long)t.templates, (unsigned long long)t.collections,
                         (unsigned long long)t.models, (unsigned long long)t.database_bytes,
                         (unsigned long long)t.memory_bytes, (int)t.encrypted, text_of(t.backend),
                         text_of(t.warning), text_of(t.model_id));
}

/* gallery_expire(gallery): people deleted. */
static PyObject *py_gallery_expire(PyObject *self, PyObject *capsule)
{
    uint64_t count = 0;
    uf_error err;
    handle *h = handle_enter(capsule, &gallery_kind);
    if (!h)
        return NULL;
    call_state s = call_begin();
    uf_status st = uf_gallery_expire(h->object, &count, &err);
    call_end(s);
    handle_leave(h);
    return st ? raise_status(st, &err) : PyLong_FromUnsignedLongLong(count);
}

/* gallery_check(gallery, progress) */
static PyObject *py_gallery_check(PyObject *self, PyObject *args)
{
    PyObject *capsule;
    progress_call progress = {NULL};
    uf_error err;
    if (!PyArg_ParseTuple(args, "OO:gallery_check", &capsule, &progress.fn))
        return NULL;
    handle *h = handle_enter(capsule, &gallery_kind);
    if (!h)
        return NULL;
    call_state s = call_begin();
    uf_status st = uf_gallery_check(h->object, report_progress, &progress, &err);
    call_end(s);
    handle_leave(h);
    if (st)
        return raise_status(st, &err);
    Py_RETURN_NONE;
}

PyMethodDef gallery_methods[] = {
    {"gallery_open", py_gallery_open, METH_VARARGS, "gallery_open(name, flags, ...)"},
    {"gallery_enroll", py_gallery_enroll, METH_VARARGS, "gallery_enroll(gallery, id, ...)"},
    {"gallery_identify", py_gallery_identify, METH_VARARGS, "gallery_identify(gallery, ...)"},
    {"gallery_verify", py_gallery_verify, METH_VARARGS, "gallery_verify(gallery, ...)"},
    {"gallery_people", py_gallery_people, METH_VARARGS, "gallery_people(gallery, ...)"},
    {"gallery_delete", py_gallery_delete, METH_VARARGS, "gallery_delete(gallery, ...)"},
    {"gallery_stats", py_gallery_stats, METH_O, "gallery_stats(gallery)"},
    {"gallery_expire", py_gallery_expire, METH_O, "gallery_expire(gallery)"},
    {"gallery_check", py_gallery_check, METH_VARARGS, "gallery_check(gallery, progress)"},
    {NULL, NULL, 0, NULL},
};
