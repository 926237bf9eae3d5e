#include "training_score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of a list that names none: no threshold is chosen on what it is tried on. */
enum { FOLDS = 10 };

int training_score_open(training_score *s, const cli_args *a)
{
    uf_error err;
    s->a = a;
    if (uf_trials_read(&s->trials, cli_value(a, "pairs"), NULL, &err))
        return cli_fail(&err);
    return cli_flag(a, "aligned") ? 0 : cli_open_detector(&s->session, a);
}

/* A picture that is a crop already, at the candidate's size. */
static bool read_crop(const uf_embedder *e, const char *path, uint8_t *crop)
{
    uf_error err;
    uf_picture *p = NULL;
    const uf_decode_options o = UF_DECODE_OPTIONS_INIT;
    const int32_t size = uf_embedder_crop_size(e);
    uf_status st = uf_picture_load(&p, path, &o, &err);
    if (!st) {
        const uf_image view = uf_picture_view(p);
        st = uf_image_resize(&view, size, size, crop, &err);
    }
    uf_picture_destroy(p);
    if (st)
        fprintf(stderr, "uniface: %s\n", err.message);
    return st == UF_OK;
}

/* The face that picture `i` is about, cut out as the candidate wants it. */
static bool cut_out(training_score *s, const uf_embedder *e, const uf_trial_picture *picture,
                    uint8_t *crop)
{
    char path[4096];
    uf_error err;
    size_t count;
    uf_picture *p = NULL;
    const char *folder = cli_value(s->a, "images");
    snprintf(path, sizeof path, "%s%s%s", folder ? folder : "", folder ? "/" : "", picture->name);
    if (cli_flag(s->a, "aligned"))
        return read_crop(e, path, crop);
    if (cli_find_faces(&s->session, path, &p, &count, &err)) {
        fprintf(stderr, "uniface: %s\n", err.message);
        return false;
    }
    const uf_image view = uf_picture_view(p);
    const int best = uf_face_main(s->session.faces, count, view.width, view.height);
    const bool done = best >= 0 && !uf_embedder_crop(e, &view, &s->session.faces[best], crop, &err);
    uf_picture_destroy(p);
    return done;
}

static int cut_all_out(training_score *s, const uf_embedder *e)
{
    const uf_trial_picture *pictures = uf_trials_pictures(s->trials, &s->pictures);
    s->size = uf_embedder_crop_size(e);
    const size_t bytes = (size_t)s->size * (size_t)s->size * 3;
    s->crops = cli_need(calloc(s->pictures + 1, bytes));
    s->found = cli_need(calloc(s->pictures + 1, sizeof *s->found));
    size_t found = 0;
    for (size_t i = 0; i < s->pictures; i++) {
        if (!pictures[i].name)
            return cli_complain(EXIT_USAGE, "%s: a list of names of pictures is wanted here",
                                cli_value(s->a, "pairs"));
        s->found[i] = cut_out(s, e, &pictures[i], s->crops + i * bytes);
        found += s->found[i];
        cli_progress("finding faces", i + 1, s->pictures);
    }
    return found ? 0
                 : cli_complain(EXIT_INPUT, "%s: no picture has a usable face",
                                cli_value(s->a, "pairs"));
}

/* Templates of all crops, [templates][d]; of several pictures of one template the last counts. */
static float *embed_all(training_score *s, uf_embedder *e, uf_error *err)
{
    size_t count;
    const uf_trial_picture *pictures = uf_trials_pictures(s->trials, &count);
    const size_t d = uf_embedder_dimension(e), bytes = (size_t)s->size * (size_t)s->size * 3;
    float *v = cli_need(calloc(uf_trials_template_count(s->trials) + 1, d * sizeof *v));
    for (size_t i = 0; i < count; i++)
        if (s->found[i] && uf_embedder_run_crops(e, s->crops + i * bytes, 1,
                                                 v + pictures[i].template_id * d, err)) {
            cli_fail(err);
            free(v);
            return NULL;
        }
    return v;
}

uf_scored_trial *training_score_trials(training_score *s, uf_model *m, size_t *count)
{
    uf_error err;
    uf_embedder *e = NULL;
    uf_embedder_options o = UF_EMBEDDER_OPTIONS_INIT;
    const uf_trial *list = uf_trials_list(s->trials, count);
    o.flip = 1;
    if (uf_embedder_create(&e, m, &o, &err)) {
        cli_fail(&err);
        return NULL;
    }
    float *v = s->size || !cut_all_out(s, e) ? embed_all(s, e, &err) : NULL;
    const size_t d = uf_embedder_dimension(e);
    const bool folds = uf_trials_fold_count(s->trials) > 1;
    uf_scored_trial *t = v ? cli_need(calloc(*count + 1, sizeof *t)) : NULL;
    for (size_t i = 0; t && i < *count; i++)
        t[i] = (uf_scored_trial){uf_similarity(v + list[i].a * d, v + list[i].b * d, d),
                                 list[i].same, folds ? list[i].fold : (int32_t)(i % FOLDS),
                                 uf_trials_subject(s->trials, list[i].a),
                                 uf_trials_subject(s->trials, list[i].b)};
    free(v);
    uf_embedder_destroy(e);
    return t;
}

int training_score_of(training_score *s, uf_model *candidate, double *score)
{
    uf_error err;
    size_t count;
    uf_fold_accuracy accuracy;
    const int32_t folds = uf_trials_fold_count(s->trials);
    uf_scored_trial *t = training_score_trials(s, candidate, &count);
    if (!t)
        return EXIT_INPUT;
    const uf_status st =
        uf_accuracy_in_folds(t, count, folds > 1 ? folds : FOLDS, NULL, &accuracy, &err);
    free(t);
    *score = st ? -1 : accuracy.mean;
    return st ? cli_fail(&err) : 0;
}

void training_score_close(training_score *s)
{
    cli_session_close(&s->session);
    uf_trials_destroy(s->trials);
    free(s->crops);
    free(s->found);
}
