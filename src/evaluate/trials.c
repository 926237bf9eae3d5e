/* Lists of trials: the container, and the formats that are text. */
#include "evaluate/trials.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/forest.h"
#include "base/mem.h"
#include "base/status.h"

#define MAX_LIST_BYTES ((size_t)4 << 30)

enum { MAX_FIELDS = 5, MAX_LINE = 8192 };

/* ---- the container ---- */

static uf_status grow(void **array, size_t count, size_t *cap, size_t size, uf_error *err)
{
    if (count < *cap)
        return UF_OK;
    if (count >= UFI_TRIALS_MAX)
        return ufi_fail(err, UF_E_LIMIT, "the list has more than %d entries", UFI_TRIALS_MAX);
    const size_t wanted = *cap ? *cap * 2 : 1024;
    void *p = ufi_realloc(*array, wanted, size);
    if (!p)
        return ufi_fail(err, UF_E_NOMEM, "out of memory for %zu entries of the list", wanted);
    *array = p;
    *cap = wanted;
    return UF_OK;
}

static uint64_t hash_of(const char *s) /* FNV-1a */
{
    uint64_t h = 1469598103934665603u;
    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    return h ^ h >> 32;
}

static uint32_t *slot_of(uf_trials *t, const char *name)
{
    size_t at = (size_t)hash_of(name) & (t->slot_count - 1);
    while (t->slots[at] && strcmp(t->names[t->slots[at] - 1], name) != 0)
        at = (at + 1) & (t->slot_count - 1);
    return &t->slots[at];
}

static uf_status grow_slots(uf_trials *t, uf_error *err)
{
    const size_t wanted = t->slot_count ? t->slot_count * 2 : 4096;
    uint32_t *slots = ufi_calloc(wanted, sizeof *slots);
    if (!slots)
        return ufi_fail(err, UF_E_NOMEM, "out of memory for the list's names");
    ufi_free(t->slots);
    t->slots = slots;
    t->slot_count = wanted;
    for (size_t i = 0; i < t->template_count; i++)
        *slot_of(t, t->names[i]) = (uint32_t)i + 1;
    return UF_OK;
}

uf_status ufi_trials_template(uf_trials *t, const char *name, uint32_t *id, uf_error *err)
{
    uf_status st = UF_OK;
    if (2 * t->template_count >= t->slot_count)
        st = grow_slots(t, err);
    if (st)
        return st;
    uint32_t *slot = slot_of(t, name);
    if (*slot) {
        *id = *slot - 1;
        return UF_OK;
    }
    const size_t cap = t->template_cap;
    st = grow((void **)&t->subjects, t->template_count, &t->template_cap, sizeof *t->subjects, err);
    if (!st && t->template_cap != cap) {
        char **names = ufi_realloc(t->names, t->template_cap, sizeof *names);
        if (!names)
            return ufi_fail(err, UF_E_NOMEM, "out of memory for the list's names");
        t->names = names;
    }
    if (st)
        return st;
    *id = (uint32_t)t->template_count;
    if (!(t->names[*id] = ufi_strdup(name)))
        return ufi_fail(err, UF_E_NOMEM, "out of memory for the list's names");
    t->subjects[*id] = *id;
    t->template_count++;
    *slot = *id + 1;
    return UF_OK;
}

uf_status ufi_trials_picture(uf_trials *t, const char *name, uint32_t template_id, uint32_t media,
                             uf_error *err)
{
    uf_status st =
        grow((void **)&t->pictures, t->picture_count, &t->picture_cap, sizeof *t->pictures, err);
    char *copy = st ? NULL : ufi_strdup(name);
    if (!st && !copy)
        st = ufi_fail(err, UF_E_NOMEM, "out of memory for the list's names");
    if (!st)
        t->pictures[t->picture_count++] =
            (uf_trial_picture){.name = copy, .template_id = template_id, .media = media};
    return st;
}

uf_status ufi_trials_add(uf_trials *t, uint32_t a, uint32_t b, bool same, int32_t fold,
                         uf_error *err)
{
    uf_status st = grow((void **)&t->list, t->count, &t->cap, sizeof *t->list, err);
    if (st)
        return st;
    t->list[t->count++] = (uf_trial){a, b, same, fold};
    if (same)
        ufi_forest_join(t->subjects, a, b);
    if (fold >= t->folds)
        t->folds = fold + 1;
    return UF_OK;
}

/* Roots of the forest become the numbers 0, 1, .. */
static uf_status number_subjects(uf_trials *t, uf_error *err)
{
    uint32_t next = 0, *numbers = ufi_calloc(t->template_count + 1, sizeof *numbers);
    if (!numbers)
        return ufi_fail(err, UF_E_NOMEM, "out of memory for %zu templates", t->template_count);
    for (size_t i = 0; i < t->template_count; i++)
        if (t->subjects[i] == i)
            numbers[i] = next++;
    for (size_t i = 0; i < t->template_count; i++)
        numbers[i] = numbers[ufi_forest_root(t->subjects, (uint32_t)i)];
    ufi_free(t->subjects);
    t->subjects = numbers;
    return UF_OK;
}

void uf_trials_destroy(uf_trials *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->picture_count; i++)
        ufi_free((char *)(uintptr_t)t->pictures[i].name);
    for (size_t i = 0; i < t->template_count; i++)
        ufi_free(t->names[i]);
    ufi_free(t->names);
    ufi_free(t->list);
    ufi_free(t->pictures);
    ufi_free(t->subjects);
    ufi_free(t->slots);
    ufi_file_map_close(&t->map);
    ufi_free(t);
}

/* ---- lines ---- */

typedef struct lines {
    const char *at, *end;
    size_t number;
    char text[MAX_LINE];
    char *fields[MAX_FIELDS];
    int count;
} lines;

/* Tabs part fields where there are any, else commas, else spaces: names may hold the weaker ones.
 */
static const char *separators(const char *line)
{
    return strchr(line, '\t') ? "\t" : strchr(line, ',') ? "," : " ";
}

/* The next line with fields; remarks and empty lines are passed over. False at the end, and when a
 * line is too long or has too many fields (st tells). */
static bool next_line(lines *l, uf_status *st, uf_error *err)
{
    while (l->at < l->end) {
        const char *stop = memchr(l->at, '\n', (size_t)(l->end - l->at));
        const size_t n = (size_t)((stop ? stop : l->end) - l->at);
        l->number++;
        if (n >= sizeof l->text || memchr(l->at, '\0', n)) {
            *st = ufi_fail(err, UF_E_FORMAT, "line %zu is no text, or longer than %zu bytes",
                           l->number, sizeof l->text - 1);
            return false;
        }
        memcpy(l->text, l->at, n);
        l->text[n] = '\0';
        l->at = stop ? stop + 1 : l->end;
        l->text[strcspn(l->text, "\r")] = '\0';
        l->count = 0;
        if (l->text[0] == '#')
            continue;
        char *save = NULL;
        const char *by = separators(l->text);
        for (char *f = strtok_r(l->text, by, &save); f; f = strtok_r(NULL, by, &save)) {
            if (l->count == MAX_FIELDS) {
                *st = ufi_fail(err, UF_E_FORMAT, "line %zu has more than %d fields", l->number,
                               MAX_FIELDS);
                return false;
            }
            l->fields[l->count++] = f;
        }
        if (l->count)
            return true;
    }
    return false;
}

/* A number 0..max; -1 when the text is none. */
static int64_t number_in(const char *text, int64_t max)
{
    char *end;
    if (*text < '0' || *text > '9')
        return -1;
    const long long v = strtoll(text, &end, 10);
    return *end || v > max ? -1 : v;
}

static uf_status bad_line(const lines *l, const char *wanted, uf_error *err)
{
    return ufi_fail(err, UF_E_FORMAT, "line %zu: a line is %s", l->number, wanted);
}

/* The template that consists of this one picture. */
static uf_status lone_picture(uf_trials *t, const char *name, uint32_t *id, uf_error *err)
{
    const size_t before = t->template_count;
    uf_status st = ufi_trials_template(t, name, id, err);
    if (!st && t->template_count > before)
        st = ufi_trials_picture(t, name, *id, 0, err);
    return st;
}

/* ---- the formats ---- */

static uf_status lfw_picture(uf_trials *t, const char *name, const char *number, uint32_t *id,
                             uf_error *err)
{
    char path[MAX_LINE * 2 + 32];
    const int64_t n = number_in(number, 999999);
    if (n < 0)
        return ufi_fail(err, UF_E_FORMAT, "\"%.40s\" is not the number of a picture", number);
    snprintf(path, sizeof path, "%s/%s_%04lld.jpg", name, name, (long long)n);
    return lone_picture(t, path, id, err);
}

/* "10 300": folds, and pairs of each kind in a fold; or "1100": pairs of each kind. */
static uf_status read_lfw(uf_trials *t, lines *l, uf_error *err)
{
    const int64_t folds = l->count == 2 ? number_in(l->fields[0], 1000) : 1;
    const int64_t pairs = number_in(l->fields[l->count - 1], UFI_TRIALS_MAX);
    uf_status st = UF_OK;
    uint32_t a, b;
    if (folds < 1 || pairs < 1)
        return bad_line(l, "\"FOLDS PAIRS\" at first", err);
    while (!st && next_line(l, &st, err)) {
        const bool same = l->count == 3;
        const size_t fold = t->count / (size_t)(2 * pairs);
        if (l->count != 3 && l->count != 4)
            return bad_line(l, "\"NAME 1 2\" or \"NAME 1 OTHER 2\"", err);
        st = lfw_picture(t, l->fields[0], l->fields[1], &a, err);
        if (!st)
            st = lfw_picture(t, l->fields[same ? 0 : 2], l->fields[same ? 2 : 3], &b, err);
        if (!st)
            st = ufi_trials_add(t, a, b, same,
                                (int32_t)(fold < (size_t)folds ? fold : (size_t)folds - 1), err);
        if (st)
            return ufi_wrap(err, st, "line %zu", l->number);
    }
    t->format = "LFW pairs";
    return st;
}

static uf_status read_pairs(uf_trials *t, lines *l, bool templates, uf_error *err)
{
    uf_status st = UF_OK;
    uint32_t id[2];
    bool more = true;
    for (; !st && more; more = next_line(l, &st, err)) {
        const int64_t same = l->count >= 3 ? number_in(l->fields[2], 1) : -1;
        const int64_t fold = l->count == 4 ? number_in(l->fields[3], 9999) : 0;
        if (l->count < 3 || l->count > 4 || same < 0 || fold < 0)
            return bad_line(
                l, templates ? "\"TEMPLATE TEMPLATE 1|0\"" : "\"PICTURE PICTURE 1|0 [FOLD]\"", err);
        for (int k = 0; !st && k < 2; k++) {
            const size_t before = t->template_count;
            st = templates ? ufi_trials_template(t, l->fields[k], &id[k], err)
                           : lone_picture(t, l->fields[k], &id[k], err);
            if (!st && templates && t->template_count > before)
                return ufi_fail(err, UF_E_FORMAT, "line %zu: template %.60s has no pictures",
                                l->number, l->fields[k]);
        }
        if (!st)
            st = ufi_trials_add(t, id[0], id[1], same == 1, (int32_t)fold, err);
    }
    t->format = templates ? "IJB" : "pairs";
    return st;
}

/* Two lines a pair; the number is the fold of a genuine pair from 1, and 0 for an impostor pair. */
static uf_status read_two_lines(uf_trials *t, lines *l, uf_error *err)
{
    static const char wanted[] = "\"PICTURE FOLD\", two of them a pair";
    uf_status st = UF_OK;
    uint32_t a, b;
    bool more = true;
    for (; !st && more; more = next_line(l, &st, err)) {
        const int64_t fold = l->count == 2 ? number_in(l->fields[1], 9999) : -1;
        if (fold < 0)
            return bad_line(l, wanted, err);
        st = lone_picture(t, l->fields[0], &a, err);
        if (st || !next_line(l, &st, err))
            return st ? st : ufi_fail(err, UF_E_FORMAT, "the last pair has one picture only");
        if (l->count != 2 || number_in(l->fields[1], 9999) != fold)
            return bad_line(l, wanted, err);
        st = lone_picture(t, l->fields[0], &b, err);
        if (!st)
            st = ufi_trials_add(t, a, b, fold > 0, 0, err);
    }
    t->format = "pairs in two lines";
    return st;
}

/* "PICTURE TEMPLATE MEDIA". */
static uf_status read_templates(uf_trials *t, const char *data, size_t size, uf_error *err)
{
    lines l = {.at = data, .end = data + size};
    uf_status st = UF_OK;
    uint32_t id;
    while (!st && next_line(&l, &st, err)) {
        const int64_t media = l.count == 3 ? number_in(l.fields[2], UINT32_MAX) : -1;
        if (media < 0)
            return bad_line(&l, "\"PICTURE TEMPLATE MEDIA\"", err);
        st = ufi_trials_template(t, l.fields[1], &id, err);
        if (!st)
            st = ufi_trials_picture(t, l.fields[0], id, (uint32_t)media, err);
    }
    return st;
}

static uf_status read_text(uf_trials *t, const char *data, size_t size, const char *templates,
                           size_t templates_size, uf_error *err)
{
    lines l = {.at = data, .end = data + size};
    uf_status st = templates ? read_templates(t, templates, templates_size, err) : UF_OK;
    if (st)
        return ufi_wrap(err, st, "list of templates");
    if (!next_line(&l, &st, err))
        return st ? st : ufi_fail(err, UF_E_FORMAT, "the list is empty");
    if (templates)
        return read_pairs(t, &l, true, err);
    if (l.count == 1 || (l.count == 2 && number_in(l.fields[0], 1000) >= 0))
        return read_lfw(t, &l, err);
    return l.count == 2 ? read_two_lines(t, &l, err) : read_pairs(t, &l, false, err);
}

uf_status ufi_trials_parse(uf_trials **out, const uint8_t *data, size_t size, const char *templates,
                           size_t templates_size, uf_error *err)
{
    uf_trials *t = ufi_calloc(1, sizeof *t);
    *out = NULL;
    if (!t)
        return ufi_fail(err, UF_E_NOMEM, "out of memory");
    t->folds = 1;
    t->map = (ufi_file_map){.data = data, .size = size};
    uf_status st = size && data[0] == 0x80
                       ? ufi_trials_unpack(t, err)
                       : read_text(t, (const char *)data, size, templates, templates_size, err);
    if (!st && !t->count)
        st = ufi_fail(err, UF_E_FORMAT, "the list holds no pairs");
    if (!st)
        st = number_subjects(t, err);
    t->map = (ufi_file_map){.data = NULL}; /* the caller's */
    if (st)
        uf_trials_destroy(t);
    else
        *out = t;
    return st;
}

uf_status uf_trials_read(uf_trials **out, const char *path, const char *templates, uf_error *err)
{
    ufi_file_map map, more = {0};
    if (!out || !path)
        return ufi_fail(err, UF_E_ARG, "uf_trials_read: out and path must be given");
    *out = NULL;
    uf_status st = ufi_file_map_open(&map, path, MAX_LIST_BYTES, err);
    if (st)
        return st;
    if (templates)
        st = ufi_file_map_open(&more, templates, MAX_LIST_BYTES, err);
    if (!st)
        st =
            ufi_wrap(err,
                     ufi_trials_parse(out, map.data, map.size,
                                      templates ? (more.data ? (const char *)more.data : "") : NULL,
                                      more.size, err),
                     "%s", path);
    ufi_file_map_close(&more);
    if (st)
        ufi_file_map_close(&map);
    else
        (*out)->map = map;
    return st;
}

const char *uf_trials_format(const uf_trials *t)
{
    return t->format;
}

const uf_trial *uf_trials_list(const uf_trials *t, size_t *count)
{
    *count = t->count;
    return t->list;
}

const uf_trial_picture *uf_trials_pictures(const uf_trials *t, size_t *count)
{
    *count = t->picture_count;
    return t->pictures;
}

size_t uf_trials_template_count(const uf_trials *t)
{
    return t->template_count;
}

int32_t uf_trials_fold_count(const uf_trials *t)
{
    return t->folds;
}

uint32_t uf_trials_subject(const uf_trials *t, uint32_t template_id)
{
    return t->subjects[template_id];
}
