/* uniface gallery import: what `gallery export` wrote, or another program in its form. All of it is
 * read and checked before anything is enrolled. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gallery.h"
#include "people.h"

enum { BATCH = 1000, MAX_FILES = 16 };

typedef struct vectors {
    char *name;
    float *rows;
    int64_t count, dimension;
} vectors;

typedef struct importing {
    const cli_args *a;
    const char *folder;
    gallery_session g;
    person_list there; /* in the gallery already */
    vectors files[MAX_FILES];
    size_t file_count;
    bool writing; /* second pass */
    size_t line;
    json_value **people; /* of the next transaction */
    char **lines;
    size_t people_count, template_count;
    uint64_t enrolled, templates;
} importing;

static int wrong(const importing *q, const char *what)
{
    return cli_complain(EXIT_INPUT, "%s/people.jsonl:%zu: %s", q->folder, q->line, what);
}

/* ---- checking ---- */

/* A name of the export's own files: nothing outside its folder is read. */
static bool inside(const char *name)
{
    return *name && *name != '/' && !strstr(name, "..");
}

/* The file of vectors, read when it is first named. NULL is printed. */
static const vectors *vectors_of(importing *q, const char *name)
{
    char path[4096];
    uf_tensor_info t;
    void *data;
    for (size_t i = 0; i < q->file_count; i++)
        if (!strcmp(q->files[i].name, name))
            return &q->files[i];
    snprintf(path, sizeof path, "%s/%s", q->folder, name);
    if (q->file_count == MAX_FILES) {
        wrong(q, "more than 16 files of vectors");
        return NULL;
    }
    if (!npy_read(path, &t, &data))
        return NULL;
    if (t.dtype != UF_F32 || t.rank != 2) {
        free(data);
        cli_complain(0, "%s: it must hold float32 [templates, dimension]", path);
        return NULL;
    }
    q->files[q->file_count] = (vectors){cli_need(strdup(name)), data, t.dims[0], t.dims[1]};
    return &q->files[q->file_count++];
}

static int check_template(importing *q, const json_value *t)
{
    const char *model, *name, *text;
    double row, quality;
    if (t->type != JSON_OBJECT)
        return wrong(q, "a template must be an object");
    if (!json_member_text(t, "model_id", &model) || !model)
        return wrong(q, "a template needs the text \"model_id\"");
    if (!json_member_text(t, "vectors", &name) || !json_member_text(t, "source", &text) ||
        !json_member_number(t, "quality", -1, &quality))
        return wrong(q, "\"vectors\" and \"source\" must be texts, \"quality\" a number");
    if (!json_member_number(t, "row", -1, &row) || row < 0 || row != floor(row))
        return wrong(q, "a template needs \"row\", the number of its row in the file of vectors");
    if ((name && !inside(name)) || !json_member_text(t, "crop", &text) || (text && !inside(text)))
        return wrong(q, "\"vectors\" and \"crop\" must name files inside the folder");
    const vectors *v = vectors_of(q, name ? name : "templates.npy");
    if (!v)
        return EXIT_INPUT;
    if (row >= (double)v->count)
        return wrong(q, "\"row\" lies beyond the end of the file of vectors");
    return 0;
}

static int check_person(importing *q, const json_value *p)
{
    const char *id, *collection, *text, *expires;
    const json_value *templates = json_member(p, "templates");
    const json_value *metadata = json_member(p, "metadata");
    int64_t time;
    int status = 0;
    if (!json_member_text(p, "id", &id) || !id)
        return wrong(q, "a person needs the text \"id\"");
    if (!json_member_text(p, "collection", &collection) || !json_member_text(p, "consent", &text) ||
        !json_member_text(p, "purpose", &text) || !json_member_text(p, "expires", &expires))
        return wrong(q, "\"collection\", \"consent\", \"purpose\" and \"expires\" must be texts");
    if (expires && !cli_time_parse(expires, &time))
        return wrong(q, "\"expires\" must be a time like 2030-12-31T12:00:00Z");
    if (metadata && metadata->type != JSON_OBJECT && metadata->type != JSON_NULL)
        return wrong(q, "\"metadata\" must be an object");
    if (!templates || templates->type != JSON_ARRAY)
        return wrong(q, "a person needs the list \"templates\"");
    if (!cli_flag(q->a, "add") &&
        person_list_find(&q->there, collection ? collection : "default", id))
        return cli_complain(EXIT_INPUT,
                            "%s/people.jsonl:%zu: %s is in the gallery already; --add gives such "
                            "people the templates in addition",
                            q->folder, q->line, id);
    for (const json_value *t = templates->first; !status && t; t = t->next)
        status = check_template(q, t);
    return status;
}

/* ---- enrolling ---- */

static int load_crop(importing *q, const char *name, uf_template *t)
{
    char path[4096];
    uf_error err;
    uf_picture *p;
    snprintf(path, sizeof path, "%s/%s", q->folder, name);
    if (uf_picture_load(&p, path, NULL, &err))
        return cli_fail(&err);
    const uf_image view = uf_picture_view(p);
    const size_t side = (size_t)view.width;
    int status = 0;
    if (view.width != view.height) {
        status = cli_complain(EXIT_INPUT, "%s: a crop must be square", path);
    } else {
        uint8_t *crop = cli_need(malloc(side * side * 3));
        for (size_t y = 0; y < side; y++)
            memcpy(crop + y * side * 3, view.planes[0] + y * view.strides[0], side * 3);
        t->crop = crop;
        t->crop_size = (uint32_t)side;
    }
    uf_picture_destroy(p);
    return status;
}

static int fill_templates(importing *q, const json_value *person, uf_template *t, size_t *count)
{
    int status = 0;
    const json_value *v = json_member(person, "templates")->first;
    for (*count = 0; !status && v; v = v->next, (*count)++) {
        const char *name, *crop;
        double row, quality;
        uf_template *out = &t[*count];
        json_member_text(v, "vectors", &name);
        json_member_text(v, "model_id", &out->model_id);
        json_member_text(v, "source", &out->source);
        json_member_text(v, "crop", &crop);
        json_member_number(v, "row", 0, &row);
        json_member_number(v, "quality", -1, &quality);
        const vectors *file = vectors_of(q, name ? name : "templates.npy");
        out->vector = file->rows + (size_t)row * (size_t)file->dimension;
        out->dimension = (uint32_t)file->dimension;
        out->quality = (float)quality;
        if (crop)
            status = load_crop(q, crop, out);
    }
    return status;
}

static void fill_person(const json_value *p, uf_person *out)
{
    const json_value *metadata = json_member(p, "metadata");
    const char *expires;
    json_member_text(p, "id", &out->id);
    json_member_text(p, "collection", &out->collection);
    json_member_text(p, "consent", &out->consent);
    json_member_text(p, "purpose", &out->purpose);
    json_member_text(p, "expires", &expires);
    if (metadata && metadata->type == JSON_OBJECT)
        out->metadata =
            cli_need(strndup(metadata->begin, (size_t)(metadata->end - metadata->begin)));
    if (expires)
        cli_time_parse(expires, &out->expires);
}

static int flush(importing *q)
{
    uf_error err;
    size_t at = 0;
    int status = 0;
    uf_enrolment *e = cli_need(calloc(q->people_count + 1, sizeof *e));
    uf_template *t = cli_need(calloc(q->template_count + 1, sizeof *t));
    for (size_t i = 0; !status && i < q->people_count; i++) {
        e[i].templates = t + at;
        status = fill_templates(q, q->people[i], t + at, &e[i].count);
        at += e[i].count;
        fill_person(q->people[i], &e[i].person);
    }
    if (!status && q->people_count && uf_gallery_enroll(q->g.g, e, q->people_count, NULL, &err))
        status = cli_fail(&err);
    if (!status) {
        q->enrolled += q->people_count;
        q->templates += at;
    }
    for (size_t i = 0; i < q->template_count; i++)
        free((void *)(uintptr_t)t[i].crop);
    for (size_t i = 0; i < q->people_count; i++) {
        free((void *)(uintptr_t)e[i].person.metadata);
        json_free(q->people[i]);
        free(q->lines[i]);
    }
    free(e);
    free(t);
    q->people_count = q->template_count = 0;
    return status;
}

static int take_line(importing *q, const char *text)
{
    char why[96];
    char *line = cli_need(strdup(text));
    json_value *p = json_read(line, why);
    int status = !p                       ? wrong(q, why)
                 : p->type != JSON_OBJECT ? wrong(q, "each line must be an object")
                 : q->writing             ? 0
                                          : check_person(q, p);
    if (status || !q->writing) {
        json_free(p);
        free(line);
        return status;
    }
    q->people = cli_need(realloc(q->people, (q->people_count + 1) * sizeof *q->people));
    q->lines = cli_need(realloc(q->lines, (q->people_count + 1) * sizeof *q->lines));
    q->lines[q->people_count] = line;
    q->people[q->people_count++] = p;
    for (const json_value *t = json_member(p, "templates")->first; t; t = t->next)
        q->template_count++;
    return q->people_count >= BATCH || q->template_count >= BATCH ? flush(q) : 0;
}

/* ---- the command ---- */

static int read_people(importing *q)
{
    char path[4096];
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    int status = 0;
    snprintf(path, sizeof path, "%s/people.jsonl", q->folder);
    FILE *f = fopen(path, "r");
    if (!f)
        return cli_complain(EXIT_INPUT, "%s: %s", path, strerror(errno));
    q->line = 0;
    while (!status && (n = getline(&line, &room, f)) > 0) {
        q->line++;
        if (strlen(line) != (size_t)n)
            status = wrong(q, "a zero byte");
        else if (line[strspn(line, " \t\r\n")])
            status = take_line(q, line);
    }
    if (!status && ferror(f))
        status = cli_complain(EXIT_INPUT, "%s: it cannot be read: %s", path, strerror(errno));
    free(line);
    fclose(f);
    return status;
}

static int open_gallery(importing *q)
{
    uf_error err;
    const char *name =
        cli_value(q->a, "gallery") ? cli_value(q->a, "gallery") : getenv("UNIFACE_GALLERY");
    uf_gallery_options o = UF_GALLERY_OPTIONS_INIT;
    o.keep_crops = 1;
    if (!name || !*name)
        return cli_complain(EXIT_USAGE, "gallery import: which gallery? Name it with -g");
    int status = cli_gallery_open_named(
        &q->g, name, cli_value(q->a, "key-file"),
        UF_GALLERY_CREATE | (cli_flag(q->a, "plain") ? UF_GALLERY_PLAIN : 0u), o);
    if (!status && uf_gallery_list(q->g.g, NULL, NULL, person_list_add, &q->there, &err))
        status = cli_fail(&err);
    person_list_sort(&q->there);
    return status;
}

static void importing_close(importing *q)
{
    for (size_t i = 0; i < q->people_count; i++) {
        json_free(q->people[i]);
        free(q->lines[i]);
    }
    for (size_t i = 0; i < q->file_count; i++) {
        free(q->files[i].name);
        free(q->files[i].rows);
    }
    free(q->people);
    free(q->lines);
    person_list_free(&q->there);
    cli_gallery_close(&q->g);
}

static int run_import_people(const cli_args *a)
{
    importing q = {.a = a, .folder = a->operands[0]};
    int status = open_gallery(&q);
    if (!status)
        status = read_people(&q);
    q.writing = true;
    if (!status)
        status = read_people(&q);
    if (!status)
        status = flush(&q);
    if (q.enrolled && status)
        cli_complain(0, "%llu people before that are enrolled", (unsigned long long)q.enrolled);
    if (!status && a->json) {
        cli_json j = {.f = stdout};
        json_open(&j, NULL, '{');
        json_text(&j, "gallery", q.g.name);
        json_integer(&j, "people", (long long)q.enrolled);
        json_integer(&j, "templates", (long long)q.templates);
        json_close(&j, '}');
        json_end(&j);
    } else if (!status) {
        printf("%s: %llu people, %llu templates imported\n", q.g.name,
               (unsigned long long)q.enrolled, (unsigned long long)q.templates);
    }
    importing_close(&q);
    return status;
}

const cli_command cli_gallery_import = {
    .name = "gallery import",
    .summary = "Enrol the people of plain files that gallery export wrote",
    .operands = "DIR",
    .min_operands = 1,
    .max_operands = 1,
    .options = {GALLERY_OPTIONS,
                PLAIN_OPTION,
                {"add", 0, NULL, "people who are there get the templates in addition"}},
    .details = "Everything is read and checked before anything is enrolled, up to 1000 people a\n"
               "transaction. The form of the files is in docs/formats/people.md.\n" GALLERY_DETAILS,
    .examples = "  uniface gallery import staff-export -g staff.ufg\n",
    .run = run_import_people,
};
