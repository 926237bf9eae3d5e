/* uniface gallery export: people.jsonl with a line for each person, templates.npy with a row for
 * each template (one file a model), crops as PNG. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gallery.h"
#include "people.h"

enum { MAX_MODELS = 16, NPY_HEADER = 128 };

typedef struct vectors_file {
    char model_id[65], name[32];
    FILE *f;
    uint32_t dimension;
    uint64_t rows;
} vectors_file;

typedef struct exporting {
    const char *folder;
    FILE *people_file;
    person_list people;
    person_entry *current; /* whose line is open */
    cli_json line;
    vectors_file files[MAX_MODELS];
    size_t file_count;
    uint64_t templates, crops;
    int status;
} exporting;

/* ---- files ---- */

/* A new file that only its owner may read; NULL is printed. */
static FILE *make_file(exporting *e, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", e->folder, name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!f)
        e->status = cli_complain(EXIT_INPUT, "%s: it cannot be made: %s", path, strerror(errno));
    return f;
}

/* An empty folder of our own: nothing is ever overwritten. */
static int make_folder(const char *folder)
{
    if (mkdir(folder, 0700) == 0)
        return 0;
    if (errno == EEXIST && rmdir(folder) == 0 && mkdir(folder, 0700) == 0)
        return 0;
    return cli_complain(EXIT_INPUT, "%s: %s; name a folder that is not there yet", folder,
                        errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR
                            ? "it is there already and is not overwritten"
                            : strerror(errno));
}

static vectors_file *file_of(exporting *e, const uf_template_info *t)
{
    for (size_t i = 0; i < e->file_count; i++)
        if (!strcmp(e->files[i].model_id, t->model_id))
            return &e->files[i];
    if (e->file_count == MAX_MODELS) {
        e->status = cli_complain(EXIT_INPUT, "templates of more than %d models", MAX_MODELS);
        return NULL;
    }
    vectors_file *v = &e->files[e->file_count];
    snprintf(v->model_id, sizeof v->model_id, "%s", t->model_id);
    if (e->file_count)
        snprintf(v->name, sizeof v->name, "templates-%zu.npy", e->file_count + 1);
    else
        snprintf(v->name, sizeof v->name, "templates.npy");
    v->dimension = t->dimension;
    v->f = make_file(e, v->name);
    const uf_tensor_info none = {.dtype = UF_F32, .rank = 2, .dims = {0, (int64_t)t->dimension}};
    if (!v->f || !npy_write_header(v->f, &none, NPY_HEADER))
        return NULL;
    e->file_count++;
    return v;
}

/* Now that the number of rows is known. */
static void finish_files(exporting *e)
{
    bool ok = true;
    for (size_t i = 0; i < e->file_count; i++) {
        vectors_file *v = &e->files[i];
        const uf_tensor_info info = {
            .dtype = UF_F32, .rank = 2, .dims = {(int64_t)v->rows, (int64_t)v->dimension}};
        ok = !fseek(v->f, 0, SEEK_SET) && npy_write_header(v->f, &info, NPY_HEADER) && ok;
        ok = fclose(v->f) == 0 && ok;
    }
    if (e->people_file)
        ok = fclose(e->people_file) == 0 && ok;
    if (!ok && !e->status)
        e->status =
            cli_complain(EXIT_INPUT, "%s: it cannot be written: %s", e->folder, strerror(errno));
}

static bool write_crop(exporting *e, const uf_template_info *t, char name[64])
{
    char path[4096];
    uf_error err;
    uf_picture *p = NULL;
    uf_image view = {.format = UF_PIXEL_RGB8};
    view.width = view.height = (int32_t)t->crop_size;
    view.planes[0] = t->crop;
    snprintf(name, 64, "crops/%llu.png", (unsigned long long)t->template_id);
    snprintf(path, sizeof path, "%s/crops", e->folder);
    if (!e->crops++ && mkdir(path, 0700) != 0) {
        e->status = cli_complain(EXIT_INPUT, "%s: %s", path, strerror(errno));
        return false;
    }
    snprintf(path, sizeof path, "%s/%s", e->folder, name);
    uf_status st = uf_picture_from_image(&p, &view, &err);
    if (!st)
        st = uf_picture_save(p, path, &err);
    uf_picture_destroy(p);
    if (st)
        e->status = cli_fail(&err);
    return !st;
}

/* ---- lines ---- */

static void open_line(exporting *e, person_entry *p)
{
    char expires[32] = "", created[32];
    cli_time_text(created, p->created);
    if (p->expires)
        cli_time_text(expires, p->expires);
    e->current = p;
    p->seen = true;
    e->line = (cli_json){.f = e->people_file, .one_line = true};
    json_open(&e->line, NULL, '{');
    json_text(&e->line, "id", p->id);
    json_text(&e->line, "collection", p->collection);
    json_raw(&e->line, "metadata", p->metadata);
    json_text(&e->line, "consent", p->consent);
    json_text(&e->line, "purpose", p->purpose);
    json_text(&e->line, "expires", p->expires ? expires : NULL);
    json_text(&e->line, "created", created);
    json_open(&e->line, "templates", '[');
}

static void close_line(exporting *e)
{
    if (!e->current)
        return;
    json_close(&e->line, ']');
    json_close(&e->line, '}');
    json_end(&e->line);
    e->current = NULL;
}

static int write_template(void *user, const uf_template_info *t)
{
    exporting *e = user;
    char crop[64], created[32];
    person_entry *p = person_list_find(&e->people, t->collection, t->id);
    if (!p)
        return 0; /* enrolled since we began: not part of this export */
    vectors_file *v = file_of(e, t);
    if (!v || (t->crop && !write_crop(e, t, crop)))
        return 1;
    if (p != e->current) {
        close_line(e);
        open_line(e, p);
    }
    cli_time_text(created, t->created);
    json_open(&e->line, NULL, '{');
    json_text(&e->line, "model_id", t->model_id);
    json_text(&e->line, "vectors", v->name);
    json_integer(&e->line, "row", (long long)v->rows++);
    json_text(&e->line, "source", t->source);
    json_number(&e->line, "quality", (double)t->quality);
    json_text(&e->line, "created", created);
    json_text(&e->line, "crop", t->crop ? crop : NULL);
    json_close(&e->line, '}');
    e->templates++;
    return fwrite(t->vector, sizeof *t->vector, t->dimension, v->f) != t->dimension;
}

static void write_people(exporting *e, const gallery_session *g, const char *collection)
{
    uf_error err;
    if (uf_gallery_list(g->g, collection, NULL, person_list_add, &e->people, &err)) {
        e->status = cli_fail(&err);
        return;
    }
    person_list_sort(&e->people);
    const uf_status st =
        uf_gallery_templates(g->g, collection, NULL, NULL, write_template, e, &err);
    if (st && !e->status)
        e->status = cli_fail(&err);
    close_line(e);
    for (size_t i = 0; !e->status && i < e->people.count; i++)
        if (!e->people.entries[i].seen) {
            open_line(e, &e->people.entries[i]);
            close_line(e);
        }
}

static void report(const cli_args *a, const exporting *e, const gallery_session *g)
{
    if (a->json) {
        cli_json j = {.f = stdout};
        json_open(&j, NULL, '{');
        json_text(&j, "gallery", g->name);
        json_text(&j, "folder", e->folder);
        json_integer(&j, "people", (long long)e->people.count);
        json_integer(&j, "templates", (long long)e->templates);
        json_integer(&j, "crops", (long long)e->crops);
        json_close(&j, '}');
        json_end(&j);
    } else {
        printf("%s: %zu people, %llu templates, %llu crops\n", e->folder, e->people.count,
               (unsigned long long)e->templates, (unsigned long long)e->crops);
    }
    fprintf(stderr,
            "uniface: warning: %s holds biometric data in plain text; whoever reads it can "
            "recognise these people. Keep it safe, and delete it when it has served.\n",
            e->folder);
}

static int run_export(const cli_args *a)
{
    exporting e = {.folder = cli_value(a, "output")};
    gallery_session g = {0};
    if (!e.folder)
        return cli_complain(EXIT_USAGE, "export: say where to: -o DIR");
    const mode_t mask = umask(077);
    e.status = cli_gallery_open(&g, a, 0);
    if (!e.status)
        e.status = make_folder(e.folder);
    if (!e.status && (e.people_file = make_file(&e, "people.jsonl")) != NULL)
        write_people(&e, &g, cli_value(a, "collection"));
    finish_files(&e);
    if (!e.status)
        report(a, &e, &g);
    umask(mask);
    person_list_free(&e.people);
    cli_gallery_close(&g);
    return e.status;
}

#define EXPORT_COMMAND                                                                            \
    .summary = "Write a gallery's people and templates into plain files", .operands = "",         \
    .options = {GALLERY_OPTIONS,                                                                  \
                {"collection", 0, "NAME", "only of this collection (default: all)"},              \
                {"output", 'o', "DIR", "a folder that is not there yet"}},                        \
    .details =                                                                                    \
        "DIR gets people.jsonl (a line for each person: docs/formats/people.md), templates.npy\n" \
        "(a row of float32 for each template; more files for further models) and crops/. They\n"  \
        "are biometric data in plain text: only their owner may read them, and nothing is\n"      \
        "overwritten.\n" GALLERY_DETAILS,                                                         \
    .examples = "  uniface gallery export -g staff.ufg -o staff-export\n", .run = run_export

const cli_command cli_gallery_export = {.name = "gallery export", EXPORT_COMMAND};
const cli_command cli_export = {.name = "export", EXPORT_COMMAND};
