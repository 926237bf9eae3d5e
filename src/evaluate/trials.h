/* Lists of trials in the making. Floor 5. */
#ifndef UFI_EVALUATE_TRIALS_H
#define UFI_EVALUATE_TRIALS_H

#include <stdbool.h>

#include "base/file.h"
#include "uniface/evaluate.h"

enum { UFI_TRIALS_MAX = 1 << 26 };

struct uf_trials {
    const char *format;
    uf_trial *list;
    uf_trial_picture *pictures;
    uint32_t *subjects; /* of templates: a number; while reading the parent in a forest */
    size_t count, cap, picture_count, picture_cap, template_count, template_cap;
    int32_t folds;
    uint32_t *slots; /* hash table of templates' names: 1 + index, 0 empty */
    char **names;    /* of templates */
    size_t slot_count;
    ufi_file_map map; /* what packed pictures point into */
};

/* The template of that name, made when it is new. */
uf_status ufi_trials_template(uf_trials *t, const char *name, uint32_t *id, uf_error *err);
/* Adds a picture to a template. `name` is copied. */
uf_status ufi_trials_picture(uf_trials *t, const char *name, uint32_t template_id, uint32_t media,
                             uf_error *err);
uf_status ufi_trials_add(uf_trials *t, uint32_t a, uint32_t b, bool same, int32_t fold,
                         uf_error *err);

/* Reads a packed list from t->map. Errors: UF_E_FORMAT with the offset. */
uf_status ufi_trials_unpack(uf_trials *t, uf_error *err);
/* For tests: a list in memory, which must outlive *out when it is packed. */
uf_status ufi_trials_parse(uf_trials **out, const uint8_t *data, size_t size, const char *templates,
                           size_t templates_size, uf_error *err);

#endif
