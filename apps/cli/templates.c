/* Templates of the pictures of a list of trials. */
#include "templates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* DIR/NAME; where that is missing DIR/ and the last part of NAME: many keep LFW in one folder. */
static void path_of(char *out, size_t size, const char *folder, const char *name)
{
    const char *last = strrchr(name, '/');
    snprintf(out, size, "%s%s%s", folder ? folder : "", folder ? "/" : "", name);
    if (last && access(out, R_OK) != 0) {
        char other[8300];
        snprintf(other, sizeof other, "%s%s%s", folder ? folder : "", folder ? "/" : "", last + 1);
        if (access(other, R_OK) == 0)
            snprintf(out, size, "%s", other);
    }
}

static uf_status load(uf_picture **p, const cli_embedders *e, const uf_trial_picture *picture,
                      uf_error *err)
{
    const uf_decode_options o = UF_DECODE_OPTIONS_INIT;
    char path[8300];
    if (picture->bytes)
        return uf_picture_decode(p, picture->bytes, picture->size_bytes, &o, err);
    path_of(path, sizeof path, e->folder, picture->name);
    return uf_picture_load(p, path, &o, err);
}

static uf_status embed(cli_session *s, const cli_embedders *e, const uf_image *view, float *v,
                       size_t dimension, uf_error *err)
{
    uf_face whole = cli_face_of_crop(view);
    const uf_face *face = &whole;
    size_t count = 0;
    uf_status st = UF_OK;
    if (!e->aligned) {
        st = cli_faces_in(s, view, &count, err);
        if (st)
            return st;
        const int best = uf_face_main(s->faces, count, view->width, view->height);
        if (best < 0) {
            err->status = UF_E_NO_FACE;
            snprintf(err->message, sizeof err->message, "no face was found");
            return UF_E_NO_FACE;
        }
        face = &s->faces[best];
    }
    for (int k = 0; !st && k < e->count; k++)
        st = uf_embedder_run(e->e[k], view, face, v + (size_t)k * dimension, err);
    return st;
}

/* The templates of one picture by all embedders; false when it has none. */
static bool embed_picture(cli_session *s, const cli_embedders *e, const uf_trial_picture *picture,
                          float *v, size_t dimension)
{
    uf_error err;
    uf_picture *p;
    uf_status st = load(&p, e, picture, &err);
    const bool is_named = st && !picture->bytes; /* by who could not read the file */
    if (!st) {
        uf_image view = uf_picture_view(p);
        st = embed(s, e, &view, v, dimension, &err);
        uf_picture_destroy(p);
    }
    if (st)
        fprintf(stderr, "uniface: %s%s%s\n", is_named ? "" : picture->name, is_named ? "" : ": ",
                err.message);
    return st == UF_OK;
}

static void add(float *to, const float *from, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] += from[i];
}

static void normalise(float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i] * (double)v[i];
    for (size_t i = 0; i < n && sum > 0; i++)
        v[i] = (float)((double)v[i] / sqrt(sum));
}

/* Adds the mean direction of one medium to its template. */
static void close_medium(cli_templates *t, const cli_embedders *e, float *medium,
                         size_t template_id)
{
    for (int k = 0; k < e->count; k++) {
        float *m = medium + (size_t)k * t->dimension;
        normalise(m, t->dimension);
        add(t->v[k] + template_id * t->dimension, m, t->dimension);
    }
    memset(medium, 0, (size_t)e->count * t->dimension * sizeof *medium);
}

static const uf_trial_picture *sorting; /* qsort takes no argument */

static int by_template(const void *a, const void *b)
{
    const uf_trial_picture *x = &sorting[*(const size_t *)a], *y = &sorting[*(const size_t *)b];
    if (x->template_id != y->template_id)
        return x->template_id < y->template_id ? -1 : 1;
    return x->media != y->media ? (x->media < y->media ? -1 : 1) : x < y ? -1 : x > y;
}

static void make_all(cli_templates *t, cli_session *s, const cli_embedders *e,
                     const uf_trial_picture *pictures, const size_t *order, float *v, float *medium)
{
    bool open = false;
    for (size_t i = 0; i < t->pictures; i++) {
        const uf_trial_picture *p = &pictures[order[i]];
        const uf_trial_picture *next = i + 1 < t->pictures ? &pictures[order[i + 1]] : NULL;
        if (embed_picture(s, e, p, v, t->dimension)) {
            add(medium, v, (size_t)e->count * t->dimension);
            t->made[p->template_id] = open = true;
        } else {
            t->failed++;
        }
        if (open && (!next || next->template_id != p->template_id || next->media != p->media)) {
            close_medium(t, e, medium, p->template_id);
            open = false;
        }
        cli_progress("embedding", i + 1, t->pictures);
    }
    for (size_t i = 0; i < t->count; i++)
        for (int k = 0; k < e->count; k++)
            normalise(t->v[k] + i * t->dimension, t->dimension);
}

int cli_templates_make(cli_templates *t, cli_session *s, const cli_embedders *e,
                       const uf_trial_picture *pictures, size_t picture_count,
                       size_t template_count)
{
    *t = (cli_templates){.count = template_count,
                         .dimension = uf_embedder_dimension(e->e[0]),
                         .pictures = picture_count};
    size_t *order = malloc((picture_count + 1) * sizeof *order);
    float *v = calloc((size_t)e->count * t->dimension, sizeof *v);
    float *medium = calloc((size_t)e->count * t->dimension, sizeof *medium);
    bool ok = order && v && medium && (t->made = calloc(template_count + 1, sizeof *t->made));
    for (int k = 0; ok && k < e->count; k++)
        ok = (t->v[k] = calloc(template_count * t->dimension + 1, sizeof(float))) != NULL;
    for (size_t i = 0; ok && i < picture_count; i++)
        order[i] = i;
    if (ok) {
        sorting = pictures;
        qsort(order, picture_count, sizeof *order, by_template);
        make_all(t, s, e, pictures, order, v, medium);
    }
    free(order);
    free(v);
    free(medium);
    return ok ? 0 : cli_complain(EXIT_INTERNAL, "out of memory for %zu templates", template_count);
}

void cli_templates_free(cli_templates *t)
{
    for (int k = 0; k < CLI_MAX_EMBEDDERS; k++)
        free(t->v[k]);
    free(t->made);
}

float cli_templates_score(const cli_templates *t, int k, uint32_t a, uint32_t b)
{
    if (!t->made[a] || !t->made[b])
        return -INFINITY;
    return uf_similarity(t->v[k] + a * t->dimension, t->v[k] + b * t->dimension, t->dimension);
}
