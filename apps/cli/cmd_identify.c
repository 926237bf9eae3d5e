/* uniface identify: who of a gallery is in a picture; and 1:1 verification against it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gallery.h"
#include "identify.h"
#include "lanes.h"

typedef struct identifying {
    const cli_args *a;
    cli_lanes lanes;
    gallery_session gallery;
    cli_filter filter;
    uf_identify_options o;
    const uf_pipeline_item *item;
    uf_candidate *candidates;    /* [face][top_k] */
    size_t *counts;              /* [face]: candidates found */
    size_t searched, identified; /* faces */
    uf_gallery_threshold_info threshold;
} identifying;

static bool is_wanted(const identifying *q, size_t face)
{
    return (int32_t)face == q->item->main_face || cli_flag(q->a, "all-faces");
}

static int read_options(identifying *q)
{
    const cli_args *a = q->a;
    double k, threshold, min_score;
    q->o = (uf_identify_options)UF_IDENTIFY_OPTIONS_INIT;
    if (!cli_number(a, "top", 1, 1000, 5, &k) ||
        !cli_number(a, "fpir", 1e-6, 0.5, 0.01, &q->o.fpir) ||
        !cli_number(a, "threshold", -1, 1, (double)NAN, &threshold) ||
        !cli_number(a, "min-score", -1, 1, -1, &min_score))
        return EXIT_USAGE;
    if (cli_value(a, "fpir") && cli_value(a, "threshold"))
        return cli_complain(EXIT_USAGE, "identify: give --fpir or --threshold, not both");
    q->o.top_k = (uint32_t)k;
    q->o.threshold = (float)threshold;
    q->o.min_score = (float)min_score;
    q->o.collection = cli_value(a, "collection");
    q->o.purpose = cli_value(a, "purpose");
    const int status = cli_filter_open(&q->filter, a);
    q->o.filter = cli_filter_get(&q->filter);
    return status;
}

/* ---- telling ---- */

static const uf_candidate *candidates_of(const identifying *q, size_t face)
{
    return q->candidates + face * q->o.top_k;
}

static bool is_known(const identifying *q, size_t face)
{
    return q->counts[face] && candidates_of(q, face)->passes;
}

/* Why a face was not searched for, or NULL. */
static const char *fault_of(const identifying *q, size_t face)
{
    const uf_face_fault *f = q->item->faults ? &q->item->faults[face] : NULL;
    return f && f->status ? f->message : NULL;
}

static void face_json(cli_json *j, const identifying *q, size_t face)
{
    const uf_face *f = &q->item->faces[face];
    const uf_candidate *c = candidates_of(q, face);
    json_open(j, NULL, '{');
    json_integer(j, "face", (long long)face);
    json_open(j, "box", '[');
    json_number(j, NULL, (double)f->x);
    json_number(j, NULL, (double)f->y);
    json_number(j, NULL, (double)f->width);
    json_number(j, NULL, (double)f->height);
    json_close(j, ']');
    json_text(j, "id", is_known(q, face) ? c->id : NULL);
    json_open(j, "candidates", '[');
    for (size_t i = 0; i < q->counts[face]; i++) {
        json_open(j, NULL, '{');
        json_text(j, "id", c[i].id);
        json_number(j, "score", (double)c[i].score);
        json_integer(j, "template_id", (long long)c[i].template_id);
        json_bool(j, "passes", c[i].passes);
        json_close(j, '}');
    }
    json_close(j, ']');
    if (fault_of(q, face))
        json_text(j, "error", fault_of(q, face));
    json_close(j, '}');
}

static void face_text(const identifying *q, size_t face)
{
    const uf_face *f = &q->item->faces[face];
    const uf_candidate *c = candidates_of(q, face);
    const char *fault = fault_of(q, face);
    printf("face #%zu at %.0f,%.0f: %s%s\n", face, (double)f->x, (double)f->y,
           fault ? "not searched: " : "",
           fault               ? fault
           : is_known(q, face) ? c->id
                               : "unknown");
    for (size_t i = 0; i < q->counts[face]; i++)
        printf("  %2zu. %-24s %7.4f%s\n", i + 1, c[i].id, (double)c[i].score,
               c[i].passes ? "  passes" : "");
}

static void threshold_json(cli_json *j, const uf_gallery_threshold_info *t)
{
    json_open(j, "threshold", '{');
    json_number(j, "value", (double)t->threshold);
    json_bool(j, "given", t->impostor_scores == 0);
    if (t->impostor_scores) {
        json_number(j, "fpir", t->fpir);
        json_integer(j, "impostor_scores", (long long)t->impostor_scores);
        json_bool(j, "extrapolated", t->extrapolated);
    }
    json_integer(j, "people", (long long)t->people);
    json_close(j, '}');
}

static void threshold_text(const uf_gallery_threshold_info *t)
{
    if (!t->impostor_scores) {
        printf("threshold %.4f: as given; %llu people searched\n", (double)t->threshold,
               (unsigned long long)t->people);
        return;
    }
    printf("threshold %.4f: of searches for strangers among %llu people %g may name somebody, by "
           "%llu impostor scores measured on this gallery%s\n",
           (double)t->threshold, (unsigned long long)t->people, t->fpir,
           (unsigned long long)t->impostor_scores,
           t->extrapolated ? " (its tail is extrapolated: fewer than 30 of them lie above)" : "");
}

static void report(const identifying *q, const char *path)
{
    cli_json j = {.f = stdout};
    if (q->a->json) {
        json_open(&j, NULL, '{');
        json_text(&j, "image", path);
        json_text(&j, "gallery", q->gallery.name);
        json_text(&j, "collection", q->o.collection ? q->o.collection : "default");
        json_text(&j, "model_id", uf_model_id(q->lanes.embedder));
        json_integer(&j, "faces_found", (long long)q->item->face_count);
        json_open(&j, "faces", '[');
    }
    for (size_t i = 0; i < q->item->face_count; i++)
        if (is_wanted(q, i) && q->a->json)
            face_json(&j, q, i);
        else if (is_wanted(q, i))
            face_text(q, i);
    if (q->a->json) {
        json_close(&j, ']');
        if (q->searched)
            threshold_json(&j, &q->threshold);
        json_close(&j, '}');
        json_end(&j);
    } else if (q->searched) {
        threshold_text(&q->threshold);
    }
}

/* ---- searching ---- */

static uf_status identify_face(identifying *q, size_t face, uf_error *err)
{
    const size_t n = q->lanes.dimension;
    q->counts[face] = q->o.top_k;
    const uf_status st = uf_gallery_identify(
        q->gallery.g, q->item->templates + face * n, (uint32_t)n, uf_model_id(q->lanes.embedder),
        &q->o, q->candidates + face * q->o.top_k, &q->counts[face], &q->threshold, err);
    if (!st) {
        q->searched++;
        q->identified += is_known(q, face);
    }
    return st;
}

/* A gallery of few people has no threshold of its own: which could be given is told. */
static int fail_search(const identifying *q, uf_error *err)
{
    uf_threshold t;
    const size_t used = strlen(err->message);
    if (err->status == UF_E_UNCALIBRATED && !uf_model_threshold(q->lanes.embedder, 1e-3f, &t, NULL))
        snprintf(err->message + used, sizeof err->message - used,
                 " (--threshold %.4f is where this embedder decides pairs at a FAR of 0.001)",
                 (double)t.threshold);
    return cli_fail(err);
}

/* All searches are made before anything is printed. */
static int take_picture(void *user, size_t picture, const uf_pipeline_item *item)
{
    identifying *q = user;
    uf_error err;
    size_t failed = 0;
    const char *path = q->a->operands[picture];
    uf_status st = cli_item_check(item, path, &err);
    if (st)
        return cli_fail(&err);
    q->item = item;
    q->candidates = cli_need(calloc(item->face_count * q->o.top_k, sizeof *q->candidates));
    q->counts = cli_need(calloc(item->face_count, sizeof *q->counts));
    for (size_t i = 0; !st && i < item->face_count; i++) {
        if (fault_of(q, i)) {
            cli_complain(0, "%s: face #%zu is not searched: %s", path, i, fault_of(q, i));
            failed++;
        } else if (is_wanted(q, i)) {
            st = identify_face(q, i, &err);
        }
    }
    if (st)
        return fail_search(q, &err);
    report(q, path);
    return failed ? EXIT_INPUT : q->identified ? 0 : EXIT_DIFFERENT;
}

static int run_identify(const cli_args *a)
{
    identifying q = {.a = a};
    uf_pipeline_options o = UF_PIPELINE_OPTIONS_INIT;
    o.max_faces = CLI_LANES_MAX_FACES;
    o.main_only = !cli_flag(a, "all-faces");
    int status = read_options(&q);
    if (!status)
        status = cli_lanes_open(&q.lanes, a, true);
    if (!status)
        status = cli_lanes_start(&q.lanes, 1, &o);
    if (!status)
        status = cli_gallery_open(&q.gallery, a, 0);
    if (!status)
        status = cli_lanes_run(&q.lanes, a->operands, 1, "identifying", take_picture, &q);
    free(q.candidates);
    free(q.counts);
    cli_filter_close(&q.filter);
    cli_gallery_close(&q.gallery);
    cli_lanes_close(&q.lanes);
    return status;
}

const cli_command cli_identify = {
    .name = "identify",
    .summary = "Tell who of a gallery is in a picture, or that nobody is",
    .operands = "IMG",
    .min_operands = 1,
    .max_operands = 1,
    .options = {GALLERY_OPTIONS,
                COLLECTION_OPTION,
                {"top", 'k', "N", "candidates to print (5)"},
                {"all-faces", 'a', NULL, "every face of the picture, not only the main one"},
                {"fpir", 0, "RATE", "share of strangers that may be named (0.01)"},
                {"threshold", 0, "S", "decide at this similarity instead"},
                {"min-score", 0, "S", "leave out whom is less alike (faster among millions)"},
                {"purpose", 0, "TEXT", "find only people enrolled for it; goes to the audit log"},
                FILTER_OPTIONS,
                DETECTOR_OPTIONS,
                EMBEDDER_OPTIONS},
    .details = "The threshold follows from the number of people and the wanted false positive\n"
               "identification rate, by impostor scores measured on the gallery itself; it is "
               "printed how\n"
               "it came about. Exit status 1: unknown, nobody passes.\n" GALLERY_DETAILS,
    .examples = "  uniface identify photo.jpg -g staff.ufg -k 5\n"
                "  uniface identify group.jpg -g staff.ufg --all-faces --fpir 0.001 --json\n"
                "  uniface identify photo.jpg -g staff.ufg --filter site=berlin\n",
    .run = run_identify,
};

int cli_score_in_gallery(const cli_args *a, const uf_model *embedder, const float *vector,
                         size_t dimension, float *score)
{
    uf_error err;
    gallery_session gallery = {0};
    int status = cli_gallery_open(&gallery, a, 0);
    if (!status && uf_gallery_verify(gallery.g, cli_value(a, "collection"), cli_value(a, "id"),
                                     vector, (uint32_t)dimension, uf_model_id(embedder),
                                     cli_value(a, "purpose"), score, &err))
        status = cli_fail(&err);
    cli_gallery_close(&gallery);
    return status;
}
