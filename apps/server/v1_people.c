/* People, their faces, and collections. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/handlers.h"
#include "server/once.h"
#include "server/state.h"

static const char *const image_names[] = {"image", "file", "images"};

/* ---- one person ---- */

typedef struct one_person {
    srv_text *t;
    bool found;
} one_person;

static int show_one(void *user, const uf_person_info *p)
{
    one_person *o = user;
    srv_person_json(o->t, p);
    o->found = true;
    return 0;
}

static bool answer_person(srv_request *q, srv_answer *a, const char *collection, const char *id)
{
    one_person o = {&a->body, false};
    uf_error err = {0};
    const uf_gallery_filter filter = {.ids = &id, .id_count = 1};
    const uf_status st =
        uf_gallery_list(q->server->gallery, collection, &filter, show_one, &o, &err);
    if (st && st != UF_E_NOT_FOUND)
        return srv_refuse_error(q, a, &err);
    return o.found || srv_refuse(q, a, 404, "there is nobody of this id in the collection");
}

static bool begin(srv_request *q, srv_answer *a, unsigned role, const char **collection)
{
    return srv_gallery(q, a) && srv_collection(q, a, role, collection);
}

bool v1_people_show(srv_request *q, srv_answer *a)
{
    const char *collection;
    return begin(q, a, SRV_READ, &collection) && answer_person(q, a, collection, q->params[0]);
}

static bool enrol_photos(srv_request *q, srv_answer *a, const char *collection, const char *id,
                         const srv_attempt *attempt)
{
    uf_person person = {.id = id, .collection = collection};
    srv_photo *photos = calloc(SRV_PICTURES_MAX, sizeof *photos);
    uf_error err;
    size_t n = 0, templates;
    bool ok = photos ? srv_photos(q, a, image_names, 3, photos, SRV_PICTURES_MAX, &n)
                     : srv_refuse(q, a, 503, "out of memory");
    if (ok) {
        if (srv_photo_detect(q, photos, n, &err))
            ok = srv_refuse_error(q, a, &err);
        ok = ok && srv_enrol(q, a, &person, attempt->source, *attempt->key ? attempt->key : NULL,
                             photos, n, &templates);
        for (size_t i = 0; i < n; i++)
            srv_photo_free(&photos[i]);
    }
    free(photos);
    return ok;
}

static bool enrol(srv_request *q, srv_answer *a, const char *collection, const char *id)
{
    srv_attempt attempt;
    if (!srv_once_begin(q, a, collection, id, &attempt))
        return false;
    a->replayed = attempt.done;
    const bool ok = attempt.done || enrol_photos(q, a, collection, id, &attempt);
    if (ok)
        a->status = 201;
    srv_once_end(q->server, &attempt);
    return ok && answer_person(q, a, collection, id);
}

bool v1_people_create(srv_request *q, srv_answer *a)
{
    const char *collection, *id;
    if (!begin(q, a, SRV_ENROL, &collection) || !srv_string(q, a, "id", SRV_NAME_MAX, &id))
        return false;
    if (!id || !*id)
        return srv_refuse(q, a, 400, "id is missing: the person's id, of 1 to 256 bytes");
    return enrol(q, a, collection, id);
}

static bool is_there(srv_request *q, srv_answer *a, const char *collection, const char *id)
{
    const bool ok = answer_person(q, a, collection, id);
    if (ok) {
        a->body.size = 0;
        a->body.comma = false;
    }
    return ok;
}

bool v1_faces_add(srv_request *q, srv_answer *a)
{
    const char *collection;
    return begin(q, a, SRV_ENROL, &collection) && is_there(q, a, collection, q->params[0]) &&
           enrol(q, a, collection, q->params[0]);
}

bool v1_people_change(srv_request *q, srv_answer *a)
{
    const char *collection;
    size_t none;
    uf_person person = {.id = q->params[0]};
    if (!begin(q, a, SRV_ENROL, &collection) || !is_there(q, a, collection, q->params[0]))
        return false;
    person.collection = collection;
    return srv_enrol(q, a, &person, NULL, NULL, NULL, 0, &none) &&
           answer_person(q, a, collection, q->params[0]);
}

static bool answer_receipt(srv_answer *a, const uf_receipt *r)
{
    srv_text *t = &a->body;
    srv_json_open(t, '{');
    srv_json_key(t, "id");
    srv_json_string(t, r->id);
    srv_json_key(t, "faces");
    srv_json_integer(t, (int64_t)r->templates);
    srv_json_key(t, "time");
    srv_json_integer(t, r->time);
    srv_json_key(t, "audit_entry");
    srv_json_integer(t, (int64_t)r->audit_entry);
    srv_json_key(t, "audit_digest");
    srv_json_string(t, r->audit_digest);
    srv_json_close(t, '}');
    return true;
}

bool v1_people_delete(srv_request *q, srv_answer *a)
{
    const char *collection;
    uf_receipt r = {0};
    uf_error err;
    if (!begin(q, a, SRV_ENROL, &collection))
        return false;
    const uf_status st = uf_gallery_delete(q->server->gallery, collection, q->params[0], &r, &err);
    return st && !*r.id ? srv_refuse_error(q, a, &err) : answer_receipt(a, &r);
}

bool v1_faces_delete(srv_request *q, srv_answer *a)
{
    const char *collection;
    char *end;
    uf_receipt r = {0};
    uf_error err;
    if (!begin(q, a, SRV_ENROL, &collection))
        return false;
    const char *text = q->params[1];
    const unsigned long long face = strtoull(text, &end, 10);
    if (*end || *text < '0' || *text > '9')
        return srv_refuse(q, a, 404, "there is no face of this id");
    const uf_status st =
        uf_gallery_delete_template(q->server->gallery, collection, q->params[0], face, &r, &err);
    return st && !*r.id ? srv_refuse_error(q, a, &err) : answer_receipt(a, &r);
}

/* ---- pages of people ---- */

typedef struct page {
    srv_text *t;
    const char *after;
    size_t limit, count;
    char last[SRV_NAME_MAX + 1];
    bool more;
} page;

static int add_to_page(void *user, const uf_person_info *p)
{
    page *g = user;
    if (g->after && strcmp(p->id, g->after) <= 0)
        return 0;
    if (g->count == g->limit) {
        g->more = true;
        return 1;
    }
    srv_person_json(g->t, p);
    snprintf(g->last, sizeof g->last, "%s", p->id);
    g->count++;
    return 0;
}

bool v1_people_list(srv_request *q, srv_answer *a)
{
    const char *collection;
    double limit;
    uf_error err;
    page g = {.t = &a->body};
    if (!begin(q, a, SRV_READ, &collection) || !srv_number(q, a, "limit", 1, 1000, 100, &limit) ||
        !srv_string(q, a, "after", SRV_NAME_MAX, &g.after))
        return false;
    g.limit = (size_t)limit;
    srv_json_open(g.t, '{');
    srv_json_key(g.t, "people");
    srv_json_open(g.t, '[');
    const uf_status st =
        uf_gallery_list(q->server->gallery, collection, NULL, add_to_page, &g, &err);
    if (st && st != UF_E_CANCELLED && st != UF_E_NOT_FOUND)
        return srv_refuse_error(q, a, &err);
    srv_json_close(g.t, ']');
    srv_json_key(g.t, "next");
    srv_json_string(g.t, g.more ? g.last : NULL);
    srv_json_close(g.t, '}');
    return true;
}

/* ---- faces ---- */

static int add_face(void *user, const uf_template_info *i)
{
    srv_text *t = user;
    srv_json_open(t, '{');
    srv_json_key(t, "id");
    srv_json_integer(t, (int64_t)i->template_id);
    srv_json_key(t, "model_id");
    srv_json_string(t, i->model_id);
    srv_json_key(t, "quality");
    srv_json_number(t, (double)i->quality);
    srv_json_key(t, "created");
    srv_json_integer(t, i->created);
    srv_json_key(t, "crop");
    srv_json_bool(t, i->crop != NULL);
    srv_json_close(t, '}');
    return 0;
}

bool v1_faces_list(srv_request *q, srv_answer *a)
{
    const char *collection;
    uf_error err;
    if (!begin(q, a, SRV_READ, &collection) || !is_there(q, a, collection, q->params[0]))
        return false;
    srv_json_open(&a->body, '{');
    srv_json_key(&a->body, "faces");
    srv_json_open(&a->body, '[');
    if (uf_gallery_templates(q->server->gallery, collection, q->params[0], NULL, add_face, &a->body,
                             &err))
        return srv_refuse_error(q, a, &err);
    srv_json_close(&a->body, ']');
    srv_json_close(&a->body, '}');
    return true;
}

/* ---- collections ---- */

typedef struct counting {
    srv_request *q;
    srv_text *t;
    char name[SRV_NAME_MAX + 1];
    uint64_t people, faces;
} counting;

static void end_collection(counting *c)
{
    if (!*c->name || !srv_may(c->q, c->name, SRV_READ))
        return;
    srv_json_open(c->t, '{');
    srv_json_key(c->t, "name");
    srv_json_string(c->t, c->name);
    srv_json_key(c->t, "people");
    srv_json_integer(c->t, (int64_t)c->people);
    srv_json_key(c->t, "faces");
    srv_json_integer(c->t, (int64_t)c->faces);
    srv_json_close(c->t, '}');
}

/* People come in the order of their collections. */
static int count_person(void *user, const uf_person_info *p)
{
    counting *c = user;
    if (strcmp(c->name, p->collection) != 0) {
        end_collection(c);
        snprintf(c->name, sizeof c->name, "%s", p->collection);
        c->people = c->faces = 0;
    }
    c->people++;
    c->faces += p->templates;
    return 0;
}

bool v1_collections_list(srv_request *q, srv_answer *a)
{
    counting c = {.q = q, .t = &a->body};
    uf_error err;
    uf_gallery *g = srv_gallery(q, a);
    if (!g)
        return false;
    srv_json_open(c.t, '{');
    srv_json_key(c.t, "collections");
    srv_json_open(c.t, '[');
    const uf_status st = uf_gallery_list(g, NULL, NULL, count_person, &c, &err);
    if (st && st != UF_E_NOT_FOUND)
        return srv_refuse_error(q, a, &err);
    end_collection(&c);
    srv_json_close(c.t, ']');
    srv_json_close(c.t, '}');
    return true;
}

bool v1_collections_delete(srv_request *q, srv_answer *a)
{
    const char *name = q->params[0];
    uf_error err;
    uint64_t people, faces;
    uf_gallery *g = srv_gallery(q, a);
    if (!g || !(srv_may(q, name, SRV_ADMIN) ||
                srv_refuse(q, a, 403, "the key may not do this in this collection")))
        return false;
    if (srv_delete_all(g, name, &people, &faces, &err))
        return srv_refuse_error(q, a, &err);
    srv_text_printf(&a->body, "{\"people\":%llu}", (unsigned long long)people);
    return true;
}
