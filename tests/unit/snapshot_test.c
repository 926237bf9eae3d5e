/* Snapshots of an index: what comes back, what is noticed, what is left after removal. */
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/seal.h"
#include "crowd.h"

static const uint8_t secret[UF_INDEX_KEY_BYTES] = {1, 2, 3, 250}, other[UF_INDEX_KEY_BYTES] = {9};

static const char *file_name(void)
{
    static char path[128];
    snprintf(path, sizeof path, "snapshot_test.%ld.ufx", (long)getpid());
    return path;
}

static uint8_t *read_file(const char *path, size_t *size)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (!f || stat(path, &st)) {
        CHECK_MSG(false, "%s is missing", path);
        exit(1);
    }
    uint8_t *data = malloc((size_t)st.st_size + 1);
    *size = fread(data, 1, (size_t)st.st_size, f);
    fclose(f);
    return data;
}

static void write_file(const char *path, const uint8_t *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(data, 1, size, f) == size);
    if (f)
        fclose(f);
}

static bool sealing(void)
{
    return ufi_seal_ready(NULL) == UF_OK;
}

static void round_trip(const crowd *c, uf_index_detail saved, uf_index_detail opened,
                       const uint8_t *key)
{
    uf_error err = {0};
    uf_index_options o = UF_INDEX_OPTIONS_INIT;
    uf_search_options so = UF_SEARCH_OPTIONS_INIT;
    uf_index *x = index_of(c, saved, true, &err), *y = NULL;
    bool *gone = calloc(c->count, sizeof *gone);
    so.top_k = 3;
    for (size_t i = 0; i < c->count; i += 5) {
        gone[i] = true;
        uf_index_remove(x, &c->keys[i], 1, NULL, NULL);
    }
    uf_index_set_mark(x, 77);
    CHECK_OK(uf_index_save(x, file_name(), key, &err), err);
    uf_index_destroy(x);
    o.detail = opened;
    o.fetch = fetch_crowd;
    o.fetch_user = (void *)(uintptr_t)c;
    REQUIRE_OK(uf_index_open(&y, file_name(), key, &o, &err), err);
    CHECK(uf_index_describe(y).mark == 77 && uf_index_describe(y).detail == opened);
    compare(y, c, gone, &so, 20, 1, 2e-6f);
    /* It goes on as any index does, and the file stays as it is. */
    for (size_t i = 0; i < c->count; i += 5) {
        gone[i] = false;
        CHECK_OK(uf_index_add(y, &c->keys[i], &c->groups[i], c->v + i * c->dimension, 1, &err),
                 err);
    }
    for (size_t i = 1; i < c->count; i += 7)
        gone[i] = !uf_index_remove(y, &c->keys[i], 1, NULL, NULL);
    compare(y, c, gone, &so, 20, 2, 2e-6f);
    uf_index_destroy(y);
    unlink(file_name());
    free(gone);
}

TEST(a_snapshot_brings_back_the_index)
{
    crowd c = make_crowd(3000, 130, 2);
    round_trip(&c, UF_INDEX_INT8, UF_INDEX_INT8, NULL);
    round_trip(&c, UF_INDEX_FLOAT, UF_INDEX_FLOAT, NULL);
    round_trip(&c, UF_INDEX_FLOAT, UF_INDEX_SKETCH, NULL);
    round_trip(&c, UF_INDEX_SKETCH, UF_INDEX_SKETCH, NULL);
    if (sealing()) {
        round_trip(&c, UF_INDEX_INT8, UF_INDEX_INT8, secret);
        round_trip(&c, UF_INDEX_FLOAT, UF_INDEX_INT8, secret);
        round_trip(&c, UF_INDEX_INT8, UF_INDEX_SKETCH, secret);
    }
    free_crowd(&c);
}

TEST(several_segments)
{
    crowd c = make_crowd(70000, 16, 2);
    round_trip(&c, UF_INDEX_INT8, UF_INDEX_INT8, NULL);
    free_crowd(&c);
}

TEST(lists_are_saved)
{
    uf_error err = {0};
    crowd c = make_crowd(2000, 64, 2);
    uf_index_options o = UF_INDEX_OPTIONS_INIT;
    uf_search_options so = UF_SEARCH_OPTIONS_INIT;
    uf_index *x = NULL, *y = NULL;
    o.dimension = 64;
    o.lists = 20;
    o.detail = UF_INDEX_FLOAT;
    so.lists = 20;
    CHECK_OK(uf_index_create(&x, &o, &err), err);
    CHECK_OK(uf_index_add(x, c.keys, c.groups, c.v, c.count, &err), err);
    CHECK_OK(uf_index_train(x, 1, &err), err);
    CHECK_OK(uf_index_save(x, file_name(), NULL, &err), err);
    REQUIRE_OK(uf_index_open(&y, file_name(), NULL, NULL, &err), err);
    CHECK(uf_index_describe(y).lists == 20);
    compare(y, &c, NULL, &so, 20, 1, 2e-6f);
    const uint64_t key = 5, group = 1 << 20;
    CHECK_OK(uf_index_add(y, &key, &group, c.v, 1, &err), err);
    uf_index_destroy(x);
    uf_index_destroy(y);
    unlink(file_name());
    free_crowd(&c);
}

TEST(an_empty_index_is_saved_too)
{
    uf_error err = {0};
    uf_index_options o = UF_INDEX_OPTIONS_INIT;
    uf_index *x = NULL, *y = NULL;
    o.dimension = 64;
    CHECK_OK(uf_index_create(&x, &o, &err), err);
    CHECK_OK(uf_index_save(x, file_name(), NULL, &err), err);
    CHECK_OK(uf_index_open(&y, file_name(), NULL, NULL, &err), err);
    CHECK(y && uf_index_describe(y).count == 0);
    uf_index_destroy(x);
    uf_index_destroy(y);
    unlink(file_name());
}

TEST(the_wrong_secret_says_so)
{
    uf_error err = {0};
    crowd c = make_crowd(100, 64, 1);
    uf_index *x = index_of(&c, UF_INDEX_INT8, false, &err), *y = NULL;
    if (!sealing()) {
        CHECK(uf_index_save(x, file_name(), secret, &err) == UF_E_UNSUPPORTED);
        uf_index_destroy(x);
        free_crowd(&c);
        return;
    }
    CHECK_OK(uf_index_save(x, file_name(), secret, &err), err);
    CHECK(uf_index_open(&y, file_name(), other, NULL, &err) == UF_E_MISMATCH &&
          strstr(err.message, "secret is not that"));
    CHECK(uf_index_open(&y, file_name(), NULL, NULL, &err) == UF_E_MISMATCH &&
          strstr(err.message, "a secret is needed"));
    CHECK_OK(uf_index_save(x, file_name(), NULL, &err), err);
    CHECK(uf_index_open(&y, file_name(), secret, NULL, &err) == UF_E_MISMATCH &&
          strstr(err.message, "not sealed"));
    uf_index_options o = UF_INDEX_OPTIONS_INIT;
    o.dimension = 65;
    CHECK(uf_index_open(&y, file_name(), NULL, &o, &err) == UF_E_MISMATCH);
    o.dimension = 64;
    o.detail = UF_INDEX_FLOAT;
    CHECK(uf_index_open(&y, file_name(), NULL, &o, &err) == UF_E_MISMATCH &&
          strstr(err.message, "less detail"));
    CHECK(y == NULL);
    uf_index_destroy(x);
    unlink(file_name());
    free_crowd(&c);
}

/* Every byte changed, and cut at many places: an error, or padding that nobody reads. */
static void damage(const uint8_t *key)
{
    uf_error err = {0};
    crowd c = make_crowd(40, 64, 1);
    uf_index *x = index_of(&c, UF_INDEX_INT8, false, &err);
    size_t size, unnoticed = 0;
    CHECK_OK(uf_index_save(x, file_name(), key, &err), err);
    uf_index_destroy(x);
    uint8_t *data = read_file(file_name(), &size);
    for (size_t i = 0; i < size; i += i < 400 || i % 4096 < 64 ? 1 : 13) {
        uf_index *y = NULL;
        data[i] ^= 0x10;
        write_file(file_name(), data, size);
        uf_status st = uf_index_open(&y, file_name(), key, NULL, &err);
        data[i] ^= 0x10;
        if (st) {
            CHECK_MSG(st == UF_E_FORMAT || st == UF_E_MISMATCH || st == UF_E_UNSUPPORTED, "%zu: %s",
                      i, err.message);
            CHECK(strstr(err.message, file_name()));
        } else {
            uf_search_options so = UF_SEARCH_OPTIONS_INIT;
            unnoticed++;
            compare(y, &c, NULL, &so, 4, 1, 0.01f);
        }
        uf_index_destroy(y);
    }
    /* The last page's padding is the only thing without a digest. */
    CHECK_MSG(unnoticed * 13 < 4096 + 64 * 13, "%zu changed bytes were not noticed", unnoticed);
    for (size_t cut = 0; cut < size; cut += 97) {
        uf_index *y = NULL;
        write_file(file_name(), data, cut);
        CHECK(uf_index_open(&y, file_name(), key, NULL, &err) != UF_OK && !y);
    }
    free(data);
    unlink(file_name());
    free_crowd(&c);
}

TEST(damage_is_noticed)
{
    damage(NULL);
    if (sealing())
        damage(secret);
}

static bool contains(const uint8_t *data, size_t size, const void *part, size_t part_size)
{
    return memmem(data, size, part, part_size) != NULL;
}

static void removal(const uint8_t *key)
{
    uf_error err = {0};
    crowd c = make_crowd(500, 256, 1);
    bool *gone = calloc(c.count, sizeof *gone);
    uf_index *x = index_of(&c, UF_INDEX_FLOAT, false, &err), *y = NULL;
    uf_search_options so = UF_SEARCH_OPTIONS_INIT;
    size_t size, removed = 0;
    const uint64_t keys[] = {c.keys[3], 5, c.keys[499]};
    CHECK_OK(uf_index_save(x, file_name(), key, &err), err);
    uf_index_destroy(x);
    uint8_t *data = read_file(file_name(), &size);
    if (!key)
        CHECK(contains(data, size, c.v + 3 * 256 + 10, 16));
    free(data);
    CHECK_OK(uf_index_file_remove(file_name(), key, keys, 3, &removed, &err), err);
    CHECK(removed == 2);
    data = read_file(file_name(), &size);
    CHECK(!contains(data, size, c.v + 3 * 256 + 10, 16));
    free(data);
    CHECK_OK(uf_index_open(&y, file_name(), key, NULL, &err), err);
    gone[3] = gone[499] = true;
    compare(y, &c, gone, &so, 20, 1, 2e-6f);
    uf_index_destroy(y);
    CHECK(uf_index_file_remove("no/such/file.ufx", key, keys, 3, &removed, &err) == UF_E_IO);
    unlink(file_name());
    free(gone);
    free_crowd(&c);
}

TEST(nothing_is_left_of_what_is_removed)
{
    removal(NULL);
    if (sealing())
        removal(secret);
}

TEST(memory_may_run_out_anywhere)
{
    uf_error err = {0};
    crowd c = make_crowd(300, 64, 1);
    uf_index *x = index_of(&c, UF_INDEX_INT8, false, &err);
    CHECK_OK(uf_index_save(x, file_name(), NULL, &err), err);
    for (uint64_t k = 1; k < 40; k++) {
        uf_index *y = NULL;
        ufi_mem_fail_after(k, false);
        uf_status st = uf_index_save(x, file_name(), NULL, &err);
        if (!st)
            st = uf_index_open(&y, file_name(), NULL, NULL, &err);
        if (!st)
            st = uf_index_file_remove(file_name(), NULL, c.keys, 1, NULL, &err);
        ufi_mem_fail_after(0, false);
        CHECK_MSG(st == UF_OK || st == UF_E_NOMEM, "%s", err.message);
        uf_index_destroy(y);
        /* A save that failed left the old file. */
        CHECK_OK(uf_index_open(&y, file_name(), NULL, NULL, &err), err);
        uf_index_destroy(y);
    }
    uf_index_destroy(x);
    unlink(file_name());
    free_crowd(&c);
}

TEST_MAIN
