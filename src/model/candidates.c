/*
 * Lists of candidates, and greedy non-maximum suppression.
 */
#include "model/candidates.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

void ufi_candidates_free(ufi_candidates *c)
{
    ufi_free(c->faces);
    *c = (ufi_candidates){0};
}

static bool is_usable(const uf_face *f)
{
    if (!isfinite(f->x) || !isfinite(f->y) || !isfinite(f->width) || !isfinite(f->height) ||
        !isfinite(f->score) || !(f->width > 0) || !(f->height > 0))
        return false;
    for (int i = 0; f->has_landmarks && i < UF_LANDMARKS; i++)
        if (!isfinite(f->landmarks[i].x) || !isfinite(f->landmarks[i].y))
            return false;
    return true;
}

void ufi_candidates_add(ufi_candidates *c, const uf_face *face)
{
    if (!is_usable(face))
        return;
    if (c->count == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 256;
        uf_face *faces = ufi_realloc(c->faces, cap, sizeof *faces);
        if (!faces) {
            c->no_memory = true;
            return;
        }
        c->faces = faces;
        c->cap = cap;
    }
    c->faces[c->count++] = *face;
}

static int by_number(float a, float b)
{
    return (a > b) - (a < b);
}

static int best_first(const void *pa, const void *pb)
{
    const uf_face *a = pa, *b = pb;
    int order = by_number(b->score, a->score);
    order = order ? order : by_number(a->y, b->y);
    order = order ? order : by_number(a->x, b->x);
    return order ? order : by_number(a->width, b->width);
}

void ufi_candidates_suppress(ufi_candidates *c, float nms, size_t top)
{
    size_t kept = 0;
    if (c->count > 1)
        qsort(c->faces, c->count, sizeof *c->faces, best_first);
    if (c->count > top)
        c->count = top;
    for (size_t i = 0; i < c->count; i++) {
        bool keep = true;
        for (size_t k = 0; keep && k < kept; k++)
            keep = !(uf_face_overlap(&c->faces[k], &c->faces[i]) > nms);
        if (keep)
            c->faces[kept++] = c->faces[i];
    }
    c->count = kept;
}
