/* uniface detect, embed, verify: from photos to a decision. */
#include <stdlib.h>
#include <string.h>

#include "gallery.h"
#include "identify.h"
#include "lanes.h"

/* ---- detect ---- */

static void quality_json(cli_json *j, const uf_quality *q)
{
    json_open(j, "quality", '{');
#define QUALITY_JSON(name, text) json_number(j, #name, (double)q->name);
    UF_QUALITY_LIST(QUALITY_JSON)
#undef QUALITY_JSON
    json_number(j, "total", (double)q->total);
    json_number(j, "yaw", (double)q->yaw);
    json_number(j, "pitch", (double)q->pitch);
    json_number(j, "roll", (double)q->roll);
    json_text(j, "reason", q->reason[0] ? q->reason : NULL);
    json_close(j, '}');
}

/* `fault`: why there is no quality, or NULL. */
static void face_json(cli_json *j, const uf_face *f, const uf_quality *q, const char *fault)
{
    json_open(j, NULL, '{');
    json_open(j, "box", '[');
    json_number(j, NULL, (double)f->x);
    json_number(j, NULL, (double)f->y);
    json_number(j, NULL, (double)f->width);
    json_number(j, NULL, (double)f->height);
    json_close(j, ']');
    json_number(j, "score", (double)f->score);
    if (f->has_landmarks) {
        json_open(j, "landmarks", '[');
        for (int k = 0; k < UF_LANDMARKS; k++) {
            json_number(j, NULL, (double)f->landmarks[k].x);
            json_number(j, NULL, (double)f->landmarks[k].y);
        }
        json_close(j, ']');
    }
    if (fault) {
        json_raw(j, "quality", NULL);
        json_text(j, "error", fault);
    } else {
        quality_json(j, q);
    }
    json_close(j, '}');
}

static void face_text(size_t face, const uf_face *f, const uf_quality *q, const char *fault)
{
    printf("  #%zu  x %.1f y %.1f  %.1f x %.1f  score %.3f  ", face, (double)f->x, (double)f->y,
           (double)f->width, (double)f->height, (double)f->score);
    if (fault)
        printf("not judged: %s\n", fault);
    else
        printf("quality %.2f%s%s\n", (double)q->total, q->reason[0] ? ": " : "", q->reason);
}

typedef struct detection {
    const cli_args *a;
    cli_files files;
    cli_json *j;
    size_t failed, found;
} detection;

static void report_faces(const detection *d, const char *path, const uf_pipeline_item *item)
{
    if (d->j) {
        json_open(d->j, NULL, '{');
        json_text(d->j, "image", path);
        json_integer(d->j, "width", item->width);
        json_integer(d->j, "height", item->height);
        json_open(d->j, "faces", '[');
    } else {
        printf("%s: %zu face%s\n", path, item->face_count, item->face_count == 1 ? "" : "s");
    }
    for (size_t i = 0; i < item->face_count; i++) {
        const char *fault = item->faults && item->faults[i].status ? item->faults[i].message : NULL;
        if (fault)
            cli_complain(0, "%s: face #%zu is not judged: %s", path, i, fault);
        if (d->j)
            face_json(d->j, &item->faces[i], &item->qualities[i], fault);
        else
            face_text(i, &item->faces[i], &item->qualities[i], fault);
    }
    if (d->j) {
        json_close(d->j, ']');
        json_close(d->j, '}');
    }
}

/* A picture that failed, among those that did not. */
static void report_failure(cli_json *j, const char *path, const char *message)
{
    cli_complain(0, "%s", message);
    if (!j)
        return;
    json_open(j, NULL, '{');
    json_text(j, "image", path);
    json_text(j, "error", message);
    json_close(j, '}');
}

static int take_detected(void *user, size_t picture, const uf_pipeline_item *item)
{
    detection *d = user;
    const char *path = d->files.paths[picture];
    if (item->status) {
        report_failure(d->j, path, item->message);
        d->failed++;
        return 0;
    }
    report_faces(d, path, item);
    d->found += item->face_count;
    return 0;
}

static int detect_all(detection *d)
{
    cli_lanes l = {0};
    uf_pipeline_options o = UF_PIPELINE_OPTIONS_INIT;
    o.max_faces = CLI_LANES_MAX_FACES;
    o.judge = UF_PIPELINE_JUDGE_ALL;
    int status = cli_lanes_open(&l, d->a, false);
    if (!status)
        status = cli_lanes_start(&l, d->files.count, &o);
    if (!status && d->j)
        json_open(d->j, NULL, '[');
    if (!status)
        status = cli_lanes_run(&l, d->files.paths, d->files.count, "detecting", take_detected, d);
    cli_lanes_close(&l);
    return status;
}

/* Finds the faces in the whole picture and paints them into it. */
static uf_status draw_faces(detection *d, cli_session *s, uf_error *err)
{
    char label[32];
    uf_picture *p = NULL;
    uf_pipeline_item item = {0};
    uf_status st = cli_find_faces(s, d->files.paths[0], &p, &item.face_count, err);
    if (st)
        return st;
    uf_quality *q = cli_need(calloc(item.face_count + 1, sizeof *q));
    const uf_image view = uf_picture_view(p);
    item.width = view.width;
    item.height = view.height;
    item.faces = s->faces;
    item.qualities = q;
    for (size_t i = 0; !st && i < item.face_count; i++)
        st = uf_face_quality(&view, &s->faces[i], &q[i], err);
    if (!st)
        report_faces(d, d->files.paths[0], &item);
    for (size_t i = 0; i < item.face_count; i++) {
        snprintf(label, sizeof label, "#%zu %.2f", i, (double)s->faces[i].score);
        draw_face(p, &s->faces[i], label);
    }
    if (!st)
        st = uf_picture_save(p, cli_value(d->a, "draw"), err);
    d->found = item.face_count;
    uf_picture_destroy(p);
    free(q);
    return st;
}

static int detect_and_draw(detection *d)
{
    cli_session s = {0};
    uf_error err;
    int status = cli_check_output(cli_value(d->a, "draw"), false);
    if (!status)
        status = cli_open_detector(&s, d->a);
    if (!status && d->j)
        json_open(d->j, NULL, '[');
    if (!status && draw_faces(d, &s, &err))
        status = cli_fail(&err);
    cli_session_close(&s);
    return status;
}

static int run_detect(const cli_args *a)
{
    cli_json j = {.f = stdout};
    detection d = {.a = a, .j = a->json ? &j : NULL};
    const char *draw = cli_value(a, "draw");
    int status = cli_files_need(&d.files, a);
    if (!status && draw && d.files.count != 1)
        status = cli_complain(EXIT_USAGE, "--draw takes one picture, there are %zu", d.files.count);
    if (!status)
        status = draw ? detect_and_draw(&d) : detect_all(&d);
    if (!status && a->json) {
        json_close(&j, ']');
        json_end(&j);
    }
    if (!status && d.failed && d.files.count > 1)
        cli_complain(0, "%zu of %zu pictures failed", d.failed, d.files.count);
    if (!status && d.failed)
        status = EXIT_INPUT;
    if (!status && !d.found)
        status = EXIT_DIFFERENT;
    cli_files_free(&d.files);
    return status;
}

const cli_command cli_detect = {
    .name = "detect",
    .summary = "Find faces in pictures",
    .operands = "IMG...",
    .min_operands = 1,
    .max_operands = -1,
    .options = {DETECTOR_OPTIONS,
                {"draw", 0, "OUT.png", "write the picture with boxes and points (one picture)"}},
    .details =
        "Prints for each face its box (pixels from the top left), score and quality. A folder\n"
        "stands for the pictures in it; - is standard input. Large JPEGs are decoded at a part of\n"
        "their size, as far as the network does not see the difference, but for --draw. A picture\n"
        "that cannot be used stops no other (exit status 3). Exit status 1: no face at all.",
    .examples = "  uniface detect photo.jpg --detector yunet.ufm --draw faces.png\n"
                "  uniface detect crowd.jpg --size auto --json\n",
    .run = run_detect,
};

/* ---- embed ---- */

typedef struct embedding {
    const cli_args *a;
    cli_lanes lanes;
    cli_files files;
    float *rows;
    size_t dimension, count, skipped;
    cli_json *j;
} embedding;

static int open_lanes(embedding *e)
{
    uf_pipeline_options o = UF_PIPELINE_OPTIONS_INIT;
    o.max_faces = cli_flag(e->a, "all") ? CLI_LANES_MAX_FACES : 0;
    o.judge = cli_flag(e->a, "poor") ? UF_PIPELINE_JUDGE_ALL : UF_PIPELINE_SKIP_POOR;
    int status = cli_lanes_open(&e->lanes, e->a, true);
    if (!status)
        status = cli_lanes_start(&e->lanes, e->files.count, &o);
    e->dimension = e->lanes.dimension;
    return status;
}

static void take_face(embedding *e, const char *path, const uf_face *f, const uf_quality *q,
                      const float *v)
{
    const size_t n = e->dimension;
    e->rows = cli_need(realloc(e->rows, (e->count + 1) * n * sizeof *v));
    memcpy(e->rows + e->count * n, v, n * sizeof *v);
    if (e->j) {
        json_open(e->j, NULL, '{');
        json_text(e->j, "image", path);
        json_integer(e->j, "row", (long long)e->count);
        json_open(e->j, "face", '[');
        face_json(e->j, f, q, NULL);
        json_close(e->j, ']');
        json_close(e->j, '}');
    }
    e->count++;
}

/* All usable faces of one picture, or the main one. */
static int take_embedded(void *user, size_t picture, const uf_pipeline_item *item)
{
    embedding *e = user;
    uf_error err;
    const char *path = e->files.paths[picture];
    if (cli_item_check(item, path, &err)) {
        report_failure(e->j, path, err.message);
        e->skipped++;
    }
    for (size_t i = 0; i < item->face_count; i++) {
        const uf_quality *q = &item->qualities[i];
        const char *why = item->faults && item->faults[i].status ? item->faults[i].message
                          : cli_flag(e->a, "poor")               ? ""
                                                                 : q->reason;
        if (!why[0]) {
            take_face(e, path, &item->faces[i], q, item->templates + i * e->dimension);
            continue;
        }
        if (cli_flag(e->a, "all"))
            snprintf(err.message, sizeof err.message, "%.200s: face #%zu skipped: %s", path, i,
                     why);
        else
            snprintf(err.message, sizeof err.message, "%.200s: the face was skipped: %s", path,
                     why);
        report_failure(e->j, path, err.message);
        e->skipped++;
    }
    return 0;
}

static int write_rows(const embedding *e, const char *path)
{
    uf_tensor_info info = {.name = "embeddings", .dtype = UF_F32, .rank = 2};
    static const float none[1];
    info.dims[0] = (int64_t)e->count;
    info.dims[1] = (int64_t)e->dimension;
    return npy_write(path, &info, e->count ? e->rows : none) ? 0 : EXIT_INPUT;
}

static int run_embed(const cli_args *a)
{
    cli_json j = {.f = stdout};
    embedding e = {.a = a, .j = a->json ? &j : NULL};
    const char *path = cli_value(a, "output");
    if (!path)
        return cli_complain(EXIT_USAGE, "embed: say where to: -o OUT.npy");
    int status = cli_check_output(path, true);
    if (!status)
        status = cli_files_need(&e.files, a);
    if (!status)
        status = open_lanes(&e);
    if (!status && a->json)
        json_open(&j, NULL, '[');
    if (!status)
        status =
            cli_lanes_run(&e.lanes, e.files.paths, e.files.count, "embedding", take_embedded, &e);
    if (!status && a->json) {
        json_close(&j, ']');
        json_end(&j);
    }
    if (!status)
        status = write_rows(&e, path);
    if (!status && !a->json)
        printf("%s: %zu templates of %zu numbers from %zu pictures, %zu skipped\n", path, e.count,
               e.dimension, e.files.count, e.skipped);
    if (!status && e.skipped)
        status = EXIT_INPUT;
    cli_lanes_close(&e.lanes);
    free(e.rows);
    cli_files_free(&e.files);
    return status;
}

const cli_command cli_embed = {
    .name = "embed",
    .summary = "Turn faces into templates",
    .operands = "IMG...",
    .min_operands = 1,
    .max_operands = -1,
    .options = {DETECTOR_OPTIONS,
                EMBEDDER_OPTIONS,
                {"output", 'o', "OUT.npy", "where the templates go: one row of float32 a face"},
                {"all", 'a', NULL, "every face of a picture, not only the main one"},
                {"poor", 0, NULL, "also faces whose quality is too poor to enrol"}},
    .details =
        "Rows have unit length: their inner product is the cosine similarity. Faces that are\n"
        "left out are named on standard error with the reason, and the exit status is 3.",
    .examples = "  uniface embed people/ --detector d.ufm --embedder e.ufm -o people.npy\n"
                "  uniface embed group.jpg --all --json -o group.npy\n",
    .run = run_embed,
};

/* ---- verify ---- */

static int report_decision(const cli_args *a, const uf_model *embedder, double score)
{
    uf_error err;
    uf_threshold t;
    double far, given;
    if (!cli_number(a, "far", 1e-6, 1, 1e-3, &far) || !cli_number(a, "threshold", -1, 1, 2, &given))
        return EXIT_USAGE;
    bool has_given = cli_value(a, "threshold") != NULL;
    bool calibrated = !has_given && !uf_model_threshold(embedder, (float)far, &t, &err);
    double threshold = has_given ? given : calibrated ? (double)t.threshold : 0;
    bool decided = has_given || calibrated, same = decided && score >= threshold;
    if (a->json) {
        cli_json j = {.f = stdout};
        json_open(&j, NULL, '{');
        json_number(&j, "score", score);
        if (decided) {
            json_number(&j, "threshold", threshold);
            json_bool(&j, "same", same);
        } else {
            json_text(&j, "same", NULL);
            json_text(&j, "reason", err.message);
        }
        if (calibrated) {
            json_number(&j, "far", far);
            json_number(&j, "far_high", (double)t.far_high);
            json_integer(&j, "impostor_trials", (long long)t.impostor_trials);
        }
        json_text(&j, "model", uf_model_id(embedder));
        json_close(&j, '}');
        json_end(&j);
    } else if (!decided) {
        printf("score %.4f, no decision: %s\n", score, err.message);
    } else {
        printf("score %.4f, threshold %.4f: %s", score, threshold,
               same ? "same person" : "different persons");
        if (calibrated)
            printf(" (at FAR %g, at most %.2g with 95 %% confidence, %llu impostor trials)", far,
                   (double)t.far_high, (unsigned long long)t.impostor_trials);
        printf("\n");
    }
    return !decided ? EXIT_INPUT : same ? 0 : EXIT_DIFFERENT;
}

typedef struct verification {
    const cli_args *a;
    cli_lanes lanes;
    float *vectors; /* [picture][dimension] */
} verification;

static int take_verified(void *user, size_t picture, const uf_pipeline_item *item)
{
    verification *v = user;
    uf_error err;
    const size_t n = v->lanes.dimension;
    if (cli_item_check(item, v->a->operands[picture], &err))
        return cli_fail(&err);
    memcpy(v->vectors + picture * n, item->templates, n * sizeof *v->vectors);
    return 0;
}

static int check_verify(const cli_args *a)
{
    const bool in_gallery = cli_value(a, "id");
    if (in_gallery && a->count != 1)
        return cli_complain(EXIT_USAGE,
                            "verify --id compares one picture with a gallery, %d were "
                            "given",
                            a->count);
    if (!in_gallery && a->count != 2)
        return cli_complain(EXIT_USAGE, "verify needs A B, two pictures, or --id ID, a gallery and "
                                        "one picture; try `uniface verify --help`");
    if (!in_gallery && cli_value(a, "purpose"))
        return cli_complain(EXIT_USAGE, "verify: --purpose goes with --id");
    return 0;
}

static int run_verify(const cli_args *a)
{
    verification v = {.a = a};
    uf_pipeline_options o = UF_PIPELINE_OPTIONS_INIT;
    float score = 0;
    const size_t count = (size_t)a->count;
    int status = check_verify(a);
    if (!status)
        status = cli_lanes_open(&v.lanes, a, true);
    if (!status)
        status = cli_lanes_start(&v.lanes, count, &o);
    const size_t n = v.lanes.dimension;
    if (!status) {
        v.vectors = cli_need(calloc(count * n, sizeof *v.vectors));
        status = cli_lanes_run(&v.lanes, a->operands, count, "comparing", take_verified, &v);
    }
    if (!status && cli_value(a, "id"))
        status = cli_score_in_gallery(a, v.lanes.embedder, v.vectors, n, &score);
    else if (!status)
        score = uf_similarity(v.vectors, v.vectors + n, n);
    if (!status)
        status = report_decision(a, v.lanes.embedder, (double)score);
    free(v.vectors);
    cli_lanes_close(&v.lanes);
    return status;
}

const cli_command cli_verify = {
    .name = "verify",
    .summary = "Compare the main faces of two pictures, or one with a person of a gallery",
    .operands = "A B | --id ID IMG",
    .min_operands = 1,
    .max_operands = 2,
    .options = {DETECTOR_OPTIONS,
                EMBEDDER_OPTIONS,
                GALLERY_OPTIONS,
                COLLECTION_OPTION,
                {"id", 0, "ID", "the person of the gallery whom the picture should show"},
                {"purpose", 0, "TEXT", "what for: goes to the gallery's audit log"},
                {"far", 0, "RATE", "false accept rate: 0.1, 0.01, 0.001 (default) or 0.0001"},
                {"threshold", 0, "S", "decide at this similarity instead"}},
    .details =
        "The threshold is the one that `uniface calibrate` measured for the embedder. Without\n"
        "one the score is printed and no decision is made (exit status 3). With --id the score is\n"
        "the best of the person's templates; who was enrolled for another --purpose is not found.",
    .examples = "  uniface verify a.jpg b.jpg --detector yunet.ufm --embedder face.ufm\n"
                "  uniface verify --id alice photo.jpg -g staff.ufg\n"
                "  uniface verify a.jpg b.jpg --far 0.0001 --json\n",
    .run = run_verify,
};
