/* uniface._native: error rates. */
#include <stdlib.h>
#include <string.h>

#include "native.h"

/* The scores of a call, copied: the library sorts them. */
typedef struct scores {
    float *genuine, *impostor;
    size_t genuines, impostors;
    double number; /* what the function wants besides */
} scores;

static float *copy_of(unsigned long long address, Py_ssize_t count)
{
    float *copy = malloc((size_t)count * sizeof *copy + 1);
    if (copy && count)
        memcpy(copy, ADDRESS(address), (size_t)count * sizeof *copy);
    return copy;
}

static void free_scores(scores *s)
{
    free(s->genuine);
    free(s->impostor);
}

/* (genuine, count, impostor, count, number) */
static bool read_scores(scores *s, PyObject *args)
{
    unsigned long long genuine, impostor;
    Py_ssize_t genuines, impostors;
    if (!PyArg_ParseTuple(args, "KnKnd", &genuine, &genuines, &impostor, &impostors, &s->number))
        return false;
    s->genuine = copy_of(genuine, genuines);
    s->impostor = copy_of(impostor, impostors);
    s->genuines = (size_t)genuines;
    s->impostors = (size_t)impostors;
    if (s->genuine && s->impostor)
        return true;
    free_scores(s);
    PyErr_NoMemory();
    return false;
}

/* rates_at_far(...): (threshold, far_low, far_high, tar) */
static PyObject *py_rates_at_far(PyObject *self, PyObject *args)
{
    scores in;
    uf_threshold t;
    uf_error err;
    if (!read_scores(&in, args))
        return NULL;
    call_state s = call_begin();
    uf_status st =
        uf_rates_at_far(in.genuine, in.genuines, in.impostor, in.impostors, in.number, &t, &err);
    call_end(s);
    free_scores(&in);
    if (st)
        return raise_status(st, &err);
    return Py_BuildValue("(dddd)", (double)t.threshold, (double)t.far_low, (double)t.far_high,
                         (double)t.tar);
}

static PyObject *rate_of(const uf_rate *r)
{
    return Py_BuildValue("(dddKK)", r->value, r->low, r->high, (unsigned long long)r->errors,
                         (unsigned long long)r->trials);
}

/* rates_at_threshold(...): (far, frr), each (value, low, high, errors, trials) */
static PyObject *py_rates_at_threshold(PyObject *self, PyObject *args)
{
    scores in;
    uf_rate far, frr;
    uf_error err;
    if (!read_scores(&in, args))
        return NULL;
    call_state s = call_begin();
    uf_status st = uf_rates_at_threshold(in.genuine, in.genuines, in.impostor, in.impostors,
                                         in.number, &far, &frr, &err);
    call_end(s);
    free_scores(&in);
    return st ? raise_status(st, &err) : Py_BuildValue("(NN)", rate_of(&far), rate_of(&frr));
}

/* equal_error_rate(...): (rate, threshold) */
static PyObject *py_equal_error_rate(PyObject *self, PyObject *args)
{
    scores in;
    double rate, threshold;
    uf_error err;
    if (!read_scores(&in, args))
        return NULL;
    call_state s = call_begin();
    uf_status st = uf_equal_error_rate(in.genuine, in.genuines, in.impostor, in.impostors, &rate,
                                       &threshold, &err);
    call_end(s);
    free_scores(&in);
    return st ? raise_status(st, &err) : Py_BuildValue("(dd)", rate, threshold);
}

/* error_curve(...): bytes, rows of three doubles: threshold, far, frr. number: most points. */
static PyObject *py_error_curve(PyObject *self, PyObject *args)
{
    scores in;
    size_t count = 0;
    uf_error err = {UF_OK, ""};
    if (!read_scores(&in, args))
        return NULL;
    const size_t cap = in.number > 64 ? (size_t)in.number : 64;
    uf_curve_point *points = calloc(cap, sizeof *points);
    call_state s = call_begin();
    uf_status st = points ? uf_error_curve(in.genuine, in.genuines, in.impostor, in.impostors,
                                           points, cap, &count, &err)
                          : UF_E_NOMEM;
    call_end(s);
    PyObject *rows =
        st ? raise_status(st, &err)
           : PyBytes_FromStringAndSize((const char *)points, (Py_ssize_t)(count * sizeof *points));
    free(points);
    free_scores(&in);
    return rows;
}

/* accuracy_in_folds(scores, same, folds, count, fold_count): addresses of float, int32, int32;
 * (mean, standard_error) */
static PyObject *py_accuracy_in_folds(PyObject *self, PyObject *args)
{
    unsigned long long values, same, folds;
    Py_ssize_t count;
    int fold_count;
    uf_fold_accuracy out;
    uf_error err;
    if (!PyArg_ParseTuple(args, "KKKni:accuracy_in_folds", &values, &same, &folds, &count,
                          &fold_count))
        return NULL;
    uf_scored_trial *trials = calloc((size_t)count + 1, sizeof *trials);
    if (!trials)
        return PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < count; i++)
        trials[i] = (uf_scored_trial){.score = ((const float *)ADDRESS(values))[i],
                                      .same = ((const int32_t *)ADDRESS(same))[i],
                                      .fold = ((const int32_t *)ADDRESS(folds))[i]};
    call_state s = call_begin();
    uf_status st = uf_accuracy_in_folds(trials, (size_t)count, fold_count, NULL, &out, &err);
    call_end(s);
    free(trials);
    return st ? raise_status(st, &err) : Py_BuildValue("(dd)", out.mean, out.standard_error);
}

PyMethodDef evaluate_methods[] = {
    {"rates_at_far", py_rates_at_far, METH_VARARGS, "rates_at_far(g, n, i, n, far)"},
    {"rates_at_threshold", py_rates_at_threshold, METH_VARARGS,
     "rates_at_threshold(g, n, i, n, threshold)"},
    {"equal_error_rate", py_equal_error_rate, METH_VARARGS, "equal_error_rate(g, n, i, n, 0)"},
    {"error_curve", py_error_curve, METH_VARARGS, "error_curve(g, n, i, n, most_points)"},
    {"accuracy_in_folds", py_accuracy_in_folds, METH_VARARGS,
     "accuracy_in_folds(scores, same, folds, count, fold_count)"},
    {NULL, NULL, 0, NULL},
};
