/* uniface enroll: from photos to people in a gallery. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gallery.h"
#include "lanes.h"

/* Templates of one transaction; a person's photos stay together. */
enum { BATCH = 1000 };

/* A face beside the main one that is at least so large makes it unclear whose photo it is. */
static const double rival_area = 0.5;

typedef struct photo {
    char *path;
    float quality;
    float *vector;
    size_t dimension;
    uint8_t *crop;
} photo;

typedef struct enrollee {
    char *id;
    photo *photos;
    size_t count;
} enrollee;

typedef struct failure {
    char *id, *path, *reason; /* path NULL: the person as a whole */
} failure;

typedef struct enrolling {
    const cli_args *a;
    cli_lanes lanes;
    gallery_session gallery;
    uf_person person; /* what all have in common */
    uint32_t crop_size;
    double min_quality;
    char **ids; /* of all whom pictures show */
    size_t id_count;
    char **paths;    /* [source_count], as the lanes want them */
    size_t *persons; /* [source_count]: whom they show, in ids */
    size_t source_count;
    enrollee open;    /* whose pictures come now */
    enrollee *people; /* not written yet */
    size_t people_count, photo_count;
    failure *failures;
    size_t failure_count;
    size_t enrolled_people, enrolled_templates;
    cli_json *j;
} enrolling;

static void fail_photo(enrolling *e, const char *id, const char *path, const char *reason)
{
    e->failures = cli_need(realloc(e->failures, (e->failure_count + 1) * sizeof *e->failures));
    e->failures[e->failure_count++] = (failure){.id = cli_need(strdup(id)),
                                                .path = path ? cli_need(strdup(path)) : NULL,
                                                .reason = cli_need(strdup(reason))};
    cli_complain(0, "%s: not enrolled%s%s: %s", path ? path : id, path ? " as " : "",
                 path ? id : "", reason);
}

/* ---- one photo ---- */

/* False with the reason when it is unclear who is to be enrolled. */
static bool one_person(const enrolling *e, const uf_pipeline_item *item, char reason[256])
{
    const uf_face *f = &item->faces[item->main_face];
    size_t rivals = 0;
    for (size_t i = 0; i < item->face_count; i++)
        rivals += (double)(item->faces[i].width * item->faces[i].height) >=
                  rival_area * (double)(f->width * f->height);
    if (rivals <= 1 || cli_flag(e->a, "force"))
        return true;
    snprintf(reason, 256,
             "there are %zu faces of like size: cut the picture to the person, or --force takes "
             "the large and central one",
             rivals);
    return false;
}

/* False with the reason in words when the face is too poor. */
static bool good_enough(const enrolling *e, const uf_quality *q, char reason[256])
{
    if (cli_flag(e->a, "force"))
        return true;
    if (q->reason[0]) {
        snprintf(reason, 256, "%s (--force enrols it all the same)", q->reason);
        return false;
    }
    if ((double)q->total < e->min_quality) {
        snprintf(reason, 256, "its quality %.2f is below --min-quality %g", (double)q->total,
                 e->min_quality);
        return false;
    }
    return true;
}

static void photo_free(photo *p)
{
    explicit_bzero(p->vector, p->dimension * sizeof *p->vector);
    free(p->vector);
    free(p->crop);
    free(p->path);
}

static void enrollee_free(enrollee *p)
{
    for (size_t i = 0; i < p->count; i++)
        photo_free(&p->photos[i]);
    free(p->photos);
    free(p->id);
    *p = (enrollee){0};
}

/* Fills `out`; false with the reason when the photo gives no template. */
static bool take_photo(const enrolling *e, const char *path, const uf_pipeline_item *item,
                       photo *out, char reason[256])
{
    const size_t n = e->lanes.dimension, side = e->crop_size, length = strlen(path);
    if (item->status || !item->face_count) {
        /* The path is told already. */
        const char *why = item->status ? item->message : "no face was found";
        const bool has_path = !strncmp(why, path, length) && !strncmp(why + length, ": ", 2);
        snprintf(reason, 256, "%.250s", has_path ? why + length + 2 : why);
        return false;
    }
    const uf_quality *q = &item->qualities[item->main_face];
    if (!one_person(e, item, reason) || !good_enough(e, q, reason))
        return false;
    *out = (photo){.path = cli_need(strdup(path)), .quality = q->total, .dimension = n};
    out->vector = cli_need(malloc(n * sizeof *out->vector));
    memcpy(out->vector, item->templates + (size_t)item->main_face * n, n * sizeof *out->vector);
    if (item->crop) {
        out->crop = cli_need(malloc(side * side * 3));
        memcpy(out->crop, item->crop, side * side * 3);
    }
    return true;
}

/* ---- transactions ---- */

static void report_person(enrolling *e, const enrollee *p, const uint64_t *ids)
{
    if (!e->j) {
        printf("%s: %zu template%s\n", p->id, p->count, p->count == 1 ? "" : "s");
        return;
    }
    json_open(e->j, NULL, '{');
    json_text(e->j, "id", p->id);
    json_open(e->j, "templates", '[');
    for (size_t i = 0; i < p->count; i++) {
        json_open(e->j, NULL, '{');
        json_integer(e->j, "template_id", (long long)ids[i]);
        json_text(e->j, "image", p->photos[i].path);
        json_number(e->j, "quality", (double)p->photos[i].quality);
        json_bool(e->j, "crop", p->photos[i].crop != NULL);
        json_close(e->j, '}');
    }
    json_close(e->j, ']');
    json_close(e->j, '}');
}

/* One transaction of `count` of the people. */
static uf_status write_people(enrolling *e, const enrollee *people, size_t count, uf_error *err)
{
    size_t templates = 0, at = 0;
    for (size_t i = 0; i < count; i++)
        templates += people[i].count;
    uf_enrolment *enrolments = cli_need(calloc(count + 1, sizeof *enrolments));
    uf_template *t = cli_need(calloc(templates + 1, sizeof *t));
    uint64_t *ids = cli_need(calloc(templates + 1, sizeof *ids));
    for (size_t i = 0; i < count; i++) {
        enrolments[i] =
            (uf_enrolment){.person = e->person, .templates = t + at, .count = people[i].count};
        enrolments[i].person.id = people[i].id;
        for (size_t k = 0; k < people[i].count; k++) {
            const photo *p = &people[i].photos[k];
            t[at++] = (uf_template){.vector = p->vector,
                                    .dimension = (uint32_t)e->lanes.dimension,
                                    .model_id = uf_model_id(e->lanes.embedder),
                                    .source = p->path,
                                    .quality = p->quality,
                                    .crop = p->crop,
                                    .crop_size = p->crop ? e->crop_size : 0};
        }
    }
    uf_status st = uf_gallery_enroll(e->gallery.g, enrolments, count, ids, err);
    at = 0;
    for (size_t i = 0; !st && i < count; at += people[i++].count)
        report_person(e, &people[i], ids + at);
    if (!st) {
        e->enrolled_people += count;
        e->enrolled_templates += templates;
    }
    free(enrolments);
    free(t);
    free(ids);
    return st;
}

/* Writes who is waiting. When all together fail each is tried alone, so that one wrong id does not
 * keep the others out. */
static int flush(enrolling *e)
{
    uf_error err;
    int status = 0;
    if (!e->people_count)
        return 0;
    uf_status st = write_people(e, e->people, e->people_count, &err);
    const bool one_by_one = st && e->people_count > 1;
    for (size_t i = 0; (st || one_by_one) && !status && i < e->people_count; i++) {
        if (one_by_one)
            st = write_people(e, &e->people[i], 1, &err);
        if (st == UF_E_ARG || st == UF_E_MISMATCH)
            fail_photo(e, e->people[i].id, NULL, err.message);
        else if (st)
            status = cli_fail(&err);
    }
    for (size_t i = 0; i < e->people_count; i++)
        enrollee_free(&e->people[i]);
    e->people_count = e->photo_count = 0;
    return status;
}

/* The pictures of the person who is open have all come; what is full is written. */
static int close_person(enrolling *e)
{
    enrollee *p = &e->open;
    if (!p->count) {
        enrollee_free(p);
        return 0;
    }
    e->people = cli_need(realloc(e->people, (e->people_count + 1) * sizeof *e->people));
    e->people[e->people_count++] = *p;
    e->photo_count += p->count;
    *p = (enrollee){0};
    return e->photo_count >= BATCH ? flush(e) : 0;
}

static int take_picture(void *user, size_t picture, const uf_pipeline_item *item)
{
    enrolling *e = user;
    enrollee *p = &e->open;
    const char *path = e->paths[picture], *id = e->ids[e->persons[picture]];
    char reason[256];
    if (!p->id)
        p->id = cli_need(strdup(id));
    p->photos = cli_need(realloc(p->photos, (p->count + 1) * sizeof *p->photos));
    if (take_photo(e, path, item, &p->photos[p->count], reason))
        p->count++;
    else
        fail_photo(e, id, path, reason);
    const bool is_last = picture + 1 == e->source_count;
    return is_last || e->persons[picture + 1] != e->persons[picture] ? close_person(e) : 0;
}

/* ---- folders ---- */

/* A person and the pictures that the operands name. */
static int add_person(enrolling *e, const char *id, char **operands, int count)
{
    cli_files files;
    if (!cli_files_collect(&files, operands, count)) {
        cli_files_free(&files);
        return EXIT_INTERNAL;
    }
    const size_t n = e->source_count + files.count;
    e->ids = cli_need(realloc(e->ids, (e->id_count + 1) * sizeof *e->ids));
    e->paths = cli_need(realloc(e->paths, (n + 1) * sizeof *e->paths));
    e->persons = cli_need(realloc(e->persons, (n + 1) * sizeof *e->persons));
    e->ids[e->id_count] = cli_need(strdup(id));
    for (size_t i = 0; i < files.count; i++, e->source_count++) {
        e->paths[e->source_count] = cli_need(strdup(files.paths[i]));
        e->persons[e->source_count] = e->id_count;
    }
    e->id_count++;
    if (!files.count)
        fail_photo(e, id, NULL, "there is no picture in the folder");
    cli_files_free(&files);
    return 0;
}

static int add_folders(enrolling *e, const char *folder)
{
    struct dirent **names;
    struct stat s;
    char path[4096];
    char *operand = path;
    int status = 0;
    const int n = scandir(folder, &names, NULL, alphasort);
    if (n < 0)
        return cli_complain(EXIT_INPUT, "%s: it cannot be read as a folder", folder);
    for (int i = 0; i < n; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        if (!status && names[i]->d_name[0] != '.' && stat(path, &s) == 0 && S_ISDIR(s.st_mode))
            status = add_person(e, names[i]->d_name, &operand, 1);
        free(names[i]);
    }
    free(names);
    if (!status && !e->id_count)
        status =
            cli_complain(EXIT_INPUT, "%s: there is no folder in it; each person wants one", folder);
    return status;
}

/* ---- the command ---- */

static int read_options(enrolling *e)
{
    const cli_args *a = e->a;
    const bool bulk = cli_value(a, "folders");
    const char *expires = cli_value(a, "expires");
    char why[96];
    if (bulk == (cli_value(a, "id") != NULL) || (bulk && a->count) || (!bulk && !a->count))
        return cli_complain(EXIT_USAGE, "enroll wants either --id ID and pictures, or --folders "
                                        "DIR with a folder for each person");
    e->person = (uf_person){.collection = cli_value(a, "collection"),
                            .metadata = cli_value(a, "metadata"),
                            .consent = cli_value(a, "consent"),
                            .purpose = cli_value(a, "purpose")};
    if (!bulk && !cli_value(a, "id")[0])
        return cli_complain(EXIT_USAGE, "enroll: --id is empty");
    if (e->person.metadata) {
        json_value *v = json_read(e->person.metadata, why);
        const bool is_object = v && v->type == JSON_OBJECT;
        json_free(v);
        if (!is_object)
            return cli_complain(EXIT_USAGE, "enroll: --metadata must be a JSON object%s%s",
                                v ? "" : ": ", v ? "" : why);
    }
    if (expires && !cli_time_read(expires, &e->person.expires))
        return EXIT_USAGE;
    return cli_number(a, "min-quality", 0, 1, 0, &e->min_quality) ? 0 : EXIT_USAGE;
}

static void report(const enrolling *e)
{
    if (!e->j) {
        if (e->enrolled_people != 1 || e->failure_count)
            printf("%zu people, %zu templates enrolled into %s; %zu refused\n", e->enrolled_people,
                   e->enrolled_templates, e->gallery.name, e->failure_count);
        else
            printf("enrolled into %s%s\n", e->gallery.name,
                   e->gallery.made ? ", which was made" : "");
        return;
    }
    json_close(e->j, ']');
    json_open(e->j, "refused", '[');
    for (size_t i = 0; i < e->failure_count; i++) {
        json_open(e->j, NULL, '{');
        json_text(e->j, "id", e->failures[i].id);
        json_text(e->j, "image", e->failures[i].path);
        json_text(e->j, "reason", e->failures[i].reason);
        json_close(e->j, '}');
    }
    json_close(e->j, ']');
    json_integer(e->j, "people_enrolled", (long long)e->enrolled_people);
    json_integer(e->j, "templates_enrolled", (long long)e->enrolled_templates);
    json_close(e->j, '}');
    json_end(e->j);
}

static void enrolling_close(enrolling *e)
{
    for (size_t i = 0; i < e->failure_count; i++) {
        free(e->failures[i].id);
        free(e->failures[i].path);
        free(e->failures[i].reason);
    }
    for (size_t i = 0; i < e->people_count; i++)
        enrollee_free(&e->people[i]);
    enrollee_free(&e->open);
    for (size_t i = 0; i < e->id_count; i++)
        free(e->ids[i]);
    for (size_t i = 0; i < e->source_count; i++)
        free(e->paths[i]);
    free(e->ids);
    free(e->paths);
    free(e->persons);
    free(e->failures);
    free(e->people);
    cli_gallery_close(&e->gallery);
    cli_lanes_close(&e->lanes);
}

/* All faces are told, because others of like size make it unclear whom the picture shows. */
static int start_lanes(enrolling *e)
{
    uf_error err;
    uf_tensor_info in;
    uf_pipeline_options o = UF_PIPELINE_OPTIONS_INIT;
    o.max_faces = CLI_LANES_MAX_FACES;
    o.main_only = 1;
    o.judge = cli_flag(e->a, "force") ? UF_PIPELINE_JUDGE_ALL : UF_PIPELINE_SKIP_POOR;
    if (uf_model_input(e->lanes.embedder, 0, &in, &err))
        return cli_fail(&err);
    const int64_t side = in.rank == 4 ? in.dims[3] : 0;
    e->crop_size = side > 112 && side <= 1024 ? (uint32_t)side : 112;
    o.crop_side = cli_flag(e->a, "keep-crops") ? (int32_t)e->crop_size : 0;
    return cli_lanes_start(&e->lanes, e->source_count, &o);
}

static int enroll_all(enrolling *e)
{
    int status = start_lanes(e);
    if (!status)
        status = cli_gallery_open(&e->gallery, e->a, UF_GALLERY_CREATE);
    if (status)
        return status;
    if (e->j) {
        json_open(e->j, NULL, '{');
        json_text(e->j, "gallery", e->gallery.name);
        json_text(e->j, "collection", e->person.collection ? e->person.collection : "default");
        json_text(e->j, "model_id", uf_model_id(e->lanes.embedder));
        json_bool(e->j, "gallery_made", e->gallery.made);
        json_open(e->j, "people", '[');
    }
    status = cli_lanes_run(&e->lanes, e->paths, e->source_count, "enrolling", take_picture, e);
    if (!status)
        status = flush(e);
    report(e);
    return status;
}

static int run_enroll(const cli_args *a)
{
    cli_json j = {.f = stdout};
    enrolling e = {.a = a, .j = a->json ? &j : NULL};
    const char *folders = cli_value(a, "folders");
    int status = read_options(&e);
    if (!status)
        status = cli_lanes_open(&e.lanes, a, true);
    if (!status)
        status = folders ? add_folders(&e, folders)
                         : add_person(&e, cli_value(a, "id"), a->operands, a->count);
    if (!status)
        status = enroll_all(&e);
    if (!status && e.failure_count)
        status = EXIT_INPUT;
    enrolling_close(&e);
    return status;
}

const cli_command cli_enroll = {
    .name = "enroll",
    .summary = "Enrol people into a gallery",
    .operands = "IMG...",
    .min_operands = 0,
    .max_operands = -1,
    .options = {GALLERY_OPTIONS,
                PLAIN_OPTION,
                COLLECTION_OPTION,
                {"id", 0, "ID", "whom the pictures show"},
                {"folders", 0, "DIR", "many people: a folder for each in DIR, named by the id"},
                {"metadata", 0, "JSON", "a JSON object kept with the person"},
                {"consent", 0, "TEXT", "reference to the consent given"},
                {"purpose", 0, "TEXT", "what the templates may be used for"},
                {"expires", 0, "WHEN", "date, or a time from now such as 90d: not found after it"},
                {"min-quality", 0, "0..1", "refuse faces of a lower quality"},
                {"keep-crops", 0, NULL, "keep aligned crops too: models can be changed later"},
                {"force", 0, NULL, "enrol poor faces, and the main one of several"},
                DETECTOR_OPTIONS,
                EMBEDDER_OPTIONS},
    .details =
        "Each picture gives one template, of its main face; templates are added to those that the\n"
        "person has. A gallery that is not there is made. Faces that are too poor are refused "
        "with\n"
        "the reason (exit status 3), the others are enrolled. With --folders up to 1000 templates\n"
        "are one transaction: what was printed is stored.\n" GALLERY_DETAILS,
    .examples = "  uniface enroll -g staff.ufg --id alice alice1.jpg alice2.jpg\n"
                "  uniface enroll -g staff.ufg --folders people/ --keep-crops --json\n"
                "  uniface enroll -g visitors.ufg --id v17 photo.jpg --expires 30d --consent "
                "form-17\n",
    .run = run_enroll,
};
