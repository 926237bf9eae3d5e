/* CompreFace: subjects and their examples. Pictures are not kept, so that they cannot be asked for:
 * the answer is that of a CompreFace that keeps none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "server/compreface.h"
#include "server/handlers.h"
#include "server/state.h"

/* ---- names ---- */

bool cf_subject(const srv_request *q, srv_answer *a, const char **out)
{
    a->code = CF_VALIDATION;
    if (!srv_string(q, a, "subject", SRV_NAME_MAX, out))
        return false;
    if (*out && !(*out)[strspn(*out, " ")])
        return srv_refuse(q, a, 400, "Subject name is empty");
    a->code = 0;
    return true;
}

/* Of a new name CompreFace asks more than of one that comes with an example. */
static bool new_subject(const srv_request *q, srv_answer *a, const char **out)
{
    enum { CHARACTERS_MAX = 50 };
    size_t characters = 0;
    if (!cf_subject(q, a, out))
        return false;
    a->code = CF_VALIDATION;
    if (!*out)
        return srv_refuse(q, a, 400, "Subject name cannot be empty");
    for (const char *c = *out; *c; c++)
        characters += (*c & 0xC0) != 0x80;
    if (characters > CHARACTERS_MAX)
        return srv_refuse(q, a, 400, "a subject's name has 1 to %d characters", CHARACTERS_MAX);
    if (strpbrk(*out, ";/\\"))
        return srv_refuse(q, a, 400, "a subject's name has none of the characters ; / and \\");
    a->code = 0;
    return true;
}

static bool refuse_subject(const srv_request *q, srv_answer *a, const char *subject)
{
    return cf_refuse(q, a, 404, CF_NO_SUBJECT, "Subject %s not found", subject);
}

static int stop_at_one(void *user, const uf_person_info *p)
{
    (void)p;
    *(bool *)user = true;
    return 1;
}

static bool is_there(uf_gallery *g, const char *collection, const char *subject)
{
    const uf_gallery_filter one = {.ids = &subject, .id_count = 1};
    bool there = false;
    uf_error err;
    uf_gallery_list(g, collection, &one, stop_at_one, &there, &err);
    return there;
}

static bool answer_text(srv_answer *a, const char *key, const char *value)
{
    srv_json_open(&a->body, '{');
    srv_json_key(&a->body, key);
    srv_json_string(&a->body, value);
    srv_json_close(&a->body, '}');
    return true;
}

static bool answer_count(srv_answer *a, uint64_t count)
{
    srv_text_printf(&a->body, "{\"deleted\":%llu}", (unsigned long long)count);
    return true;
}

/* ---- subjects ---- */

static int add_name(void *user, const uf_person_info *p)
{
    srv_json_string(user, p->id);
    return 0;
}

bool cf_subjects_list(srv_request *q, srv_answer *a)
{
    const char *collection;
    uf_gallery *g;
    uf_error err;
    if (!cf_collection(q, a, SRV_READ, &collection, &g))
        return false;
    srv_json_open(&a->body, '{');
    srv_json_key(&a->body, "subjects");
    srv_json_open(&a->body, '[');
    const uf_status st = uf_gallery_list(g, collection, NULL, add_name, &a->body, &err);
    if (st && st != UF_E_NOT_FOUND)
        return srv_refuse_error(q, a, &err);
    srv_json_close(&a->body, ']');
    srv_json_close(&a->body, '}');
    return true;
}

bool cf_subjects_add(srv_request *q, srv_answer *a)
{
    const char *collection, *subject;
    uf_gallery *g;
    uf_error err;
    if (!cf_collection(q, a, SRV_ENROL, &collection, &g) || !new_subject(q, a, &subject))
        return false;
    if (is_there(g, collection, subject))
        return cf_refuse(q, a, 400, CF_SUBJECT_EXISTS, "Subject already exists");
    const uf_enrolment nothing = {.person = {.id = subject, .collection = collection}};
    if (uf_gallery_enroll(g, &nothing, 1, NULL, &err))
        return srv_refuse_error(q, a, &err);
    a->status = 201;
    return answer_text(a, "subject", subject);
}

bool cf_subjects_rename(srv_request *q, srv_answer *a)
{
    const char *collection, *subject, *old = q->params[0];
    uf_gallery *g;
    uf_error err;
    if (!cf_collection(q, a, SRV_ENROL, &collection, &g) || !new_subject(q, a, &subject))
        return false;
    const bool other = strcmp(subject, old) != 0;
    const uf_status st = other ? uf_gallery_rename(g, collection, old, subject, 1, &err) : UF_OK;
    if (st == UF_E_NOT_FOUND)
        return refuse_subject(q, a, old);
    if (st)
        return srv_refuse_error(q, a, &err);
    srv_text_puts(&a->body, other ? "{\"updated\":true}" : "{\"updated\":false}");
    return true;
}

bool cf_subjects_delete(srv_request *q, srv_answer *a)
{
    const char *collection, *subject = q->params[0];
    uf_gallery *g;
    uf_receipt r = {0};
    uf_error err;
    if (!cf_collection(q, a, SRV_ENROL, &collection, &g))
        return false;
    const uf_status st = uf_gallery_delete(g, collection, subject, &r, &err);
    if (st == UF_E_NOT_FOUND)
        return refuse_subject(q, a, subject);
    return st && !*r.id ? srv_refuse_error(q, a, &err) : answer_text(a, "subject", subject);
}

/* What empties a whole collection wants the role that /v1/collections wants. */
static bool delete_all(srv_request *q, srv_answer *a, uint64_t *people, uint64_t *faces)
{
    const char *collection;
    uf_gallery *g;
    uf_error err;
    if (!cf_collection(q, a, SRV_ADMIN, &collection, &g))
        return false;
    const uf_status st = srv_delete_all(g, collection, people, faces, &err);
    return !st || st == UF_E_NOT_FOUND || srv_refuse_error(q, a, &err);
}

bool cf_subjects_delete_all(srv_request *q, srv_answer *a)
{
    uint64_t people, faces;
    return delete_all(q, a, &people, &faces) && answer_count(a, people);
}

/* ---- examples ---- */

static void example_json(srv_text *t, uint64_t template_id, const char *subject)
{
    char id[CF_ID_SIZE];
    cf_image_id(template_id, id);
    srv_json_open(t, '{');
    srv_json_key(t, "image_id");
    srv_json_string(t, id);
    srv_json_key(t, "subject");
    srv_json_string(t, subject);
    srv_json_close(t, '}');
}

static bool store(srv_request *q, srv_answer *a, uf_gallery *g, const char *collection,
                  const char *subject, const cf_found *f)
{
    uf_quality quality;
    uf_error err;
    uint64_t id;
    if (srv_photo_quality(&f->photo, &f->photo.faces[0], &quality, &err))
        return srv_refuse_error(q, a, &err);
    const uf_template t = {.vector = f->v.data,
                           .dimension = (uint32_t)f->v.dimension,
                           .model_id = f->v.model_id,
                           .source = "server",
                           .quality = quality.total,
                           .crop = f->v.crops,
                           .crop_size = f->v.crop_side};
    const uf_enrolment e = {
        .person = {.id = subject, .collection = collection}, .templates = &t, .count = 1};
    if (uf_gallery_enroll(g, &e, 1, &id, &err))
        return srv_refuse_error(q, a, &err);
    srv_telemetry_quality(q->server->telemetry, (double)quality.total);
    a->status = 201;
    example_json(&a->body, id, subject);
    return true;
}

bool cf_faces_add(srv_request *q, srv_answer *a)
{
    const char *collection, *subject;
    uf_gallery *g;
    cf_options o;
    cf_found f;
    if (!cf_collection(q, a, SRV_ENROL, &collection, &g) || !cf_subject(q, a, &subject))
        return false;
    if (!subject)
        return cf_refuse(q, a, 400, CF_NO_PARAMETER, "Required parameter subject is missing");
    if (!cf_read_options(q, a, &o))
        return false;
    o.limit = 0; /* all faces count, so that it is seen when there are several */
    o.detect = true;
    if (!cf_find(q, a, "file", &o, true, &f))
        return false;
    bool ok = f.photo.count == 1 ||
              cf_refuse(q, a, 400, CF_TOO_MANY_FACES, "More than one face in the source image");
    ok = ok && store(q, a, g, collection, subject, &f);
    srv_telemetry_enrolment(q->server->telemetry, ok);
    cf_found_free(&f);
    return ok;
}

/* ---- pages of examples ---- */

enum { PAGE_MAX = 2000, PAGE = 20 };

/* A person of whom some templates are on the page. */
typedef struct span {
    char id[SRV_NAME_MAX + 1];
    uint64_t skip, take;
} span;

typedef struct page {
    uint64_t number, size, first, total;
    span spans[PAGE_MAX];
    size_t count;
} page;

static int span_of_person(void *user, const uf_person_info *p)
{
    page *g = user;
    const uint64_t begin = g->total, end = begin + p->templates, last = g->first + g->size;
    g->total = end;
    if (end <= g->first || begin >= last || begin == end)
        return 0;
    span *s = &g->spans[g->count++]; /* each has one at least of at most PAGE_MAX */
    snprintf(s->id, sizeof s->id, "%s", p->id);
    s->skip = g->first > begin ? g->first - begin : 0;
    s->take = (end < last ? end : last) - begin - s->skip;
    return 0;
}

typedef struct example_list {
    srv_text *t;
    uint64_t skip, take;
} example_list;

static int add_example(void *user, const uf_template_info *i)
{
    example_list *l = user;
    if (l->skip) {
        l->skip--;
        return 0;
    }
    if (l->take == 0)
        return 1;
    l->take--;
    example_json(l->t, i->template_id, i->id);
    return 0;
}

/* What is not a number, or not of the range, is as if it had not been given. */
static uint64_t page_value(const srv_request *q, const char *name, uint64_t min, uint64_t max,
                           uint64_t otherwise)
{
    const char *text = srv_query(q, name);
    if (!text || !*text || strspn(text, "0123456789") != strlen(text) || strlen(text) > 9)
        return otherwise;
    const uint64_t v = strtoull(text, NULL, 10);
    return v < min ? otherwise : v > max ? max : v;
}

static bool page_json(srv_request *q, srv_answer *a, uf_gallery *g, const char *collection,
                      const page *p)
{
    srv_text *t = &a->body;
    uf_error err;
    srv_json_open(t, '{');
    srv_json_key(t, "faces");
    srv_json_open(t, '[');
    for (size_t i = 0; i < p->count; i++) {
        example_list l = {t, p->spans[i].skip, p->spans[i].take};
        const uf_status st =
            uf_gallery_templates(g, collection, p->spans[i].id, NULL, add_example, &l, &err);
        if (st && st != UF_E_CANCELLED && st != UF_E_NOT_FOUND)
            return srv_refuse_error(q, a, &err);
    }
    srv_json_close(t, ']');
    srv_json_key(t, "page_number");
    srv_json_integer(t, (int64_t)p->number);
    srv_json_key(t, "page_size");
    srv_json_integer(t, (int64_t)p->size);
    srv_json_key(t, "total_pages");
    srv_json_integer(t, (int64_t)((p->total + p->size - 1) / p->size));
    srv_json_key(t, "total_elements");
    srv_json_integer(t, (int64_t)p->total);
    srv_json_close(t, '}');
    return true;
}

bool cf_faces_list(srv_request *q, srv_answer *a)
{
    const char *collection, *subject = srv_query(q, "subject");
    uf_gallery *g;
    uf_error err;
    if (!cf_collection(q, a, SRV_READ, &collection, &g))
        return false;
    page *p = calloc(1, sizeof *p);
    if (!p)
        return srv_refuse(q, a, 503, "out of memory");
    p->number = page_value(q, "page", 0, 999999999, 0);
    p->size = page_value(q, "size", 1, PAGE_MAX, PAGE);
    p->first = p->number * p->size;
    const uf_gallery_filter one = {.ids = &subject, .id_count = 1};
    const uf_status st =
        uf_gallery_list(g, collection, subject && *subject ? &one : NULL, span_of_person, p, &err);
    const bool ok = st && st != UF_E_NOT_FOUND ? srv_refuse_error(q, a, &err)
                                               : page_json(q, a, g, collection, p);
    free(p);
    return ok;
}

/* ---- deletion of examples ---- */

/* With the last example the subject goes too, as in CompreFace. */
bool cf_faces_delete_all(srv_request *q, srv_answer *a)
{
    const char *collection, *subject;
    uf_gallery *g;
    uf_receipt r = {0};
    uf_error err;
    uint64_t people, faces;
    if (!cf_subject(q, a, &subject))
        return false;
    if (!subject)
        return delete_all(q, a, &people, &faces) && answer_count(a, faces);
    if (!cf_collection(q, a, SRV_ENROL, &collection, &g))
        return false;
    const uf_status st = uf_gallery_delete(g, collection, subject, &r, &err);
    if (st && st != UF_E_NOT_FOUND && !*r.id)
        return srv_refuse_error(q, a, &err);
    return answer_count(a, r.templates);
}

static bool refuse_example(const srv_request *q, srv_answer *a, const char *image_id)
{
    return cf_refuse(q, a, 404, CF_NO_EXAMPLE, "Image %.40s not found", image_id);
}

bool cf_faces_delete(srv_request *q, srv_answer *a)
{
    const char *collection;
    uf_gallery *g;
    uf_receipt r = {0};
    uf_error err;
    uint64_t id;
    if (!cf_collection(q, a, SRV_ENROL, &collection, &g) ||
        !cf_parse_image_id(q, a, q->params[0], &id))
        return false;
    const uf_status st = uf_gallery_delete_template(g, collection, NULL, id, &r, &err);
    if (st == UF_E_NOT_FOUND)
        return refuse_example(q, a, q->params[0]);
    if (st && !*r.id)
        return srv_refuse_error(q, a, &err);
    example_json(&a->body, id, r.id);
    return true;
}

bool cf_faces_delete_some(srv_request *q, srv_answer *a)
{
    enum { IDS_MAX = 1000 };
    const char *collection;
    uf_gallery *g;
    uf_error err;
    uint64_t id[IDS_MAX];
    const size_t n = json_array_size(q->json);
    if (!cf_collection(q, a, SRV_ENROL, &collection, &g))
        return false;
    if (n > IDS_MAX)
        return srv_refuse(q, a, 413, "there are more than %d image ids", IDS_MAX);
    for (size_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(q->json, i));
        if (!cf_parse_image_id(q, a, text ? text : "", &id[i]))
            return false;
    }
    srv_json_open(&a->body, '[');
    for (size_t i = 0; i < n; i++) {
        uf_receipt r = {0};
        const uf_status st = uf_gallery_delete_template(g, collection, NULL, id[i], &r, &err);
        if (st && st != UF_E_NOT_FOUND && !*r.id)
            return srv_refuse_error(q, a, &err);
        if (*r.id)
            example_json(&a->body, id[i], r.id);
    }
    srv_json_close(&a->body, ']');
    return true;
}

/* ---- one example ---- */

static int keep_example(void *user, const uf_template_info *i)
{
    cf_example *e = user;
    snprintf(e->subject, sizeof e->subject, "%s", i->id);
    snprintf(e->model_id, sizeof e->model_id, "%s", i->model_id);
    e->dimension = i->dimension;
    e->vector = malloc(i->dimension * sizeof *e->vector);
    if (e->vector)
        memcpy(e->vector, i->vector, i->dimension * sizeof *e->vector);
    return 0;
}

bool cf_example_get(const srv_request *q, srv_answer *a, uf_gallery *g, const char *collection,
                    const char *image_id, cf_example *out)
{
    uf_error err;
    uint64_t id;
    *out = (cf_example){.vector = NULL};
    if (!cf_parse_image_id(q, a, image_id, &id))
        return false;
    const uf_status st = uf_gallery_template(g, collection, id, keep_example, out, &err);
    if (st == UF_E_NOT_FOUND)
        return refuse_example(q, a, image_id);
    if (st)
        return srv_refuse_error(q, a, &err);
    return out->vector || srv_refuse(q, a, 503, "out of memory");
}

bool cf_faces_image(srv_request *q, srv_answer *a)
{
    uint64_t id;
    return cf_parse_image_id(q, a, q->params[0], &id);
}

/* The key stands in the path and is not looked at: nothing can be had here. */
bool cf_static_image(srv_request *q, srv_answer *a)
{
    uint64_t id;
    return cf_parse_image_id(q, a, q->params[1], &id);
}
