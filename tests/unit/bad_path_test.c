/* Models by paths that lead to no model, and files that change while they are opened. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bad_model_run.h"
#include "onnx_maker.h"

/* ---- files ---- */

static char folder[64];

static const char *path_of(const char *name)
{
    static char paths[4][128];
    static int next;
    char *path = paths[next++ % 4];
    if (!folder[0]) {
        strcpy(folder, "/tmp/uniface-bad-model-XXXXXX");
        if (!mkdtemp(folder))
            abort();
    }
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void write_file(const char *path, const bytes *b)
{
    FILE *file = fopen(path, "wb");
    if (!file || (b->size && fwrite(b->data, 1, b->size, file) != b->size) || fclose(file))
        abort();
}

/* The good model as a file. */
static const char *good_path(const char *name)
{
    ufm_file f = {0};
    const char *path = path_of(name);
    make_good(&f);
    write_file(path, &f.whole);
    ufm_free(&f);
    return path;
}

static void refuse_path(const char *path, uf_status want, const char *part)
{
    uf_error err = {UF_OK, ""};
    uf_model *m = NULL;
    uf_status st = uf_model_open(&m, path, &err);
    CHECK_MSG(st == want, "%s: %s", uf_status_name(st), err.message);
    CHECK_MSG(!strncmp(err.message, path, strlen(path)) && strstr(err.message, part), "%s",
              err.message);
    CHECK(m == NULL);
    uf_model_close(m);
}

TEST(path_of_nothing)
{
    refuse_path(path_of("absent.ufm"), UF_E_IO, "No such file");
}

TEST(path_of_a_directory)
{
    refuse_path("/tmp", UF_E_IO, "not a regular file");
}

TEST(path_of_dev_zero)
{
    refuse_path("/dev/zero", UF_E_IO, "not a regular file");
}

TEST(path_of_dev_null)
{
    refuse_path("/dev/null", UF_E_IO, "not a regular file");
}

TEST(path_of_a_fifo)
{
    const char *path = path_of("fifo");
    REQUIRE(mkfifo(path, 0600) == 0);
    refuse_path(path, UF_E_IO, "not a regular file");
    unlink(path);
}

TEST(path_of_a_symlink)
{
    uf_error err = {UF_OK, ""};
    uf_model *m = NULL;
    const char *path = good_path("target.ufm"), *link = path_of("link.ufm");
    REQUIRE(symlink(path, link) == 0);
    CHECK_OK(uf_model_open(&m, link, &err), err);
    uf_model_close(m);
    unlink(path);
    refuse_path(link, UF_E_IO, "No such file"); /* it dangles now */
    unlink(link);
}

TEST(path_of_a_symlink_to_itself)
{
    const char *link = path_of("loop.ufm");
    REQUIRE(symlink(link, link) == 0);
    refuse_path(link, UF_E_IO, "cannot open");
    unlink(link);
}

TEST(path_of_a_symlink_to_a_directory)
{
    const char *link = path_of("folder.ufm");
    REQUIRE(symlink("/tmp", link) == 0);
    refuse_path(link, UF_E_IO, "not a regular file");
    unlink(link);
}

TEST(path_of_a_file_nobody_may_read)
{
    const char *path = good_path("secret.ufm");
    const bool root = geteuid() == 0;
    chmod(path, 0);
    if (root && seteuid(65534)) { /* root may read everything */
        unlink(path);
        SKIP("this process cannot become somebody else");
    }
    refuse_path(path, UF_E_IO, "Permission denied");
    CHECK(!root || seteuid(0) == 0);
    unlink(path);
}

TEST(path_of_0_bytes)
{
    bytes none = {0};
    const char *path = path_of("empty.ufm");
    put_fill(&none, 0, 0);
    write_file(path, &none);
    refuse_path(path, UF_E_FORMAT, "empty");
    unlink(path);
}

TEST(path_of_a_picture)
{
    bytes b = {0};
    const char *path = path_of("photo.ufm");
    put_data(&b, "\xff\xd8\xff\xe0\0\x10JFIF", 10);
    put_fill(&b, 0x11, 1000);
    write_file(path, &b);
    refuse_path(path, UF_E_FORMAT, "no model that is known");
    unlink(path);
    bytes_free(&b);
}

/* A hole of 5 GiB behind a good header costs nothing to make, and nothing to refuse. */
TEST(path_of_5_gib)
{
    const char *path = good_path("large.ufm");
    if (truncate(path, (off_t)5 << 30)) {
        unlink(path);
        SKIP("no file of 5 GiB can be made here");
    }
    refuse_path(path, UF_E_LIMIT, "limit");
    unlink(path);
}

/* The file grows by zeros and shrinks again while it is opened, over and over. */
typedef struct changer {
    const char *path;
    off_t least, most;
    atomic_bool stop;
} changer;

static void *change_size(void *arg)
{
    changer *c = arg;
    int fd = open(c->path, O_RDWR);
    while (!atomic_load(&c->stop)) {
        if (ftruncate(fd, c->least) || ftruncate(fd, c->most))
            break;
    }
    close(fd);
    return NULL;
}

static void open_while_it_changes(const char *path, off_t least, off_t most)
{
    changer c = {.path = path, .least = least, .most = most};
    pthread_t thread;
    int opened = 0, refused = 0;
    REQUIRE(pthread_create(&thread, NULL, change_size, &c) == 0);
    for (int i = 0; i < 400; i++) {
        uf_error err = {UF_OK, ""};
        uf_model *m = NULL;
        uf_status st = uf_model_open(&m, path, &err);
        CHECK_MSG(st == UF_OK || (st == UF_E_FORMAT && !strncmp(err.message, path, strlen(path))) ||
                      (st == UF_E_IO && !strncmp(err.message, path, strlen(path))),
                  "%s: %s", uf_status_name(st), err.message);
        opened += st == UF_OK;
        refused += st != UF_OK;
        uf_model_close(m);
    }
    atomic_store(&c.stop, true);
    pthread_join(thread, NULL);
    CHECK(opened + refused == 400);
    unlink(path);
}

TEST(file_grows_while_it_is_opened)
{
    const char *path = good_path("grows.ufm");
    struct stat s;
    REQUIRE(stat(path, &s) == 0);
    open_while_it_changes(path, s.st_size, s.st_size + 100000);
}

TEST(file_shrinks_while_it_is_opened)
{
    const char *path = good_path("shrinks.ufm");
    struct stat s;
    REQUIRE(stat(path, &s) == 0);
    open_while_it_changes(path, 0, s.st_size);
}

TEST(onnx_file_shrinks_while_it_is_opened)
{
    static pb source;
    bytes b = {0};
    const char *path = path_of("shrinks.onnx");
    onnx_small_network(&source);
    put_data(&b, source.bytes, source.size);
    write_file(path, &b);
    open_while_it_changes(path, 0, (off_t)b.size);
    bytes_free(&b);
}

/* A file that is replaced, as installers do it, leaves an open model as it was. */
TEST(file_is_replaced_while_it_is_used)
{
    uf_error err = {UF_OK, ""};
    uf_model *m = NULL;
    uf_engine *e = NULL;
    const uf_tensor_info shape = {.dtype = UF_F32, .rank = 1, .dims = {4}};
    const char *path = good_path("used.ufm"), *other = path_of("other.ufm");
    bytes text = {0};
    put_data(&text, "something else", 14);
    write_file(other, &text);
    REQUIRE_OK(uf_model_open(&m, path, &err), err);
    CHECK(rename(other, path) == 0);
    CHECK_OK(uf_engine_create(&e, m, NULL, &err), err);
    CHECK_OK(uf_engine_prepare(e, &shape, 1, &err), err);
    memset(uf_engine_input(e, 0, NULL), 0, 16);
    CHECK_OK(uf_engine_run(e, &err), err);
    CHECK(((const float *)uf_engine_output(e, 0, NULL))[3] == 4);
    refuse_path(path, UF_E_FORMAT, "");
    uf_engine_destroy(e);
    uf_model_close(m);
    unlink(path);
    bytes_free(&text);
}

static float run_on_ones(uf_engine *e, const uf_tensor_info *shape, uf_error *err)
{
    size_t size = 0;
    float *x = uf_engine_input(e, 0, &size), sum = 0;
    uf_tensor_info out;
    for (size_t i = 0; i < size / sizeof *x; i++)
        x[i] = 1;
    CHECK_OK(uf_engine_run(e, err), *err);
    const float *y = uf_engine_output(e, 0, &out);
    size_t n = 1;
    for (uint32_t d = 0; d < out.rank; d++)
        n *= (size_t)out.dims[d];
    for (size_t i = 0; i < n; i++)
        sum += y[i];
    CHECK(shape->rank == out.rank && sum > 0);
    return sum;
}

/* A new time of writing alone is no change: `touch`, tools that put a back-up's files back. */
static void plan_after_touch(uf_model *m, const char *path, const uf_tensor_info *shape)
{
    uf_error err = {UF_OK, ""};
    for (time_t t = 1000000001; t < 1000000004; t++) {
        const struct timespec then[2] = {{t, 0}, {t, 0}};
        uf_engine *e = NULL;
        REQUIRE(utimensat(AT_FDCWD, path, then, 0) == 0);
        CHECK_OK(uf_engine_create(&e, m, NULL, &err), err);
        CHECK_OK(uf_engine_prepare(e, shape, 1, &err), err);
        uf_engine_destroy(e);
    }
}

/* `cp` writes into the file that is there. What is planned goes on as it was, and nothing new is
 * made of what came into the file; a map that is read behind its end would be SIGBUS. */
static void write_into_used(const ufm_operator *o, bool is_cut)
{
    uf_error err = {UF_OK, ""};
    uf_model *m = NULL;
    uf_engine *e = NULL, *late = NULL;
    ufm_file f = {0};
    uf_tensor_info shape = {.dtype = o->x.dtype, .rank = o->x.rank};
    memcpy(shape.dims, o->x.dims, sizeof o->x.dims);
    const char *path = path_of("written.ufm");
    make_operator(&f, o);
    write_file(path, &f.whole);
    const struct timespec then[2] = {{1000000000, 0}, {1000000000, 0}}; /* clocks tick coarsely */
    REQUIRE(utimensat(AT_FDCWD, path, then, 0) == 0);
    REQUIRE_OK(uf_model_open(&m, path, &err), err);
    CHECK_OK(uf_engine_create(&e, m, NULL, &err), err);
    CHECK_OK(uf_engine_create(&late, m, NULL, &err), err);
    CHECK_OK(uf_engine_prepare(e, &shape, 1, &err), err);
    const float before = run_on_ones(e, &shape, &err);
    plan_after_touch(m, path, &shape);
    memset(f.whole.data, 0x55, f.whole.size);
    f.whole.size = is_cut ? 0 : f.whole.size;
    write_file(path, &f.whole);
    CHECK(run_on_ones(e, &shape, &err) == before);
    CHECK(uf_engine_prepare(late, &shape, 1, &err) == UF_E_IO);
    CHECK_MSG(strstr(err.message, path) && strstr(err.message, "was written to"), "%s",
              err.message);
    CHECK(uf_model_save(m, path, &err) == UF_E_IO);
    uf_engine_destroy(e);
    uf_engine_destroy(late);
    uf_model_close(m);
    unlink(path);
    ufm_free(&f);
}

static const float many[64 * 64 * 9] = {1, 2, 3};

TEST(file_is_written_to_while_its_bias_is_used)
{
    const ufm_operator o = {.op = UFI_OP_ADD,
                            .x = {UF_F32, 2, {1, 32}, NULL, 0},
                            .constants = {{UF_F32, 1, {32}, many, 128}}};
    write_into_used(&o, true);
    write_into_used(&o, false);
}

TEST(file_is_written_to_while_a_large_constant_is_used)
{
    const ufm_operator o = {.op = UFI_OP_ADD,
                            .x = {UF_F32, 2, {1, 32768}, NULL, 0},
                            .constants = {{UF_F32, 2, {1, 32768}, many, 131072}}};
    write_into_used(&o, true);
    write_into_used(&o, false);
}

TEST(file_is_written_to_while_its_weights_are_used)
{
    const ufm_operator o = {.op = UFI_OP_CONV,
                            .x = {UF_F32, 4, {1, 64, 8, 8}, NULL, 0},
                            .constants = {{UF_F32, 4, {64, 64, 3, 3}, many, sizeof many}}};
    write_into_used(&o, true);
    write_into_used(&o, false);
}

TEST(onnx_file_is_touched_and_written_to_while_it_is_used)
{
    static pb source;
    uf_error err = {UF_OK, ""};
    uf_model *m = NULL;
    uf_engine *e = NULL;
    uf_tensor_info shape;
    bytes b = {0};
    const char *path = path_of("written.onnx");
    onnx_small_network(&source);
    put_data(&b, source.bytes, source.size);
    write_file(path, &b);
    REQUIRE_OK(uf_model_open(&m, path, &err), err);
    REQUIRE_OK(uf_model_input(m, 0, &shape, &err), err);
    for (uint32_t d = 0; d < shape.rank; d++)
        shape.dims[d] = shape.dims[d] < 0 ? 1 : shape.dims[d];
    plan_after_touch(m, path, &shape);
    b.data[b.size / 2] ^= 1;
    write_file(path, &b);
    CHECK_OK(uf_engine_create(&e, m, NULL, &err), err);
    CHECK(uf_engine_prepare(e, &shape, 1, &err) == UF_E_IO);
    uf_engine_destroy(e);
    uf_model_close(m);
    unlink(path);
    bytes_free(&b);
}

static void *load_and_unload(void *path)
{
    for (int i = 0; i < 50; i++) {
        uf_model *m = NULL;
        uf_engine *e = NULL;
        uf_tensor_info shape;
        uf_status st = uf_model_open(&m, path, NULL);
        if (!st)
            st = uf_engine_create(&e, m, NULL, NULL);
        if (!st)
            st = uf_model_input(m, 0, &shape, NULL);
        for (uint32_t d = 0; !st && d < shape.rank; d++)
            shape.dims[d] = shape.dims[d] < 0 ? 1 : shape.dims[d];
        if (!st)
            st = uf_engine_prepare(e, &shape, 1, NULL);
        if (!st)
            st = uf_engine_run(e, NULL);
        uf_engine_destroy(e);
        uf_model_close(m);
        if (st)
            return path;
    }
    return NULL;
}

TEST(two_models_loaded_and_unloaded_in_threads)
{
    static pb source;
    char paths[2][128];
    pthread_t threads[2];
    bytes b = {0};
    snprintf(paths[0], sizeof paths[0], "%s", good_path("first.ufm"));
    snprintf(paths[1], sizeof paths[1], "%s", path_of("second.onnx"));
    onnx_small_network(&source);
    put_data(&b, source.bytes, source.size);
    write_file(paths[1], &b);
    for (int i = 0; i < 2; i++)
        REQUIRE(pthread_create(&threads[i], NULL, load_and_unload, paths[i]) == 0);
    for (int i = 0; i < 2; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        CHECK(!failed);
        unlink(paths[i]);
    }
    bytes_free(&b);
    rmdir(folder);
}

TEST_MAIN
