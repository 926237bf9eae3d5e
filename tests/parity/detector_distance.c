/*
 * How far a detector is from its teacher: detector_distance STUDENT.ufm TEACHER.ufm LIST
 *
 * LIST names a picture a line. Prints a JSON object: for each kind of face how many the teacher
 * sees, how many of them the student finds (intersection over union >= 0.5), and the mean distance
 * of their five points in percent of the distance of the eyes. The teacher's points are the mean of
 * those of the picture and of its mirror image; `teacher` is how far those of the picture alone lie
 * from that mean, the part of the distance that is the teacher's own. False are faces of the
 * student where the teacher sees none, not even with a score of 0.3.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uniface/uniface.h"

enum { MAX_FACES = 1000 };

typedef enum kind { MAIN, OTHER, SMALL, LARGE, TURNED, EDGE, KINDS } kind;

static const char *const kind_names[KINDS] = {
    "main",   /* the one that the picture is about */
    "other",  /* all the rest */
    "small",  /* narrower than a tenth of the picture */
    "large",  /* wider than half of it */
    "turned", /* more than 30 degrees */
    "edge",   /* cut off by the picture's edge */
};

typedef struct sums {
    size_t seen, found;
    double error, one_view, teacher;
} sums;

typedef struct faces {
    uf_face at[MAX_FACES];
    size_t count;
} faces;

typedef struct comparison {
    uf_detector *student, *teacher, *doubting; /* the teacher with a low threshold */
    sums of[KINDS];
    size_t pictures, detections, false_detections;
} comparison;

static void need(uf_status st, const uf_error *err)
{
    if (!st)
        return;
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

static uf_detector *open_detector(const char *path, float score)
{
    uf_error err;
    uf_model *m; /* lives as long as the program */
    uf_detector *d;
    uf_detector_options o = UF_DETECTOR_OPTIONS_INIT;
    o.score_threshold = score;
    o.engine.threads = 1;
    need(uf_model_open(&m, path, &err), &err);
    need(uf_detector_create(&d, m, &o, &err), &err);
    return d;
}

static void look(uf_detector *d, const uf_image *image, faces *out)
{
    uf_error err;
    need(uf_detector_run(d, image, out->at, MAX_FACES, &out->count, &err), &err);
    out->count = out->count < MAX_FACES ? out->count : MAX_FACES;
}

/* RGB8, dense. */
static uint8_t *mirrored(const uf_image *image, uf_image *out)
{
    const size_t wide = (size_t)image->width, high = (size_t)image->height;
    uint8_t *pixels = malloc(wide * high * 3);
    if (!pixels)
        exit(1);
    for (size_t y = 0; y < high; y++)
        for (size_t x = 0; x < wide; x++)
            memcpy(pixels + (y * wide + x) * 3,
                   image->planes[0] + y * image->strides[0] + (wide - 1 - x) * 3, 3);
    *out = *image;
    out->planes[0] = pixels;
    out->strides[0] = wide * 3;
    return pixels;
}

/* Faces of the mirror image in coordinates of the picture, left and right exchanged. */
static void mirror_back(faces *f, float width)
{
    static const int other[UF_LANDMARKS] = {1, 0, 2, 4, 3};
    for (size_t i = 0; i < f->count; i++) {
        const uf_face was = f->at[i];
        f->at[i].x = width - was.x - was.width;
        for (int k = 0; k < UF_LANDMARKS; k++) {
            f->at[i].landmarks[k] = was.landmarks[other[k]];
            f->at[i].landmarks[k].x = width - f->at[i].landmarks[k].x;
        }
    }
}

static const uf_face *nearest(const faces *f, const uf_face *to)
{
    const uf_face *best = NULL;
    for (size_t i = 0; i < f->count; i++)
        if (uf_face_overlap(&f->at[i], to) >= (best ? uf_face_overlap(best, to) : 0.5f))
            best = &f->at[i];
    return best;
}

static double distance(const uf_point *a, const uf_point *b)
{
    return hypot((double)(a->x - b->x), (double)(a->y - b->y));
}

static double points_error(const uf_face *f, const uf_point *truth)
{
    double sum = 0;
    for (int k = 0; k < UF_LANDMARKS; k++)
        sum += distance(&f->landmarks[k], &truth[k]);
    return 100 * sum / UF_LANDMARKS / distance(&truth[0], &truth[1]);
}

static kind kind_of(const uf_image *image, const uf_face *f, bool is_main)
{
    uf_error err;
    uf_quality q;
    const float w = (float)image->width, h = (float)image->height, side = w > h ? w : h;
    need(uf_face_quality(image, f, &q, &err), &err);
    if (f->x < 0 || f->y < 0 || f->x + f->width > w || f->y + f->height > h)
        return EDGE;
    if (fabsf(q.yaw) > 30)
        return TURNED;
    if (f->width < side / 10)
        return SMALL;
    if (f->width > side / 2)
        return LARGE;
    return is_main ? MAIN : OTHER;
}

static void compare_face(sums *s, const uf_face *seen, const uf_face *mirror, const uf_face *found)
{
    uf_point truth[UF_LANDMARKS];
    s->seen++;
    if (!found)
        return;
    for (int k = 0; k < UF_LANDMARKS; k++) {
        const uf_point a = seen->landmarks[k], b = mirror ? mirror->landmarks[k] : a;
        truth[k] = (uf_point){(a.x + b.x) / 2, (a.y + b.y) / 2};
    }
    s->found++;
    s->error += points_error(found, truth);
    s->one_view += points_error(found, seen->landmarks);
    s->teacher += points_error(seen, truth);
}

static void compare_picture(comparison *c, const char *path)
{
    static faces taught, mirror, low, found;
    uf_error err;
    uf_picture *p;
    uf_image other;
    need(uf_picture_load(&p, path, NULL, &err), &err);
    const uf_image view = uf_picture_view(p);
    uint8_t *pixels = mirrored(&view, &other);
    look(c->teacher, &view, &taught);
    look(c->doubting, &view, &low);
    look(c->doubting, &other, &mirror);
    look(c->student, &view, &found);
    mirror_back(&mirror, (float)view.width);
    const int32_t main_face = uf_face_main(taught.at, taught.count, view.width, view.height);
    for (size_t i = 0; i < taught.count; i++) {
        const uf_face *f = &taught.at[i];
        compare_face(&c->of[kind_of(&view, f, (int32_t)i == main_face)], f, nearest(&mirror, f),
                     nearest(&found, f));
    }
    for (size_t i = 0; i < found.count; i++)
        c->false_detections += !nearest(&low, &found.at[i]) && !nearest(&mirror, &found.at[i]);
    c->detections += found.count;
    c->pictures++;
    free(pixels);
    uf_picture_destroy(p);
}

int main(int argc, char **argv)
{
    static comparison c;
    char line[4096];
    FILE *list = argc == 4 ? fopen(argv[3], "r") : NULL;
    if (!list) {
        fprintf(stderr, "usage: detector_distance STUDENT.ufm TEACHER.ufm LIST\n");
        return 2;
    }
    c.student = open_detector(argv[1], -1);
    c.teacher = open_detector(argv[2], -1);
    c.doubting = open_detector(argv[2], 0.3f);
    while (fgets(line, sizeof line, list)) {
        line[strcspn(line, "\n")] = 0;
        compare_picture(&c, line);
    }
    fclose(list);
    printf("{\"pictures\": %zu, \"detections\": %zu, \"false\": %zu", c.pictures, c.detections,
           c.false_detections);
    for (int k = 0; k < KINDS; k++) {
        const sums *s = &c.of[k];
        const double n = s->found ? (double)s->found : 1;
        printf(", \"%s\": {\"seen\": %zu, \"found\": %zu, \"points\": %.3f, \"points_one_view\": "
               "%.3f, "
               "\"teacher\": %.3f}",
               kind_names[k], s->seen, s->found, s->error / n, s->one_view / n, s->teacher / n);
    }
    printf("}\n");
    uf_detector_destroy(c.student);
    uf_detector_destroy(c.teacher);
    uf_detector_destroy(c.doubting);
    return 0;
}
