/* Finds faces in a picture: detect MODEL.ufm PHOTO. */
#include <stdio.h>
#include <uniface/uniface.h>

int main(int argc, char **argv)
{
    uf_error err = {UF_OK, ""};
    uf_model *model = NULL;
    uf_detector *detector = NULL;
    uf_picture *picture = NULL;
    uf_face faces[64];
    size_t count = 0;
    if (argc != 3) {
        fprintf(stderr, "usage: detect MODEL.ufm PHOTO\n");
        return 2;
    }
    uf_status st = uf_model_open(&model, argv[1], &err);
    if (!st)
        st = uf_detector_create(&detector, model, NULL, &err);
    if (!st)
        st = uf_picture_load(&picture, argv[2], NULL, &err);
    if (!st) {
        uf_image view = uf_picture_view(picture);
        st = uf_detector_run(detector, &view, faces, 64, &count, &err);
    }
    for (size_t i = 0; !st && i < count && i < 64; i++)
        printf("%.0f %.0f %.0f %.0f  %.2f\n", (double)faces[i].x, (double)faces[i].y,
               (double)faces[i].width, (double)faces[i].height, (double)faces[i].score);
    if (st)
        fprintf(stderr, "%s\n", err.message);
    uf_picture_destroy(picture);
    uf_detector_destroy(detector);
    uf_model_close(model);
    return st ? 1 : 0;
}
