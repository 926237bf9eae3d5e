#include "train/list.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { COLUMNS = 2 + 2 * UF_LANDMARKS, MAX_NAME = 1 << 16 };

typedef struct column {
    const char *start;
    size_t length;
} column;

/* Number of columns; those past COLUMNS are counted but not kept. */
static size_t split(const char *line, size_t length, column *columns)
{
    size_t count = 0;
    for (const char *end = line + length;; count++) {
        const char *tab = memchr(line, '\t', (size_t)(end - line));
        if (count < COLUMNS)
            columns[count] = (column){line, (size_t)((tab ? tab : end) - line)};
        if (!tab)
            return count + 1;
        line = tab + 1;
    }
}

static bool read_float(column c, float *out)
{
    char text[48], *end;
    if (c.length == 0 || c.length >= sizeof text)
        return false;
    memcpy(text, c.start, c.length);
    text[c.length] = 0;
    *out = strtof(text, &end);
    return *end == 0 && isfinite(*out) && fabsf(*out) < 1e6f;
}

static uf_status read_points(ufi_list_row *row, const column *columns, uf_error *err)
{
    float v[1 + 2 * UF_LANDMARKS];
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        if (!read_float(columns[1 + i], &v[i]))
            return ufi_fail(err, UF_E_FORMAT, "line %zu: column %zu, \"%.*s\", is no number",
                            row->line, i + 2,
                            (int)(columns[1 + i].length < 40 ? columns[1 + i].length : 40),
                            columns[1 + i].start);
    row->has_points = true;
    for (size_t i = 0; i < UF_LANDMARKS; i++)
        row->points[i] = (uf_point){v[1 + 2 * i], v[2 + 2 * i]};
    return UF_OK;
}

static uf_status read_row(ufi_list *l, const char *line, size_t length, size_t number,
                          uf_error *err)
{
    column columns[COLUMNS] = {{0}};
    const size_t count = split(line, length, columns);
    ufi_list_row *row = &l->rows[l->count];
    *row = (ufi_list_row){.line = number};
    if (count > 2 && count != COLUMNS)
        return ufi_fail(err, UF_E_FORMAT,
                        "line %zu has %zu columns: a path, a path and a label, or a name, a score "
                        "and five points are expected",
                        number, count);
    if (columns[0].length == 0 || columns[0].length > MAX_NAME ||
        memchr(columns[0].start, 0, columns[0].length))
        return ufi_fail(err, UF_E_FORMAT, "line %zu: the first column is no path", number);
    row->name = ufi_arena_strndup(&l->arena, columns[0].start, columns[0].length);
    if (count == 2 && columns[1].length)
        row->label = ufi_arena_strndup(&l->arena, columns[1].start, columns[1].length);
    if (!row->name || (count == 2 && columns[1].length && !row->label))
        return ufi_fail(err, UF_E_NOMEM, "no memory for a list of %zu pictures", l->count);
    l->count++;
    return count == COLUMNS ? read_points(row, columns, err) : UF_OK;
}

static int by_name(const void *a, const void *b)
{
    const ufi_list_row *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static uf_status sort_rows(ufi_list *l, uf_error *err)
{
    if (l->count)
        qsort(l->rows, l->count, sizeof *l->rows, by_name);
    for (size_t i = 1; i < l->count; i++)
        if (strcmp(l->rows[i - 1].name, l->rows[i].name) == 0)
            return ufi_fail(err, UF_E_FORMAT, "lines %zu and %zu both name %.200s",
                            l->rows[i - 1].line, l->rows[i].line, l->rows[i].name);
    return UF_OK;
}

uf_status ufi_list_parse(ufi_list *out, const char *text, size_t size, uf_error *err)
{
    static const char header[] = "name\tscore";
    size_t lines = 1, number = 0;
    uf_status st = UF_OK;
    *out = (ufi_list){0};
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    ufi_arena_init(&out->arena, 0);
    out->rows = ufi_calloc(lines, sizeof *out->rows);
    if (!out->rows)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a list of %zu lines", lines);
    for (size_t at = 0; !st && at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end ? (size_t)(end - text) - at : size - at, next = at + length + 1;
        if (length && text[at + length - 1] == '\r')
            length--;
        const bool is_header = number == 0 && length >= sizeof header - 1 &&
                               memcmp(text + at, header, sizeof header - 1) == 0;
        number++;
        if (length && !is_header)
            st = read_row(out, text + at, length, number, err);
        at = next;
    }
    if (!st)
        st = sort_rows(out, err);
    if (st)
        ufi_list_free(out);
    return st;
}

void ufi_list_free(ufi_list *l)
{
    ufi_arena_free(&l->arena);
    ufi_free(l->rows);
    *l = (ufi_list){0};
}

const ufi_list_row *ufi_list_find(const ufi_list *l, const char *name)
{
    const ufi_list_row key = {.name = name};
    return l->count ? bsearch(&key, l->rows, l->count, sizeof key, by_name) : NULL;
}
