/* Faces of pictures, and their templates. */
#include <stdlib.h>
#include <string.h>

#include "server/handlers.h"
#include "server/server.h"

static const char *const image_names[] = {"image", "file", "images"};

static void size_members(srv_text *t, const srv_photo *p)
{
    srv_json_key(t, "width");
    srv_json_integer(t, p->width);
    srv_json_key(t, "height");
    srv_json_integer(t, p->height);
}

/* The faces of one picture, with templates when `v` has them. */
static void faces_members(srv_request *q, srv_text *t, const srv_photo *p, const uf_face *faces,
                          size_t n, const srv_vectors *v)
{
    size_members(t, p);
    srv_json_key(t, "faces");
    srv_json_open(t, '[');
    for (size_t i = 0; i < n; i++) {
        srv_json_open(t, '{');
        srv_face_members(q, t, p, &faces[i]);
        if (v) {
            srv_json_key(t, "embedding");
            srv_json_floats(t, v->data + i * v->dimension, v->dimension);
        }
        srv_json_close(t, '}');
    }
    srv_json_close(t, ']');
    if (v) {
        srv_json_key(t, "model_id");
        srv_json_string(t, v->model_id);
    }
}

bool v1_detect(srv_request *q, srv_answer *a)
{
    srv_photo p;
    if (!srv_photo_with_faces(q, a, &p))
        return false;
    srv_json_open(&a->body, '{');
    faces_members(q, &a->body, &p, p.faces, p.count, NULL);
    srv_json_close(&a->body, '}');
    srv_photo_free(&p);
    return true;
}

/* "all": every face; else the largest. */
static bool embed_faces(srv_request *q, srv_answer *a, srv_photo *p, bool all,
                        const uf_face **faces, srv_vectors *v)
{
    uf_error err;
    const int largest = srv_largest_face(p);
    const size_t n = all ? p->count : largest >= 0;
    *faces = all || largest < 0 ? p->faces : &p->faces[largest];
    return !srv_photo_embed(q, p, *faces, n, v, &err) || srv_refuse_error(q, a, &err);
}

static bool embed_members(srv_request *q, srv_answer *a, srv_photo *p, bool all)
{
    const uf_face *faces;
    srv_vectors v = {0};
    if (!embed_faces(q, a, p, all, &faces, &v))
        return false;
    faces_members(q, &a->body, p, faces, v.count, &v);
    srv_vectors_free(&v);
    return true;
}

bool v1_embed(srv_request *q, srv_answer *a)
{
    srv_photo p;
    bool all;
    if (!srv_boolean(q, a, "all", true, &all) || !srv_photo_with_faces(q, a, &p))
        return false;
    srv_json_open(&a->body, '{');
    const bool ok = embed_members(q, a, &p, all);
    if (ok)
        srv_json_close(&a->body, '}');
    srv_photo_free(&p);
    return ok;
}

/* ---- several pictures ---- */

static bool batch(srv_request *q, srv_answer *a, bool templates)
{
    srv_photo *photos = calloc(SRV_PICTURES_MAX, sizeof *photos);
    uf_error err;
    size_t n = 0;
    bool all = true;
    bool ok = photos ? srv_boolean(q, a, "all", true, &all) &&
                           srv_photos(q, a, image_names, 3, photos, SRV_PICTURES_MAX, &n)
                     : srv_refuse(q, a, 503, "out of memory");
    if (!ok) {
        free(photos);
        return false;
    }
    if (srv_photo_detect(q, photos, n, &err))
        ok = srv_refuse_error(q, a, &err);
    if (ok) {
        srv_json_open(&a->body, '{');
        srv_json_key(&a->body, "results");
        srv_json_open(&a->body, '[');
    }
    for (size_t i = 0; ok && i < n; i++) {
        srv_json_open(&a->body, '{');
        if (templates)
            ok = embed_members(q, a, &photos[i], all);
        else
            faces_members(q, &a->body, &photos[i], photos[i].faces, photos[i].count, NULL);
        if (ok)
            srv_json_close(&a->body, '}');
    }
    if (ok) {
        srv_json_close(&a->body, ']');
        srv_json_close(&a->body, '}');
    }
    for (size_t i = 0; i < n; i++)
        srv_photo_free(&photos[i]);
    free(photos);
    return ok;
}

bool v1_detect_batch(srv_request *q, srv_answer *a)
{
    return batch(q, a, false);
}

bool v1_embed_batch(srv_request *q, srv_answer *a)
{
    return batch(q, a, true);
}
