/*
 * A run of a network on several pictures costs less than several runs, but waiting for company
 * costs time. So a batch is waited for only while somebody is on the way to the lane: decoding
 * (for detection), or in detection (for embedding), and `wait_us` at most. Who is alone is run at
 * once; under load queues fill while the workers are busy, and batches come about by themselves.
 */
#include "server/engine.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server/fair.h"
#include "server/loaded.h"
#include "server/server.h"

/* Tensors have a lane of their own; a worker's handles for them stand behind those of the lanes. */
enum {
    LANE_TENSORS = SRV_LANE_COUNT,
    LANES,
    HANDLES = 2 * SRV_LANE_COUNT,
    BARE_BYTES_MAX = 256 << 20 /* of activations that a worker keeps between runs */
};

/* A piece of a request: up to a batch of pictures or crops, or the tensors of one run. */
typedef struct job {
    fair_job queued; /* first: a queue's job is one of these */
    srv_loaded *model;
    double deadline;
    size_t count;
    const uf_image *images;
    uf_face *faces;
    size_t cap, *counts;
    const uint8_t *crops;
    float *out;
    const srv_tensor *inputs;
    srv_tensor *outputs;
    bool done;
    pthread_cond_t is_done;
    uf_status status;
    uf_error err;
} job;

typedef struct lane {
    srv_loaded *model; /* current; NULL: none */
    fair_queue queue;
    size_t running; /* pictures or crops in runs */
} lane;

struct srv_engine {
    srv_engine_options o;
    srv_batch_fn *observer;
    void *user;
    pthread_t *threads;
    unsigned thread_count;
    pthread_mutex_t lock; /* protects everything below */
    pthread_cond_t work, decode_place;
    lane lanes[LANES]; /* that of tensors has no model */
    size_t admitted, decoding, decode_places;
    bool stop;
};

typedef struct worker {
    srv_engine *e;
    srv_handle handles[HANDLES];
    job **batch; /* [o.batch] */
    size_t batch_count, item_count;
    uf_image *images; /* [o.batch] */
    uf_face *faces;   /* [o.batch][SRV_FACES_MAX] */
    size_t *counts;   /* [o.batch] */
    uint8_t *crops;   /* for the embedder's crop size */
    float *out;
    size_t crop_room, out_room;
} worker;

double srv_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

uf_status srv_fail(uf_error *err, uf_status status, const char *text)
{
    err->status = status;
    snprintf(err->message, sizeof err->message, "%s", text);
    return status;
}

/* ---- what a worker takes ---- */

static size_t expected(const srv_engine *e, int l)
{
    if (l == LANE_TENSORS)
        return 0;
    const lane *detect = &e->lanes[SRV_LANE_DETECT];
    return l == SRV_LANE_DETECT ? e->decoding : detect->queue.count + detect->running;
}

/* 0: ready; else the time at which it will be; a large number: nothing is there. */
static double ready_at(const srv_engine *e, int l, double now)
{
    const lane *n = &e->lanes[l];
    if (!n->queue.count)
        return 1e300;
    const double until = fair_oldest(&n->queue) + e->o.wait_us * 1e-6;
    return n->queue.count >= e->o.batch || !expected(e, l) || until <= now ? 0 : until;
}

static void finish_job(job *j, uf_status st, const uf_error *err)
{
    j->status = st;
    if (st)
        j->err = *err;
    j->done = true;
    pthread_cond_signal(&j->is_done);
}

/* Moves jobs of one model into the worker's batch; what is late is answered. */
static void take_batch(worker *w, int l)
{
    static const uf_error late = {UF_E_CANCELLED, "the time for this request is over"};
    srv_engine *e = w->e;
    fair_queue *q = &e->lanes[l].queue;
    const double now = srv_now();
    w->batch_count = w->item_count = 0;
    for (;;) {
        job *j = (job *)fair_peek(q);
        if (j && j->deadline <= now) {
            fair_pop(q);
            finish_job(j, UF_E_CANCELLED, &late);
            continue;
        }
        if (!j || w->item_count + j->count > e->o.batch ||
            (w->batch_count && w->batch[0]->model != j->model))
            break;
        fair_pop(q);
        w->batch[w->batch_count++] = j;
        w->item_count += j->count;
    }
    e->lanes[l].running += w->item_count;
}

/* ---- runs, without the lock ---- */

static uf_status run_detector_job(worker *w, job *j)
{
    return uf_detector_run_batch(w->handles[SRV_LANE_DETECT].detector, j->images, j->count,
                                 j->faces, j->cap, j->counts, &j->err);
}

static uf_status run_detector(worker *w)
{
    uf_error err;
    size_t at = 0;
    for (size_t i = 0; i < w->batch_count; at += w->batch[i++]->count)
        memcpy(w->images + at, w->batch[i]->images, w->batch[i]->count * sizeof *w->images);
    uf_status st = uf_detector_run_batch(w->handles[SRV_LANE_DETECT].detector, w->images, at,
                                         w->faces, SRV_FACES_MAX, w->counts, &err);
    at = 0;
    for (size_t i = 0; !st && i < w->batch_count; i++)
        for (size_t k = 0; k < w->batch[i]->count; k++, at++) {
            job *j = w->batch[i];
            const size_t n = w->counts[at] < j->cap ? w->counts[at] : j->cap;
            memcpy(j->faces + k * j->cap, w->faces + at * SRV_FACES_MAX, n * sizeof *j->faces);
            j->counts[k] = w->counts[at];
        }
    return st;
}

static uf_status run_embedder_job(worker *w, job *j)
{
    return uf_embedder_run_crops(w->handles[SRV_LANE_EMBED].embedder, j->crops, j->count, j->out,
                                 &j->err);
}

static bool make_room(void **p, size_t *room, size_t bytes)
{
    if (bytes <= *room)
        return true;
    void *more = realloc(*p, bytes);
    if (!more)
        return false;
    *p = more;
    *room = bytes;
    return true;
}

static size_t crop_bytes(const srv_loaded *m)
{
    const size_t side = (size_t)uf_embedder_crop_size(m->embedder);
    return side * side * 3;
}

static uf_status run_embedder(worker *w)
{
    uf_error err;
    const srv_loaded *m = w->handles[SRV_LANE_EMBED].model;
    const size_t bytes = crop_bytes(m), dimension = uf_embedder_dimension(m->embedder);
    const size_t row = dimension * sizeof(float);
    size_t at = 0;
    if (!make_room((void **)&w->crops, &w->crop_room, w->item_count * bytes) ||
        !make_room((void **)&w->out, &w->out_room, w->item_count * row))
        return UF_E_NOMEM;
    for (size_t i = 0; i < w->batch_count; at += w->batch[i++]->count)
        memcpy(w->crops + at * bytes, w->batch[i]->crops, w->batch[i]->count * bytes);
    uf_status st =
        uf_embedder_run_crops(w->handles[SRV_LANE_EMBED].embedder, w->crops, at, w->out, &err);
    at = 0;
    for (size_t i = 0; !st && i < w->batch_count; at += w->batch[i++]->count)
        memcpy(w->batch[i]->out, w->out + at * dimension, w->batch[i]->count * row);
    return st;
}

/* Plans of the last shapes are kept with their memory, which shapes of a client's choice could make
 * large. */
static void run_tensors(worker *w)
{
    job *j = w->batch[0];
    srv_handle *h = &w->handles[SRV_LANE_COUNT + j->model->lane];
    j->status = UF_OK;
    if (h->model != j->model) {
        srv_handle_close(h);
        j->status = srv_handle_open_bare(h, j->model, &j->err);
    }
    if (!j->status)
        j->status = srv_handle_run_bare(h, j->inputs, j->outputs, &j->err);
    if (h->engine && uf_engine_activation_bytes(h->engine) > BARE_BYTES_MAX)
        srv_handle_close(h);
}

/* The batch in one run. When that fails each job is run alone, so that one picture cannot spoil the
 * others' answers. */
static void run_batch(worker *w, srv_lane_name l)
{
    srv_engine *e = w->e;
    srv_handle *h = &w->handles[l];
    const double began = srv_now();
    uf_status opened = UF_OK;
    uf_error err = {0};
    if (h->model != w->batch[0]->model) {
        srv_handle_close(h);
        opened = srv_handle_open(h, w->batch[0]->model, e->o.batch, e->o.detector_size, &err);
    }
    bool together = !opened && w->batch_count > 1 &&
                    !(l == SRV_LANE_DETECT ? run_detector(w) : run_embedder(w));
    for (size_t i = 0; i < w->batch_count; i++) {
        job *j = w->batch[i];
        if (opened)
            j->err = err;
        j->status = together               ? UF_OK
                    : opened               ? opened
                    : l == SRV_LANE_DETECT ? run_detector_job(w, j)
                                           : run_embedder_job(w, j);
    }
    if (e->observer)
        e->observer(e->user, l, w->item_count, srv_now() - began);
}

/* ---- workers ---- */

/* Handles of models that are not current any more; *closing gets them, to be closed unlocked. */
static bool take_old_handles(worker *w, srv_handle closing[HANDLES])
{
    bool any = false;
    for (int l = 0; l < HANDLES; l++) {
        const srv_loaded *current = w->e->lanes[l % SRV_LANE_COUNT].model;
        closing[l] = (srv_handle){0};
        if (w->handles[l].model && w->handles[l].model != current) {
            closing[l] = w->handles[l];
            w->handles[l] = (srv_handle){0};
            any = true;
        }
    }
    return any;
}

/* True: the lock was released meanwhile, and what was seen before is no longer so. */
static bool close_old_handles(worker *w)
{
    srv_handle closing[HANDLES];
    if (!take_old_handles(w, closing))
        return false;
    pthread_mutex_unlock(&w->e->lock);
    for (int l = 0; l < HANDLES; l++)
        srv_handle_close(&closing[l]);
    pthread_mutex_lock(&w->e->lock);
    return true;
}

static void wait_until(srv_engine *e, double when)
{
    if (when >= 1e300) {
        pthread_cond_wait(&e->work, &e->lock);
        return;
    }
    const struct timespec t = {(time_t)when, (long)((when - (double)(time_t)when) * 1e9)};
    pthread_cond_timedwait(&e->work, &e->lock, &t);
}

static void serve_lane(worker *w, int l)
{
    srv_engine *e = w->e;
    take_batch(w, l);
    if (!w->batch_count)
        return;
    /* What is left may be ready for another worker. */
    if (e->lanes[l].queue.count)
        pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->lock);
    if (l == LANE_TENSORS)
        run_tensors(w);
    else
        run_batch(w, (srv_lane_name)l);
    pthread_mutex_lock(&e->lock);
    e->lanes[l].running -= w->item_count;
    for (size_t i = 0; i < w->batch_count; i++)
        finish_job(w->batch[i], w->batch[i]->status, &w->batch[i]->err);
    pthread_cond_signal(&e->work); /* nobody may be expected any more */
}

static void worker_free(worker *w)
{
    for (int l = 0; l < HANDLES; l++)
        srv_handle_close(&w->handles[l]);
    free(w->batch);
    free(w->images);
    free(w->faces);
    free(w->counts);
    free(w->crops);
    free(w->out);
    free(w);
}

static bool waits_longer(const srv_engine *e, int one, int other)
{
    return fair_oldest(&e->lanes[one].queue) < fair_oldest(&e->lanes[other].queue);
}

static void *work(void *user)
{
    worker *w = user;
    srv_engine *e = w->e;
    pthread_mutex_lock(&e->lock);
    while (!e->stop) {
        const double now = srv_now();
        const double embed = ready_at(e, SRV_LANE_EMBED, now);
        const double detect = ready_at(e, SRV_LANE_DETECT, now);
        const bool tensors = e->lanes[LANE_TENSORS].queue.count > 0;
        if (embed == 0)
            serve_lane(w, SRV_LANE_EMBED);
        else if (tensors && (detect > 0 || waits_longer(e, LANE_TENSORS, SRV_LANE_DETECT)))
            serve_lane(w, LANE_TENSORS);
        else if (detect == 0)
            serve_lane(w, SRV_LANE_DETECT);
        else if (!close_old_handles(w))
            wait_until(e, embed < detect ? embed : detect);
    }
    pthread_mutex_unlock(&e->lock);
    worker_free(w);
    return NULL;
}

static worker *worker_create(srv_engine *e)
{
    worker *w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->e = e;
    w->batch = calloc(e->o.batch, sizeof *w->batch);
    w->images = calloc(e->o.batch, sizeof *w->images);
    w->faces = malloc(e->o.batch * SRV_FACES_MAX * sizeof *w->faces);
    w->counts = calloc(e->o.batch, sizeof *w->counts);
    if (w->batch && w->images && w->faces && w->counts)
        return w;
    worker_free(w);
    return NULL;
}

static uf_status start_workers(srv_engine *e, uf_error *err)
{
    e->threads = calloc(e->o.workers, sizeof *e->threads);
    for (unsigned i = 0; e->threads && i < e->o.workers; i++) {
        worker *w = worker_create(e);
        if (!w || pthread_create(&e->threads[i], NULL, work, w)) {
            if (w)
                worker_free(w);
            break;
        }
        e->thread_count++;
    }
    return e->thread_count == e->o.workers ? UF_OK
                                           : srv_fail(err, UF_E_NOMEM, "workers cannot be started");
}

uf_status srv_engine_create(srv_engine **out, const srv_engine_options *o, srv_batch_fn *observer,
                            void *user, uf_error *err)
{
    srv_engine *e = calloc(1, sizeof *e);
    pthread_condattr_t monotonic;
    *out = NULL;
    if (!e)
        return srv_fail(err, UF_E_NOMEM, "out of memory");
    e->o = *o;
    if (!e->o.workers) {
        uf_device cpu;
        e->o.workers = uf_device_get(0, &cpu, err) || !cpu.cores ? 1 : cpu.cores;
    }
    e->observer = observer;
    e->user = user;
    e->decode_places = e->o.workers + 1; /* one more: it may be waiting for memory or a lock */
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->work, &monotonic);
    pthread_cond_init(&e->decode_place, NULL);
    pthread_condattr_destroy(&monotonic);
    uf_status st = start_workers(e, err);
    if (st)
        srv_engine_destroy(e);
    else
        *out = e;
    return st;
}

void srv_engine_destroy(srv_engine *e)
{
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    e->stop = true;
    pthread_cond_broadcast(&e->work);
    pthread_mutex_unlock(&e->lock);
    for (unsigned i = 0; i < e->thread_count; i++)
        pthread_join(e->threads[i], NULL);
    for (int l = 0; l < SRV_LANE_COUNT; l++)
        srv_engine_release(e->lanes[l].model);
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->work);
    pthread_cond_destroy(&e->decode_place);
    free(e->threads);
    free(e);
}

/* ---- models ---- */

/* The old one is closed when the last run with it has ended. */
static void set_model(srv_engine *e, srv_lane_name l, srv_loaded *m)
{
    pthread_mutex_lock(&e->lock);
    srv_loaded *old = e->lanes[l].model;
    e->lanes[l].model = m;
    pthread_cond_broadcast(&e->work);
    pthread_mutex_unlock(&e->lock);
    srv_engine_release(old);
}

uf_status srv_engine_load(srv_engine *e, srv_lane_name l, const char *name, const char *path,
                          uf_error *err)
{
    srv_loaded *m;
    uf_status st = srv_loaded_open(&m, l, name, path, &e->o, err);
    if (!st)
        set_model(e, l, m);
    return st;
}

void srv_engine_unload(srv_engine *e, srv_lane_name l)
{
    set_model(e, l, NULL);
}

srv_loaded *srv_engine_hold(srv_engine *e, srv_lane_name l)
{
    pthread_mutex_lock(&e->lock);
    srv_loaded *m = srv_loaded_hold(e->lanes[l].model);
    pthread_mutex_unlock(&e->lock);
    return m;
}

/* ---- requests ---- */

bool srv_engine_enter(srv_engine *e)
{
    pthread_mutex_lock(&e->lock);
    const bool ok = e->admitted < e->o.queue;
    e->admitted += ok;
    pthread_mutex_unlock(&e->lock);
    return ok;
}

void srv_engine_leave(srv_engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->admitted--;
    pthread_mutex_unlock(&e->lock);
}

size_t srv_engine_depth(srv_engine *e)
{
    pthread_mutex_lock(&e->lock);
    const size_t n = e->admitted;
    pthread_mutex_unlock(&e->lock);
    return n;
}

unsigned srv_engine_workers(const srv_engine *e)
{
    return e->o.workers;
}

void srv_engine_decode_begin(srv_engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->decoding++;
    while (!e->decode_places)
        pthread_cond_wait(&e->decode_place, &e->lock);
    e->decode_places--;
    pthread_mutex_unlock(&e->lock);
}

void srv_engine_decode_end(srv_engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->decoding--;
    e->decode_places++;
    pthread_cond_signal(&e->decode_place);
    /* The request goes on to a lane and wakes a worker there, unless its picture was none. */
    pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->lock);
}

/* Piece i of `whole`: up to a batch of its pictures or crops. */
static job piece_of(const srv_engine *e, const job *whole, size_t i)
{
    const size_t first = i * e->o.batch, left = whole->count - first;
    job j = *whole;
    j.count = left < e->o.batch ? left : e->o.batch;
    if (whole->images) {
        j.images += first;
        j.faces += first * whole->cap;
        j.counts += first;
    } else {
        j.crops += first * crop_bytes(whole->model);
        j.out += first * uf_embedder_dimension(whole->model->embedder);
    }
    return j;
}

/* Queues all pieces, and waits for all of them. */
static uf_status run_jobs(srv_engine *e, int l, job *jobs, size_t n, uf_error *err)
{
    uf_status st = UF_OK;
    const double now = srv_now();
    pthread_mutex_lock(&e->lock);
    for (size_t i = 0; i < n; i++) {
        pthread_cond_init(&jobs[i].is_done, NULL);
        jobs[i].queued.since = now;
        if (!fair_push(&e->lanes[l].queue, &jobs[i].queued)) {
            jobs[i].done = true;
            jobs[i].status = srv_fail(&jobs[i].err, UF_E_NOMEM, "out of memory");
        }
        pthread_cond_signal(&e->work);
    }
    for (size_t i = 0; i < n; i++) {
        while (!jobs[i].done)
            pthread_cond_wait(&jobs[i].is_done, &e->lock);
        pthread_cond_destroy(&jobs[i].is_done);
        if (jobs[i].status && !st) {
            st = jobs[i].status;
            *err = jobs[i].err;
        }
    }
    pthread_mutex_unlock(&e->lock);
    return st;
}

static uf_status run_in_pieces(srv_engine *e, srv_lane_name l, const job *whole, uf_error *err)
{
    const size_t pieces = (whole->count + e->o.batch - 1) / e->o.batch;
    job *jobs = calloc(pieces + 1, sizeof *jobs);
    if (!jobs)
        return srv_fail(err, UF_E_NOMEM, "out of memory");
    for (size_t i = 0; i < pieces; i++)
        jobs[i] = piece_of(e, whole, i);
    uf_status st = run_jobs(e, (int)l, jobs, pieces, err);
    free(jobs);
    return st;
}

uf_status srv_engine_detect(srv_engine *e, const char *client, double deadline,
                            const uf_image *images, size_t n, uf_face *faces, size_t cap,
                            size_t *counts, uf_error *err)
{
    srv_loaded *m = srv_engine_hold(e, SRV_LANE_DETECT);
    if (!m)
        return srv_fail(err, UF_E_STATE, "no detector is loaded");
    const job whole = {.queued = {.client = client},
                       .model = m,
                       .deadline = deadline,
                       .count = n,
                       .images = images,
                       .faces = faces,
                       .cap = cap,
                       .counts = counts};
    uf_status st = run_in_pieces(e, SRV_LANE_DETECT, &whole, err);
    srv_engine_release(m);
    return st;
}

uf_status srv_engine_embed(srv_engine *e, const char *client, double deadline, srv_loaded *m,
                           const uint8_t *crops, size_t n, float *out, uf_error *err)
{
    const job whole = {.queued = {.client = client},
                       .model = m,
                       .deadline = deadline,
                       .count = n,
                       .crops = crops,
                       .out = out};
    return run_in_pieces(e, SRV_LANE_EMBED, &whole, err);
}

uf_status srv_engine_tensors(srv_engine *e, const char *client, double deadline, srv_loaded *m,
                             const srv_tensor *inputs, srv_tensor *outputs, uf_error *err)
{
    job one = {.queued = {.client = client},
               .model = m,
               .deadline = deadline,
               .count = e->o.batch, /* nothing goes with it */
               .inputs = inputs,
               .outputs = outputs};
    return run_jobs(e, LANE_TENSORS, &one, 1, err);
}
