/*
 * The two operations of UniFace's first server, to the letter: its clients read "message",
 * "filename" and "embedding", and "detail" of errors.
 */
#include <string.h>

#include "server/handlers.h"

bool known_root(srv_request *q, srv_answer *a)
{
    (void)q;
    srv_text_puts(&a->body, "{\"message\": \"UniFace Face Embedding API is running!\"}");
    return true;
}

/* As the first server's framework words it. */
static bool file_is_missing(srv_answer *a)
{
    a->status = 422;
    a->error = "request";
    srv_text_puts(&a->body, "{\"detail\": [{\"type\": \"missing\", \"loc\": [\"body\", \"file\"], "
                            "\"msg\": \"Field required\", \"input\": null}]}");
    return false;
}

static bool refuse_inference(srv_request *q, srv_answer *a, const uf_error *err)
{
    if (err->status == UF_E_STATE)
        return srv_refuse(q, a, 500, "UniFace model not loaded.");
    if (err->status == UF_E_CANCELLED || err->status == UF_E_NOMEM)
        return srv_refuse_error(q, a, err);
    return srv_refuse(q, a, 500, "UniFace inference failed: %s", err->message);
}

/* The largest face; users send crops too, in which no detector finds a face: then the picture is
 * the face. Without a detector all pictures are taken for crops, as the first server did. */
static uf_status embed(srv_request *q, srv_photo *p, srv_vectors *v, uf_error *err)
{
    uf_status st = srv_photo_detect(q, p, 1, err);
    if (st && st != UF_E_STATE)
        return st;
    const int i = st ? -1 : srv_largest_face(p);
    const uf_face face = i < 0 ? srv_face_of_crop(p) : p->faces[i];
    return srv_photo_embed(q, p, &face, 1, v, err);
}

bool known_embed_face(srv_request *q, srv_answer *a)
{
    uf_error err;
    srv_photo photo = {0};
    srv_vectors v = {0};
    const srv_item *file = srv_item_named(q, "file");
    if (!file || !file->filename)
        return file_is_missing(a);
    bool ok = true;
    if (srv_photo_decode(q, file, &photo, &err))
        ok = srv_refuse(q, a, err.status == UF_E_NOMEM ? 503 : 400, "Could not process image: %s",
                        err.message);
    else if (embed(q, &photo, &v, &err))
        ok = refuse_inference(q, a, &err);
    if (ok) {
        srv_json_open(&a->body, '{');
        srv_json_key(&a->body, "filename");
        srv_json_string(&a->body, file->filename);
        srv_json_key(&a->body, "embedding");
        srv_json_floats(&a->body, v.data, v.dimension);
        srv_json_close(&a->body, '}');
    }
    srv_vectors_free(&v);
    srv_photo_free(&photo);
    return ok;
}
