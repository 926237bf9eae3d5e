/*
 * What stands behind the name of a source: a folder, an archive, a list.
 *
 * Lists of landmarks and archives find each other by name: "aaf_landmarks.tsv" is the list of
 * "aaf.tar" and of "aaf_0.tar", "aaf_1.tar" beside it. An archive comes once, also when it is named
 * and its list too.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "train/dataset.h"
#include "train/list.h"
#include "train/tar.h"

#define MAX_LIST_BYTES ((size_t)1 << 30)
enum { MAX_DEPTH = 16, MAX_PATH = 4096 };
static const char landmarks[] = "landmarks.tsv";

/* A source while it is read: its new samples are those from `first` on. */
typedef struct source {
    ufi_dataset *d;
    size_t first;
    ufi_list list;       /* landmarks of pictures, or the source itself */
    const char **people; /* of each new sample: folder or label; NULL: none */
    size_t people_room;
    bool seen; /* an archive that came before: adds nothing, and that is right */
} source;

static bool is_picture(const char *name)
{
    static const char *const suffixes[] = {".jpg", ".jpeg", ".png", ".webp"};
    const char *file = strrchr(name, '/'), *dot = strrchr(name, '.');
    file = file ? file + 1 : name;
    if (file[0] == '.' || !dot) /* hidden files are other programs' notes */
        return false;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (strcasecmp(dot, suffixes[i]) == 0)
            return true;
    return false;
}

static bool has_suffix(const char *s, const char *suffix)
{
    const size_t n = strlen(s), k = strlen(suffix);
    return n >= k && strcasecmp(s + n - k, suffix) == 0;
}

static uf_status out_of_memory(const source *s, uf_error *err)
{
    return ufi_fail(err, UF_E_NOMEM, "no memory for a dataset of %zu pictures", s->d->count);
}

/* Room for one more sample, and for its person. */
static bool grow(source *s)
{
    ufi_dataset *d = s->d;
    const size_t mine = d->count - s->first;
    if (d->count == d->room) {
        const size_t room = d->room ? d->room * 2 : 256;
        ufi_sample *samples = ufi_realloc(d->samples, room, sizeof *samples);
        if (samples)
            d->samples = samples;
        ufi_place *places = ufi_realloc(d->places, room, sizeof *places);
        if (places)
            d->places = places;
        if (!samples || !places)
            return false;
        d->room = room;
    }
    if (mine == s->people_room) {
        const size_t room = mine ? mine * 2 : 256;
        const char **people = ufi_realloc((void *)s->people, room, sizeof *people);
        if (!people)
            return false;
        s->people = people;
        s->people_room = room;
    }
    return true;
}

/* `person` is kept as it is: NULL, or memory of the dataset. */
static uf_status add_sample(source *s, const char *name, const char *person, ufi_place place,
                            uf_error *err)
{
    ufi_dataset *d = s->d;
    if (d->count == INT32_MAX)
        return ufi_fail(err, UF_E_LIMIT, "a dataset has at most %d pictures", INT32_MAX);
    if (!name || !grow(s))
        return out_of_memory(s, err);
    const ufi_list_row *row = ufi_list_find(&s->list, name);
    ufi_sample *sample = &d->samples[d->count];
    *sample = (ufi_sample){.name = name, .label = -1};
    if (row && row->has_points) {
        sample->has_points = true;
        memcpy(sample->points, row->points, sizeof sample->points);
    }
    s->people[d->count - s->first] = person;
    d->places[d->count++] = place;
    return UF_OK;
}

/* The same for a picture that may lie in a person's folder. */
static uf_status add_in_folder(source *s, const char *name, ufi_place place, uf_error *err)
{
    const char *kept = ufi_arena_strndup(&s->d->arena, name, strlen(name));
    const char *slash = strrchr(name, '/'), *person = NULL;
    if (kept && slash) {
        person = ufi_arena_strndup(&s->d->arena, name, (size_t)(slash - name));
        if (!person)
            return out_of_memory(s, err);
    }
    return add_sample(s, kept, person, place, err);
}

/* ---- the end of a source: order and persons ---- */

typedef struct sorting {
    ufi_sample sample;
    ufi_place place;
    const char *person;
} sorting;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const sorting *)a)->sample.name, ((const sorting *)b)->sample.name);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Persons are numbered in the order of their names. */
static uf_status number_people(source *s, sorting *all, size_t count, uf_error *err)
{
    size_t n = 0, kinds = 0;
    for (size_t i = 0; i < count; i++)
        if (all[i].person)
            s->people[n++] = all[i].person;
    if (n)
        qsort((void *)s->people, n, sizeof *s->people, by_text);
    for (size_t i = 0; i < n; i++)
        if (kinds == 0 || strcmp(s->people[kinds - 1], s->people[i]) != 0)
            s->people[kinds++] = s->people[i];
    if (kinds > (size_t)(INT32_MAX - s->d->labels))
        return ufi_fail(err, UF_E_LIMIT, "more than %d persons", INT32_MAX);
    for (size_t i = 0; i < count; i++)
        if (all[i].person) {
            const char **at =
                bsearch(&all[i].person, (const void *)s->people, kinds, sizeof *s->people, by_text);
            all[i].sample.label = s->d->labels + (int32_t)(at - s->people);
        }
    s->d->labels += (int32_t)kinds;
    return UF_OK;
}

static uf_status end_source(source *s, uf_error *err)
{
    ufi_dataset *d = s->d;
    const size_t count = d->count - s->first;
    sorting *all = count ? ufi_malloc(count, sizeof *all) : NULL;
    if (count == 0)
        return UF_OK;
    if (!all)
        return out_of_memory(s, err);
    for (size_t i = 0; i < count; i++)
        all[i] = (sorting){d->samples[s->first + i], d->places[s->first + i], s->people[i]};
    qsort(all, count, sizeof *all, by_name);
    uf_status st = number_people(s, all, count, err);
    for (size_t i = 0; i < count; i++) {
        d->samples[s->first + i] = all[i].sample;
        d->places[s->first + i] = all[i].place;
    }
    ufi_free(all);
    return st;
}

/* ---- lists ---- */

static uf_status load_list(source *s, const char *path, uf_error *err)
{
    uint8_t *text;
    size_t size;
    uf_status st = ufi_file_read(&text, &size, path, MAX_LIST_BYTES, err);
    if (st)
        return st;
    st = ufi_list_parse(&s->list, (const char *)text, size, err);
    ufi_free(text);
    return ufi_wrap(err, st, "%s", path);
}

/* ---- archives ---- */

static uf_status read_archive(const void *f, size_t offset, void *to, size_t size, uf_error *err)
{
    return ufi_file_read_at(f, offset, to, size, err);
}

/* The archive's own list, found on the first walk. */
typedef struct list_place {
    size_t offset, size;
    bool found;
} list_place;

static uf_status find_list(void *arg, const ufi_tar_entry *e, uf_error *err)
{
    if (strcmp(e->name, landmarks) == 0)
        *(list_place *)arg = (list_place){e->offset, e->size, true};
    return UF_OK;
}

static uf_status take_own_list(source *s, const ufi_file *f, uf_error *err)
{
    list_place at = {0};
    uf_status st = ufi_tar_walk(read_archive, f, f->size, find_list, &at, err);
    if (st || !at.found)
        return st;
    char *text = at.size <= MAX_LIST_BYTES ? ufi_malloc(at.size + 1, 1) : NULL;
    if (!text)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a list of %zu bytes", at.size);
    st = ufi_file_read_at(f, at.offset, text, at.size, err);
    if (!st)
        st = ufi_wrap(err, ufi_list_parse(&s->list, text, at.size, err), "%s", landmarks);
    ufi_free(text);
    return st;
}

/* Opens the archive; *number is -1 when it came before. */
static uf_status open_archive(source *s, const char *path, int32_t *number, uf_error *err)
{
    ufi_dataset *d = s->d;
    struct stat info;
    ufi_archive a = {0};
    *number = -1;
    const char *kept = ufi_arena_strndup(&d->arena, path, strlen(path));
    if (!kept)
        return out_of_memory(s, err);
    uf_status st = ufi_file_open(&a.file, kept, SIZE_MAX, err);
    if (st)
        return st;
    if (fstat(a.file.fd, &info) != 0)
        st = ufi_fail(err, UF_E_IO, "%s: cannot be looked at", path);
    a.device = st ? 0 : (uint64_t)info.st_dev;
    a.inode = st ? 0 : (uint64_t)info.st_ino;
    bool known = false;
    for (size_t i = 0; !st && i < d->archive_count; i++)
        known = known || (d->archives[i].device == a.device && d->archives[i].inode == a.inode);
    ufi_archive *archives =
        st || known ? NULL : ufi_realloc(d->archives, d->archive_count + 1, sizeof *archives);
    if (!archives) {
        ufi_file_close(&a.file);
        s->seen = s->seen || known;
        return st || known ? st : out_of_memory(s, err);
    }
    d->archives = archives;
    *number = (int32_t)d->archive_count;
    d->archives[d->archive_count++] = a;
    return UF_OK;
}

typedef struct packing {
    source *s;
    int32_t archive;
    bool listed; /* only pictures of the list */
} packing;

static uf_status add_entry(void *arg, const ufi_tar_entry *e, uf_error *err)
{
    const packing *p = arg;
    const ufi_place place = {.archive = p->archive, .offset = e->offset, .size = e->size};
    if (!p->listed)
        return is_picture(e->name) ? add_in_folder(p->s, e->name, place, err) : UF_OK;
    const ufi_list_row *row = ufi_list_find(&p->s->list, e->name);
    if (!row)
        return UF_OK;
    ufi_dataset *d = p->s->d;
    const char *name = ufi_arena_strndup(&d->arena, e->name, strlen(e->name));
    const char *person = NULL;
    if (row->label) {
        person = ufi_arena_strndup(&d->arena, row->label, strlen(row->label));
        if (!person)
            return out_of_memory(p->s, err);
    }
    return add_sample(p->s, name, person, place, err);
}

/* "dir/aaf_0.tar" and "_landmarks.tsv" to "dir/aaf_landmarks.tsv": the length of "dir/aaf". */
static size_t series_length(const char *path)
{
    size_t n = strlen(path) - strlen(".tar"), digits = n;
    while (digits > 0 && path[digits - 1] >= '0' && path[digits - 1] <= '9')
        digits--;
    return digits < n && digits > 0 && path[digits - 1] == '_' ? digits - 1 : n;
}

/* The list beside an archive: its own, or that of the series it is one of. */
static uf_status take_list_beside(source *s, const char *path, uf_error *err)
{
    const size_t lengths[] = {strlen(path) - strlen(".tar"), series_length(path)};
    char beside[MAX_PATH];
    struct stat info;
    for (size_t i = 0; i < 2; i++) {
        const int n = snprintf(beside, sizeof beside, "%.*s_%s", (int)lengths[i], path, landmarks);
        if (n > 0 && n < MAX_PATH && stat(beside, &info) == 0 && S_ISREG(info.st_mode))
            return load_list(s, beside, err);
    }
    return UF_OK;
}

static uf_status add_archive(source *s, const char *path, uf_error *err)
{
    packing p = {.s = s};
    uf_status st = open_archive(s, path, &p.archive, err);
    if (st || p.archive < 0)
        return st;
    const ufi_file f = s->d->archives[p.archive].file;
    st = take_own_list(s, &f, err);
    if (!st && !s->list.rows)
        st = take_list_beside(s, path, err);
    return st ? st : ufi_tar_walk(read_archive, &f, f.size, add_entry, &p, err);
}

/* ---- folders ---- */

static uf_status add_folder(source *s, const char *path, const char *below, int depth,
                            uf_error *err);

/* One name in the folder `path`, which is `below` seen from the source. */
static uf_status add_name(source *s, const char *path, const char *below, const char *name,
                          int depth, uf_error *err)
{
    char full[MAX_PATH], inside[MAX_PATH];
    struct stat info;
    const int a = snprintf(full, sizeof full, "%s/%s", path, name);
    const int b = snprintf(inside, sizeof inside, "%s%s%s", below, *below ? "/" : "", name);
    if (a >= MAX_PATH || b >= MAX_PATH)
        return ufi_fail(err, UF_E_LIMIT, "%.100s...: the path is longer than %d bytes", full,
                        MAX_PATH);
    if (name[0] == '.' || stat(full, &info) != 0)
        return UF_OK;
    if (S_ISDIR(info.st_mode))
        return add_folder(s, full, inside, depth + 1, err);
    if (!S_ISREG(info.st_mode) || !is_picture(name))
        return UF_OK;
    ufi_place place = {.archive = -1};
    place.path = ufi_arena_strndup(&s->d->arena, full, strlen(full));
    return place.path ? add_in_folder(s, inside, place, err) : out_of_memory(s, err);
}

static uf_status add_folder(source *s, const char *path, const char *below, int depth,
                            uf_error *err)
{
    struct dirent **names;
    if (depth > MAX_DEPTH)
        return ufi_fail(err, UF_E_LIMIT, "%s: folders lie more than %d deep", path, MAX_DEPTH);
    const int n = scandir(path, &names, NULL, alphasort);
    if (n < 0)
        return ufi_fail(err, UF_E_IO, "%s: the folder cannot be read", path);
    uf_status st = UF_OK;
    for (int i = 0; i < n; i++) {
        if (!st)
            st = add_name(s, path, below, names[i]->d_name, depth, err);
        free(names[i]);
    }
    free(names);
    return st;
}

static uf_status add_whole_folder(source *s, const char *path, uf_error *err)
{
    char beside[MAX_PATH];
    struct stat info;
    const int n = snprintf(beside, sizeof beside, "%s/%s", path, landmarks);
    uf_status st = UF_OK;
    if (n > 0 && n < MAX_PATH && stat(beside, &info) == 0)
        st = load_list(s, beside, err);
    return st ? st : add_folder(s, path, "", 0, err);
}

/* ---- lists as sources ---- */

/* Whether `name` is an archive of the series `stem`: "stem.tar" or "stem_7.tar". */
static bool is_of_series(const char *name, const char *stem, size_t length)
{
    if (!has_suffix(name, ".tar") || strncmp(name, stem, length) != 0)
        return false;
    const char *rest = name + length;
    return strcasecmp(rest, ".tar") == 0 || series_length(name) == length;
}

/* The pictures of a list that lie in archives beside it; *archives is how many there are. */
static uf_status add_listed_archives(source *s, const char *path, size_t folder_length,
                                     size_t *archives, uf_error *err)
{
    char folder[MAX_PATH], full[MAX_PATH];
    const char *stem = path + folder_length;
    const char *tail = has_suffix(path, "_landmarks.tsv") ? "_landmarks.tsv" : ".tsv";
    struct dirent **names;
    uf_status st = UF_OK;
    *archives = 0;
    snprintf(folder, sizeof folder, "%.*s", (int)folder_length, path);
    const int n = scandir(folder_length ? folder : ".", &names, NULL, alphasort);
    if (n < 0)
        return ufi_fail(err, UF_E_IO, "the list's folder cannot be read");
    for (int i = 0; i < n; i++) {
        packing p = {.s = s, .listed = true};
        const int length = snprintf(full, sizeof full, "%s%s", folder, names[i]->d_name);
        if (!st && length < MAX_PATH && strlen(stem) > strlen(tail) &&
            is_of_series(names[i]->d_name, stem, strlen(stem) - strlen(tail))) {
            ++*archives;
            st = open_archive(s, full, &p.archive, err);
            if (!st && p.archive >= 0) {
                const ufi_file f = s->d->archives[p.archive].file;
                st = ufi_wrap(err, ufi_tar_walk(read_archive, &f, f.size, add_entry, &p, err), "%s",
                              full);
            }
        }
        free(names[i]);
    }
    free(names);
    return st;
}

/* The pictures of a list that are files of their own. */
static uf_status add_listed_files(source *s, const char *path, size_t folder_length, uf_error *err)
{
    ufi_arena *arena = &s->d->arena;
    uf_status st = UF_OK;
    char full[MAX_PATH];
    for (size_t i = 0; !st && i < s->list.count; i++) {
        const ufi_list_row *row = &s->list.rows[i];
        const size_t n = row->name[0] == '/' ? 0 : folder_length;
        if (snprintf(full, sizeof full, "%.*s%s", (int)n, path, row->name) >= MAX_PATH)
            return ufi_fail(err, UF_E_LIMIT, "line %zu: the path is longer than %d bytes",
                            row->line, MAX_PATH);
        const char *name = ufi_arena_strndup(arena, row->name, strlen(row->name));
        const char *person =
            row->label ? ufi_arena_strndup(arena, row->label, strlen(row->label)) : NULL;
        ufi_place place = {.archive = -1, .path = ufi_arena_strndup(arena, full, strlen(full))};
        if (!name || !place.path || (row->label && !person))
            return out_of_memory(s, err);
        st = add_sample(s, name, person, place, err);
    }
    return st;
}

static uf_status add_list(source *s, const char *path, uf_error *err)
{
    const char *slash = strrchr(path, '/');
    const size_t folder_length = slash ? (size_t)(slash - path) + 1 : 0;
    size_t archives;
    uf_status st = load_list(s, path, err);
    if (!st)
        st = add_listed_archives(s, path, folder_length, &archives, err);
    if (st)
        return st;
    if (archives == 0)
        return add_listed_files(s, path, folder_length, err);
    const size_t added = s->d->count - s->first;
    if (!s->seen && added < s->list.count)
        return ufi_fail(err, UF_E_FORMAT,
                        "of its %zu pictures, %zu are in none of the %zu archives beside it",
                        s->list.count, s->list.count - added, archives);
    return UF_OK;
}

/* ---- one source ---- */

uf_status ufi_dataset_add_source(ufi_dataset *d, const char *path, uf_error *err)
{
    source s = {.d = d, .first = d->count};
    struct stat info;
    uf_status st;
    if (stat(path, &info) != 0)
        return ufi_fail(err, UF_E_IO, "there is no such folder, archive or list");
    if (S_ISDIR(info.st_mode))
        st = add_whole_folder(&s, path, err);
    else if (has_suffix(path, ".tar"))
        st = add_archive(&s, path, err);
    else if (has_suffix(path, ".tsv") || has_suffix(path, ".txt"))
        st = add_list(&s, path, err);
    else
        st =
            ufi_fail(err, UF_E_ARG, "a source is a folder, a .tar archive, or a .txt or .tsv list");
    if (!st)
        st = end_source(&s, err);
    if (!st && d->count == s.first && !s.seen)
        st = ufi_fail(err, UF_E_FORMAT, "there is no picture in it (JPEG, PNG or WebP by name)");
    ufi_list_free(&s.list);
    ufi_free((void *)s.people);
    return st;
}
