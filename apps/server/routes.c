/* The table of all operations, and the search in it. */
#include <stdlib.h>
#include <string.h>

#include "server/handlers.h"
#include "server/server.h"

#define PICTURES (SRV_BODY_FORM | SRV_BODY_JSON | SRV_BODY_IMAGE)
/* CompreFace's API: pictures come in forms or as base64. */
#define CF "/api/v1"
#define CF_FILE (SRV_BODY_FORM | SRV_BODY_JSON)
#define CF_ROW SRV_COMPREFACE_ERRORS
/* Open Inference Protocol: a version may be named or not. */
#define KS_ROW SRV_KSERVE_ERRORS
#define KS_MODEL "/v2/models/{model}"
#define KS_MODEL_IS "Open Inference Protocol: a model's inputs and outputs"
#define KS_READY_IS "Open Inference Protocol: a model is loaded"
#define KS_INFER_IS "Open Inference Protocol: runs a model on tensors"

const srv_route srv_routes[] = {
    {SRV_GET, "/", SRV_PUBLIC, 0, SRV_DETAIL_ERRORS | SRV_UNQUEUED, known_root,
     "Says that the server runs"},
    {SRV_POST, "/embed_face/", SRV_IDENTIFY, SRV_BODY_FORM, SRV_DETAIL_ERRORS, known_embed_face,
     "The template of the largest face in a picture"},

    {SRV_GET, "/healthz", SRV_PUBLIC, 0, SRV_UNQUEUED | SRV_PROBE, ops_healthz, "The server lives"},
    {SRV_GET, "/readyz", SRV_PUBLIC, 0, SRV_UNQUEUED | SRV_PROBE, ops_readyz,
     "The server can work: models, gallery"},
    {SRV_GET, "/metrics", SRV_READ, 0, SRV_UNQUEUED | SRV_PROBE, ops_metrics,
     "Metrics for Prometheus"},
    {SRV_POST, "/v1/detect", SRV_IDENTIFY, PICTURES, 0, v1_detect, "Faces in a picture"},
    {SRV_POST, "/v1/detect/batch", SRV_IDENTIFY, PICTURES, 0, v1_detect_batch,
     "Faces in several pictures"},
    {SRV_POST, "/v1/embed", SRV_IDENTIFY, PICTURES, 0, v1_embed, "Templates of faces in a picture"},
    {SRV_POST, "/v1/embed/batch", SRV_IDENTIFY, PICTURES, 0, v1_embed_batch,
     "Templates of faces in several pictures"},
    {SRV_POST, "/v1/verify", SRV_IDENTIFY, PICTURES, 0, v1_verify,
     "Whether two pictures, or a picture and an enrolled person, are the same person"},
    {SRV_POST, "/v1/compare", SRV_IDENTIFY, SRV_BODY_JSON, 0, v1_compare, "Compares two templates"},
    {SRV_POST, "/v1/identify", SRV_IDENTIFY, PICTURES, 0, v1_identify,
     "Who of a collection is in a picture"},

    {SRV_GET, "/v1/people", SRV_READ, 0, 0, v1_people_list, "People of a collection, by pages"},
    {SRV_POST, "/v1/people", SRV_ENROL, PICTURES, SRV_IDEMPOTENT, v1_people_create,
     "Enrols a person; with an Idempotency-Key once, however often it is asked for"},
    {SRV_GET, "/v1/people/{id}", SRV_READ, 0, 0, v1_people_show, "A person"},
    {SRV_PATCH, "/v1/people/{id}", SRV_ENROL, SRV_BODY_JSON, 0, v1_people_change,
     "Changes a person's metadata, consent, purpose, expiry"},
    {SRV_DELETE, "/v1/people/{id}", SRV_ENROL, 0, 0, v1_people_delete,
     "Deletes a person without a trace; the answer is a receipt"},
    {SRV_GET, "/v1/people/{id}/faces", SRV_READ, 0, 0, v1_faces_list, "Faces of a person"},
    {SRV_POST, "/v1/people/{id}/faces", SRV_ENROL, PICTURES, SRV_IDEMPOTENT, v1_faces_add,
     "Adds faces to a person; with an Idempotency-Key once"},
    {SRV_DELETE, "/v1/people/{id}/faces/{face}", SRV_ENROL, 0, 0, v1_faces_delete,
     "Deletes a face of a person without a trace; the answer is a receipt"},
    {SRV_GET, "/v1/collections", SRV_READ, 0, 0, v1_collections_list,
     "Collections, with their numbers of people and faces"},
    {SRV_DELETE, "/v1/collections/{name}", SRV_ADMIN, 0, 0, v1_collections_delete,
     "Deletes all people of a collection"},

    {SRV_GET, "/v1/models", SRV_READ, 0, SRV_UNQUEUED, v1_models_list, "Models that are loaded"},
    {SRV_PUT, "/v1/models/{task}", SRV_ADMIN, SRV_BODY_JSON, SRV_UNQUEUED, v1_models_load,
     "Loads a model for a task (detector, embedder), in place of the one that is loaded"},
    {SRV_DELETE, "/v1/models/{task}", SRV_ADMIN, 0, SRV_UNQUEUED, v1_models_unload,
     "Unloads the model of a task"},
    {SRV_GET, "/v1/keys", SRV_ADMIN, 0, SRV_UNQUEUED, v1_keys_list, "API keys, without their text"},
    {SRV_POST, "/v1/keys", SRV_ADMIN, SRV_BODY_JSON, SRV_UNQUEUED, v1_keys_create,
     "Makes an API key; its text is in this answer only"},
    {SRV_DELETE, "/v1/keys/{id}", SRV_ADMIN, 0, SRV_UNQUEUED, v1_keys_delete, "Removes an API key"},

    {SRV_POST, CF "/detection/detect", SRV_IDENTIFY, CF_FILE, CF_ROW, cf_detect,
     "CompreFace: faces in a picture"},
    {SRV_POST, CF "/verification/verify", SRV_IDENTIFY, CF_FILE, CF_ROW, cf_verify,
     "CompreFace: compares the faces of two pictures"},
    {SRV_POST, CF "/verification/embeddings/verify", SRV_IDENTIFY, SRV_BODY_JSON, CF_ROW,
     cf_embeddings_verify, "CompreFace: compares embeddings"},
    {SRV_POST, CF "/recognition/recognize", SRV_IDENTIFY, CF_FILE, CF_ROW, cf_recognize,
     "CompreFace: who is in a picture"},
    {SRV_POST, CF "/recognition/embeddings/recognize", SRV_IDENTIFY, SRV_BODY_JSON, CF_ROW,
     cf_embeddings_recognize, "CompreFace: whose embeddings these are"},
    {SRV_POST, CF "/recognition/embeddings/faces/{image_id}/verify", SRV_IDENTIFY, SRV_BODY_JSON,
     CF_ROW, cf_embeddings_faces_verify, "CompreFace: compares embeddings with an example"},
    {SRV_GET, CF "/recognition/subjects", SRV_READ, 0, CF_ROW, cf_subjects_list,
     "CompreFace: names of subjects"},
    {SRV_POST, CF "/recognition/subjects", SRV_ENROL, SRV_BODY_JSON, CF_ROW, cf_subjects_add,
     "CompreFace: adds a subject"},
    {SRV_DELETE, CF "/recognition/subjects", SRV_ADMIN, 0, CF_ROW, cf_subjects_delete_all,
     "CompreFace: deletes all subjects"},
    {SRV_PUT, CF "/recognition/subjects/{subject}", SRV_ENROL, SRV_BODY_JSON, CF_ROW,
     cf_subjects_rename, "CompreFace: renames a subject, or joins it with another"},
    {SRV_DELETE, CF "/recognition/subjects/{subject}", SRV_ENROL, 0, CF_ROW, cf_subjects_delete,
     "CompreFace: deletes a subject"},
    {SRV_GET, CF "/recognition/faces", SRV_READ, 0, CF_ROW, cf_faces_list,
     "CompreFace: examples, by pages"},
    {SRV_POST, CF "/recognition/faces", SRV_ENROL, CF_FILE, CF_ROW, cf_faces_add,
     "CompreFace: adds an example of a subject"},
    {SRV_DELETE, CF "/recognition/faces", SRV_ENROL, 0, CF_ROW, cf_faces_delete_all,
     "CompreFace: deletes all examples of a subject, or of all"},
    {SRV_POST, CF "/recognition/faces/delete", SRV_ENROL, SRV_BODY_LIST, CF_ROW,
     cf_faces_delete_some, "CompreFace: deletes examples"},
    {SRV_DELETE, CF "/recognition/faces/{image_id}", SRV_ENROL, 0, CF_ROW, cf_faces_delete,
     "CompreFace: deletes an example"},
    {SRV_POST, CF "/recognition/faces/{image_id}/verify", SRV_IDENTIFY, CF_FILE, CF_ROW,
     cf_faces_verify, "CompreFace: compares a picture with an example"},
    {SRV_GET, CF "/recognition/faces/{image_id}/img", SRV_READ, 0, CF_ROW, cf_faces_image,
     "CompreFace: the picture of an example; pictures are not kept, so it is empty"},
    {SRV_GET, CF "/static/{key}/images/{image_id}", SRV_PUBLIC, 0, CF_ROW, cf_static_image,
     "CompreFace: the same for pages; empty"},

    {SRV_GET, "/v2", SRV_PUBLIC, 0, KS_ROW | SRV_UNQUEUED, ks_server,
     "Open Inference Protocol: the server"},
    {SRV_GET, "/v2/health/live", SRV_PUBLIC, 0, KS_ROW | SRV_UNQUEUED | SRV_PROBE, ks_live,
     "Open Inference Protocol: the server lives"},
    {SRV_GET, "/v2/health/ready", SRV_PUBLIC, 0, KS_ROW | SRV_UNQUEUED | SRV_PROBE, ks_ready,
     "Open Inference Protocol: the server has a model"},
    {SRV_GET, KS_MODEL, SRV_READ, 0, KS_ROW | SRV_UNQUEUED, ks_model, KS_MODEL_IS},
    {SRV_GET, KS_MODEL "/versions/{version}", SRV_READ, 0, KS_ROW | SRV_UNQUEUED, ks_model,
     KS_MODEL_IS},
    {SRV_GET, KS_MODEL "/ready", SRV_READ, 0, KS_ROW | SRV_UNQUEUED, ks_model_ready, KS_READY_IS},
    {SRV_GET, KS_MODEL "/versions/{version}/ready", SRV_READ, 0, KS_ROW | SRV_UNQUEUED,
     ks_model_ready, KS_READY_IS},
    {SRV_POST, KS_MODEL "/infer", SRV_IDENTIFY, SRV_BODY_RAW, KS_ROW, ks_infer, KS_INFER_IS},
    {SRV_POST, KS_MODEL "/versions/{version}/infer", SRV_IDENTIFY, SRV_BODY_RAW, KS_ROW, ks_infer,
     KS_INFER_IS},

    {SRV_GET, "/ui/", SRV_PUBLIC, 0, SRV_UNQUEUED, ui_file, "The page for people"},
    {SRV_GET, "/ui/{file}", SRV_PUBLIC, 0, SRV_UNQUEUED, ui_file, "Files of the page"},
    {SRV_GET, "/docs", SRV_PUBLIC, 0, SRV_UNQUEUED, ui_file, "This description as a page"},
    {SRV_GET, "/openapi.json", SRV_PUBLIC, 0, SRV_UNQUEUED, ops_openapi, "This description"},
};
const size_t srv_route_count = sizeof srv_routes / sizeof *srv_routes;

/* ---- matching ---- */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* A segment without %XX, of malloc; NULL: no memory, or %00. */
static char *decode(const char *s, size_t n)
{
    char *out = malloc(n + 1);
    size_t size = 0;
    for (size_t i = 0; out && i < n; i++) {
        char c = s[i];
        if (c == '%' && i + 2 < n && hex(s[i + 1]) >= 0 && hex(s[i + 2]) >= 0) {
            c = (char)(hex(s[i + 1]) << 4 | hex(s[i + 2]));
            i += 2;
        }
        if (!c) {
            free(out);
            return NULL;
        }
        out[size++] = c;
    }
    if (out)
        out[size] = '\0';
    return out;
}

/* Where the segments for {name} stand; -1: the path is another. */
static int match(const char *pattern, const char *path, const char *begin[SRV_PARAMS_MAX],
                 size_t size[SRV_PARAMS_MAX])
{
    int n = 0;
    while (*pattern && *path) {
        if (*pattern == '{') {
            begin[n] = path;
            size[n] = strcspn(path, "/");
            if (!size[n])
                return -1;
            path += size[n++];
            pattern = strchr(pattern, '}') + 1;
        } else if (*pattern++ != *path++) {
            return -1;
        }
    }
    if (!strcmp(pattern, "/") || (!*pattern && !strcmp(path, "/")))
        return n;
    return *pattern || *path ? -1 : n;
}

static const char *const names[SRV_METHOD_COUNT] = {"GET", "POST", "PUT", "PATCH", "DELETE"};

static void allow_method(char allow[64], srv_method m)
{
    if (*allow)
        strcat(allow, ", ");
    strcat(allow, names[m]);
    if (m == SRV_GET)
        strcat(allow, ", HEAD");
}

const srv_route *srv_route_find(srv_method method, const char *path, srv_request *q, char allow[64])
{
    const char *begin[SRV_PARAMS_MAX];
    size_t size[SRV_PARAMS_MAX];
    unsigned methods = 0;
    allow[0] = '\0';
    for (size_t i = 0; i < srv_route_count; i++) {
        const srv_route *r = &srv_routes[i];
        const int n = match(r->pattern, path, begin, size);
        if (n < 0)
            continue;
        if (r->method == method) {
            for (int k = 0; k < n; k++)
                if (!(q->params[k] = decode(begin[k], size[k])))
                    return NULL;
            return r;
        }
        if (!(methods & 1u << r->method))
            allow_method(allow, r->method);
        methods |= 1u << r->method;
    }
    return NULL;
}
