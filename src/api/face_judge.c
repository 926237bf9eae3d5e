/* Judging changed models. */
#include <math.h>
#include <string.h>

#include "api/calibration.h"
#include "base/mem.h"

/* Mean distance of the landmarks, in widths of the face; 0 where there are none. */
static double landmark_distance(const uf_face *want, const uf_face *got)
{
    double sum = 0;
    if (!want->has_landmarks || !got->has_landmarks)
        return 0;
    for (int i = 0; i < UF_LANDMARKS; i++)
        sum += hypot((double)(want->landmarks[i].x - got->landmarks[i].x),
                     (double)(want->landmarks[i].y - got->landmarks[i].y));
    return sum / UF_LANDMARKS / (double)want->width;
}

/* The overlap, or what the landmarks say if that is less: off by 1 % of the face's width on average
 * they are as bad as an overlap of 0.985, and 0.995 is asked for where nobody says otherwise.
 * Strictly as one of 0.9, beyond which a face is no longer the same. */
static double face_nearness(const uf_face *want, const uf_face *got, ufi_judging how)
{
    const double weight = how == UFI_JUDGE_STRICTLY ? 10 : 1.5;
    const double overlap = (double)uf_face_overlap(want, got);
    return fmax(0, fmin(overlap, 1 - weight * landmark_distance(want, got)));
}

/* Mean nearness of the faces to those that FP32 finds; faces of one side only count as 0. */
double ufi_face_agreement(void *arg, size_t i, const ufi_context *c, ufi_judging how)
{
    ufi_face_judge *j = arg;
    const uf_face *faces;
    size_t count, unmatched;
    double sum = 0;
    if (ufi_detector_decode(j->detector, c, j->width, j->height, &faces, &count, NULL))
        return 0;
    if (how == UFI_JUDGE_REFERENCE) {
        j->want[i] = ufi_malloc(count + 1, sizeof **j->want);
        j->count[i] = j->want[i] ? count : 0;
        memcpy(j->want[i], faces, j->count[i] * sizeof *faces);
        return 1;
    }
    unmatched = count;
    for (size_t k = 0; k < j->count[i]; k++) {
        const uf_face *best = NULL;
        float most = 0;
        for (size_t f = 0; f < count; f++) {
            const float overlap = uf_face_overlap(&j->want[i][k], &faces[f]);
            best = overlap > most ? &faces[f] : best;
            most = fmaxf(most, overlap);
        }
        sum += best ? face_nearness(&j->want[i][k], best, how) : 0;
        unmatched -= most >= 0.5f && unmatched > 0;
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
