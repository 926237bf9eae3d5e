/*
 * Batches, prepared ahead by threads.
 *
 * Batches are numbered from where the loader begins; a batch's number gives its epoch and position,
 * these and the seed everything else. Threads take single samples of the oldest batch that is not
 * yet full and write them into its slot of a ring, so that a slow picture delays one batch only and
 * the order of threads is nowhere to be seen in the pixels.
 *
 * Decoded pictures are kept until the cache is full, and then those stay: every picture is used
 * once in an epoch, so which ones are kept makes no difference, and one that is kept for good needs
 * no counting of who uses it.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/threads.h"
#include "model/align.h"
#include "train/augment.h"
#include "train/order.h"

enum { RING = 3, MAX_SIZE = 2048 };

typedef struct slot {
    uint64_t batch;     /* number */
    size_t taken, done; /* samples */
    uf_status status;   /* of the first sample that failed */
    uf_error error;
    uint8_t *pixels[UFI_MAX_VIEWS];
    uint32_t *samples;
    int32_t *labels;
    bool *mirrored;
} slot;

struct ufi_loader {
    const ufi_dataset *d;
    ufi_loader_options o;
    uint32_t *subset; /* NULL: all */
    size_t count;     /* samples of an epoch */
    size_t per_epoch; /* batches */
    ufi_order order;
    uint64_t first; /* batches before the loader began, counted from epoch o.epoch */

    ufi_mutex *mutex; /* protects all that follows */
    ufi_condition *changed;
    bool stop;
    slot ring[RING];
    uint64_t filling;  /* the batch that samples are taken of */
    uint64_t given;    /* batches that were handed out */
    uint64_t released; /* batches whose slots are free again */
    uf_picture **kept; /* [pictures of the dataset] */
    size_t kept_bytes;
    uint8_t *unreadable; /* [pictures of the dataset] */
    size_t unreadable_count;
    uf_error unreadable_error;

    ufi_thread **threads;
    size_t thread_count;
};

static size_t sample_at(const ufi_loader *l, size_t place)
{
    return l->subset ? l->subset[place] : place;
}

/* ---- pictures ---- */

typedef struct held {
    uf_picture *picture;
    bool kept; /* by the cache */
} held;

static void let_go(held *h)
{
    if (!h->kept)
        uf_picture_destroy(h->picture);
    *h = (held){0};
}

static size_t picture_bytes(const uf_picture *p)
{
    const uf_image image = uf_picture_view(p);
    return (size_t)image.width * (size_t)image.height * 3;
}

/* Puts a picture into the cache if there is room; another thread may have been faster. */
static void keep(ufi_loader *l, size_t i, held *h)
{
    const size_t bytes = picture_bytes(h->picture);
    ufi_mutex_lock(l->mutex);
    if (l->kept[i]) {
        uf_picture_destroy(h->picture);
        h->picture = l->kept[i];
        h->kept = true;
    } else if (bytes <= l->o.cache_bytes - l->kept_bytes) {
        l->kept[i] = h->picture;
        l->kept_bytes += bytes;
        h->kept = true;
    }
    ufi_mutex_unlock(l->mutex);
}

static void note_unreadable(ufi_loader *l, size_t i, const uf_error *err)
{
    ufi_mutex_lock(l->mutex);
    if (!l->unreadable[i]) {
        l->unreadable[i] = 1;
        l->unreadable_count++;
        l->unreadable_error = *err;
    }
    ufi_mutex_unlock(l->mutex);
}

/* Landmarks that allow no crop make a picture useless, too. */
static uf_status check_points(const ufi_loader *l, size_t i, uf_error *err)
{
    const ufi_sample *s = ufi_dataset_sample(l->d, i);
    float m[6];
    if (!s->has_points)
        return UF_OK;
    return ufi_wrap(err, ufi_align_matrix(s->points, ufi_align_arcface, 1, m, err), "%s", s->name);
}

/* Picture `i` in `h`; UF_E_FORMAT and the like say that it cannot be read, UF_E_NOMEM that there is
 * no memory. */
static uf_status fetch(ufi_loader *l, size_t i, held *h, uf_error *err)
{
    ufi_mutex_lock(l->mutex);
    const bool unreadable = l->unreadable[i];
    *h = (held){l->kept[i], l->kept[i] != NULL};
    ufi_mutex_unlock(l->mutex);
    if (unreadable)
        return ufi_fail(err, UF_E_FORMAT, "a picture that could not be read before");
    if (h->picture)
        return UF_OK;
    uf_status st = check_points(l, i, err);
    if (!st)
        st = ufi_dataset_read(l->d, i, &h->picture, err);
    if (!st)
        keep(l, i, h);
    else if (st != UF_E_NOMEM)
        note_unreadable(l, i, err);
    return st;
}

/* The picture at `place` of the subset, or the next one that can be read; *place says which. */
static uf_status fetch_from(ufi_loader *l, size_t *place, held *h, uf_error *err)
{
    uf_error why = {0};
    for (size_t tried = 0; tried < l->count; tried++) {
        const uf_status st = fetch(l, sample_at(l, *place), h, &why);
        if (!st)
            return UF_OK;
        if (st == UF_E_NOMEM)
            return ufi_fail(err, st, "%s", why.message);
        *place = (*place + 1) % l->count;
    }
    uf_error last;
    const size_t count = ufi_loader_unreadable(l, &last);
    return ufi_fail(err, UF_E_FORMAT, "none of %zu pictures can be read (%zu failed; the last: %s)",
                    l->count, count, last.message);
}

/* ---- one sample ---- */

/* The whole picture, squared about its middle, as if it were the first view's crop: its points. */
static void whole_points(uf_point *points, const uf_image *image, const ufi_crop_view *view)
{
    const double w = image->width, h = image->height, side = w > h ? w : h;
    const double scale = side / view->size;
    for (int k = 0; k < UF_LANDMARKS; k++) {
        const double x = (double)view->points[2 * k] * view->size;
        const double y = (double)view->points[2 * k + 1] * view->size;
        points[k].x = (float)((x + 0.5) * scale - 0.5 - (side - w) / 2);
        points[k].y = (float)((y + 0.5) * scale - 0.5 - (side - h) / 2);
    }
}

static void make_subject(const ufi_loader *l, size_t i, const held *h, ufi_subject *to)
{
    const ufi_sample *s = ufi_dataset_sample(l->d, i);
    to->image = uf_picture_view(h->picture);
    if (s->has_points)
        memcpy(to->points, s->points, sizeof to->points);
    else
        whole_points(to->points, &to->image, &l->o.views[0]);
}

/* The second face of a new person: of some drawn by lot, the first whose points lie as the first
 * one's do, or that which comes nearest. A profile mixed with a frontal face is no face. */
enum { CANDIDATES = 8 };
#define ALIKE 0.08

static bool choose_second(const ufi_loader *l, size_t first, ufi_random *r, size_t *place)
{
    const ufi_sample *face = ufi_dataset_sample(l->d, first);
    double best = INFINITY;
    for (int i = 0; face->has_points && best > ALIKE && i < CANDIDATES; i++) {
        const size_t other = (size_t)ufi_random_below(r, l->count);
        const size_t number = sample_at(l, other);
        const ufi_sample *s = ufi_dataset_sample(l->d, number);
        if (number == first || !s->has_points)
            continue;
        const double distance = ufi_morph_distance(face->points, s->points);
        if (distance < best) {
            best = distance;
            *place = other;
        }
    }
    return best < INFINITY;
}

/* The pictures of one sample while it is made. */
typedef struct sample_pictures {
    held first, second, patch;
    uf_image patch_image;
    ufi_cast cast;
    size_t number; /* of the first in the dataset */
} sample_pictures;

static uf_status fetch_sample(ufi_loader *l, size_t place, ufi_variation *v, sample_pictures *p,
                              uf_error *err)
{
    ufi_random r = ufi_random_of(v->key, UFI_DRAW_OTHERS);
    size_t other = 0;
    uf_status st = fetch_from(l, &place, &p->first, err);
    if (st)
        return st;
    p->number = sample_at(l, place);
    make_subject(l, p->number, &p->first, &p->cast.faces[0]);
    v->blend = v->blend && choose_second(l, p->number, &r, &other);
    if (v->blend) {
        st = fetch_from(l, &other, &p->second, err);
        const size_t number = sample_at(l, other);
        /* What stands for an unreadable one may have no points, or be the first one itself. */
        v->blend = !st && number != p->number && ufi_dataset_sample(l->d, number)->has_points;
        if (v->blend)
            make_subject(l, number, &p->second, &p->cast.faces[1]);
    }
    if (!st && v->patch.fill == UFI_PATCH_PICTURE) {
        r = ufi_random_of(v->patch.key, UFI_DRAW_OTHERS);
        other = (size_t)ufi_random_below(&r, l->count);
        st = fetch_from(l, &other, &p->patch, err);
        if (!st)
            p->patch_image = uf_picture_view(p->patch.picture);
        p->cast.patch = &p->patch_image;
    }
    return st;
}

/* ---- scenes ---- */

/* A face for a scene: of some samples drawn by lot, the first with points; morphed with a second
 * one where `blend` says so. */
static uf_status paste_face(ufi_loader *l, ufi_studio *studio, ufi_stage *stage, uint64_t key,
                            uf_error *err)
{
    ufi_random r = ufi_random_of(key, UFI_DRAW_OTHERS), b = ufi_random_of(key, UFI_DRAW_BLEND);
    ufi_subject faces[2];
    held h[2] = {{0}};
    size_t place[2] = {0}, count = 0;
    bool found = false;
    for (int i = 0; !found && i < CANDIDATES; i++) {
        place[0] = (size_t)ufi_random_below(&r, l->count);
        found = ufi_dataset_sample(l->d, sample_at(l, place[0]))->has_points;
    }
    const bool blend = found && ufi_random_chance(&b, l->o.augment.blend) &&
                       choose_second(l, sample_at(l, place[0]), &r, &place[1]);
    uf_status st = UF_OK;
    for (size_t i = 0; !st && found && i <= blend; i++) {
        st = fetch_from(l, &place[i], &h[i], err);
        /* What stands for an unreadable one may have no points, or be the first one itself. */
        const size_t number = sample_at(l, place[i]);
        if (st || !ufi_dataset_sample(l->d, number)->has_points || (i && place[0] == place[1]))
            break;
        make_subject(l, number, &h[i], &faces[count++]);
    }
    if (!st && count)
        st = ufi_stage_face(stage, studio, &l->o.scene, &l->o.augment, faces, count, key, err);
    for (size_t i = 0; i < 2; i++)
        let_go(&h[i]);
    return st;
}

static uf_status make_scene(ufi_loader *l, ufi_studio *studio, const ufi_variation *v,
                            const sample_pictures *p, uint8_t *out, uf_error *err)
{
    const ufi_scene *scene = &l->o.scene;
    const ufi_sample *sample = ufi_dataset_sample(l->d, p->number);
    ufi_random r = ufi_random_of(v->key, UFI_DRAW_SCENE_FACES);
    ufi_stage stage;
    uf_status st = ufi_stage_open(&stage, studio, (size_t)scene->size, v->key, err);
    if (!st)
        st = ufi_stage_picture(&stage, studio, scene, &p->cast.faces[0].image,
                               sample->has_points ? sample->points : NULL, v->key, err);
    const uint64_t faces = ufi_random_below(&r, (uint64_t)scene->faces + 1);
    for (uint64_t i = 0; !st && i < faces; i++)
        st = paste_face(l, studio, &stage, ufi_key(v->key, i), err);
    return st ? st : ufi_stage_close(&stage, studio, v, p->cast.patch, out, err);
}

/* ---- any sample ---- */

/* Sample `index` of a batch, into its slot. */
static uf_status make_sample(ufi_loader *l, ufi_studio *studio, slot *s, size_t index,
                             uf_error *err)
{
    const uint64_t number = l->first + s->batch;
    const uint32_t epoch = l->o.epoch + (uint32_t)(number / l->per_epoch);
    const size_t position = (size_t)(number % l->per_epoch) * l->o.batch + index;
    const uint64_t key = ufi_key(l->o.seed, epoch);
    uint8_t *out[UFI_MAX_VIEWS];
    sample_pictures p = {0};
    ufi_variation v;
    ufi_variation_draw(&v, &l->o.augment, ufi_key(key, position + 1));
    v.blend = v.blend && !l->o.scene.size;
    uf_status st = fetch_sample(l, ufi_order_place(&l->order, epoch, position), &v, &p, err);
    for (size_t i = 0; i < l->o.view_count; i++) {
        const size_t size = (size_t)l->o.views[i].size;
        out[i] = s->pixels[i] + index * size * size * 3;
    }
    if (!st)
        st = l->o.scene.size ? make_scene(l, studio, &v, &p, out[0], err)
                             : ufi_studio_crops(studio, &v, &p.cast, out, err);
    if (!st) {
        s->samples[index] = v.blend ? UINT32_MAX : (uint32_t)p.number;
        s->labels[index] = v.blend ? -1 : ufi_dataset_sample(l->d, p.number)->label;
        s->mirrored[index] = v.mirror;
    }
    let_go(&p.first);
    let_go(&p.second);
    let_go(&p.patch);
    return st;
}

/* ---- threads ---- */

/* A sample that nobody has taken yet; waits for a free slot. False when the loader ends. Called and
 * returns with the mutex held. */
static bool take_sample(ufi_loader *l, slot **s, size_t *index)
{
    for (;;) {
        if (l->stop)
            return false;
        slot *now = &l->ring[l->filling % RING];
        if (now->batch == l->filling && now->taken < l->o.batch) {
            *s = now;
            *index = now->taken++;
            return true;
        }
        if (now->batch == l->filling) {
            l->filling++; /* it is full; the next one may be */
        } else if (l->filling < l->released + RING) {
            now->batch = l->filling;
            now->taken = now->done = 0;
        } else {
            ufi_condition_wait(l->changed, l->mutex);
        }
    }
}

static void prepare(void *arg)
{
    ufi_loader *l = arg;
    ufi_studio studio;
    slot *s;
    size_t index;
    ufi_studio_init(&studio, l->o.views, l->o.view_count);
    ufi_mutex_lock(l->mutex);
    while (take_sample(l, &s, &index)) {
        uf_error err = {0};
        ufi_mutex_unlock(l->mutex);
        const uf_status st = make_sample(l, &studio, s, index, &err);
        ufi_mutex_lock(l->mutex);
        if (st && !s->status) {
            s->status = st;
            s->error = err;
        }
        if (++s->done == l->o.batch)
            ufi_condition_wake_all(l->changed);
    }
    ufi_mutex_unlock(l->mutex);
    ufi_studio_free(&studio);
}

/* ---- the loader ---- */

static uf_status check_view(const ufi_crop_view *v, size_t i, uf_error *err)
{
    uf_point points[UF_LANDMARKS];
    float m[6];
    if (v->size < 8 || v->size > MAX_SIZE)
        return ufi_fail(err, UF_E_ARG, "view %zu: a size of %d pixels; 8 to %d are possible", i,
                        (int)v->size, MAX_SIZE);
    for (int k = 0; k < UF_LANDMARKS; k++)
        points[k] = (uf_point){v->points[2 * k], v->points[2 * k + 1]};
    return ufi_wrap(err, ufi_align_matrix(points, v->points, 1, m, err), "view %zu: its template",
                    i);
}

static uf_status check_scene(const ufi_scene *s, uf_error *err)
{
    if (s->size < 32 || s->size > MAX_SIZE)
        return ufi_fail(err, UF_E_ARG, "a scene of %d pixels; 32 to %d are possible", (int)s->size,
                        MAX_SIZE);
    if (s->faces < 0 || s->faces > UFI_MAX_FACES)
        return ufi_fail(err, UF_E_ARG, "%d faces in a scene; 0 to %d are possible", (int)s->faces,
                        UFI_MAX_FACES);
    if (!(s->face_min >= 4 && s->face_min <= s->face_max && s->face_max <= MAX_SIZE))
        return ufi_fail(err, UF_E_ARG, "faces of %g to %g pixels; 4 to %d are possible",
                        (double)s->face_min, (double)s->face_max, MAX_SIZE);
    return UF_OK;
}

static uf_status check_options(const ufi_dataset *d, const ufi_loader_options *o, uf_error *err)
{
    const size_t all = ufi_dataset_count(d), count = o->subset ? o->subset_count : all;
    uf_status st = UF_OK;
    if (o->batch == 0 || o->batch > count)
        return ufi_fail(err, UF_E_ARG, "a batch of %zu samples of %zu", o->batch, count);
    if (o->scene.size)
        st = check_scene(&o->scene, err);
    else if (o->view_count == 0 || o->view_count > UFI_MAX_VIEWS)
        st = ufi_fail(err, UF_E_ARG, "%zu views: 1 to %d are possible", o->view_count,
                      UFI_MAX_VIEWS);
    if (st)
        return st;
    if (o->threads == 0)
        return ufi_fail(err, UF_E_ARG, "no threads to prepare batches");
    if (o->position % o->batch || o->position > count)
        return ufi_fail(err, UF_E_ARG, "position %zu is none of batches of %zu in %zu samples",
                        o->position, o->batch, count);
    for (size_t i = 0; o->subset && i < count; i++)
        if (o->subset[i] >= all)
            return ufi_fail(err, UF_E_ARG, "the subset names sample %u of %zu", o->subset[i], all);
    for (size_t i = 0; !st && !o->scene.size && i < o->view_count; i++)
        st = check_view(&o->views[i], i, err);
    return st;
}

static bool make_slot(slot *s, const ufi_loader_options *o)
{
    bool ok = true;
    s->batch = UINT64_MAX;
    for (size_t i = 0; i < o->view_count; i++) {
        const size_t size = (size_t)o->views[i].size;
        s->pixels[i] = ufi_calloc(o->batch, size * size * 3);
        ok = ok && s->pixels[i];
    }
    s->samples = ufi_calloc(o->batch, sizeof *s->samples);
    s->labels = ufi_calloc(o->batch, sizeof *s->labels);
    s->mirrored = ufi_calloc(o->batch, sizeof *s->mirrored);
    return ok && s->samples && s->labels && s->mirrored;
}

static uf_status make_memory(ufi_loader *l, uf_error *err)
{
    const size_t all = ufi_dataset_count(l->d);
    bool ok = true;
    if (l->o.subset || l->o.per_person > 1) {
        l->subset = ufi_malloc(l->count, sizeof *l->subset);
        ok = l->subset != NULL;
        for (size_t i = 0; ok && i < l->count; i++)
            l->subset[i] = l->o.subset ? l->o.subset[i] : (uint32_t)i;
        l->o.subset = l->subset;
    }
    for (size_t i = 0; i < RING; i++)
        ok = make_slot(&l->ring[i], &l->o) && ok;
    l->kept = ufi_calloc(all, sizeof(uf_picture *));
    l->unreadable = ufi_calloc(all, 1);
    l->threads = ufi_calloc(l->o.threads, sizeof(ufi_thread *));
    if (!ok || !l->kept || !l->unreadable || !l->threads)
        return ufi_fail(err, UF_E_NOMEM, "no memory for %d batches of %zu samples", RING,
                        l->o.batch);
    uf_status st = ufi_mutex_create(&l->mutex, err);
    return st ? st : ufi_condition_create(&l->changed, err);
}

static uf_status make_order(ufi_loader *l, uf_error *err)
{
    l->order = (ufi_order){
        .seed = l->o.seed, .count = l->count, .batch = l->o.batch, .per_person = l->o.per_person};
    const uf_status st = ufi_order_open(&l->order, l->d, l->subset, err);
    l->count = l->order.count;
    l->per_epoch = l->count / l->o.batch;
    return st || l->per_epoch
               ? st
               : ufi_fail(err, UF_E_ARG, "a batch of %zu samples of %zu", l->o.batch, l->count);
}

/* As many threads as the system gives, at least one. */
static uf_status start_threads(ufi_loader *l, uf_error *err)
{
    uf_status st = UF_OK;
    while (!st && l->thread_count < l->o.threads) {
        st = ufi_thread_start(&l->threads[l->thread_count], prepare, l, err);
        l->thread_count += !st;
    }
    return l->thread_count ? UF_OK : st;
}

uf_status ufi_loader_create(ufi_loader **out, const ufi_dataset *d,
                            const ufi_loader_options *options, uf_error *err)
{
    *out = NULL;
    uf_status st = check_options(d, options, err);
    if (st)
        return st;
    ufi_loader *l = ufi_calloc(1, sizeof *l);
    if (!l)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a loader");
    l->d = d;
    l->o = *options;
    if (l->o.scene.size) { /* one view, which is the scene */
        l->o.views[0] = ufi_face_view();
        l->o.views[0].size = l->o.scene.size;
        l->o.view_count = 1;
    }
    l->count = options->subset ? options->subset_count : ufi_dataset_count(d);
    l->first = l->o.position / l->o.batch;
    st = make_memory(l, err);
    if (!st)
        st = make_order(l, err);
    if (!st)
        st = start_threads(l, err);
    if (st) {
        ufi_loader_destroy(l);
        return st;
    }
    *out = l;
    return UF_OK;
}

void ufi_loader_destroy(ufi_loader *l)
{
    if (!l)
        return;
    if (l->thread_count) {
        ufi_mutex_lock(l->mutex);
        l->stop = true;
        ufi_condition_wake_all(l->changed);
        ufi_mutex_unlock(l->mutex);
    }
    for (size_t i = 0; i < l->thread_count; i++)
        ufi_thread_join(l->threads[i]);
    for (size_t i = 0; l->kept && i < ufi_dataset_count(l->d); i++)
        uf_picture_destroy(l->kept[i]);
    for (size_t i = 0; i < RING; i++) {
        for (size_t k = 0; k < UFI_MAX_VIEWS; k++)
            ufi_free(l->ring[i].pixels[k]);
        ufi_free(l->ring[i].samples);
        ufi_free(l->ring[i].labels);
        ufi_free(l->ring[i].mirrored);
    }
    ufi_free(l->threads);
    ufi_free((void *)l->kept);
    ufi_free(l->unreadable);
    ufi_free(l->subset);
    ufi_order_close(&l->order);
    ufi_condition_destroy(l->changed);
    ufi_mutex_destroy(l->mutex);
    ufi_free(l);
}

uf_status ufi_loader_next(ufi_loader *l, ufi_batch *out, uf_error *err)
{
    ufi_mutex_lock(l->mutex);
    if (l->released < l->given) { /* the batch before this one */
        l->released = l->given;
        ufi_condition_wake_all(l->changed);
    }
    slot *s = &l->ring[l->given % RING];
    while (s->batch != l->given || s->done < l->o.batch)
        ufi_condition_wait(l->changed, l->mutex);
    const uf_status st = s->status;
    if (st) { /* stays: the next call says the same */
        ufi_mutex_unlock(l->mutex);
        return ufi_fail(err, st, "%s", s->error.message);
    }
    l->given++;
    ufi_mutex_unlock(l->mutex);
    const uint64_t number = l->first + s->batch;
    *out = (ufi_batch){.samples = s->samples,
                       .labels = s->labels,
                       .mirrored = s->mirrored,
                       .epoch = l->o.epoch + (uint32_t)(number / l->per_epoch),
                       .position = (size_t)(number % l->per_epoch) * l->o.batch};
    for (size_t i = 0; i < l->o.view_count; i++)
        out->pixels[i] = s->pixels[i];
    return UF_OK;
}

size_t ufi_loader_unreadable(const ufi_loader *l, uf_error *last)
{
    ufi_mutex_lock(l->mutex);
    const size_t count = l->unreadable_count;
    if (last)
        *last = l->unreadable_error;
    ufi_mutex_unlock(l->mutex);
    return count;
}
