/* Judging changed models. */
#include <math.h>
#include <string.h>

#include "api/calibration.h"
#include "base/mem.h"

/* Mean overlap of the faces with those that FP32 finds; faces of one side only count as 0. */
double ufi_face_agreement(void *arg, size_t i, const ufi_context *c, bool reference)
{
    ufi_face_judge *j = arg;
    const uf_face *faces;
    size_t count, unmatched;
    double sum = 0;
    if (ufi_detector_decode(j->detector, c, j->width, j->height, &faces, &count, NULL))
        return 0;
    if (reference) {
        j->want[i] = ufi_malloc(count + 1, sizeof **j->want);
        j->count[i] = j->want[i] ? count : 0;
        memcpy(j->want[i], faces, j->count[i] * sizeof *faces);
        return 1;
    }
    unmatched = count;
    for (size_t k = 0; k < j->count[i]; k++) {
        float best = 0;
        for (size_t f = 0; f < count; f++)
            best = fmaxf(best, uf_face_overlap(&j->want[i][k], &faces[f]));
        sum += (double)best;
        unmatched -= best >= 0.5f && unmatched > 0;
    }
    return j->count[i] + unmatched ? sum / (double)(j->count[i] + unmatched) : 1;
}

void ufi_face_judge_close(ufi_face_judge *j)
{
    uf_detector_destroy(j->detector);
    ufi_program_destroy(j->program);
    for (size_t i = 0; i < UFI_MAX_JUDGED; i++)
        ufi_free(j->want[i]);
}

uf_status ufi_face_judge_open(ufi_face_judge *j, const uf_model *m, const uf_calibration *c,
                              uf_error *err)
{
    const uf_detector_options o = UF_DETECTOR_OPTIONS_INIT;
    *j = (ufi_face_judge){.width = (size_t)c->width, .height = (size_t)c->height};
    uf_status st = ufi_program_create(&j->program, &m->file.graph, "CPU", err);
    return st ? st : ufi_detector_create(&j->detector, &m->file, j->program, &o, err);
}
