/* Feeding calibration pictures, and timing what was made. */
#include "job.h"

#include <stdlib.h>
#include <string.h>

#include "race.h"

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

int cli_job_open(cli_job *q, const char *path)
{
    uf_error err;
    char file[4096];
    if (uf_store_find(file, sizeof file, path, &err) || cli_model_open(&q->model, file, &err))
        return cli_fail(&err);
    q->size_bytes = cli_file_size(file);
    const char *task = uf_model_meta(q->model, "task");
    q->is_embedder = task && !strcmp(task, "embedder");
    return 0;
}

/* ---- calibration pictures ---- */

static int open_face_finder(cli_job *q, const cli_args *a, const char *path)
{
    if (q->session.detector)
        return 0;
    int status = cli_open_detector(&q->session, a);
    if (status)
        cli_complain(status,
                     "%s is no crop of %d x %d, so the face must be found and aligned first: name "
                     "a detector with --detector",
                     path, q->width, q->height);
    return status;
}

/* The most prominent face of a photo; photos without one are counted. */
static int add_face(cli_job *q, const cli_args *a, const char *path)
{
    uf_error err;
    uf_picture *p;
    size_t count;
    int status = open_face_finder(q, a, path);
    if (status)
        return status;
    if (cli_find_faces(&q->session, path, &p, &count, &err)) {
        cli_fail(&err);
        q->skipped++;
        return 0;
    }
    uf_image view = uf_picture_view(p);
    int i = uf_face_main(q->session.faces, count, view.width, view.height);
    if (i < 0)
        q->skipped++;
    else if (uf_calibration_add_image(q->calibration, &view, &q->session.faces[i], &err))
        status = cli_fail(&err);
    uf_picture_destroy(p);
    return status;
}

static int add_picture(cli_job *q, const cli_args *a, const char *path)
{
    uf_error err;
    uf_picture *p;
    uf_decode_options o = UF_DECODE_OPTIONS_INIT;
    if (uf_picture_load(&p, path, &o, &err)) {
        cli_fail(&err);
        q->skipped++;
        return 0;
    }
    uf_image view = uf_picture_view(p);
    bool is_crop = view.width == q->width && view.height == q->height;
    int status = 0;
    if ((is_crop || !q->is_embedder) && uf_calibration_add_image(q->calibration, &view, NULL, &err))
        status = cli_fail(&err);
    uf_picture_destroy(p);
    return is_crop || !q->is_embedder || status ? status : add_face(q, a, path);
}

/* Paths, one a line. */
static int read_list(cli_files *f, const char *path)
{
    char line[4096];
    FILE *in = fopen(path, "r");
    if (!in)
        return cli_complain(EXIT_INPUT, "%s: it cannot be opened", path);
    char **names = NULL;
    int count = 0;
    while (fgets(line, sizeof line, in)) {
        line[strcspn(line, "\r\n")] = '\0';
        if (!*line || *line == '#')
            continue;
        names = cli_need(realloc(names, (size_t)(count + 1) * sizeof *names));
        names[count++] = strdup(line);
    }
    fclose(in);
    bool ok = cli_files_collect(f, names, count);
    for (int i = 0; i < count; i++)
        free(names[i]);
    free(names);
    return ok ? 0 : EXIT_INPUT;
}

/* Ready inputs [N,3,H,W] of floats, or crops [N,H,W,3] of bytes. */
static int add_array(cli_job *q, const char *path)
{
    uf_error err;
    uf_tensor_info t;
    void *data = NULL;
    if (!npy_read(path, &t, &data))
        return EXIT_INPUT;
    bool floats = t.dtype == UF_F32 && t.rank == 4 && t.dims[1] == 3 && t.dims[2] == q->height &&
                  t.dims[3] == q->width;
    bool bytes = t.dtype == UF_U8 && t.rank == 4 && t.dims[1] == q->height &&
                 t.dims[2] == q->width && t.dims[3] == 3;
    int status = 0;
    if (!floats && !bytes)
        status =
            cli_complain(EXIT_INPUT, "%s: it must hold float32 [N,3,%d,%d] or uint8 [N,%d,%d,3]",
                         path, q->height, q->width, q->height, q->width);
    size_t n = (size_t)t.dims[0] < q->wanted ? (size_t)t.dims[0] : q->wanted;
    if (floats && uf_calibration_add_inputs(q->calibration, data, n, &err))
        status = cli_fail(&err);
    if (bytes && uf_calibration_add_pixels(q->calibration, data, n, &err))
        status = cli_fail(&err);
    free(data);
    return status;
}

/* Where there are more pictures than wanted they are taken evenly over the list. */
static int add_pictures(cli_job *q, const cli_args *a, char *path)
{
    cli_files files = {0};
    int status = ends_with(path, ".txt")               ? read_list(&files, path)
                 : cli_files_collect(&files, &path, 1) ? 0
                                                       : EXIT_INPUT;
    if (!status && !files.count)
        status = cli_complain(EXIT_INPUT, "there are no pictures in %s", path);
    size_t n = files.count < q->wanted ? files.count : q->wanted;
    for (size_t i = 0; !status && i < n; i++) {
        status = add_picture(q, a, files.paths[i * files.count / n]);
        cli_progress("calibrating", i + 1, n);
    }
    cli_files_free(&files);
    if (!status && q->skipped)
        cli_complain(0, "%zu of %zu pictures were left out: no face, or not readable", q->skipped,
                     n);
    return status;
}

int cli_job_feed(cli_job *q, const cli_args *a, const char *path, size_t pictures)
{
    uf_error err;
    double threads;
    uf_engine_options o = UF_ENGINE_OPTIONS_INIT;
    if (!cli_number(a, "threads", 0, 1024, 0, &threads))
        return EXIT_USAGE;
    o.threads = (uint32_t)threads;
    if (uf_calibration_create(&q->calibration, q->model, &o, &err))
        return cli_fail(&err);
    uf_calibration_input_size(q->calibration, &q->width, &q->height);
    q->wanted = pictures;
    if (ends_with(path, ".npy"))
        return add_array(q, path);
    char *operand = strdup(path);
    int status = operand ? add_pictures(q, a, operand) : EXIT_INTERNAL;
    free(operand);
    return status;
}

int cli_job_calibrate(cli_job *q, const cli_args *a)
{
    double images;
    const char *path = cli_value(a, "calibration");
    if (!cli_number(a, "images", UF_CALIBRATION_MIN, 100000, 500, &images))
        return EXIT_USAGE;
    if (!path)
        return cli_complain(EXIT_USAGE,
                            "%s needs --calibration with pictures like those the model will see: "
                            "what its activations are is measured, not guessed",
                            a->command->name);
    return cli_job_feed(q, a, path, (size_t)images);
}

/* ---- timing ---- */

uf_status cli_job_time(const cli_job *q, double ms[2], uf_error *err)
{
    uf_model *const models[2] = {q->model, q->result};
    race_result r[2];
    uf_status st = cli_race(models, q->width, q->height, r, err);
    for (int k = 0; k < 2; k++)
        ms[k] = st ? 0 : r[k].p50_ms;
    return st;
}

void cli_job_close(cli_job *q)
{
    uf_calibration_destroy(q->calibration);
    uf_model_close(q->result);
    uf_model_close(q->model);
    cli_session_close(&q->session);
}
