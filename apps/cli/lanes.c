/* Pictures through a pipeline (lanes.h). */
#include "lanes.h"

int cli_lanes_open(cli_lanes *l, const cli_args *a, bool embeds)
{
    uf_error err;
    uf_detector_options o = UF_DETECTOR_OPTIONS_INIT;
    l->a = a;
    const int status = cli_detector_options(a, &o); /* wrong ones are told before models are read */
    if (status)
        return status;
    if (cli_open_model(&l->detector, a, "detector", &err) ||
        (embeds && cli_open_model(&l->embedder, a, "embedder", &err)))
        return cli_fail(&err);
    return 0;
}

int cli_lanes_start(cli_lanes *l, size_t pictures, uf_pipeline_options *o)
{
    uf_error err;
    uf_device d = {.cores = 1};
    double batch;
    const int status = cli_detector_options(l->a, &o->detector);
    if (status || !cli_number(l->a, "batch", 1, 256, 16, &batch))
        return EXIT_USAGE;
    uf_device_get(0, &d, NULL);
    const uint32_t threads = o->detector.engine.threads;
    const uint32_t most = threads && threads < d.cores ? threads : d.cores;
    o->lanes = pictures < d.cores ? (uint32_t)pictures : d.cores;
    o->decoders = pictures < most ? (uint32_t)pictures : most;
    o->batch = (uint32_t)batch;
    o->flip = cli_flag(l->a, "flip");
    if (uf_pipeline_create(&l->pipeline, l->detector, l->embedder, o, &err))
        return cli_fail(&err);
    l->dimension = uf_pipeline_dimension(l->pipeline);
    return 0;
}

int cli_lanes_run(cli_lanes *l, char *const *paths, size_t count, const char *doing,
                  cli_take_item *take, void *user)
{
    uf_error err;
    uf_pipeline_item item;
    size_t put = 0;
    int status = 0;
    while (!status && (put < count || uf_pipeline_pending(l->pipeline))) {
        while (put < count && uf_pipeline_room(l->pipeline))
            if (uf_pipeline_put(l->pipeline, paths[put++], &err))
                return cli_fail(&err);
        if (uf_pipeline_next(l->pipeline, &item, &err))
            return cli_fail(&err);
        status = take(user, (size_t)item.number, &item);
        cli_progress(doing, (size_t)item.number + 1, count);
    }
    return status;
}

void cli_lanes_close(cli_lanes *l)
{
    uf_pipeline_destroy(l->pipeline);
    uf_model_close(l->detector);
    uf_model_close(l->embedder);
}

uf_status cli_item_check(const uf_pipeline_item *item, const char *path, uf_error *err)
{
    err->status = item->status;
    if (item->status) {
        snprintf(err->message, sizeof err->message, "%s", item->message);
    } else if (!item->face_count) {
        err->status = UF_E_NO_FACE;
        snprintf(err->message, sizeof err->message, "%s: no face found", path);
    }
    return err->status;
}
