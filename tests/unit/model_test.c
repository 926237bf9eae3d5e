/* The public interface: a model shared by threads that each have an engine; errors; profiles. */
#include <pthread.h>
#include <unistd.h>

#include "onnx_maker.h"
#include "test.h"
#include "uniface/uniface.h"

static pb source;

/* The small network as a file; the caller unlinks it. */
static void write_network(char *path)
{
    int fd = mkstemp(path);
    onnx_small_network(&source);
    if (fd < 0 || write(fd, source.bytes, source.size) != (ssize_t)source.size)
        printf("no temporary file\n");
    close(fd);
}

static uf_status prepare(uf_engine *e, int64_t batch, uf_error *err)
{
    uf_tensor_info in = {.dtype = UF_F32, .rank = 4, .dims = {batch, 2, 8, 8}};
    return uf_engine_prepare(e, &in, 1, err);
}

static uf_status run_once(uf_engine *e, int64_t batch, float *out, uf_error *err)
{
    size_t bytes;
    uf_status st = prepare(e, batch, err);
    if (st)
        return st;
    float *in = uf_engine_input(e, 0, &bytes);
    for (size_t i = 0; i < bytes / sizeof *in; i++)
        in[i] = (float)(i % 128 % 7) * 0.1f;
    st = uf_engine_run(e, err);
    if (!st)
        memcpy(out, uf_engine_output(e, 0, NULL), 2 * sizeof *out);
    return st;
}

typedef struct worker {
    pthread_t thread;
    uf_model *model;
    unsigned number;
    float out[2];
    uf_status st;
    uf_error err;
} worker;

static void *work(void *arg)
{
    worker *w = arg;
    uf_engine *e = NULL;
    uf_engine_options o = UF_ENGINE_OPTIONS_INIT;
    o.threads = 1 + w->number % 2;
    w->st = uf_engine_create(&e, w->model, &o, &w->err);
    for (int i = 0; !w->st && i < 20; i++)
        w->st = run_once(e, 1 + (i + (int)w->number) % 3, w->out, &w->err);
    uf_engine_destroy(e);
    return NULL;
}

TEST(threads_share_a_model)
{
    enum { WORKERS = 6 };
    char path[] = "/tmp/uniface-model-test-XXXXXX";
    static worker workers[WORKERS];
    uf_error err;
    uf_model *m;
    write_network(path);
    REQUIRE_OK(uf_model_open(&m, path, &err), err);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (worker){.model = m, .number = i};
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        pthread_join(workers[i].thread, NULL);
        CHECK_OK(workers[i].st, workers[i].err);
        CHECK(memcmp(workers[i].out, workers[0].out, sizeof workers[0].out) == 0);
    }
    CHECK(workers[0].out[0] > 0);
    uf_model_close(m);
    unlink(path);
}

static void *open_and_close(void *path)
{
    for (int i = 0; i < 30; i++) {
        uf_model *m = NULL;
        if (uf_model_open(&m, path, NULL))
            return path;
        uf_model_close(m);
    }
    return NULL;
}

TEST(models_come_and_go_in_threads)
{
    char path[] = "/tmp/uniface-model-test-XXXXXX";
    pthread_t threads[2];
    void *failed;
    write_network(path);
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, open_and_close, path) == 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], &failed);
        CHECK(!failed);
    }
    unlink(path);
}

TEST(errors_say_what_to_do)
{
    char path[] = "/tmp/uniface-model-test-XXXXXX";
    uf_error err;
    uf_model *m;
    uf_engine *e = NULL;
    uf_detector *d = NULL;
    uf_embedder *b = NULL;
    uf_engine_options o = UF_ENGINE_OPTIONS_INIT;
    uf_tensor_info wrong = {.dtype = UF_F32, .rank = 3, .dims = {2, 8, 8}};
    write_network(path);
    REQUIRE_OK(uf_model_open(&m, path, &err), err);
    o.device = "GPU:0";
    CHECK(uf_engine_create(&e, m, &o, &err) == UF_E_DEVICE_NOT_FOUND && !e);
    CHECK_MSG(strstr(err.message, "CPU") != NULL, "%s", err.message);
    REQUIRE_OK(uf_engine_create(&e, m, NULL, &err), err);
    uf_engine *second = NULL; /* the model is on a device already */
    CHECK(uf_engine_create(&second, m, &o, &err) == UF_E_DEVICE_NOT_FOUND && !second);
    CHECK(uf_engine_run(e, &err) == UF_E_STATE && strstr(err.message, "uf_engine_prepare"));
    CHECK(uf_engine_input(e, 0, NULL) == NULL);
    CHECK(uf_engine_prepare(e, &wrong, 1, &err) != UF_OK);
    CHECK(uf_engine_prepare(e, NULL, 0, &err) == UF_E_ARG);
    CHECK_OK(prepare(e, 2, &err), err);
    CHECK(uf_engine_output(e, 5, NULL) == NULL);
    CHECK(uf_detector_create(&d, m, NULL, &err) == UF_E_MISMATCH && strstr(err.message, "tensor"));
    CHECK(uf_embedder_create(&b, m, NULL, &err) == UF_E_MISMATCH && !b);
    CHECK(uf_model_open(NULL, path, &err) == UF_E_ARG);
    CHECK(uf_model_meta(m, "none") == NULL);
    uf_engine_destroy(e);
    uf_model_close(m);
    unlink(path);
}

TEST(profiles_name_what_ran)
{
    char path[] = "/tmp/uniface-model-test-XXXXXX";
    uf_error err;
    uf_model *m;
    uf_engine *e;
    float out[2];
    int64_t macs = 0;
    write_network(path);
    REQUIRE_OK(uf_model_open(&m, path, &err), err);
    REQUIRE_OK(uf_engine_create(&e, m, NULL, &err), err);
    uf_engine_set_profiling(e, 1);
    CHECK_OK(run_once(e, 1, out, &err), err);
    for (size_t i = 0; i < uf_engine_step_count(e); i++) {
        uf_step_profile s;
        CHECK_OK(uf_engine_step(e, i, &s, &err), err);
        CHECK(s.kernel && s.kernel[0] && s.op[0]);
        macs += s.macs;
    }
    CHECK(macs == 8 * 8 * 2 * 18);
    CHECK(uf_engine_weight_bytes(e) > 0 && uf_engine_activation_bytes(e) > 0);
    uf_engine_destroy(e);
    uf_model_close(m);
    unlink(path);
}

TEST_MAIN
