/* uniface gallery migrate: another embedder for a gallery, from the crops that it kept. */
#include <stdlib.h>
#include <string.h>

#include "gallery.h"

/* ---- the models that templates bear ---- */

typedef struct model_list {
    char (*ids)[65];
    uint64_t *templates;
    size_t count;
} model_list;

static int note_model(void *user, const uf_template_info *t)
{
    model_list *l = user;
    for (size_t i = 0; i < l->count; i++)
        if (!strcmp(l->ids[i], t->model_id)) {
            l->templates[i]++;
            return 0;
        }
    l->ids = cli_need(realloc(l->ids, (l->count + 1) * sizeof *l->ids));
    l->templates = cli_need(realloc(l->templates, (l->count + 1) * sizeof *l->templates));
    snprintf(l->ids[l->count], sizeof *l->ids, "%s", t->model_id);
    l->templates[l->count++] = 1;
    return 0;
}

static void free_models(model_list *l)
{
    free(l->ids);
    free(l->templates);
}

/* ---- re-embedding ---- */

typedef struct migration {
    const cli_args *a;
    cli_session s;
    gallery_session g;
    cli_json *j;
    uint64_t made, missing;
} migration;

/* Crops are aligned to ArcFace's template, so that a model with another gets them aligned anew. */
static uf_status embed_crop(void *user, const uint8_t *crop, uint32_t size, float *vector,
                            uf_error *err)
{
    migration *m = user;
    uf_image view = {.format = UF_PIXEL_RGB8, .width = (int32_t)size, .height = (int32_t)size};
    view.planes[0] = crop;
    const uf_face f = cli_face_of_crop(&view);
    return uf_embedder_run(m->s.embedder, &view, &f, vector, err);
}

static int print_missing(void *user, const uf_person_info *p)
{
    migration *m = user;
    if (m->j) {
        json_open(m->j, NULL, '{');
        json_text(m->j, "id", p->id);
        json_text(m->j, "collection", p->collection);
        json_close(m->j, '}');
    } else {
        printf("must enrol again, no crop was kept: %s (collection %s)\n", p->id, p->collection);
    }
    return 0;
}

static int reembed(migration *m)
{
    uf_error err;
    const char *id = uf_model_id(m->s.embedder_model);
    if (m->j) {
        json_text(m->j, "model_id", id);
        json_open(m->j, "must_enrol_again", '[');
    }
    const uf_status st = uf_gallery_migrate(m->g.g, id, (uint32_t)m->s.dimension, embed_crop, m,
                                            print_missing, m, &m->made, &m->missing, &err);
    if (m->j) {
        json_close(m->j, ']');
        json_integer(m->j, "templates_made", (long long)m->made);
        json_integer(m->j, "people_missing", (long long)m->missing);
    } else if (!st) {
        printf("%llu templates of model %.16s were made; %llu people must enrol again\n",
               (unsigned long long)m->made, id, (unsigned long long)m->missing);
        puts("searches still take the old model by default: gallery migrate --cut-over");
    }
    if (st)
        return cli_fail(&err);
    return m->missing ? EXIT_DIFFERENT : 0;
}

/* ---- cut-over, roll-back, drop-old ---- */

/* The model to change to: the embedder's, that of --model, or the only other one there is. */
static int wanted_model(migration *m, const uf_gallery_stats *s, char id[65])
{
    uf_error err;
    model_list all = {0};
    const char *given = cli_value(m->a, "model");
    size_t others = 0;
    if (m->s.embedder_model)
        given = uf_model_id(m->s.embedder_model);
    const uf_status st = uf_gallery_templates(m->g.g, NULL, NULL, NULL, note_model, &all, &err);
    for (size_t i = 0; i < all.count; i++)
        if (given ? !strcmp(all.ids[i], given) : strcmp(all.ids[i], s->model_id) != 0) {
            snprintf(id, 65, "%s", all.ids[i]);
            others++;
        }
    free_models(&all);
    if (st)
        return cli_fail(&err);
    if (others == 1)
        return 0;
    if (given)
        return cli_complain(EXIT_INPUT,
                            "%s has no template of model %.16s: make them with "
                            "gallery migrate --embedder first",
                            m->g.name, given);
    return cli_complain(EXIT_USAGE,
                        "%s has templates of %zu models besides the one in use, %.16s: say which "
                        "with --model or --embedder",
                        m->g.name, others, s->model_id);
}

static int change_model(migration *m)
{
    uf_error err;
    uf_gallery_stats s;
    char id[65];
    if (uf_gallery_describe(m->g.g, &s, &err))
        return cli_fail(&err);
    int status = wanted_model(m, &s, id);
    if (!status && uf_gallery_set_model(m->g.g, id, &err))
        status = cli_fail(&err);
    if (!status && m->j) {
        json_text(m->j, "model_id", id);
        json_text(m->j, "model_id_before", s.model_id);
    } else if (!status) {
        printf("%s: searches take model %s by default now, %s before\n", m->g.name, id, s.model_id);
    }
    return status;
}

/* The models that went are named: after a roll-back they are the newer ones. */
static void report_dropped(migration *m, const model_list *all, const char *stays)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < all->count; i++)
        sum += strcmp(all->ids[i], stays) != 0 ? all->templates[i] : 0;
    if (m->j) {
        json_text(m->j, "model_id", stays);
        json_integer(m->j, "templates_dropped", (long long)sum);
        json_open(m->j, "models_dropped", '[');
        for (size_t i = 0; i < all->count; i++)
            if (strcmp(all->ids[i], stays) != 0)
                json_text(m->j, NULL, all->ids[i]);
        json_close(m->j, ']');
        return;
    }
    for (size_t i = 0; i < all->count; i++)
        if (strcmp(all->ids[i], stays) != 0)
            printf("%s: %llu template%s of model %s deleted\n", m->g.name,
                   (unsigned long long)all->templates[i], all->templates[i] == 1 ? "" : "s",
                   all->ids[i]);
    printf("%s: model %s, which searches take by default, stays\n", m->g.name, stays);
}

static int drop_old(migration *m)
{
    uf_error err;
    uf_gallery_stats s;
    model_list all = {0};
    int status = 0;
    if (uf_gallery_describe(m->g.g, &s, &err) ||
        uf_gallery_templates(m->g.g, NULL, NULL, NULL, note_model, &all, &err))
        status = cli_fail(&err);
    /* The newest first: one that searches never took is refused before anything is gone. */
    for (size_t i = all.count; !status && i-- > 0;)
        if (strcmp(all.ids[i], s.model_id) != 0 &&
            uf_gallery_drop_model(m->g.g, all.ids[i], &all.templates[i], &err))
            status = cli_fail(&err);
    if (!status)
        report_dropped(m, &all, s.model_id);
    free_models(&all);
    return status;
}

static int run_migrate(const cli_args *a)
{
    migration m = {.a = a};
    cli_json j = {.f = stdout};
    const bool change = cli_flag(a, "cut-over") || cli_flag(a, "roll-back");
    const int wishes = cli_flag(a, "cut-over") + cli_flag(a, "roll-back") + cli_flag(a, "drop-old");
    const char *embedder = cli_value(a, "embedder");
    if (wishes > 1 || (!wishes && !embedder))
        return cli_complain(EXIT_USAGE, "gallery migrate wants --embedder NEW.ufm, or one of "
                                        "--cut-over, --roll-back and --drop-old");
    int status = embedder ? cli_open_embedder_at(&m.s, a, embedder) : 0;
    if (!status)
        status = cli_gallery_open(&m.g, a, 0);
    if (!status) {
        m.j = a->json ? &j : NULL;
        if (m.j) {
            json_open(&j, NULL, '{');
            json_text(&j, "gallery", m.g.name);
        }
        status = change ? change_model(&m) : wishes ? drop_old(&m) : reembed(&m);
        if (m.j) {
            json_close(&j, '}');
            json_end(&j);
        }
    }
    cli_gallery_close(&m.g);
    cli_session_close(&m.s);
    return status;
}

const cli_command cli_gallery_migrate = {
    .name = "gallery migrate",
    .summary = "Change the embedder of a gallery, from the crops that were kept",
    .operands = "",
    .options = {GALLERY_OPTIONS,
                {"embedder", 'e', "NEW.ufm", "make templates of this model beside the old ones"},
                {"cut-over", 0, NULL, "let searches take the new model by default"},
                {"roll-back", 0, NULL, "let them take the old one again"},
                {"drop-old", 0, NULL, "delete the templates of all models but the one in use"},
                {"model", 0, "ID", "which model to cut over or roll back to, where several are"},
                {"batch", 'b', "N", "faces per run of the embedder (16)"},
                {"threads", 't', "N", "threads (0: one per core)"},
                {"flip", 0, NULL, "add the mirrored face's embedding"}},
    .details =
        "Old and new templates stay side by side until --drop-old. People whose crops were not\n"
        "kept (enroll --keep-crops) are named: they must enrol again (exit status 1). It can be\n"
        "interrupted and called again. --drop-old before --cut-over is refused; after\n"
        "--roll-back it deletes what was made for the model that was given up.\n" GALLERY_DETAILS,
    .examples = "  uniface gallery migrate -g staff.ufg --embedder new.ufm\n"
                "  uniface gallery migrate -g staff.ufg --cut-over\n"
                "  uniface gallery migrate -g staff.ufg --drop-old\n",
    .run = run_migrate,
};
