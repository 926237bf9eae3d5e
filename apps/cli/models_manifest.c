/* Rows of models: reading, checking, writing. */
#include "models_manifest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { COLUMNS = 11, FIELD_MAX = 2048 };

const char model_columns[] = "name\ttask\tpreset\tlicence\tcommercial\turl\tsize\tsha256\taccuracy"
                             "\taccuracy_source\tnotes";

static bool fail(char why[256], size_t line, const char *what, const char *value)
{
    snprintf(why, 256, "line %zu: %s: \"%.100s\"", line, what, value);
    for (char *c = why; *c; c++) /* it goes to a terminal */
        *c = (unsigned char)*c < ' ' || (unsigned char)*c > 126 ? '?' : *c;
    return false;
}

/* ---- what a field may be ---- */

static const char *ending(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? dot : "";
}

/* One part of a path that can be nothing but a file of this folder. */
static bool plain_part(const char *s)
{
    const size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return n && !s[n] && n <= MODEL_NAME_MAX && *s != '.' && *s != '-';
}

bool model_name_ok(const char *name)
{
    const char *end = ending(name);
    return plain_part(name) && strcmp(end, ".ufm") != 0 && strcmp(end, ".onnx") != 0 &&
           strcmp(end, ".xml") != 0;
}

static bool preset_ok(const char *preset)
{
    bool found = !strcmp(preset, "-");
    for (size_t i = 0; !found && uf_preset_name(i); i++)
        found = !strcmp(preset, uf_preset_name(i));
    return found;
}

static bool digest_ok(const char *s)
{
    return strspn(s, "0123456789abcdef") == 64 && !s[64];
}

static bool size_ok(const char *s, uint64_t *out)
{
    char *end;
    errno = 0;
    const unsigned long long n = strtoull(s, &end, 10);
    *out = n;
    return *s >= '1' && *s <= '9' && !*end && !errno && n <= MODEL_BYTES_MAX;
}

/* An address must end in a plain name of a network; nothing is sent to a query. */
static bool url_ok(const char *url)
{
    const char *host = !strncmp(url, "https://", 8)  ? url + 8
                       : !strncmp(url, "http://", 7) ? url + 7
                                                     : NULL;
    const char *slash = host ? strrchr(host, '/') : NULL;
    if (!slash || slash == host || strcspn(url, "?#@\\\"'<> \t") != strlen(url))
        return false;
    const char *end = ending(slash + 1);
    return plain_part(slash + 1) &&
           (!strcmp(end, ".onnx") || !strcmp(end, ".xml") || !strcmp(end, ".bin"));
}

/* ---- a row ---- */

/* Cuts `text` at spaces into at most MODEL_FILES words; their number, 0 when there are more. Words
 * are copied, since the row keeps the text whole. */
static int words_of(char *copy, const char *words[MODEL_FILES])
{
    int n = 0;
    for (char *save = NULL, *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        if (n == MODEL_FILES)
            return 0;
        words[n++] = w;
    }
    return n;
}

static bool read_files(model_row *r, char *copies[3], size_t line, char why[256])
{
    const char *urls[MODEL_FILES], *sizes[MODEL_FILES], *digests[MODEL_FILES];
    r->file_count = words_of(copies[0], urls);
    if (!r->file_count || words_of(copies[1], sizes) != r->file_count ||
        words_of(copies[2], digests) != r->file_count)
        return fail(why, line, "address, size and digest must be one or two each", r->url);
    for (int i = 0; i < r->file_count; i++) {
        model_file *f = &r->files[i];
        const bool own = !strcmp(urls[i], "-") && r->file_count == 1;
        if (!own && !url_ok(urls[i]))
            return fail(why, line, "not an address of a network (https://.../NAME.onnx)", urls[i]);
        if (!size_ok(sizes[i], &f->size))
            return fail(why, line, "not a size in bytes", sizes[i]);
        if (!digest_ok(digests[i]))
            return fail(why, line, "not a SHA-256", digests[i]);
        f->url = urls[i];
        f->sha256 = digests[i];
        snprintf(f->name, sizeof f->name, "%s%s", own ? r->name : strrchr(urls[i], '/') + 1,
                 own ? ".ufm" : "");
        r->bytes += f->size;
    }
    /* The importer finds weights beside the graph, by its name. */
    const model_file *a = &r->files[0], *b = &r->files[1];
    const size_t stem = strlen(a->name) - strlen(ending(a->name));
    const bool pair = !strcmp(ending(a->name), ".xml");
    if ((pair && (r->file_count != 2 || strncmp(a->name, b->name, stem) != 0 ||
                  strcmp(b->name + stem, ".bin") != 0)) ||
        (!pair && (r->file_count != 1 || !strcmp(ending(a->name), ".bin"))))
        return fail(why, line, "an .xml goes with its .bin, and nothing else with another", r->url);
    return true;
}

static bool check_texts(const model_row *r, size_t line, char why[256])
{
    if (!model_name_ok(r->name))
        return fail(why, line, "not a name of a model", r->name);
    if (!preset_ok(r->preset))
        return fail(why, line, "not a preset", r->preset);
    if (strcmp(r->commercial, "yes") != 0 && strcmp(r->commercial, "no") != 0 &&
        strcmp(r->commercial, "unknown") != 0)
        return fail(why, line, "commercial must be yes, no or unknown", r->commercial);
    if (!strcmp(r->licence, "-"))
        return fail(why, line, "no licence", r->name);
    return true;
}

/* UTF-8 without control characters (those of C1 too): it goes to terminals. */
static bool printable(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    for (int n; *s; s += n) {
        n = cli_utf8_length(s);
        if (!n || *s < ' ' || *s == 127 || (*s == 0xC2 && s[1] < 0xA0))
            return false;
    }
    return true;
}

/* `line` is cut at its tabs; `copies` is memory for what must be cut further. */
static bool read_row(model_row *r, char *line, char *copies[3], size_t number, char why[256])
{
    const char **fields[COLUMNS] = {
        &r->name, &r->task,   &r->preset,   &r->licence,         &r->commercial, &r->url,
        &r->size, &r->sha256, &r->accuracy, &r->accuracy_source, &r->notes};
    memset(r, 0, sizeof *r);
    for (int i = 0; i < COLUMNS; i++) {
        char *tab = strchr(line, '\t');
        if (!tab != (i == COLUMNS - 1))
            return fail(why, number, "a row has 11 columns, this has another number", line);
        if (tab)
            *tab = '\0';
        if (!*line || strlen(line) > FIELD_MAX || !printable(line))
            return fail(why, number, "a column is empty (\"-\" says: none), too long or no text",
                        line);
        *fields[i] = line;
        line = tab ? tab + 1 : line;
    }
    strcpy(copies[0], r->url);
    strcpy(copies[1], r->size);
    strcpy(copies[2], r->sha256);
    return check_texts(r, number, why) && read_files(r, copies, number, why);
}

/* ---- manifests ---- */

/* The text twice: once cut into lines and columns, once for the words of columns. */
static bool read_rows(model_manifest *m, size_t length, char why[256])
{
    char *spare = m->text + length + 1;
    size_t number = 0;
    for (char *line = m->text, *next; line; line = next) {
        char *end = strchr(line, '\n');
        next = end && end[1] ? end + 1 : NULL;
        if (end)
            *end = '\0';
        number++;
        if (number == 1) {
            if (strcmp(line, model_columns) != 0)
                return fail(why, 1, "not the columns of a manifest of models", line);
            continue;
        }
        if (!*line || *line == '#')
            continue;
        m->rows = cli_need(realloc(m->rows, (m->count + 1) * sizeof *m->rows));
        char *copies[3];
        for (int i = 0; i < 3; i++) {
            copies[i] = spare;
            spare += strlen(line) + 1;
        }
        if (!read_row(&m->rows[m->count], line, copies, number, why))
            return false;
        if (manifest_find(m, m->rows[m->count].name))
            return fail(why, number, "the name stands there twice", m->rows[m->count].name);
        m->count++;
    }
    return true;
}

bool manifest_read(model_manifest *m, const char *text, char why[256])
{
    const size_t length = strlen(text);
    *m = (model_manifest){0};
    if (length > MANIFEST_BYTES_MAX)
        return fail(why, 0, "a manifest of more than 1 MiB", "");
    /* Three columns of each line are copied: at most the text three times, and their ends. */
    m->text = cli_need(calloc(4, length + 8));
    memcpy(m->text, text, length);
    if (read_rows(m, length, why))
        return true;
    manifest_free(m);
    return false;
}

void manifest_free(model_manifest *m)
{
    free(m->text);
    free(m->rows);
    *m = (model_manifest){0};
}

const model_row *manifest_find(const model_manifest *m, const char *name)
{
    for (size_t i = 0; i < m->count; i++)
        if (!strcmp(m->rows[i].name, name))
            return &m->rows[i];
    return NULL;
}

void manifest_write(FILE *f, const model_row *r)
{
    fprintf(f, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", r->name, r->task, r->preset,
            r->licence, r->commercial, r->url, r->size, r->sha256, r->accuracy, r->accuracy_source,
            r->notes);
}

bool manifest_same_files(const model_row *a, const model_row *b)
{
    return !strcmp(a->sha256, b->sha256) && !strcmp(a->size, b->size);
}
