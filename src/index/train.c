/*
 * The lists of an inverted file (Sivic and Zisserman 2003; Jegou et al. 2011): spherical k-means
 * over the 8-bit codes, then every vector moves into segments of its list. Old segments are let go
 * one by one, so that memory does not double.
 */
#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/seal.h"
#include "base/status.h"
#include "index/index.h"

enum { ROUNDS = 8, SAMPLES_PER_LIST = 48, LEAST_PER_LIST = 30, SOME = 256 };

uint32_t ufi_index_nearest_list(const uf_index *x, const float *rotated)
{
    uint32_t best = 0;
    float largest = -2;
    for (uint32_t i = 0; i < x->lists; i++) {
        const float dot = x->kernels->dot_f32(x->centre + (size_t)i * x->width, rotated, x->width);
        if (dot > largest) {
            largest = dot;
            best = i;
        }
    }
    return best;
}

typedef struct trainer {
    uf_index *x;
    ufi_pool *pool;
    uint32_t lists;
    float *centre;      /* [lists][width] */
    int8_t *code;       /* [lists][width]: the centres in 8 bits */
    const int8_t **row; /* [lists]: of code */
    float *step;        /* [lists] */
    int32_t *dots;      /* [workers][lists] */
    uint32_t *slots;    /* of the sample */
    uint32_t *list;     /* [sample, or slots of a segment]: where each belongs */
    uint32_t *size;     /* [lists]: of the sample */
    size_t sample_count;
    ufi_segment *drained; /* the segment whose vectors are assigned, or NULL: the sample */
} trainer;

static const int8_t *code_of(const uf_index *x, uint32_t slot)
{
    return x->segments[slot / UFI_SEGMENT_SLOTS].code +
           (size_t)(slot % UFI_SEGMENT_SLOTS) * x->width;
}

/* ---- centres ---- */

static void code_centres(trainer *t)
{
    const size_t width = t->x->width;
    for (uint32_t i = 0; i < t->lists; i++) {
        const float *c = t->centre + i * width;
        float largest = 1e-20f;
        for (size_t k = 0; k < width; k++)
            largest = fmaxf(largest, fabsf(c[k]));
        t->step[i] = largest / 127;
        for (size_t k = 0; k < width; k++)
            t->code[i * width + k] = (int8_t)lrintf(c[k] * (127 / largest));
    }
}

static void set_centre(trainer *t, uint32_t list, uint32_t slot)
{
    const int8_t *code = code_of(t->x, slot);
    float *c = t->centre + (size_t)list * t->x->width;
    for (size_t k = 0; k < t->x->width; k++)
        c[k] = code[k];
}

static void unit_centre(trainer *t, uint32_t list)
{
    float *c = t->centre + (size_t)list * t->x->width;
    const float scale = ufi_inverse_length(c, t->x->width);
    for (size_t k = 0; k < t->x->width; k++)
        c[k] *= scale;
}

/* The lists of SOME vectors, by the 8-bit codes. */
static void assign_some(void *arg, size_t task, size_t worker)
{
    trainer *t = arg;
    int32_t *dots = t->dots + worker * t->lists;
    const size_t count = t->drained ? t->drained->used : t->sample_count;
    for (size_t i = task * SOME; i < count && i < (task + 1) * SOME; i++) {
        const int8_t *code =
            t->drained ? t->drained->code + i * t->x->width : code_of(t->x, t->slots[i]);
        float largest = -INFINITY;
        t->x->kernels->dot_i8(dots, code, t->row, t->lists, t->x->width);
        for (uint32_t l = 0; l < t->lists; l++) {
            const float score = t->step[l] * (float)dots[l];
            if (score > largest) {
                largest = score;
                t->list[i] = l;
            }
        }
    }
}

static void assign(trainer *t)
{
    const size_t count = t->drained ? t->drained->used : t->sample_count;
    ufi_pool_run(t->pool, assign_some, t, (count + SOME - 1) / SOME);
}

/* Each centre becomes the mean direction of its vectors; one without vectors starts again from a
 * vector of the sample. */
static void move_centres(trainer *t, uint32_t round)
{
    const size_t width = t->x->width;
    memset(t->centre, 0, t->lists * width * sizeof *t->centre);
    memset(t->size, 0, t->lists * sizeof *t->size);
    for (size_t i = 0; i < t->sample_count; i++) {
        const int8_t *code = code_of(t->x, t->slots[i]);
        float *c = t->centre + t->list[i] * width;
        const uint32_t slot = t->slots[i];
        const float step = t->x->segments[slot / UFI_SEGMENT_SLOTS].step[slot % UFI_SEGMENT_SLOTS];
        for (size_t k = 0; k < width; k++)
            c[k] += step * code[k];
        t->size[t->list[i]]++;
    }
    for (uint32_t l = 0; l < t->lists; l++) {
        if (!t->size[l])
            set_centre(t, l, t->slots[((size_t)l * 7919 + round * 104729) % t->sample_count]);
        unit_centre(t, l);
    }
    code_centres(t);
}

static void take_sample(trainer *t)
{
    const uint64_t wanted = t->sample_count, there = t->x->count;
    uint64_t seen = 0, taken = 0;
    for (size_t s = 0; s < t->x->segment_count; s++)
        for (uint32_t i = 0; i < t->x->segments[s].used; i++)
            if (ufi_segment_holds(&t->x->segments[s], i) && seen++ * wanted / there >= taken &&
                taken < wanted)
                t->slots[taken++] = (uint32_t)(s * UFI_SEGMENT_SLOTS + i);
    t->sample_count = (size_t)taken;
}

static void find_centres(trainer *t)
{
    take_sample(t);
    for (uint32_t l = 0; l < t->lists; l++) {
        set_centre(t, l, t->slots[(size_t)l * t->sample_count / t->lists]);
        unit_centre(t, l);
    }
    code_centres(t);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        assign(t);
        move_centres(t, round);
    }
}

/* ---- moving the vectors ---- */

static uf_status drain(trainer *t, size_t segment, uf_error *err)
{
    uf_index *x = t->x;
    uf_status st = UF_OK;
    t->drained = &x->segments[segment];
    assign(t);
    for (uint32_t i = 0; !st && i < x->segments[segment].used; i++) {
        uint32_t slot = 0;
        if (!ufi_segment_holds(&x->segments[segment], i))
            continue;
        st = ufi_index_slot(x, t->list[i], &slot, err);
        if (st)
            break;
        ufi_segment *to = &x->segments[slot / UFI_SEGMENT_SLOTS], *from = &x->segments[segment];
        ufi_segment_copy(x, to, slot % UFI_SEGMENT_SLOTS, from, i);
        to->live++;
        ufi_segment_erase(x, from, i);
        from->live--;
    }
    if (!st)
        ufi_segment_release(&x->segments[segment]);
    return st;
}

/* Takes empty places out of the array of segments and finds the tails of the lists anew. */
static void close_ranks(uf_index *x)
{
    size_t kept = 0;
    for (size_t s = 0; s < x->segment_count; s++)
        if (x->segments[s].memory)
            x->segments[kept++] = x->segments[s];
    x->segment_count = kept;
    memset(x->tail, 0, (x->options.lists ? x->options.lists : 1) * sizeof *x->tail);
    x->holes = 0;
    for (size_t s = 0; s < kept; s++) {
        if (!x->lists)
            x->segments[s].list = 0;
        x->tail[x->segments[s].list] = (uint32_t)s + 1;
        x->holes += x->segments[s].used - x->segments[s].live;
    }
}

static uf_status move_all(trainer *t, uf_error *err)
{
    uf_index *x = t->x;
    const size_t old = x->segment_count;
    uf_status st = UF_OK;
    ufi_free(x->centre);
    x->centre = t->centre;
    t->centre = NULL;
    x->lists = t->lists;
    x->holes = 0; /* new vectors go to new segments only */
    memset(x->tail, 0, x->options.lists * sizeof *x->tail);
    for (size_t s = 0; !st && s < old; s++)
        st = drain(t, s, err);
    if (st) /* what was moved and what was not is found without lists */
        x->lists = 0;
    close_ranks(x);
    x->epoch++;
    const uf_status rehashed = ufi_index_rehash(x, st ? NULL : err);
    return st ? st : rehashed;
}

static uf_status prepare(trainer *t, uint32_t threads, uf_error *err)
{
    const size_t width = t->x->width, lists = t->lists;
    uf_status st = ufi_pool_create(&t->pool, threads ? threads : ufi_cpu_count(), err);
    if (st)
        return st;
    t->sample_count = lists * SAMPLES_PER_LIST;
    if (t->sample_count > t->x->count)
        t->sample_count = (size_t)t->x->count;
    const size_t places = t->sample_count > UFI_SEGMENT_SLOTS ? t->sample_count : UFI_SEGMENT_SLOTS;
    t->centre = ufi_aligned_malloc(lists * width * sizeof *t->centre);
    t->code = ufi_aligned_malloc(lists * width);
    t->row = ufi_malloc(lists, sizeof *t->row);
    t->step = ufi_malloc(lists, sizeof *t->step);
    t->size = ufi_malloc(lists, sizeof *t->size);
    t->dots = ufi_malloc(lists * ufi_pool_size(t->pool), sizeof *t->dots);
    t->slots = ufi_malloc(t->sample_count, sizeof *t->slots);
    t->list = ufi_malloc(places, sizeof *t->list);
    if (!t->centre || !t->code || !t->row || !t->step || !t->size || !t->dots || !t->slots ||
        !t->list)
        return ufi_fail(err, UF_E_NOMEM, "no memory to train %zu lists", lists);
    for (size_t i = 0; i < lists; i++)
        t->row[i] = t->code + i * width;
    return UF_OK;
}

static void finish(trainer *t)
{
    ufi_pool_destroy(t->pool);
    ufi_free(t->centre);
    ufi_free(t->code);
    ufi_free(t->row);
    ufi_free(t->step);
    ufi_free(t->size);
    ufi_free(t->dots);
    ufi_free(t->slots);
    ufi_free(t->list);
}

static uf_status train(uf_index *x, uint32_t threads, uf_error *err)
{
    trainer t = {.x = x, .lists = x->options.lists};
    if (!t.lists)
        return ufi_fail(err, UF_E_STATE, "the index was made without lists: nothing to train");
    if (x->options.detail == UF_INDEX_SKETCH)
        return ufi_fail(err, UF_E_STATE,
                        "lists are trained from 8-bit codes: this index keeps "
                        "sketches only");
    if (x->count < (uint64_t)t.lists * LEAST_PER_LIST)
        return ufi_fail(err, UF_E_STATE, "%llu vectors are too few for %u lists: add %llu first",
                        (unsigned long long)x->count, t.lists,
                        (unsigned long long)t.lists * LEAST_PER_LIST);
    uf_status st = prepare(&t, threads, err);
    if (!st) {
        find_centres(&t);
        st = move_all(&t, err);
    }
    finish(&t);
    return st;
}

uf_status uf_index_train(uf_index *x, uint32_t threads, uf_error *err)
{
    if (!x)
        return ufi_fail(err, UF_E_ARG, "uf_index_train: no index");
    ufi_rwlock_write(x->lock);
    const uf_status st = train(x, threads, err);
    ufi_rwlock_unlock(x->lock);
    return st;
}
