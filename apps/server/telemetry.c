/* One table of families; what has few label values is looked up once. */
#include "server/telemetry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/metrics.h"
#include "server/state.h"

static const double latency[] = {0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075,
                                 0.1,   0.15,   0.25,  0.5,  1,    2.5,  5,    10};
static const double stage[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02,
                               0.03,   0.05,    0.1,    0.25,  0.5,    1,     2.5,  5};
static const double sizes[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256};
static const double faces_of_request[] = {0, 1, 2, 3, 5, 10, 20, 50, 100};
static const double scores[] = {-0.2, -0.1, 0,    0.1, 0.15, 0.2, 0.25, 0.3,
                                0.35, 0.4,  0.45, 0.5, 0.6,  0.7, 0.8,  0.9};
static const double qualities[] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9};

enum family {
    REQUESTS,
    LATENCY,
    STAGE,
    ERRORS,
    BATCH,
    RUN,
    FACES,
    QUALITY,
    SCORE,
    ENROLMENTS,
    QUEUE,
    WORKERS,
    CONNECTIONS,
    BODIES,
    GALLERY_PEOPLE,
    GALLERY_TEMPLATES,
    MODEL_INFO,
    BUILD_INFO,
    UP_SINCE,
    FAMILIES
};

#define BUCKETS(list) list, sizeof(list) / sizeof *(list)
static const srv_family families[FAMILIES] = {
    [REQUESTS] = {"uniface_requests_total",
                  "Requests answered",
                  SRV_COUNTER,
                  {"route", "method", "status"},
                  NULL,
                  0},
    [LATENCY] = {"uniface_request_seconds",
                 "From the request's head to its answer",
                 SRV_HISTOGRAM,
                 {"route", "method"},
                 BUCKETS(latency)},
    [STAGE] = {"uniface_stage_seconds",
               "Time in a stage of a request, waiting included",
               SRV_HISTOGRAM,
               {"stage"},
               BUCKETS(stage)},
    [ERRORS] = {"uniface_errors_total",
                "Answers that are errors, and broken connections",
                SRV_COUNTER,
                {"class"},
                NULL,
                0},
    [BATCH] = {"uniface_batch_size",
               "Pictures or faces in a run of a network",
               SRV_HISTOGRAM,
               {"network"},
               BUCKETS(sizes)},
    [RUN] = {"uniface_run_seconds",
             "Time of a run of a network",
             SRV_HISTOGRAM,
             {"network"},
             BUCKETS(stage)},
    [FACES] = {"uniface_faces",
               "Faces found in a picture",
               SRV_HISTOGRAM,
               {NULL},
               BUCKETS(faces_of_request)},
    [QUALITY] =
        {"uniface_face_quality", "Quality of faces", SRV_HISTOGRAM, {NULL}, BUCKETS(qualities)},
    [SCORE] =
        {"uniface_score", "Similarities of comparisons", SRV_HISTOGRAM, {"kind"}, BUCKETS(scores)},
    [ENROLMENTS] = {"uniface_enrolments_total",
                    "Pictures offered for enrolment",
                    SRV_COUNTER,
                    {"outcome"},
                    NULL,
                    0},
    [QUEUE] =
        {"uniface_queue_depth", "Requests admitted and not answered", SRV_GAUGE, {NULL}, NULL, 0},
    [WORKERS] = {"uniface_workers",
                 "Requests that are worked at beside each other",
                 SRV_GAUGE,
                 {NULL},
                 NULL,
                 0},
    [CONNECTIONS] = {"uniface_connections", "Open connections", SRV_GAUGE, {NULL}, NULL, 0},
    [BODIES] = {"uniface_body_bytes", "Memory of bodies that are held", SRV_GAUGE, {NULL}, NULL, 0},
    [GALLERY_PEOPLE] = {"uniface_gallery_people", "People enrolled", SRV_GAUGE, {NULL}, NULL, 0},
    [GALLERY_TEMPLATES] =
        {"uniface_gallery_templates", "Templates stored", SRV_GAUGE, {NULL}, NULL, 0},
    [MODEL_INFO] = {"uniface_model_info",
                    "Models loaded (1) or not any more (0)",
                    SRV_GAUGE,
                    {"task", "name", "model_id"},
                    NULL,
                    0},
    [BUILD_INFO] = {"uniface_build_info", "Version", SRV_GAUGE, {"version"}, NULL, 0},
    [UP_SINCE] = {"uniface_uptime_seconds", "Time since the start", SRV_GAUGE, {NULL}, NULL, 0},
};

static const char *const stage_names[SRV_STAGE_COUNT] = {"queue", "decode", "detect",
                                                         "align", "embed",  "search"};
static const char *const lane_names[SRV_LANE_COUNT] = {"detector", "embedder"};
static const char *const method_names[SRV_METHOD_COUNT] = {"GET", "POST", "PUT", "PATCH", "DELETE"};

struct srv_telemetry {
    srv_metrics *m;
    double started;
    srv_series *stages[SRV_STAGE_COUNT], *batch[SRV_LANE_COUNT], *run[SRV_LANE_COUNT];
    srv_series *faces, *quality;
    char model_ids[SRV_LANE_COUNT][65], model_names[SRV_LANE_COUNT][65]; /* last shown */
    pthread_mutex_t lock;                                                /* of those */
};

static srv_series *series(srv_telemetry *t, enum family f, const char *a, const char *b,
                          const char *c)
{
    const char *const values[SRV_LABELS_MAX] = {a, b, c, NULL};
    return srv_metrics_series(t->m, f, values);
}

srv_telemetry *srv_telemetry_create(void)
{
    srv_telemetry *t = calloc(1, sizeof *t);
    if (t)
        t->m = srv_metrics_create(families, FAMILIES);
    if (!t || !t->m) {
        free(t);
        return NULL;
    }
    t->started = srv_now();
    pthread_mutex_init(&t->lock, NULL);
    for (int i = 0; i < SRV_STAGE_COUNT; i++)
        t->stages[i] = series(t, STAGE, stage_names[i], NULL, NULL);
    for (int i = 0; i < SRV_LANE_COUNT; i++) {
        t->batch[i] = series(t, BATCH, lane_names[i], NULL, NULL);
        t->run[i] = series(t, RUN, lane_names[i], NULL, NULL);
    }
    t->faces = series(t, FACES, NULL, NULL, NULL);
    t->quality = series(t, QUALITY, NULL, NULL, NULL);
    srv_series_add(series(t, ENROLMENTS, "enrolled", NULL, NULL), 0);
    srv_series_add(series(t, ENROLMENTS, "refused", NULL, NULL), 0);
    srv_series_set(series(t, BUILD_INFO, uf_version(), NULL, NULL), 1);
    return t;
}

void srv_telemetry_destroy(srv_telemetry *t)
{
    if (!t)
        return;
    srv_metrics_destroy(t->m);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

void srv_telemetry_request(srv_telemetry *t, const srv_request *q, const srv_answer *a,
                           double seconds)
{
    char status[8];
    const char *route = q->route ? q->route->pattern : "none";
    const char *method = q->route ? method_names[q->route->method] : "none";
    snprintf(status, sizeof status, "%d", a->status);
    srv_series_add(series(t, REQUESTS, route, method, status), 1);
    srv_series_observe(series(t, LATENCY, route, method, NULL), seconds);
    for (int i = 0; i < SRV_STAGE_COUNT; i++)
        if (q->stages[i] > 0)
            srv_series_observe(t->stages[i], q->stages[i]);
    if (a->error)
        srv_telemetry_error(t, a->error);
}

void srv_telemetry_error(srv_telemetry *t, const char *class_name)
{
    srv_series_add(series(t, ERRORS, class_name, NULL, NULL), 1);
}

void srv_telemetry_batch(srv_telemetry *t, srv_lane_name lane, size_t size, double seconds)
{
    srv_series_observe(t->batch[lane], (double)size);
    srv_series_observe(t->run[lane], seconds);
}

void srv_telemetry_faces(srv_telemetry *t, size_t faces)
{
    srv_series_observe(t->faces, (double)faces);
}

void srv_telemetry_quality(srv_telemetry *t, double quality)
{
    srv_series_observe(t->quality, quality);
}

void srv_telemetry_score(srv_telemetry *t, const char *kind, double score)
{
    srv_series_observe(series(t, SCORE, kind, NULL, NULL), score);
}

void srv_telemetry_enrolment(srv_telemetry *t, bool ok)
{
    srv_series_add(series(t, ENROLMENTS, ok ? "enrolled" : "refused", NULL, NULL), 1);
}

/* A model that was swapped out is shown as 0 once, so that its series ends. */
static void show_model(srv_server *s, srv_lane_name lane)
{
    srv_telemetry *t = s->telemetry;
    srv_loaded *m = srv_engine_hold(s->engine, lane);
    const char *id = m ? uf_model_id(srv_loaded_model(m)) : "";
    const char *name = m ? srv_loaded_name(m) : "";
    pthread_mutex_lock(&t->lock);
    char *old = t->model_ids[lane], *old_name = t->model_names[lane];
    if (*old && (strcmp(old, id) != 0 || strcmp(old_name, name) != 0))
        srv_series_set(series(t, MODEL_INFO, lane_names[lane], old_name, old), 0);
    if (m)
        srv_series_set(series(t, MODEL_INFO, lane_names[lane], name, id), 1);
    snprintf(old, 65, "%s", id);
    snprintf(old_name, 65, "%s", name);
    pthread_mutex_unlock(&t->lock);
    srv_engine_release(m);
}

static void set(srv_telemetry *t, enum family f, double v)
{
    srv_series_set(series(t, f, NULL, NULL, NULL), v);
}

void srv_telemetry_write(srv_server *s, bool open, srv_text *out)
{
    srv_telemetry *t = s->telemetry;
    uf_gallery_stats stats;
    uf_error err;
    for (int l = 0; l < SRV_LANE_COUNT; l++)
        show_model(s, (srv_lane_name)l);
    set(t, QUEUE, (double)srv_engine_depth(s->engine));
    set(t, WORKERS, (double)srv_engine_workers(s->engine));
    set(t, CONNECTIONS, (double)srv_connections_count(s->connections));
    set(t, BODIES, (double)atomic_load(&s->body_bytes));
    set(t, UP_SINCE, srv_now() - t->started);
    if (s->gallery && !uf_gallery_describe(s->gallery, &stats, &err)) {
        set(t, GALLERY_PEOPLE, (double)stats.people);
        set(t, GALLERY_TEMPLATES, (double)stats.templates);
    }
    srv_metrics_write_process(open, out);
    srv_metrics_write(t->m, open, out); /* last: it ends the text of OpenMetrics */
}
