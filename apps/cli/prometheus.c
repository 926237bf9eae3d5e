/* Lines of `name{label="value",...} number`; comments and what cannot be read are left out. */
#include "prometheus.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The end of the labels that begin at s; NULL: there is none. */
static char *labels_end(char *s)
{
    bool quoted = false;
    for (; *s && *s != '\n'; s++) {
        if (quoted && *s == '\\' && s[1])
            s++;
        else if (*s == '"')
            quoted = !quoted;
        else if (*s == '}' && !quoted)
            return s;
    }
    return NULL;
}

static bool read_line(char *line, prom_sample *s)
{
    char *end = line + strcspn(line, "{ ");
    static char none[] = "";
    s->name = line;
    s->labels = none;
    if (end == line || !*end || *line == '#')
        return false;
    if (*end == '{') {
        char *close = labels_end(end + 1);
        if (!close)
            return false;
        *end = *close = '\0';
        s->labels = end + 1;
        end = close + 1;
    } else {
        *end++ = '\0';
    }
    char *number = end + strspn(end, " "), *after;
    s->value = strtod(number, &after);
    return after != number;
}

bool prom_read(prom_text *p, char *text)
{
    size_t room = 0;
    *p = (prom_text){.text = text};
    for (char *line = text, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        if (p->count == room) {
            room = room ? 2 * room : 1024;
            prom_sample *more = realloc(p->samples, room * sizeof *more);
            if (!more)
                return false;
            p->samples = more;
        }
        p->count += read_line(line, &p->samples[p->count]);
    }
    return p->count > 0;
}

void prom_free(prom_text *p)
{
    free(p->samples);
    free(p->text);
    *p = (prom_text){0};
}

void prom_label(const prom_sample *s, const char *label, char out[PROM_LABEL])
{
    const size_t size = strlen(label);
    const char *at = s->labels;
    out[0] = '\0';
    while (*at) {
        const size_t name = strcspn(at, "=");
        const char *value = at + name + 2, *end = value;
        if (!at[name] || at[name + 1] != '"')
            return;
        while (*end && *end != '"')
            end += *end == '\\' && end[1] ? 2 : 1;
        if (name == size && !strncmp(at, label, size)) {
            snprintf(out, PROM_LABEL, "%.*s", (int)(end - value), value);
            return;
        }
        at = *end ? end + 1 : end;
        at += strspn(at, ", ");
    }
}

double prom_sum(const prom_text *p, const char *name, const char *label, const char *prefix)
{
    double sum = 0;
    char value[PROM_LABEL];
    for (size_t i = 0; i < p->count; i++) {
        if (strcmp(p->samples[i].name, name))
            continue;
        if (label)
            prom_label(&p->samples[i], label, value);
        if (!label || !strncmp(value, prefix, strlen(prefix)))
            sum += p->samples[i].value;
    }
    return sum;
}

/* ---- differences ---- */

static prom_row *row_of(prom_row *rows, size_t *count, const char *label)
{
    for (size_t i = 0; i < *count; i++)
        if (!strcmp(rows[i].label, label))
            return &rows[i];
    if (*count == PROM_ROWS)
        return NULL;
    rows[*count] = (prom_row){0};
    snprintf(rows[*count].label, PROM_LABEL, "%s", label);
    return &rows[(*count)++];
}

static void add_bucket(prom_row *r, double bound, double v)
{
    size_t i = 0;
    while (i < r->buckets && r->bounds[i] < bound)
        i++;
    if (i == r->buckets || r->bounds[i] != bound) {
        if (r->buckets == PROM_BUCKETS)
            return;
        memmove(r->bounds + i + 1, r->bounds + i, (r->buckets - i) * sizeof *r->bounds);
        memmove(r->in + i + 1, r->in + i, (r->buckets - i) * sizeof *r->in);
        r->bounds[i] = bound;
        r->in[i] = 0;
        r->buckets++;
    }
    r->in[i] += v;
}

/* Adds one reading with the sign that makes a difference of two. */
static size_t add_reading(const prom_text *p, double sign, const char *name, const char *label,
                          prom_row *rows, size_t count)
{
    const size_t size = strlen(name);
    char value[PROM_LABEL], le[PROM_LABEL];
    for (size_t i = 0; i < p->count; i++) {
        const prom_sample *s = &p->samples[i];
        if (strncmp(s->name, name, size))
            continue;
        const char *suffix = s->name + size;
        const bool bucket = !strcmp(suffix, "_bucket"), sum = !strcmp(suffix, "_sum");
        if (*suffix && !bucket && !sum && strcmp(suffix, "_count"))
            continue;
        prom_label(s, label, value);
        prom_row *r = row_of(rows, &count, value);
        if (!r)
            continue;
        if (bucket) {
            prom_label(s, "le", le);
            add_bucket(r, strtod(le, NULL), sign * s->value);
        } else if (sum) {
            r->sum += sign * s->value;
        } else {
            r->count += sign * s->value;
        }
    }
    return count;
}

static int larger_first(const void *a, const void *b)
{
    const prom_row *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count) - (x->count > y->count)
                                : strcmp(x->label, y->label);
}

size_t prom_counter(const prom_text *before, const prom_text *after, const char *name,
                    const char *label, prom_row rows[PROM_ROWS])
{
    size_t count = add_reading(after, 1, name, label, rows, 0);
    count = add_reading(before, -1, name, label, rows, count);
    qsort(rows, count, sizeof *rows, larger_first);
    return count;
}

size_t prom_histogram(const prom_text *before, const prom_text *after, const char *name,
                      const char *label, prom_row rows[PROM_ROWS])
{
    const size_t count = prom_counter(before, after, name, label, rows);
    for (size_t i = 0; i < count; i++) /* from at most this to in this bucket */
        for (size_t k = rows[i].buckets; k > 1; k--)
            rows[i].in[k - 1] -= rows[i].in[k - 2];
    return count;
}

double prom_quantile(const prom_row *r, double q)
{
    double total = 0, below = 0;
    for (size_t i = 0; i < r->buckets; i++)
        total += r->in[i];
    if (!(total > 0))
        return (double)NAN;
    for (size_t i = 0; i < r->buckets; i++) {
        const double lower = i ? r->bounds[i - 1] : 0;
        if (below + r->in[i] >= q * total && r->in[i] > 0)
            return isinf(r->bounds[i])
                       ? lower
                       : lower + (r->bounds[i] - lower) * (q * total - below) / r->in[i];
        below += r->in[i];
    }
    return (double)NAN;
}
