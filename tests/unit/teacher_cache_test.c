/* A teacher's vectors on disk: what was put comes back, also after a kill or damage at any byte. */
#include "train/teacher_cache.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "test.h"

enum { VALUES = 5, SAMPLES = 9 };

static char path[64];
static const ufi_teacher_key key = {"model 1", "digest 1", SAMPLES, VALUES};

static void begin(void)
{
    snprintf(path, sizeof path, "/tmp/uniface-teacher-%d", (int)getpid());
    unlink(path);
}

static float value_of(uint32_t sample, bool mirrored, int i)
{
    return (float)sample * 10 + (float)i + (mirrored ? 0.5f : 0.25f);
}

static uf_status put(ufi_teacher_cache *c, uint32_t sample, bool mirrored, uf_error *err)
{
    float v[VALUES];
    for (int i = 0; i < VALUES; i++)
        v[i] = value_of(sample, mirrored, i);
    return ufi_teacher_cache_put(c, sample, mirrored, v, err);
}

/* Every vector that the cache says it has is right. */
static void check_vectors(ufi_teacher_cache *c, size_t count)
{
    uf_error err = {0};
    size_t found = 0;
    CHECK_MSG(ufi_teacher_cache_count(c) == count, "%zu vectors, not %zu",
              ufi_teacher_cache_count(c), count);
    for (uint32_t s = 0; s < SAMPLES; s++)
        for (int mirrored = 0; mirrored < 2; mirrored++) {
            float v[VALUES];
            if (!ufi_teacher_cache_has(c, s, mirrored)) {
                CHECK(ufi_teacher_cache_get(c, s, mirrored, v, &err) == UF_E_NOT_FOUND);
                continue;
            }
            found++;
            REQUIRE_OK(ufi_teacher_cache_get(c, s, mirrored, v, &err), err);
            for (int i = 0; i < VALUES; i++)
                CHECK(v[i] == value_of(s, mirrored, i));
        }
    CHECK(found == count);
}

TEST(vectors_come_back)
{
    uf_error err = {0};
    ufi_teacher_cache *c = NULL, *second = NULL;
    begin();
    REQUIRE_OK(ufi_teacher_cache_open(&c, path, &key, &err), err);
    check_vectors(c, 0);
    CHECK_OK(put(c, 3, false, &err), err);
    CHECK_OK(put(c, 3, true, &err), err);
    CHECK_OK(put(c, 8, false, &err), err);
    CHECK_OK(put(c, 3, false, &err), err); /* is there */
    CHECK(put(c, SAMPLES, false, &err) == UF_E_ARG);
    CHECK(put(c, UINT32_MAX, false, &err) == UF_E_ARG);
    check_vectors(c, 3);
    CHECK(ufi_teacher_cache_open(&second, path, &key, &err) == UF_E_STATE && !second);
    ufi_teacher_cache_close(c);
    REQUIRE_OK(ufi_teacher_cache_open(&c, path, &key, &err), err);
    check_vectors(c, 3);
    CHECK_OK(put(c, 0, true, &err), err);
    ufi_teacher_cache_close(c);
    REQUIRE_OK(ufi_teacher_cache_open(&c, path, &key, &err), err);
    check_vectors(c, 4);
    ufi_teacher_cache_close(c);
    ufi_teacher_cache_close(NULL);
    unlink(path);
}

TEST(others_files_are_refused)
{
    uf_error err = {0};
    ufi_teacher_cache *c = NULL;
    const ufi_teacher_key others[] = {{"model 2", "digest 1", SAMPLES, VALUES},
                                      {"model 1", "digest 2", SAMPLES, VALUES},
                                      {"model 1", "digest 1", SAMPLES, VALUES + 1}};
    static const char *const words[] = {"another teacher", "another dataset", "another length"};
    begin();
    REQUIRE_OK(ufi_teacher_cache_open(&c, path, &key, &err), err);
    CHECK_OK(put(c, 3, false, &err), err);
    ufi_teacher_cache_close(c);
    for (size_t i = 0; i < 3; i++) {
        CHECK(ufi_teacher_cache_open(&c, path, &others[i], &err) == UF_E_MISMATCH && !c);
        CHECK_MSG(strstr(err.message, words[i]) && strstr(err.message, path), "%s", err.message);
    }
    REQUIRE_OK(ufi_teacher_cache_open(&c, path, &key, &err), err);
    check_vectors(c, 1);
    ufi_teacher_cache_close(c);
    char text[200];
    memset(text, 'x', sizeof text);
    for (size_t size = 1; size <= sizeof text; size += 199) { /* not one byte of it is touched */
        CHECK_OK(ufi_file_write(path, text, size, &err), err);
        CHECK(ufi_teacher_cache_open(&c, path, &key, &err) == UF_E_FORMAT && !c);
        uint8_t *after = NULL;
        size_t bytes = 0;
        CHECK_OK(ufi_file_read(&after, &bytes, path, 1000, &err), err);
        CHECK(bytes == size && memcmp(after, text, size) == 0);
        ufi_free(after);
    }
    unlink(path);
    CHECK(ufi_teacher_cache_open(&c, "/tmp", &key, &err) == UF_E_IO && !c);
    CHECK(ufi_teacher_cache_open(&c, "/none/none", &key, &err) == UF_E_IO && !c);
    const ufi_teacher_key empty = {"model 1", "digest 1", SAMPLES, 0};
    CHECK(ufi_teacher_cache_open(&c, path, &empty, &err) == UF_E_ARG && !c);
}

/* Cut at every byte, the file is a prefix of what it was, and can be gone on with. */
TEST(every_cut_leaves_a_prefix)
{
    uf_error err = {0};
    ufi_teacher_cache *c = NULL;
    uint8_t *whole = NULL;
    size_t size = 0;
    begin();
    REQUIRE_OK(ufi_teacher_cache_open(&c, path, &key, &err), err);
    for (uint32_t s = 0; s < 4; s++)
        CHECK_OK(put(c, s, s & 1, &err), err);
    ufi_teacher_cache_close(c);
    REQUIRE_OK(ufi_file_read(&whole, &size, path, 1 << 20, &err), err);
    const size_t record = 8 + VALUES * 4 + 8, header = size - 4 * record;
    for (size_t cut = 0; cut <= size; cut++) {
        CHECK_OK(ufi_file_write(path, whole, cut, &err), err);
        REQUIRE_OK(ufi_teacher_cache_open(&c, path, &key, &err), err);
        check_vectors(c, cut < header ? 0 : (cut - header) / record);
        CHECK_OK(put(c, 7, true, &err), err);
        ufi_teacher_cache_close(c);
        REQUIRE_OK(ufi_teacher_cache_open(&c, path, &key, &err), err);
        check_vectors(c, 1 + (cut < header ? 0 : (cut - header) / record));
        ufi_teacher_cache_close(c);
    }
    for (size_t at = header; at < size; at++) { /* one byte of a record is wrong */
        whole[at] ^= 0x10;
        CHECK_OK(ufi_file_write(path, whole, size, &err), err);
        whole[at] ^= 0x10;
        REQUIRE_OK(ufi_teacher_cache_open(&c, path, &key, &err), err);
        check_vectors(c, (at - header) / record);
        ufi_teacher_cache_close(c);
    }
    ufi_free(whole);
    unlink(path);
}

/* Puts vectors for ever. */
static void write_on(void)
{
    ufi_teacher_cache *c;
    for (uint32_t s = 0;; s++) {
        if (s % SAMPLES == 0) {
            unlink(path);
            if (ufi_teacher_cache_open(&c, path, &key, NULL))
                _exit(1);
        }
        if (put(c, s % SAMPLES, s & 1, NULL))
            _exit(1);
        if (s % SAMPLES == SAMPLES - 1)
            ufi_teacher_cache_close(c);
    }
}

TEST(a_killed_writer_leaves_whole_vectors)
{
    uf_error err = {0};
    ufi_teacher_cache *c = NULL;
    for (int i = 0; i < 30; i++) {
        begin();
        const pid_t child = fork();
        if (child == 0)
            write_on();
        usleep(1000 + 700 * (useconds_t)i);
        kill(child, SIGKILL);
        int status = 0;
        waitpid(child, &status, 0);
        CHECK(WIFSIGNALED(status));
        REQUIRE_OK(ufi_teacher_cache_open(&c, path, &key, &err), err);
        check_vectors(c, ufi_teacher_cache_count(c));
        ufi_teacher_cache_close(c);
    }
    unlink(path);
}

TEST_MAIN
