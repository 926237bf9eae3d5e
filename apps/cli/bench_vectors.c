/*
 * What faces look like to an index: each identity is a direction, uniform on the sphere; each
 * picture lies beside it so that the cosines of two pictures of one identity are 0.4 to 0.8, where
 * those of real embedders are. Strangers have the cosines of random directions.
 *
 * Numbers come from a counter (splitmix64: Steele, Lea and Flood 2014), so that any vector can be
 * made again from its number; a component is the sum of four random bytes, near enough to normal
 * for a direction.
 *
 * Real embeddings are multiplied by orthogonal maps (signs and an order of the components for each
 * copy), which keeps all cosines within a copy and makes copies strangers to each other, and
 * blurred a little.
 */
#include "bench_vectors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mix.h"

/* Cosine of a made picture to its identity: products of two are 0.4 to 0.8. */
static const double picture_low = 0.6325, picture_high = 0.8944;
/* Cosine of a blurred copy to the row that it came from. */
static const double copy_cosine = 0.98;
/* Cosines of probes to their row where the file does not tell who is who. */
static const double probe_low = 0.4, probe_high = 0.8;

enum stream { IDENTITY = 1, PICTURE, CLOSENESS, PROBE, BLUR, TURN, CHOICE };

/* ---- random numbers by counter ---- */

static uint64_t key_of(const vector_source *s, enum stream stream, uint64_t number)
{
    return cli_mix(cli_mix(s->seed * CLI_MIX_STEP + (uint64_t)stream) + number * CLI_MIX_STEP);
}

static double uniform(const vector_source *s, enum stream stream, uint64_t number, double low,
                      double high)
{
    return low + (high - low) * (double)(key_of(s, stream, number) >> 11) / (double)(1ull << 53);
}

static void scale_to(float *v, size_t n, double length)
{
    const double square = (double)uf_similarity(v, v, n);
    const float f = (float)(length / sqrt(square > 0 ? square : 1));
    for (size_t i = 0; i < n; i++)
        v[i] *= f;
}

/* A random direction of this length. Two components from each number. */
static void direction(const vector_source *s, enum stream stream, uint64_t number, double length,
                      float *out)
{
    const uint64_t key = key_of(s, stream, number), bytes = 0x00FF00FF00FF00FFu;
    for (uint32_t i = 0; i < s->dimension; i += 2) {
        const uint64_t x = cli_mix(key + i * CLI_MIX_STEP);
        const uint64_t pairs = (x & bytes) + (x >> 8 & bytes), sums = pairs + (pairs >> 16);
        out[i] = (float)(int32_t)(sums & 0xFFFF) - 510;
        if (i + 1 < s->dimension)
            out[i + 1] = (float)(int32_t)(sums >> 32 & 0xFFFF) - 510;
    }
    scale_to(out, s->dimension, length);
}

/* v (unit length) becomes a vector with about this cosine to it. */
static void blur(const vector_source *s, enum stream stream, uint64_t number, double cosine,
                 float *v, float *scratch)
{
    const float c = (float)cosine;
    direction(s, stream, number, sqrt(1 - cosine * cosine), scratch);
    for (uint32_t i = 0; i < s->dimension; i++)
        v[i] = c * v[i] + scratch[i];
    scale_to(v, s->dimension, 1);
}

/* ---- made identities ---- */

static void make_picture(const vector_source *s, uint64_t number, const float *identity, float *out,
                         float *scratch)
{
    memcpy(out, identity, s->dimension * sizeof *out);
    blur(s, PICTURE, number, uniform(s, CLOSENESS, number, picture_low, picture_high), out,
         scratch);
}

static void make_synthetic(const vector_source *s, uint64_t from, size_t n, float *out)
{
    float *identity = cli_need(malloc(2 * s->dimension * sizeof *identity));
    uint64_t current = UINT64_MAX;
    for (size_t i = 0; i < n; i++) {
        const uint64_t number = from + i, group = number / s->pictures;
        if (group != current)
            direction(s, IDENTITY, group, 1, identity);
        current = group;
        make_picture(s, number, identity, out + i * s->dimension, identity + s->dimension);
    }
    free(identity);
}

/* ---- rows of a file ---- */

static uint32_t gcd(uint32_t a, uint32_t b)
{
    while (b) {
        const uint32_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

/* Row `row` under the orthogonal map of a copy; copy 0 is as it is. */
static void turned_row(const vector_source *s, uint32_t row, uint64_t copy, float *out)
{
    const float *in = s->rows + (size_t)row * s->dimension;
    const uint64_t key = key_of(s, TURN, copy);
    const uint32_t d = s->dimension;
    uint32_t step = (uint32_t)(key % d) | 1, place = (uint32_t)(key >> 32) % d;
    if (!copy) {
        memcpy(out, in, d * sizeof *out);
        return;
    }
    while (gcd(step, d) != 1)
        step += 2;
    for (uint32_t i = 0; i < d; i++, place = (place + step) % d)
        out[i] = cli_mix(key + i) & 1 ? in[place] : -in[place];
}

static void make_copies(const vector_source *s, uint64_t from, size_t n, float *out)
{
    float *scratch = cli_need(malloc(s->dimension * sizeof *scratch));
    for (size_t i = 0; i < n; i++) {
        const uint64_t number = from + i, copy = number / s->kept_count;
        float *v = out + i * s->dimension;
        turned_row(s, s->kept[number % s->kept_count], copy, v);
        if (copy)
            blur(s, BLUR, number, copy_cosine, v, scratch);
    }
    free(scratch);
}

/* ---- the door ---- */

void vector_source_make(const vector_source *s, uint64_t from, size_t n, float *out)
{
    if (s->rows)
        make_copies(s, from, n, out);
    else
        make_synthetic(s, from, n, out);
}

/* People of copies are others than those of the file. */
static uint64_t group_in_copy(const vector_source *s, uint32_t row, uint64_t copy)
{
    const uint64_t label = s->labels ? (uint64_t)s->labels[row] : row;
    return copy << 32 | (label & 0xFFFFFFFFu);
}

uint64_t vector_source_group(const vector_source *s, uint64_t number)
{
    if (!s->rows)
        return number / s->pictures;
    return group_in_copy(s, s->kept[number % s->kept_count], number / s->kept_count);
}

static void probe_of_file(const vector_source *s, uint64_t i, float *out, uint64_t *group,
                          float *scratch)
{
    const bool mated = i % 2 == 0;
    const uint64_t pick = key_of(s, CHOICE, i), copies = s->count / s->kept_count;
    if (!mated || s->held_count) {
        /* A picture that was kept back; of a copy that is not in the index it is a stranger. */
        const uint32_t row =
            s->held_count ? s->held[pick % s->held_count] : s->kept[pick % s->kept_count];
        const uint64_t copy = mated && copies ? (pick >> 32) % copies : mated ? 0 : copies + 1 + i;
        *group = group_in_copy(s, row, copy);
        turned_row(s, row, copy, out);
        return;
    }
    const uint64_t number = pick % s->count;
    *group = vector_source_group(s, number);
    make_copies(s, number, 1, out);
    blur(s, PROBE, i, uniform(s, CLOSENESS, i, probe_low, probe_high), out, scratch);
}

void vector_source_probe(const vector_source *s, uint64_t i, float *out, uint64_t *group)
{
    float *scratch = cli_need(malloc(2 * s->dimension * sizeof *scratch));
    if (s->rows) {
        probe_of_file(s, i, out, group, scratch);
    } else {
        const uint64_t people = (s->count + s->pictures - 1) / s->pictures;
        *group = i % 2 ? people + i : key_of(s, CHOICE, i) % people;
        direction(s, IDENTITY, *group, 1, scratch);
        /* Numbers behind those of the index: pictures that are not in it. */
        make_picture(s, (people + 1) * s->pictures + i, scratch, out, scratch + s->dimension);
    }
    free(scratch);
}

/* ---- files ---- */

typedef struct labelled {
    int64_t label;
    uint32_t row;
} labelled;

static int by_label(const void *a, const void *b)
{
    const labelled *p = a, *q = b;
    if (p->label != q->label)
        return p->label < q->label ? -1 : 1;
    return (p->row > q->row) - (p->row < q->row);
}

/* Of each person with several pictures the last is kept back as a probe. */
static void keep_back(vector_source *s, size_t rows)
{
    labelled *all = cli_need(calloc(rows, sizeof *all));
    for (size_t i = 0; i < rows; i++)
        all[i] = (labelled){s->labels ? s->labels[i] : (int64_t)i, (uint32_t)i};
    qsort(all, rows, sizeof *all, by_label);
    for (size_t i = 0; i < rows; i++) {
        const bool earlier = i && all[i - 1].label == all[i].label;
        const bool later = i + 1 < rows && all[i + 1].label == all[i].label;
        if (earlier && !later)
            s->held[s->held_count++] = all[i].row;
        else
            s->kept[s->kept_count++] = all[i].row;
    }
    free(all);
}

static int read_labels(vector_source *s, const char *path, int64_t rows)
{
    uf_tensor_info t;
    void *data;
    if (!npy_read(path, &t, &data))
        return EXIT_INPUT;
    s->labels = data;
    if (t.dtype != UF_I64 || t.rank != 1 || t.dims[0] != rows)
        return cli_complain(EXIT_INPUT, "%s: it must hold int64 [%lld], a number for each row",
                            path, (long long)rows);
    return 0;
}

int vector_source_open(vector_source *s, const char *npy, const char *groups)
{
    uf_tensor_info t;
    void *data;
    if (!npy_read(npy, &t, &data))
        return EXIT_INPUT;
    s->rows = data;
    if (t.dtype != UF_F32 || t.rank != 2 || t.dims[0] < 2 || t.dims[0] > 10000000 ||
        t.dims[1] < UF_INDEX_MIN_DIMENSION || t.dims[1] > UF_INDEX_MAX_DIMENSION)
        return cli_complain(EXIT_INPUT, "%s: it must hold float32 [vectors, dimension]", npy);
    const size_t rows = (size_t)t.dims[0];
    s->dimension = (uint32_t)t.dims[1];
    for (size_t i = 0; i < rows; i++)
        scale_to(s->rows + i * s->dimension, s->dimension, 1);
    const int status = groups ? read_labels(s, groups, t.dims[0]) : 0;
    s->kept = cli_need(malloc(rows * sizeof *s->kept));
    s->held = cli_need(malloc(rows * sizeof *s->held));
    if (!status)
        keep_back(s, rows);
    return status;
}

void vector_source_close(vector_source *s)
{
    free(s->rows);
    free(s->labels);
    free(s->kept);
    free(s->held);
}
