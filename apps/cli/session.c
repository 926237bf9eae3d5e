/* Detectors and embedders from options. */
#include "session.h"

#include <stdlib.h>
#include <string.h>

void cli_session_close(cli_session *s)
{
    uf_detector_destroy(s->detector);
    uf_embedder_destroy(s->embedder);
    uf_model_close(s->detector_model);
    uf_model_close(s->embedder_model);
    free(s->faces);
}

int cli_detector_options(const cli_args *a, uf_detector_options *o)
{
    const char *size = cli_value(a, "size");
    double pixels = 0, score, nms, threads;
    bool is_auto = size && !strcmp(size, "auto");
    if ((!is_auto && !cli_number(a, "size", 32, 8192, 0, &pixels)) ||
        !cli_number(a, "score", 0, 1, -1, &score) || !cli_number(a, "nms", 0, 1, -1, &nms) ||
        !cli_number(a, "threads", 0, 1024, 0, &threads))
        return EXIT_USAGE;
    o->size = is_auto ? -1 : (int32_t)pixels;
    o->score_threshold = (float)score;
    o->nms_threshold = (float)nms;
    o->engine.threads = (uint32_t)threads;
    return 0;
}

int cli_open_detector(cli_session *s, const cli_args *a)
{
    uf_error err;
    uf_detector_options o = UF_DETECTOR_OPTIONS_INIT;
    const int status = cli_detector_options(a, &o);
    if (status)
        return status;
    s->faces = malloc(CLI_MAX_FACES * sizeof *s->faces);
    if (!s->faces)
        return cli_complain(EXIT_INTERNAL, "out of memory");
    if (cli_open_model(&s->detector_model, a, "detector", &err) ||
        uf_detector_create(&s->detector, s->detector_model, &o, &err))
        return cli_fail(&err);
    return 0;
}

/* Of the model that is open. */
static int make_embedder(cli_session *s, const cli_args *a)
{
    uf_error err;
    uf_embedder_options o = UF_EMBEDDER_OPTIONS_INIT;
    double threads, batch;
    if (!cli_number(a, "threads", 0, 1024, 0, &threads) ||
        !cli_number(a, "batch", 1, 256, 16, &batch))
        return EXIT_USAGE;
    o.engine.threads = (uint32_t)threads;
    o.batch = (int32_t)batch;
    o.flip = cli_flag(a, "flip");
    if (uf_embedder_create(&s->embedder, s->embedder_model, &o, &err))
        return cli_fail(&err);
    s->dimension = uf_embedder_dimension(s->embedder);
    return 0;
}

int cli_open_embedder(cli_session *s, const cli_args *a)
{
    uf_error err;
    if (cli_open_model(&s->embedder_model, a, "embedder", &err))
        return cli_fail(&err);
    return make_embedder(s, a);
}

int cli_open_embedder_at(cli_session *s, const cli_args *a, const char *path)
{
    uf_error err;
    if (cli_open_model_for(&s->embedder_model, path, "embedder", &err))
        return cli_fail(&err);
    return make_embedder(s, a);
}

uf_status cli_faces_in(cli_session *s, const uf_image *view, size_t *count, uf_error *err)
{
    uf_status st = uf_detector_run(s->detector, view, s->faces, CLI_MAX_FACES, count, err);
    if (*count > CLI_MAX_FACES)
        *count = CLI_MAX_FACES;
    return st;
}

uf_status cli_find_faces(cli_session *s, const char *path, uf_picture **p, size_t *count,
                         uf_error *err)
{
    uf_decode_options o = UF_DECODE_OPTIONS_INIT;
    uf_status st = uf_picture_load(p, path, &o, err);
    if (st)
        return st;
    uf_image view = uf_picture_view(*p);
    st = cli_faces_in(s, &view, count, err);
    if (st) {
        uf_picture_destroy(*p);
        *p = NULL;
    }
    return st;
}
