/*
 * Candidates: faces that a detector's network may have found, before overlapping ones are dropped.
 * Floor 5. Confined.
 */
#ifndef UFI_MODEL_CANDIDATES_H
#define UFI_MODEL_CANDIDATES_H

#include <stdbool.h>

#include "uniface/face.h"

/* Faces found, in pixels of the network's input; grows as needed. */
typedef struct ufi_candidates {
    uf_face *faces;
    size_t count, cap;
    bool no_memory;
} ufi_candidates;

/* Appends unless a number is not finite or the box has no area. */
void ufi_candidates_add(ufi_candidates *c, const uf_face *face);
void ufi_candidates_free(ufi_candidates *c);
/* Best first (ties by position), overlapping ones dropped: intersection over union > `nms`. */
void ufi_candidates_suppress(ufi_candidates *c, float nms, size_t top);

#endif
