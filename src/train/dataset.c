#include "train/dataset.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "uniface/image.h"

#define MAX_PICTURE_BYTES ((size_t)1 << 30)

/* Puts the source's name before the message, if the message does not begin with it already. */
static uf_status name_source(uf_error *err, uf_status st, const char *source)
{
    if (err && strncmp(err->message, source, strlen(source)) == 0)
        return st;
    return ufi_wrap(err, st, "%s", source);
}

uf_status ufi_dataset_open(ufi_dataset **out, const char *const *sources, size_t count,
                           uf_error *err)
{
    *out = NULL;
    ufi_dataset *d = ufi_calloc(1, sizeof *d);
    if (!d)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a dataset");
    ufi_arena_init(&d->arena, 0);
    uf_status st = UF_OK;
    for (size_t i = 0; !st && i < count; i++)
        st = name_source(err, ufi_dataset_add_source(d, sources[i], err), sources[i]);
    if (!st && d->count == 0)
        st = ufi_fail(err, UF_E_ARG, "no source of pictures is given");
    if (st) {
        ufi_dataset_close(d);
        return st;
    }
    *out = d;
    return UF_OK;
}

void ufi_dataset_close(ufi_dataset *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->archive_count; i++)
        ufi_file_close(&d->archives[i].file);
    ufi_free(d->archives);
    ufi_free(d->samples);
    ufi_free(d->places);
    ufi_arena_free(&d->arena);
    ufi_free(d);
}

size_t ufi_dataset_count(const ufi_dataset *d)
{
    return d->count;
}

int32_t ufi_dataset_labels(const ufi_dataset *d)
{
    return d->labels;
}

const ufi_sample *ufi_dataset_sample(const ufi_dataset *d, size_t i)
{
    return &d->samples[i];
}

/* The encoded bytes, in memory of ufi_malloc. */
static uf_status read_bytes(const ufi_dataset *d, size_t i, uint8_t **out, size_t *size,
                            uf_error *err)
{
    const ufi_place *p = &d->places[i];
    if (p->archive < 0)
        return ufi_file_read(out, size, p->path, MAX_PICTURE_BYTES, err);
    const ufi_file *f = &d->archives[p->archive].file;
    *out = NULL;
    *size = p->size;
    if (p->size > MAX_PICTURE_BYTES)
        return ufi_fail(err, UF_E_LIMIT, "%s: %s has %zu bytes", f->path, d->samples[i].name,
                        p->size);
    uint8_t *data = ufi_malloc(p->size + 1, 1); /* an empty entry is told by the decoder */
    if (!data)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a picture of %zu bytes", p->size);
    uf_status st = ufi_file_read_at(f, p->offset, data, p->size, err);
    if (st) {
        ufi_free(data);
        return st;
    }
    *out = data;
    return UF_OK;
}

uf_status ufi_dataset_read(const ufi_dataset *d, size_t i, uf_picture **out, uf_error *err)
{
    uint8_t *data;
    size_t size;
    *out = NULL;
    uf_status st = read_bytes(d, i, &data, &size, err);
    if (st)
        return st;
    st = uf_picture_decode(out, data, size, NULL, err);
    ufi_free(data);
    const ufi_place *p = &d->places[i];
    if (p->archive < 0)
        return ufi_wrap(err, st, "%s", p->path);
    return ufi_wrap(err, st, "%s: %s", d->archives[p->archive].file.path, d->samples[i].name);
}

static void put_u64(ufi_sha256 *h, uint64_t v)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(v >> 8 * i);
    ufi_sha256_update(h, bytes, sizeof bytes);
}

static void put_sample(ufi_sha256 *h, const ufi_sample *s)
{
    const size_t n = strlen(s->name);
    put_u64(h, n);
    ufi_sha256_update(h, s->name, n);
    put_u64(h, (uint64_t)(int64_t)s->label);
    put_u64(h, s->has_points);
    for (int i = 0; s->has_points && i < UF_LANDMARKS; i++) {
        uint32_t x, y;
        memcpy(&x, &s->points[i].x, sizeof x);
        memcpy(&y, &s->points[i].y, sizeof y);
        put_u64(h, (uint64_t)x << 32 | y);
    }
}

uf_status ufi_dataset_digest(const ufi_dataset *d, char out[65], uf_error *err)
{
    uint8_t digest[UFI_SHA256_BYTES];
    ufi_sha256 h;
    ufi_sha256_init(&h);
    for (size_t i = 0; i < d->count; i++) {
        uint8_t *data = NULL;
        size_t size = 0;
        const uf_status st = read_bytes(d, i, &data, &size, err);
        if (st == UF_E_NOMEM)
            return st;
        put_sample(&h, &d->samples[i]);
        put_u64(&h, st ? UINT64_MAX : size); /* one that is missing is told while it is learned */
        if (!st)
            ufi_sha256_update(&h, data, size);
        ufi_free(data);
    }
    ufi_sha256_final(&h, digest);
    ufi_hex(digest, sizeof digest, out);
    return UF_OK;
}

uf_status ufi_dataset_locate(ufi_dataset *d, ufi_locate_fn *fn, void *arg, bool stay,
                             size_t *without, uf_error *err)
{
    size_t kept = 0;
    const size_t count = d->count;
    for (size_t i = 0; i < count; i++) {
        uf_picture *picture = NULL;
        ufi_sample *s = &d->samples[i];
        if (!s->has_points && !ufi_dataset_read(d, i, &picture, NULL)) {
            const uf_image view = uf_picture_view(picture);
            s->has_points = fn(arg, &view, s->points);
            uf_picture_destroy(picture);
        }
        if (!s->has_points && !stay)
            continue;
        d->samples[kept] = *s;
        d->places[kept++] = d->places[i];
    }
    *without = count - kept;
    d->count = kept;
    return kept ? UF_OK
                : ufi_fail(err, UF_E_NO_FACE, "none of the %zu pictures has a face in it", count);
}
