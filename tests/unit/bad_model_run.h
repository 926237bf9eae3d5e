/* Runs files of bad_model_maker.h through the public interface and says what must come of it. */
#ifndef UF_TESTS_BAD_MODEL_RUN_H
#define UF_TESTS_BAD_MODEL_RUN_H

#include "bad_model_maker.h"
#include "test.h"
#include "uniface/uniface.h"

/* Opens, plans for x of one dimension open as 1, runs on 10 20 30 40...; the first number that
 * comes out is in *first, the last in *last. */
static inline uf_status open_and_run(const bytes *file, float *first, float *last, uf_error *err)
{
    uf_model *m = NULL;
    uf_engine *e = NULL;
    uf_tensor_info shape, out;
    uf_engine_options o = UF_ENGINE_OPTIONS_INIT;
    size_t size = 0;
    *err = (uf_error){UF_OK, ""};
    o.threads = 1;
    uf_status st = uf_model_open_memory(&m, file->data, file->size, err);
    if (st)
        return st;
    st = uf_engine_create(&e, m, &o, err);
    if (!st)
        st = uf_model_input(m, 0, &shape, err);
    for (uint32_t d = 0; !st && d < shape.rank; d++)
        shape.dims[d] = shape.dims[d] < 0 ? 1 : shape.dims[d];
    if (!st)
        st = uf_engine_prepare(e, &shape, 1, err);
    if (!st) {
        void *x = uf_engine_input(e, 0, &size);
        for (size_t i = 0; shape.dtype == UF_F32 && i < size / 4; i++)
            ((float *)x)[i] = 10 * (float)(i + 1);
        for (size_t i = 0; shape.dtype == UF_I64 && i < size / 8; i++)
            ((int64_t *)x)[i] = 9; /* an index that is too large */
        for (size_t i = 0; shape.dtype == UF_I16 && i < size / 2; i++)
            ((int16_t *)x)[i] = INT16_MIN; /* sums as large as they can be */
        st = uf_engine_run(e, err);
    }
    if (!st) {
        const float *y = uf_engine_output(e, 0, &out);
        size_t n = out.dtype == UF_F32;
        for (uint32_t d = 0; d < out.rank; d++)
            n *= (size_t)out.dims[d];
        *first = n ? y[0] : 0;
        *last = n ? y[n - 1] : 0;
    }
    uf_engine_destroy(e);
    uf_model_close(m);
    return st;
}

static inline void refuse(const bytes *file, uf_status want, const char *part)
{
    uf_error err;
    float first, last;
    uf_status st = open_and_run(file, &first, &last, &err);
    CHECK_MSG(st == want, "%s: %s", uf_status_name(st), err.message);
    CHECK_MSG(strstr(err.message, part) != NULL, "\"%s\" lacks \"%s\"", err.message, part);
}

static inline void accept(const bytes *file, float first, float last)
{
    uf_error err;
    float f = 0, l = 0;
    REQUIRE_OK(open_and_run(file, &f, &l, &err), err);
    CHECK_MSG(fabsf(f - first) < 1e-3f && fabsf(l - last) < 1e-3f, "%g ... %g", (double)f,
              (double)l);
}

/* An operator with so many inputs, all of them x, and outputs. */
static inline void check_arity(ufi_op op, uint16_t inputs, uint16_t outputs, const char *part)
{
    const int64_t four[1] = {4};
    uint32_t in[300] = {0}, out[300];
    ufm_file f = {0};
    ufm_value(&f, "x", 1, UF_F32, 1, four, -1);
    for (uint32_t i = 0; i < 300; i++)
        out[i] = i < outputs ? ufm_value(&f, "y", 1, UF_F32, 1, four, -1) : 0;
    ufm_node(&f, op, "the node", in, inputs, out, outputs, NULL, 0);
    ufm_io(&f, 0, outputs ? out[0] : 0);
    ufm_write_counts(&f);
    ufm_seal(&f);
    refuse(&f.whole, UF_E_FORMAT, part);
    ufm_free(&f);
}

#endif
