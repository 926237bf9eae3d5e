/* uniface detect, embed, verify: from photos to a decision. */
#include <stdlib.h>
#include <string.h>

#include "gallery.h"
#include "identify.h"

/* ---- detect ---- */

static void face_json(cli_json *j, const uf_face *f, const uf_quality *q)
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
    json_close(j, '}');
}

static uf_status report_faces(const cli_session *s, const char *path, const uf_picture *p,
                              size_t count, cli_json *j, uf_error *err)
{
    uf_image view = uf_picture_view(p);
    if (j) {
        json_open(j, NULL, '{');
        json_text(j, "image", path);
        json_integer(j, "width", view.width);
        json_integer(j, "height", view.height);
        json_open(j, "faces", '[');
    } else {
        printf("%s: %zu face%s\n", path, count, count == 1 ? "" : "s");
    }
    uf_status st = UF_OK;
    for (size_t i = 0; !st && i < count; i++) {
        uf_quality q;
        const uf_face *f = &s->faces[i];
        st = uf_face_quality(&view, f, &q, err);
        if (!st && j)
            face_json(j, f, &q);
        else if (!st)
            printf("  #%zu  x %.1f y %.1f  %.1f x %.1f  score %.3f  quality %.2f%s%s\n", i,
                   (double)f->x, (double)f->y, (double)f->width, (double)f->height,
                   (double)f->score, (double)q.total, q.reason[0] ? ": " : "", q.reason);
    }
    if (j) {
        json_close(j, ']');
        json_close(j, '}');
    }
    return st;
}

static uf_status draw_faces(const cli_session *s, uf_picture *p, size_t count, const char *path,
                            uf_error *err)
{
    char label[32];
    for (size_t i = 0; i < count; i++) {
        snprintf(label, sizeof label, "#%zu %.2f", i, (double)s->faces[i].score);
        draw_face(p, &s->faces[i], label);
    }
    return uf_picture_save(p, path, err);
}

static int run_detect(const cli_args *a)
{
    cli_session s = {0};
    uf_error err;
    cli_files files = {0};
    const char *draw = cli_value(a, "draw");
    cli_json j = {.f = stdout};
    size_t failed = 0, found = 0;
    int status = cli_open_detector(&s, a);
    if (!status && !cli_files_collect(&files, a->operands, a->count))
        status = EXIT_INTERNAL;
    if (!status && !files.count)
        status = cli_complain(EXIT_INPUT, "detect: there are no pictures in %s", a->operands[0]);
    if (!status && draw && files.count != 1)
        status = cli_complain(EXIT_USAGE, "--draw takes one picture, there are %zu", files.count);
    if (!status && a->json)
        json_open(&j, NULL, '[');
    for (size_t i = 0; !status && i < files.count; i++) {
        uf_picture *p = NULL;
        size_t count = 0;
        uf_status st = cli_find_faces(&s, files.paths[i], &p, &count, &err);
        if (!st)
            st = report_faces(&s, files.paths[i], p, count, a->json ? &j : NULL, &err);
        if (!st && draw)
            st = draw_faces(&s, p, count, draw, &err);
        if (st) {
            cli_fail(&err);
            failed++;
        }
        found += count;
        uf_picture_destroy(p);
        cli_progress("detecting", i + 1, files.count);
    }
    if (!status && a->json) {
        json_close(&j, ']');
        json_end(&j);
    }
    if (!status && failed)
        status = cli_complain(EXIT_INPUT, "%zu of %zu pictures failed", failed, files.count);
    if (!status && !found)
        status = EXIT_DIFFERENT;
    cli_files_free(&files);
    cli_session_close(&s);
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
        "stands for the pictures in it; - is standard input. Exit status 1: no face at all.",
    .examples = "  uniface detect photo.jpg --detector yunet.ufm --draw faces.png\n"
                "  uniface detect crowd.jpg --size auto --json\n",
    .run = run_detect,
};

/* ---- embed ---- */

typedef struct embedding {
    const cli_args *a;
    uf_model *detector, *embedder;
    uf_pipeline *pipeline;
    cli_files files;
    float *rows;
    size_t dimension, count, skipped;
    cli_json *j;
} embedding;

/* Pictures beside each other keep the cores busy; of few pictures each gets several threads. */
static int open_pipeline(embedding *e)
{
    uf_error err;
    uf_device d = {.cores = 1};
    uf_pipeline_options o = UF_PIPELINE_OPTIONS_INIT;
    double batch;
    const int status = cli_detector_options(e->a, &o.detector);
    if (status || !cli_count(e->a, "batch", 1, 256, 16, &batch))
        return EXIT_USAGE;
    uf_device_get(0, &d, NULL);
    const uint32_t threads = o.detector.engine.threads;
    o.lanes = e->files.count < d.cores ? (uint32_t)e->files.count : d.cores;
    o.decoders = threads && threads < d.cores ? threads : 0; /* 0: one for each core */
    o.batch = (uint32_t)batch;
    o.max_faces = cli_flag(e->a, "all") ? 1024 : 0;
    o.flip = cli_flag(e->a, "flip");
    o.judge = cli_flag(e->a, "poor") ? UF_PIPELINE_JUDGE_ALL : UF_PIPELINE_SKIP_POOR;
    if (cli_open_model(&e->detector, e->a, "detector", &err) ||
        cli_open_model(&e->embedder, e->a, "embedder", &err) ||
        uf_pipeline_create(&e->pipeline, e->detector, e->embedder, &o, &err))
        return cli_fail(&err);
    e->dimension = uf_pipeline_dimension(e->pipeline);
    return 0;
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
        face_json(e->j, f, q);
        json_close(e->j, ']');
        json_close(e->j, '}');
    }
    e->count++;
}

/* All usable faces of one picture, or the main one. */
static void take_picture(embedding *e, const char *path, const uf_pipeline_item *item)
{
    const bool all = cli_flag(e->a, "all"), poor = cli_flag(e->a, "poor");
    if (item->status)
        fprintf(stderr, "uniface: %s\n", item->message);
    else if (!item->face_count)
        fprintf(stderr, "uniface: %s: no face found\n", path);
    e->skipped += item->status || !item->face_count;
    for (size_t i = 0; i < item->face_count; i++) {
        const uf_quality *q = &item->qualities[i];
        if (item->faults && item->faults[i].status) {
            fprintf(stderr, "uniface: %s: face #%zu skipped: %s\n", path, i,
                    item->faults[i].message);
            e->skipped++;
            continue;
        }
        if (poor || !q->reason[0]) {
            take_face(e, path, &item->faces[i], q, item->templates + i * e->dimension);
            continue;
        }
        if (all)
            fprintf(stderr, "uniface: %s: face #%zu skipped: %s\n", path, i, q->reason);
        else
            fprintf(stderr, "uniface: %s: the face was skipped: %s\n", path, q->reason);
        e->skipped++;
    }
}

static int embed_all(embedding *e)
{
    uf_error err;
    uf_pipeline_item item;
    size_t put = 0;
    while (put < e->files.count || uf_pipeline_pending(e->pipeline)) {
        while (put < e->files.count && uf_pipeline_room(e->pipeline))
            if (uf_pipeline_put(e->pipeline, e->files.paths[put++], &err))
                return cli_fail(&err);
        if (uf_pipeline_next(e->pipeline, &item, &err))
            return cli_fail(&err);
        take_picture(e, e->files.paths[item.number], &item);
        cli_progress("embedding", item.number + 1, e->files.count);
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
    if (!status && !cli_files_collect(&e.files, a->operands, a->count))
        status = EXIT_INTERNAL;
    if (!status && !e.files.count)
        status = cli_complain(EXIT_INPUT, "embed: there are no pictures in %s", a->operands[0]);
    if (!status)
        status = open_pipeline(&e);
    if (!status && a->json)
        json_open(&j, NULL, '[');
    const bool open = !status && a->json;
    if (!status)
        status = embed_all(&e);
    if (open) {
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
    uf_pipeline_destroy(e.pipeline);
    uf_model_close(e.detector);
    uf_model_close(e.embedder);
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

static int report_decision(const cli_args *a, const cli_session *s, double score)
{
    uf_error err;
    uf_threshold t;
    double far, given;
    if (!cli_number(a, "far", 1e-6, 1, 1e-3, &far) || !cli_number(a, "threshold", -1, 1, 2, &given))
        return EXIT_USAGE;
    bool has_given = cli_value(a, "threshold") != NULL;
    bool calibrated = !has_given && !uf_model_threshold(s->embedder_model, (float)far, &t, &err);
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
        json_text(&j, "model", uf_model_id(s->embedder_model));
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

static int run_verify(const cli_args *a)
{
    cli_session s = {0};
    float *v = NULL, score = 0;
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
    int status = cli_open_detector(&s, a);
    if (!status)
        status = cli_open_embedder(&s, a);
    if (!status && !(v = malloc(2 * s.dimension * sizeof *v)))
        status = cli_complain(EXIT_INTERNAL, "out of memory");
    for (int i = 0; !status && i < a->count; i++)
        status = cli_embed_main_face(&s, a->operands[i], v + (size_t)i * s.dimension);
    if (!status && in_gallery)
        status = cli_score_in_gallery(&s, a, v, &score);
    else if (!status)
        score = uf_similarity(v, v + s.dimension, s.dimension);
    if (!status)
        status = report_decision(a, &s, (double)score);
    free(v);
    cli_session_close(&s);
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
