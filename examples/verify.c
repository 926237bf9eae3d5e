/* How alike are two faces: verify DETECTOR.ufm EMBEDDER.ufm A B. Each picture's best face counts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <uniface/uniface.h>

static uf_status embed(uf_detector *d, uf_embedder *e, const char *path, float *out, uf_error *err)
{
    uf_picture *picture;
    uf_face face;
    size_t count;
    uf_status st = uf_picture_load(&picture, path, NULL, err);
    if (st)
        return st;
    uf_image view = uf_picture_view(picture);
    st = uf_detector_run(d, &view, &face, 1, &count, err);
    if (!st && count == 0) {
        fprintf(stderr, "%s: no face\n", path);
        st = UF_E_NO_FACE;
    } else if (!st) {
        st = uf_embedder_run(e, &view, &face, out, err);
    }
    uf_picture_destroy(picture);
    return st;
}

int main(int argc, char **argv)
{
    uf_error err = {UF_OK, ""};
    uf_model *models[2] = {NULL, NULL};
    uf_detector *detector = NULL;
    uf_embedder *embedder = NULL;
    if (argc != 5) {
        fprintf(stderr, "usage: verify DETECTOR.ufm EMBEDDER.ufm A B\n");
        return 2;
    }
    uf_status st = uf_model_open(&models[0], argv[1], &err);
    if (!st)
        st = uf_model_open(&models[1], argv[2], &err);
    if (!st)
        st = uf_detector_create(&detector, models[0], NULL, &err);
    if (!st)
        st = uf_embedder_create(&embedder, models[1], NULL, &err);
    size_t n = st ? 0 : uf_embedder_dimension(embedder);
    float *v = calloc(2 * n + 1, sizeof *v);
    for (int i = 0; !st && v && i < 2; i++)
        st = embed(detector, embedder, argv[3 + i], v + (size_t)i * n, &err);
    if (!st && v)
        printf("%.4f\n", (double)uf_similarity(v, v + n, n));
    else
        fprintf(stderr, "%s\n", err.message);
    free(v);
    uf_embedder_destroy(embedder);
    uf_detector_destroy(detector);
    uf_model_close(models[0]);
    uf_model_close(models[1]);
    return st ? 1 : 0;
}
