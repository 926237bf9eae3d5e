/* The loader of index snapshots (.ufx). Digests are made to fit first, or nothing would get past
 * them; what opens is searched and changed. */
#define FUZZ_RUNS 2000
#include "fuzz.h"

#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "index/snapshot.h"

static uint32_t word_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Extents as the file says, as far as they fit. */
static bool read_extents(ufx_file *f, const uint8_t *data, size_t size)
{
    f->dimension = word_at(data + 32);
    f->detail = word_at(data + 36);
    f->lists = word_at(data + 40);
    f->segment_count = word_at(data + 44);
    f->mark = word_at(data + 64);
    if (f->dimension < 8 || f->dimension > 4096 || f->detail > 2 || f->lists > 64 ||
        f->segment_count > 64 || UFX_PAGE + 12 * (size_t)f->segment_count > size)
        return false;
    f->extents = ufi_calloc(f->segment_count + 1, sizeof *f->extents);
    for (uint32_t i = 0; f->extents && i < f->segment_count; i++) {
        const uint8_t *p = data + UFX_PAGE + 12 * (size_t)i;
        f->extents[i].capacity = word_at(p);
        f->extents[i].used = word_at(p + 4);
        f->extents[i].list = word_at(p + 8);
        if (f->extents[i].capacity > UFI_SEGMENT_SLOTS)
            return false;
    }
    return f->extents != NULL;
}

static void sign(uint8_t *data, size_t size)
{
    ufx_file f = {0};
    uf_index *x = NULL;
    uf_index_options o = UF_INDEX_OPTIONS_INIT;
    if (size < UFX_PAGE || !read_extents(&f, data, size))
        goto cleanup;
    o.dimension = f.dimension;
    o.detail = (uf_index_detail)f.detail;
    if (ufi_index_new_any(&x, &o, NULL) || !ufx_plan(x, &f) || f.size > size)
        goto cleanup;
    f.table = ufi_calloc((size_t)f.chunk_count + 1, UFX_ENTRY);
    for (uint32_t i = 0; f.table && i <= f.segment_count; i++)
        for (uint64_t at = 0; at < f.extents[i].bytes; at += UFX_CHUNK) {
            const uint64_t left = f.extents[i].bytes - at;
            ufx_close_chunk(&f, f.extents[i].first_chunk + (uint32_t)(at / UFX_CHUNK),
                            data + f.extents[i].offset + at,
                            left < UFX_CHUNK ? (size_t)left : UFX_CHUNK, NULL, NULL);
        }
    f.size = size;
    if (f.table)
        ufx_put_front(&f, data, NULL, NULL);
cleanup:
    uf_index_destroy(x);
    ufx_free(&f);
}

static uf_status fetch_nothing(void *user, const uint64_t *keys, size_t count, float *vectors,
                               uf_error *err)
{
    (void)user, (void)keys, (void)count, (void)vectors, (void)err;
    return UF_E_NOT_FOUND;
}

static void use(uf_index *x)
{
    const uf_index_info info = uf_index_describe(x);
    float *v = calloc(info.dimension, sizeof *v);
    uf_searcher *s = NULL;
    uf_search_options o = UF_SEARCH_OPTIONS_INIT;
    uf_hit hits[3];
    uint32_t count = 0;
    const uint64_t key = 12345, group = 1;
    v[1] = 1;
    v[7] = -0.5f;
    o.top_k = 3;
    if (!uf_searcher_create(&s, x, 1, NULL)) {
        (void)uf_searcher_run(s, v, 1, &o, hits, &count, NULL, NULL);
        o.miss_rate = 0;
        (void)uf_searcher_run(s, v, 1, &o, hits, &count, NULL, NULL);
    }
    uf_searcher_destroy(s);
    (void)uf_index_add(x, &key, &group, v, 1, NULL);
    (void)uf_index_remove(x, &key, 1, NULL, NULL);
    free(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uf_index_options o = UF_INDEX_OPTIONS_INIT;
    uf_index *x = NULL;
    uint8_t *copy = aligned_alloc(64, (size + 64) / 64 * 64);
    memcpy(copy, data, size);
    sign(copy, size);
    o.detail = size % 2 ? UF_INDEX_SKETCH : UF_INDEX_INT8;
    o.fetch = o.detail == UF_INDEX_SKETCH ? fetch_nothing : NULL;
    if (!ufi_snapshot_open(&x, copy, size, NULL, &o, NULL))
        use(x);
    uf_index_destroy(x);
    free(copy);
    return 0;
}

static size_t make_seed(size_t i, uint8_t *out, size_t cap)
{
    enum { DIMENSION = 16, COUNT = 500 };
    uf_index_options o = UF_INDEX_OPTIONS_INIT;
    uf_index *x = NULL;
    uint8_t *bytes = NULL;
    size_t size = 0;
    char path[] = "/tmp/uniface-fuzz-XXXXXX";
    o.dimension = DIMENSION;
    o.lists = i ? 16 : 0;
    const int fd = mkstemp(path);
    if (fd < 0 || uf_index_create(&x, &o, NULL))
        return 0;
    close(fd);
    for (uint64_t k = 0; k < (i ? COUNT : 40); k++) {
        float v[DIMENSION];
        for (uint64_t d = 0; d < DIMENSION; d++)
            v[d] = (float)((k * 31 + d * 17 + k * d) % 29) - 13.5f;
        if (uf_index_add(x, &k, &k, v, 1, NULL))
            break;
    }
    if ((i && uf_index_train(x, 1, NULL)) || uf_index_save(x, path, NULL, NULL) ||
        ufi_file_read(&bytes, &size, path, cap, NULL))
        size = 0;
    if (size)
        memcpy(out, bytes, size);
    ufi_free(bytes);
    uf_index_destroy(x);
    unlink(path);
    return size;
}

size_t seeds(size_t i, uint8_t *out, size_t cap)
{
    static uint8_t made[2][1 << 18];
    static size_t size[2];
    if (i > 1)
        return 0;
    if (!size[i])
        size[i] = make_seed(i, made[i], sizeof made[i]);
    if (size[i] > cap)
        return 0;
    memcpy(out, made[i], size[i]);
    return size[i];
}
