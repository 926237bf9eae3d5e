/*
 * Lists of pictures: a row is a path, or a path and a label, or "name score x0 y0 ... x4 y4" with
 * landmarks; columns are parted by tabs. Lists are input of unknown origin. Floor 5. Confined.
 */
#ifndef UFI_TRAIN_LIST_H
#define UFI_TRAIN_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/status.h"
#include "uniface/face.h"

typedef struct ufi_list_row {
    const char *name;
    const char *label; /* NULL: none */
    size_t line;       /* counted from 1 */
    bool has_points;
    uf_point points[UF_LANDMARKS];
} ufi_list_row;

typedef struct ufi_list {
    ufi_arena arena;
    ufi_list_row *rows; /* sorted by name */
    size_t count;
} ufi_list;

/* Empty lines and a first line "name<tab>score..." are passed over. Errors: UF_E_FORMAT with the
 * line (also for a name that comes twice), UF_E_NOMEM. */
uf_status ufi_list_parse(ufi_list *out, const char *text, size_t size, uf_error *err);
void ufi_list_free(ufi_list *l); /* accepts zeros */
const ufi_list_row *ufi_list_find(const ufi_list *l, const char *name);

#endif
