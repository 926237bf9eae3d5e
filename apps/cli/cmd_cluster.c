/* uniface cluster: groups the faces of a folder of photos by person. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clustering.h"

enum { CROP_SIDE = 64 };

/* ---- files ---- */

static bool add_files(cli_files *to, char *path)
{
    cli_files some;
    bool ok = cli_files_collect(&some, &path, 1);
    to->paths = cli_need(realloc(to->paths, (to->count + some.count + 1) * sizeof *to->paths));
    for (size_t i = 0; i < some.count; i++)
        to->paths[to->count++] = some.paths[i];
    free(some.paths);
    return ok;
}

/* The pictures of a folder and of the folders in it. */
static bool add_folder(cli_files *to, char *path, int depth)
{
    struct dirent **names;
    struct stat s;
    char below[4096];
    if (stat(path, &s) != 0 || !S_ISDIR(s.st_mode))
        return add_files(to, path);
    bool ok = add_files(to, path);
    const int n = depth < 16 ? scandir(path, &names, NULL, alphasort) : -1;
    for (int i = 0; i < n; i++) {
        snprintf(below, sizeof below, "%s/%s", path, names[i]->d_name);
        if (ok && names[i]->d_name[0] != '.' && stat(below, &s) == 0 && S_ISDIR(s.st_mode))
            ok = add_folder(to, below, depth + 1);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    return ok;
}

/* ---- faces ---- */

/* A small picture of the face as PNG bytes, by way of a file: pictures are written to files. */
static uf_status make_crop(const uf_image *view, found_face *f, const char *scratch, uf_error *err)
{
    uint8_t pixels[CROP_SIDE * CROP_SIDE * 3];
    uf_image crop = {.format = UF_PIXEL_RGB8, .width = CROP_SIDE, .height = CROP_SIDE};
    uf_picture *p = NULL;
    uf_point points[UF_LANDMARKS];
    const uf_face whole = cli_face_of_crop(&(uf_image){.width = 112, .height = 112});
    crop.planes[0] = pixels;
    for (int i = 0; i < UF_LANDMARKS; i++) { /* where they would be in the middle of the box */
        points[i].x = f->box.x + whole.landmarks[i].x / 112 * f->box.width;
        points[i].y = f->box.y + whole.landmarks[i].y / 112 * f->box.height;
    }
    uf_status st = uf_face_align(view, f->box.has_landmarks ? f->box.landmarks : points, NULL,
                                 CROP_SIDE, pixels, err);
    if (!st)
        st = uf_picture_from_image(&p, &crop, err);
    if (!st)
        st = uf_picture_save(p, scratch, err);
    uf_picture_destroy(p);
    const long size = st ? 0 : cli_file_size(scratch);
    FILE *in = size > 0 ? fopen(scratch, "rb") : NULL;
    if (in) {
        f->png = cli_need(malloc((size_t)size));
        f->png_bytes = fread(f->png, 1, (size_t)size, in);
        fclose(in);
    }
    unlink(scratch);
    return st;
}

static uf_status add_face(clustering *c, const uf_image *view, size_t picture, size_t i,
                          float quality, const char *scratch, uf_error *err)
{
    const size_t d = c->session.dimension;
    if (c->face_count == c->face_room) {
        c->face_room = c->face_room ? 2 * c->face_room : 64;
        c->faces = cli_need(realloc(c->faces, c->face_room * sizeof *c->faces));
        c->vectors = cli_need(realloc(c->vectors, c->face_room * d * sizeof *c->vectors));
    }
    found_face *f = &c->faces[c->face_count];
    *f = (found_face){
        .picture = picture, .face = i, .box = c->session.faces[i], .quality = quality, .group = -1};
    uf_status st =
        uf_embedder_run(c->session.embedder, view, &f->box, c->vectors + c->face_count * d, err);
    if (!st && scratch)
        st = make_crop(view, f, scratch, err);
    c->face_count += !st;
    return st;
}

/* What is wrong with one picture is told, and does not stop the others. */
static void take_picture(clustering *c, const cli_args *a, size_t picture, const char *scratch)
{
    uf_error err;
    uf_picture *p = NULL;
    size_t count = 0;
    uf_status st = cli_find_faces(&c->session, c->files.paths[picture], &p, &count, &err);
    if (st) {
        cli_fail(&err);
        c->failed++;
        return;
    }
    const uf_image view = uf_picture_view(p);
    c->faceless += !count;
    for (size_t i = 0; i < count; i++) {
        uf_quality q;
        st = uf_face_quality(&view, &c->session.faces[i], &q, &err);
        if (!st && q.reason[0] && !cli_flag(a, "poor"))
            c->poor++;
        else if (!st)
            st = add_face(c, &view, picture, i, q.total, scratch, &err);
        if (st) {
            fprintf(stderr, "uniface: %s: face #%zu: %s\n", c->files.paths[picture], i,
                    err.message);
            c->poor++;
        }
    }
    uf_picture_destroy(p);
}

/* ---- groups ---- */

static const clustering *sorting; /* for qsort */

static int by_group(const void *a, const void *b)
{
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    const found_face *p = &sorting->faces[x], *q = &sorting->faces[y];
    if (p->group != q->group)
        return (uint32_t)p->group < (uint32_t)q->group ? -1 : 1; /* -1 is the largest */
    if (p->similarity != q->similarity)
        return p->similarity > q->similarity ? -1 : 1;
    return (x > y) - (x < y);
}

/* Similarity of each face to the middle of its group, and the order that follows. */
static void judge_faces(clustering *c)
{
    const size_t d = c->session.dimension;
    float *middles = cli_need(calloc(c->group_count * d + 1, sizeof *middles));
    for (size_t i = 0; i < c->face_count; i++)
        for (size_t k = 0; c->faces[i].group >= 0 && k < d; k++)
            middles[(size_t)c->faces[i].group * d + k] += c->vectors[i * d + k];
    for (size_t g = 0; g < c->group_count; g++) {
        float *m = middles + g * d;
        const float length = sqrtf(uf_similarity(m, m, d));
        for (size_t k = 0; length > 0 && k < d; k++)
            m[k] /= length;
    }
    c->order = cli_need(malloc((c->face_count + 1) * sizeof *c->order));
    for (size_t i = 0; i < c->face_count; i++) {
        const int32_t g = c->faces[i].group;
        c->faces[i].similarity =
            g < 0 ? 1 : uf_similarity(middles + (size_t)g * d, c->vectors + i * d, d);
        c->order[i] = i;
    }
    sorting = c;
    qsort(c->order, c->face_count, sizeof *c->order, by_group);
    free(middles);
}

static int group_faces(clustering *c, const cli_args *a)
{
    uf_error err;
    double min_size, threads;
    uf_cluster_options o = UF_CLUSTER_OPTIONS_INIT;
    if (!cli_number(a, "min-size", 1, 1e6, 2, &min_size) ||
        !cli_number(a, "threads", 0, 1024, 0, &threads))
        return EXIT_USAGE;
    o.threshold = (float)c->threshold;
    o.min_size = (uint32_t)min_size;
    o.threads = (uint32_t)threads;
    int32_t *labels = cli_need(malloc((c->face_count + 1) * sizeof *labels));
    uf_status st = uf_cluster(c->vectors, c->face_count, (uint32_t)c->session.dimension, &o, labels,
                              &c->group_count, &err);
    for (size_t i = 0; !st && i < c->face_count; i++)
        c->faces[i].group = labels[i];
    free(labels);
    if (!st)
        judge_faces(c);
    return st ? cli_fail(&err) : 0;
}

static int find_threshold(clustering *c, const cli_args *a)
{
    uf_error err;
    uf_threshold t;
    if (!cli_number(a, "threshold", 0.01, 1, 0, &c->threshold) ||
        !cli_number(a, "far", 1e-6, 1, 1e-3, &c->far))
        return EXIT_USAGE;
    if (cli_value(a, "threshold")) {
        c->far = 0;
        return 0;
    }
    if (uf_model_threshold(c->session.embedder_model, (float)c->far, &t, &err)) {
        cli_fail(&err);
        return cli_complain(EXIT_INPUT, "cluster needs to know how like two pictures of one person "
                                        "are: measure it with `uniface calibrate`, or give "
                                        "--threshold");
    }
    c->threshold = (double)t.threshold;
    return 0;
}

/* ---- the command ---- */

static void print_groups(const clustering *c)
{
    size_t at = 0, lone = 0;
    for (size_t g = 0; g < c->group_count; g++) {
        printf("group %zu:\n", g + 1);
        for (; at < c->face_count && c->faces[c->order[at]].group == (int32_t)g; at++) {
            const found_face *f = &c->faces[c->order[at]];
            printf("  %s  face #%zu  %.3f\n", c->files.paths[f->picture], f->face,
                   (double)f->similarity);
        }
    }
    lone = c->face_count - at;
    printf("%zu faces of %zu pictures: %zu groups, %zu alone; %zu too poor, %zu pictures without "
           "a face, %zu failed; threshold %.4f\n",
           c->face_count, c->files.count, c->group_count, lone, c->poor, c->faceless, c->failed,
           c->threshold);
}

static int make_report_folder(const char *folder, char *scratch, size_t size)
{
    snprintf(scratch, size, "%s/crop.png", folder);
    if (!cli_make_folders(scratch))
        return cli_complain(EXIT_INPUT, "%s: it cannot be made: %s", folder, strerror(errno));
    return 0;
}

static void clustering_close(clustering *c)
{
    for (size_t i = 0; i < c->face_count; i++)
        free(c->faces[i].png);
    free(c->faces);
    free(c->vectors);
    free(c->order);
    cli_files_free(&c->files);
    cli_session_close(&c->session);
}

static int run_cluster(const cli_args *a)
{
    clustering c = {0};
    char scratch[4096];
    const char *report = cli_value(a, "report");
    int status = cli_open_detector(&c.session, a);
    if (!status)
        status = cli_open_embedder(&c.session, a);
    if (!status)
        status = find_threshold(&c, a);
    if (!status && report)
        status = make_report_folder(report, scratch, sizeof scratch);
    for (int i = 0; !status && i < a->count; i++)
        status = add_folder(&c.files, a->operands[i], 0) ? 0 : EXIT_INTERNAL;
    if (!status && !c.files.count)
        status = cli_complain(EXIT_INPUT, "%s: there is no picture in it", a->operands[0]);
    for (size_t i = 0; !status && i < c.files.count; i++) {
        take_picture(&c, a, i, report ? scratch : NULL);
        cli_progress("looking", i + 1, c.files.count);
    }
    if (!status) {
        c.model_id = uf_model_id(c.session.embedder_model);
        status = group_faces(&c, a);
    }
    if (!status && report)
        status = clustering_report(&c, report);
    if (!status && a->json)
        clustering_json(&c, stdout);
    else if (!status)
        print_groups(&c);
    if (!status && c.failed)
        status = cli_complain(EXIT_INPUT, "%zu of %zu pictures failed", c.failed, c.files.count);
    if (!status && !c.face_count)
        status = EXIT_DIFFERENT;
    clustering_close(&c);
    return status;
}

const cli_command cli_cluster = {
    .name = "cluster",
    .summary = "Group a folder of photos by person",
    .operands = "DIR...",
    .min_operands = 1,
    .max_operands = -1,
    .options = {DETECTOR_OPTIONS,
                EMBEDDER_OPTIONS,
                {"threshold", 0, "S", "least mean similarity of two groups that become one"},
                {"far", 0, "RATE", "take the embedder's threshold for this rate (0.001)"},
                {"min-size", 0, "N", "smaller groups are no groups, their faces are alone (2)"},
                {"poor", 0, NULL, "also faces whose quality is too poor to enrol"},
                {"report", 'r', "DIR", "write DIR/cluster.html to look through, and cluster.json"}},
    .details =
        "Every face of every picture, folders within folders too, is compared with the others;\n"
        "groups are joined by the mean similarity of all their faces, so that no chain of\n"
        "look-alikes joins strangers. The page links to the pictures and shows small crops.\n"
        "Exit status 1: no face at all.",
    .examples = "  uniface cluster photos/ --report review/\n"
                "  uniface cluster photos/ --threshold 0.4 --json\n",
    .run = run_cluster,
};
