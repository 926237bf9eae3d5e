/*
 * library_rate DETECTOR.ufm EMBEDDER.ufm SECONDS PICTURE...: pictures a second from the bytes of a
 * file to the template of its main face, in this process, by uf_pipeline. What bench/server.py
 * holds the server against.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "uniface/uniface.h"

enum { MAX_PICTURE = 16 << 20 };

typedef struct picture {
    void *data;
    size_t size;
} picture;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "library_rate: %s: %s\n", what, why);
    return 1;
}

static int read_picture(picture *p, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return fail(path, "it cannot be opened");
    p->data = malloc(MAX_PICTURE);
    p->size = p->data ? fread(p->data, 1, MAX_PICTURE, f) : 0;
    fclose(f);
    return p->size ? 0 : fail(path, "it is empty, or there is no memory for it");
}

static int run(uf_pipeline *p, const picture *pictures, size_t count, double seconds)
{
    uf_error err;
    uf_pipeline_item item;
    size_t put = 0, done = 0;
    const double start = now_s();
    while (now_s() - start < seconds || uf_pipeline_pending(p)) {
        while (now_s() - start < seconds && uf_pipeline_room(p)) {
            const picture *x = &pictures[put++ % count];
            if (uf_pipeline_put_bytes(p, x->data, x->size, &err))
                return fail("put", err.message);
        }
        if (!uf_pipeline_pending(p))
            break;
        if (uf_pipeline_next(p, &item, &err))
            return fail("next", err.message);
        if (item.status)
            return fail("a picture", item.message);
        done++;
    }
    printf("%.2f\n", (double)done / (now_s() - start));
    return 0;
}

int main(int argc, char **argv)
{
    uf_error err;
    uf_model *detector = NULL, *embedder = NULL;
    uf_pipeline *p = NULL;
    if (argc < 5)
        return fail("usage", "library_rate DETECTOR.ufm EMBEDDER.ufm SECONDS PICTURE...");
    const size_t count = (size_t)argc - 4;
    picture *pictures = calloc(count, sizeof *pictures);
    if (!pictures)
        return fail("pictures", "out of memory");
    int status = 0;
    for (size_t i = 0; !status && i < count; i++)
        status = read_picture(&pictures[i], argv[4 + i]);
    if (!status &&
        (uf_model_open(&detector, argv[1], &err) || uf_model_open(&embedder, argv[2], &err) ||
         uf_pipeline_create(&p, detector, embedder, NULL, &err)))
        status = fail("models", err.message);
    if (!status)
        status = run(p, pictures, count, atof(argv[3]));
    uf_pipeline_destroy(p);
    uf_model_close(embedder);
    uf_model_close(detector);
    for (size_t i = 0; i < count; i++)
        free(pictures[i].data);
    free(pictures);
    return status;
}
