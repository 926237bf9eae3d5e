/*
 * A request keeps its core from the decoding of its pictures to the last template: nothing is
 * handed over in between, and no more pictures are decoded at once than are worked at. The core's
 * thread then goes on with the next request without having slept. Two MobileFaceNets beside each
 * other do more than one in batches, whose activations leave the caches; networks that gain by
 * company wait for it, but only while more requests begin, so that no core is idle beside a job.
 */
#include "server/engine.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "server/core.h"

/* Who has held a core for so long lets those who wait go first. Its pictures stay in memory
 * meanwhile, so few at once may do so for each core: where all requests are long, by the machine or
 * by their pictures, taking turns would only have all of them under way. */
static const double slice_s = 0.05;
enum { PAUSED_OF_CORE = 2 };

/* A thread that waits: for a core to begin with, for its jobs, or for its task to be done. */
typedef struct waiter {
    fair_job queued; /* first: the queue's job is one of these */
    srv_task_fn *fn; /* NULL: no task */
    void *user;
    srv_work *work;
    bool done, alone; /* no thread could be made: do it yourself */
    double deadline;
    srv_core *core; /* it was given this one */
    bool late;
    size_t left;         /* jobs that have not ended */
    struct waiter *next; /* of its lane, or the next task that has a core */
    pthread_cond_t wake;
} waiter;

typedef struct lane {
    srv_loaded *model; /* current; NULL: none */
    fair_queue queue;  /* jobs that gain by company */
    waiter *waiting;   /* whose jobs these are, as far as they hold no core */
} lane;

struct srv_engine {
    srv_engine_options o;
    srv_batch_fn *observer;
    void *user;
    srv_core *cores;      /* [o.workers] */
    pthread_mutex_t lock; /* protects everything below */
    pthread_cond_t task, ended;
    waiter *tasks, **tasks_end; /* that have a core, and wait for a thread */
    size_t threads, idle;       /* idle: those to which no task is on its way */
    bool turning;               /* the thread with the lock is about to look for a task */
    bool stop;
    srv_core *free; /* nobody waits then */
    fair_queue beginning;
    size_t paused; /* who has begun, and waits in `beginning` to go on */
    lane lanes[SRV_LANE_COUNT];
    size_t admitted;
};

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

static uf_status fail_late(uf_error *err)
{
    return srv_fail(err, UF_E_CANCELLED, "the time for this request is over");
}

/* ---- who gets a core; with the lock ---- */

/* A batch is put off while others begin who may join it, and wait_us at most. */
static bool is_ready(const srv_engine *e, int l)
{
    const fair_queue *q = &e->lanes[l].queue;
    return q->count && (!e->beginning.count || q->count >= e->o.batch ||
                        fair_oldest(q) + e->o.wait_us * 1e-6 <= srv_now());
}

static bool add_thread(srv_engine *e);

static void start_task(srv_engine *e, waiter *t, srv_core *core)
{
    t->work->core = core;
    t->work->since = srv_now();
    if (!e->idle && !add_thread(e)) {
        t->alone = true;
        pthread_cond_signal(&t->wake);
        return;
    }
    if (e->idle) {
        e->idle--;
        if (!e->turning)
            pthread_cond_signal(&e->task);
    }
    t->next = NULL;
    *e->tasks_end = t;
    e->tasks_end = &t->next;
}

static void give(srv_engine *e, waiter *w, srv_core *core)
{
    if (w->fn) {
        start_task(e, w, core);
        return;
    }
    w->core = core;
    pthread_cond_signal(&w->wake);
}

/* What has begun goes first. */
static void pass_on(srv_engine *e, srv_core *core)
{
    waiter *w;
    do {
        for (int l = SRV_LANE_COUNT - 1; l >= 0; l--)
            if (e->lanes[l].waiting && is_ready(e, l)) {
                w = e->lanes[l].waiting;
                e->lanes[l].waiting = w->next;
                give(e, w, core);
                return;
            }
        w = (waiter *)fair_pop(&e->beginning);
        if (w && w->deadline > srv_now()) {
            give(e, w, core);
            return;
        }
        if (w) {
            w->late = true;
            pthread_cond_signal(&w->wake);
        }
    } while (w);
    core->next = e->free;
    e->free = core;
}

static void waiter_init(waiter *me, const srv_work *w)
{
    *me = (waiter){.queued = {.client = w->client, .since = srv_now()}, .deadline = w->deadline};
    pthread_cond_init(&me->wake, NULL);
}

/* Waits in the queue for a core; one that is held goes to who is next. Handles of models that are
 * no longer current go along: who gets the core closes them at the end, and let_go would give up
 * the lock between queueing and passing on. */
static uf_status queue_up(srv_engine *e, srv_work *w, uf_error *err)
{
    waiter me;
    const bool begun = w->core != NULL;
    waiter_init(&me, w);
    e->paused += begun;
    const bool queued = fair_push(&e->beginning, &me.queued);
    if (queued && w->core)
        pass_on(e, w->core);
    while (queued && !me.core && !me.late)
        pthread_cond_wait(&me.wake, &e->lock);
    pthread_cond_destroy(&me.wake);
    e->paused -= begun;
    if (!queued)
        return srv_fail(err, UF_E_NOMEM, "out of memory");
    w->core = me.core;
    w->since = srv_now();
    return me.late ? fail_late(err) : UF_OK;
}

/* With the lock. */
static bool should_pause(const srv_engine *e, const srv_work *w, double now)
{
    return e->beginning.count && now - w->since > slice_s &&
           e->paused < (size_t)PAUSED_OF_CORE * e->o.workers;
}

uf_status srv_engine_take(srv_engine *e, srv_work *w, uf_error *err)
{
    const double now = srv_now();
    uf_status st = UF_OK;
    if (w->deadline <= now)
        return fail_late(err);
    pthread_mutex_lock(&e->lock);
    if (!w->core && e->free) {
        w->core = e->free;
        w->since = now;
        e->free = w->core->next;
    } else if (!w->core || should_pause(e, w, now)) {
        st = queue_up(e, w, err);
    }
    pthread_mutex_unlock(&e->lock);
    return st;
}

/* Handles of models that are not current any more; closing[] gets them, to be closed unlocked. */
static bool take_old_handles(const srv_engine *e, srv_core *c, srv_handle closing[SRV_HANDLES])
{
    bool any = false;
    for (int l = 0; l < SRV_HANDLES; l++) {
        const srv_loaded *current = e->lanes[l % SRV_LANE_COUNT].model;
        closing[l] = (srv_handle){0};
        if (c->handles[l].model && c->handles[l].model != current) {
            closing[l] = c->handles[l];
            c->handles[l] = (srv_handle){0};
            any = true;
        }
    }
    return any;
}

/* With the lock, which is released meanwhile. NULL: no core was held. */
static srv_core *let_go(srv_engine *e, srv_work *w)
{
    srv_handle closing[SRV_HANDLES];
    srv_core *core = w->core;
    if (!core)
        return NULL;
    w->core = NULL;
    while (take_old_handles(e, core, closing)) {
        pthread_mutex_unlock(&e->lock);
        for (int l = 0; l < SRV_HANDLES; l++)
            srv_handle_close(&closing[l]);
        pthread_mutex_lock(&e->lock);
    }
    return core;
}

void srv_engine_rest(srv_engine *e, srv_work *w)
{
    if (!w->core)
        return;
    pthread_mutex_lock(&e->lock);
    pass_on(e, let_go(e, w));
    pthread_mutex_unlock(&e->lock);
}

/* ---- the threads ---- */

/* Threads of connections have something short to do: they go first (Linux 6.12 and later; others
 * let the slice be as it is). */
static void take_long_slices(void)
{
#ifdef SYS_sched_setattr
    const struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } long_slices = {.size = 48,
                     .flags = 0x08 /* the policy stays */,
                     .nice = getpriority(PRIO_PROCESS, 0),
                     .runtime = 30000000};
    syscall(SYS_sched_setattr, 0, &long_slices, 0);
#endif
}

static void *do_tasks(void *user)
{
    srv_engine *e = user;
    take_long_slices();
    pthread_mutex_lock(&e->lock);
    for (;;) {
        while (!e->tasks && !e->stop && e->idle <= e->o.workers)
            pthread_cond_wait(&e->task, &e->lock);
        waiter *t = e->tasks;
        if (!t)
            break;
        e->tasks = t->next;
        if (!e->tasks)
            e->tasks_end = &e->tasks;
        pthread_mutex_unlock(&e->lock);
        t->fn(t->user);
        pthread_mutex_lock(&e->lock);
        srv_core *core = let_go(e, t->work);
        e->idle++;
        e->turning = true; /* the lock is held, so that it starts one task at most */
        if (core)
            pass_on(e, core);
        e->turning = false;
        t->done = true;
        pthread_cond_signal(&t->wake);
    }
    e->idle--;
    if (--e->threads == 0)
        pthread_cond_signal(&e->ended);
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

/* With the lock. */
static bool add_thread(srv_engine *e)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, do_tasks, e))
        return false;
    pthread_detach(thread);
    e->threads++;
    return true;
}

uf_status srv_engine_do(srv_engine *e, srv_work *w, srv_task_fn *fn, void *user, uf_error *err)
{
    waiter me;
    uf_status st = UF_OK;
    waiter_init(&me, w);
    me.fn = fn;
    me.user = user;
    me.work = w;
    pthread_mutex_lock(&e->lock);
    if (e->free) {
        srv_core *core = e->free;
        e->free = core->next;
        start_task(e, &me, core);
    } else if (!fair_push(&e->beginning, &me.queued)) {
        st = srv_fail(err, UF_E_NOMEM, "out of memory");
    }
    while (!st && !me.done && !me.alone && !me.late)
        pthread_cond_wait(&me.wake, &e->lock);
    pthread_mutex_unlock(&e->lock);
    pthread_cond_destroy(&me.wake);
    if (me.late)
        st = fail_late(err);
    if (me.alone) {
        fn(user);
        srv_engine_rest(e, w);
    }
    return st;
}

/* ---- networks that gain by company; with the lock ---- */

static void finish_job(srv_job *j)
{
    if (--j->owner->left == 0)
        pthread_cond_signal(&j->owner->wake);
}

/* Moves jobs of one model into the core's batch; what is late is answered. */
static void take_batch(srv_engine *e, srv_core *c, int l)
{
    fair_queue *q = &e->lanes[l].queue;
    const double now = srv_now();
    c->batch_count = c->item_count = 0;
    for (;;) {
        srv_job *j = (srv_job *)fair_peek(q);
        if (j && j->owner->deadline <= now) {
            fair_pop(q);
            j->status = fail_late(&j->err);
            finish_job(j);
            continue;
        }
        if (!j || c->item_count + j->count > e->o.batch ||
            (c->batch_count && c->batch[0]->model != j->model))
            return;
        fair_pop(q);
        c->batch[c->batch_count++] = j;
        c->item_count += j->count;
    }
}

static void serve_lane(srv_engine *e, srv_core *c, srv_lane_name l)
{
    take_batch(e, c, (int)l);
    if (!c->batch_count)
        return;
    pthread_mutex_unlock(&e->lock);
    const double began = srv_now();
    srv_core_run_batch(c);
    if (e->observer)
        e->observer(e->user, l, c->item_count, srv_now() - began);
    pthread_mutex_lock(&e->lock);
    for (size_t i = 0; i < c->batch_count; i++)
        finish_job(c->batch[i]);
}

/* Until the jobs have ended, or a core is given to run a batch on, whosever it is. */
static void wait_in_lane(srv_engine *e, lane *n, waiter *me, srv_work *w)
{
    srv_core *core = let_go(e, w);
    waiter **end = &n->waiting;
    while (*end)
        end = &(*end)->next;
    *end = me;
    me->next = NULL;
    if (core)
        pass_on(e, core);
    while (!me->core && me->left)
        pthread_cond_wait(&me->wake, &e->lock);
    for (waiter **i = &n->waiting; *i; i = &(*i)->next)
        if (*i == me) {
            *i = me->next;
            break;
        }
    w->core = me->core;
    w->since = srv_now();
    me->core = NULL;
}

static uf_status run_in_company(srv_engine *e, srv_work *w, srv_lane_name l, const srv_job *whole,
                                uf_error *err)
{
    const size_t most = e->o.batch, pieces = (whole->count + most - 1) / most;
    srv_job *jobs = calloc(pieces, sizeof *jobs);
    uf_status st = UF_OK;
    waiter me;
    if (!jobs)
        return srv_fail(err, UF_E_NOMEM, "out of memory");
    waiter_init(&me, w);
    pthread_mutex_lock(&e->lock);
    for (size_t i = 0; i < pieces; i++) {
        const size_t left = whole->count - i * most;
        jobs[i] = srv_job_piece(whole, i * most, left < most ? left : most);
        jobs[i].owner = &me;
        jobs[i].queued = me.queued;
        if (fair_push(&e->lanes[l].queue, &jobs[i].queued))
            me.left++;
        else
            jobs[i].status = srv_fail(&jobs[i].err, UF_E_NOMEM, "out of memory");
    }
    while (me.left) {
        if (w->core && is_ready(e, (int)l))
            serve_lane(e, w->core, l);
        else
            wait_in_lane(e, &e->lanes[l], &me, w);
    }
    pthread_mutex_unlock(&e->lock);
    pthread_cond_destroy(&me.wake);
    for (size_t i = 0; i < pieces && !st; i++) {
        st = jobs[i].status;
        *err = jobs[i].err;
    }
    free(jobs);
    return st;
}

/* ---- what requests ask for ---- */

static uf_status run_alone(srv_engine *e, srv_core *c, srv_lane_name l, srv_job *j, uf_error *err)
{
    const double began = srv_now();
    const uf_status st = srv_core_run(c, j);
    if (st)
        *err = j->err;
    if (e->observer)
        e->observer(e->user, l, j->count, srv_now() - began);
    return st;
}

static uf_status run(srv_engine *e, srv_work *w, srv_lane_name l, const srv_job *whole,
                     uf_error *err)
{
    uf_status st = UF_OK;
    for (size_t i = 0; !st && i < whole->count; i++) {
        st = srv_engine_take(e, w, err);
        if (!st)
            st = srv_core_prepare(w->core, whole->model, err);
        if (!st && atomic_load(&whole->model->together) > 1)
            return run_in_company(e, w, l, whole, err);
        srv_job one = srv_job_piece(whole, i, 1);
        if (!st)
            st = run_alone(e, w->core, l, &one, err);
    }
    return st;
}

uf_status srv_engine_detect(srv_engine *e, srv_work *w, const uf_image *images, size_t n,
                            uf_face *faces, size_t cap, size_t *counts, uf_error *err)
{
    srv_loaded *m = srv_engine_hold(e, SRV_LANE_DETECT);
    if (!m)
        return srv_fail(err, UF_E_STATE, "no detector is loaded");
    const srv_job whole = {
        .model = m, .count = n, .images = images, .faces = faces, .cap = cap, .counts = counts};
    uf_status st = run(e, w, SRV_LANE_DETECT, &whole, err);
    srv_engine_release(m);
    return st;
}

uf_status srv_engine_embed(srv_engine *e, srv_work *w, srv_loaded *m, const uint8_t *crops,
                           size_t n, float *out, uf_error *err)
{
    const srv_job whole = {.model = m, .count = n, .crops = crops, .out = out};
    return run(e, w, SRV_LANE_EMBED, &whole, err);
}

uf_status srv_engine_tensors(srv_engine *e, srv_work *w, srv_loaded *m, const srv_tensor *inputs,
                             srv_tensor *outputs, uf_error *err)
{
    const uf_status st = srv_engine_take(e, w, err);
    return st ? st : srv_core_run_tensors(w->core, m, inputs, outputs, err);
}

/* ---- the engine itself ---- */

static bool add_core(srv_engine *e, srv_core *c)
{
    c->next = e->free;
    e->free = c;
    return srv_core_open(c, &e->o);
}

uf_status srv_engine_create(srv_engine **out, const srv_engine_options *o, srv_batch_fn *observer,
                            void *user, uf_error *err)
{
    srv_engine *e = calloc(1, sizeof *e);
    *out = NULL;
    if (!e)
        return srv_fail(err, UF_E_NOMEM, "out of memory");
    e->o = *o;
    if (!e->o.workers) {
        uf_device cpu;
        e->o.workers = uf_device_get(0, &cpu, err) || !cpu.cores ? 1 : cpu.cores;
    }
    if (!e->o.queue)
        e->o.queue = SRV_QUEUE_OF_CORE * e->o.workers;
    e->observer = observer;
    e->user = user;
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->task, NULL);
    pthread_cond_init(&e->ended, NULL);
    e->cores = calloc(e->o.workers, sizeof *e->cores);
    e->tasks_end = &e->tasks;
    bool ok = e->cores != NULL;
    for (unsigned i = e->o.workers; ok && i-- > 0;)
        ok = add_core(e, &e->cores[i]);
    pthread_mutex_lock(&e->lock);
    for (unsigned i = 0; ok && i < e->o.workers; i++) {
        ok = add_thread(e);
        e->idle += ok;
    }
    pthread_mutex_unlock(&e->lock);
    if (!ok) {
        srv_engine_destroy(e);
        return srv_fail(err, UF_E_NOMEM, "out of memory");
    }
    *out = e;
    return UF_OK;
}

void srv_engine_destroy(srv_engine *e)
{
    if (!e)
        return;
    pthread_mutex_lock(&e->lock);
    e->stop = true;
    pthread_cond_broadcast(&e->task);
    while (e->threads)
        pthread_cond_wait(&e->ended, &e->lock);
    pthread_mutex_unlock(&e->lock);
    for (unsigned i = 0; e->cores && i < e->o.workers; i++)
        srv_core_close(&e->cores[i]);
    for (int l = 0; l < SRV_LANE_COUNT; l++)
        srv_engine_release(e->lanes[l].model);
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->task);
    pthread_cond_destroy(&e->ended);
    free(e->cores);
    free(e);
}

/* ---- models ---- */

/* The old one is closed when the last run with it has ended: free cores let go of it here, others
 * when they rest. */
static void set_model(srv_engine *e, srv_lane_name l, srv_loaded *m)
{
    srv_handle closing[SRV_HANDLES];
    bool more = true;
    pthread_mutex_lock(&e->lock);
    srv_loaded *old = e->lanes[l].model;
    e->lanes[l].model = m;
    while (more) {
        more = false;
        for (srv_core *c = e->free; c && !more; c = c->next)
            more = take_old_handles(e, c, closing);
        pthread_mutex_unlock(&e->lock);
        for (int i = 0; more && i < SRV_HANDLES; i++)
            srv_handle_close(&closing[i]);
        pthread_mutex_lock(&e->lock);
    }
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

bool srv_engine_is_full(srv_engine *e)
{
    return srv_engine_depth(e) >= e->o.queue;
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
