/* Models and keys. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "server/handlers.h"
#include "server/log.h"
#include "server/state.h"

static const char *const tasks[SRV_LANE_COUNT] = {"detector", "embedder"};

/* Models and keys are for all collections: who may change them must be admin everywhere. */
static bool is_admin(srv_request *q, srv_answer *a)
{
    return srv_may(q, "*", SRV_ADMIN) ||
           srv_refuse(q, a, 403, "this wants the role admin in all collections");
}

/* ---- models ---- */

static bool lane_of(srv_request *q, srv_answer *a, srv_lane_name *out)
{
    for (int l = 0; l < SRV_LANE_COUNT; l++)
        if (!strcmp(q->params[0], tasks[l])) {
            *out = (srv_lane_name)l;
            return true;
        }
    return srv_refuse(q, a, 404, "there is no such task: detector and embedder are known");
}

/* {"state": "valid", "release": 3, "time": ..., "signer": ..., "key": ...}; of an unsigned model
 * null. */
static void signature_json(srv_text *t, const uf_model *m)
{
    uf_signature s;
    char key[UF_SIGN_KEY_TEXT];
    uf_model_signature(m, &s);
    if (s.state == UF_SIGNATURE_NONE) {
        srv_json_null(t);
        return;
    }
    uf_sign_key_text(s.key, key);
    srv_json_open(t, '{');
    srv_json_key(t, "state");
    srv_json_string(t, uf_signature_state_name(s.state));
    srv_json_key(t, "release");
    srv_json_integer(t, (int64_t)s.release);
    srv_json_key(t, "time");
    srv_json_integer(t, (int64_t)s.time);
    srv_json_key(t, "signer");
    srv_json_string(t, s.signer);
    srv_json_key(t, "key");
    srv_json_string(t, key);
    srv_json_close(t, '}');
}

static void model_json(srv_text *t, const char *task, const srv_loaded *m)
{
    const char *licence = uf_model_meta(srv_loaded_model(m), "licence");
    srv_json_open(t, '{');
    srv_json_key(t, "task");
    srv_json_string(t, task);
    srv_json_key(t, "name");
    srv_json_string(t, srv_loaded_name(m));
    srv_json_key(t, "model_id");
    srv_json_string(t, uf_model_id(srv_loaded_model(m)));
    if (srv_loaded_embedder(m)) {
        srv_json_key(t, "dimension");
        srv_json_integer(t, (int64_t)uf_embedder_dimension(srv_loaded_embedder(m)));
    }
    srv_json_key(t, "parameters");
    srv_json_integer(t, (int64_t)uf_model_parameter_count(srv_loaded_model(m)));
    srv_json_key(t, "licence");
    srv_json_string(t, licence);
    srv_json_key(t, "signature");
    signature_json(t, srv_loaded_model(m));
    srv_json_close(t, '}');
}

bool v1_models_list(srv_request *q, srv_answer *a)
{
    srv_json_open(&a->body, '{');
    srv_json_key(&a->body, "models");
    srv_json_open(&a->body, '[');
    for (int l = 0; l < SRV_LANE_COUNT; l++) {
        srv_loaded *m = srv_engine_hold(q->server->engine, (srv_lane_name)l);
        if (m)
            model_json(&a->body, tasks[l], m);
        srv_engine_release(m);
    }
    srv_json_close(&a->body, ']');
    srv_json_close(&a->body, '}');
    return true;
}

/* A name, not a path: nothing outside the folder can be opened. */
static bool is_model_name(const char *s)
{
    return *s && *s != '.' && strlen(s) < 64 &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               strlen(s);
}

bool v1_models_load(srv_request *q, srv_answer *a)
{
    char path[SRV_PATH_MAX + 80];
    srv_lane_name lane = SRV_LANE_DETECT;
    const char *name;
    uf_error err;
    if (!is_admin(q, a) || !lane_of(q, a, &lane) || !srv_string(q, a, "name", 64, &name))
        return false;
    if (!name || !is_model_name(name))
        return srv_refuse(q, a, 400,
                          "name must be that of a model in the server's folder of "
                          "models, without a path");
    const char *end = strrchr(name, '.'); /* a name may have dots too */
    const bool is_file =
        end && (!strcmp(end, ".ufm") || !strcmp(end, ".onnx") || !strcmp(end, ".xml"));
    snprintf(path, sizeof path, "%s/%s%s", q->server->config.models, name, is_file ? "" : ".ufm");
    if (srv_engine_load(q->server->engine, lane, name, path, &err)) {
        srv_log_message(SRV_LOG_ERROR, "model", "request %s: %s: %s", q->id, name, err.message);
        if (err.status == UF_E_IO)
            return srv_refuse(q, a, 404, "there is no model %s in the server's folder", name);
        if (err.status == UF_E_UNTRUSTED)
            return srv_refuse(q, a, 409, "the model %s is not trusted: %s", name, err.message);
        if (err.status == UF_E_STATE)
            return srv_refuse(q, a, 500, "the list of releases cannot be used; the log says why");
        return srv_refuse(q, a, err.status == UF_E_NOMEM ? 503 : 409,
                          "the model %s cannot be used as %s: %s", name, tasks[lane],
                          uf_status_text(err.status));
    }
    srv_log_message(SRV_LOG_INFO, "model", "the %s is now %s", tasks[lane], name);
    srv_loaded *m = srv_engine_hold(q->server->engine, lane);
    if (m)
        model_json(&a->body, tasks[lane], m);
    srv_engine_release(m);
    return true;
}

bool v1_models_unload(srv_request *q, srv_answer *a)
{
    srv_lane_name lane = SRV_LANE_DETECT;
    if (!is_admin(q, a) || !lane_of(q, a, &lane))
        return false;
    srv_engine_unload(q->server->engine, lane);
    a->status = 204;
    return true;
}

/* ---- keys ---- */

static srv_keyring *keyring(srv_request *q, srv_answer *a)
{
    if (!q->server->keyring)
        srv_refuse(q, a, 409, "the server runs with auth off: it has no keys");
    return q->server->keyring;
}

static void list_key(void *user, const char *name, int64_t created, const srv_principal *key)
{
    srv_text *t = user;
    srv_json_open(t, '{');
    srv_json_key(t, "id");
    srv_json_string(t, key->key_id);
    srv_json_key(t, "name");
    srv_json_string(t, name);
    srv_json_key(t, "created");
    srv_json_integer(t, created);
    srv_json_key(t, "grants");
    srv_json_open(t, '{');
    for (size_t i = 0; i < key->grant_count; i++) {
        srv_json_key(t, key->grants[i].collection);
        srv_json_open(t, '[');
#define ROLE(NAME, bit, text)                 \
    if (key->grants[i].roles & (unsigned)bit) \
        srv_json_string(t, text);
        SRV_ROLE_LIST(ROLE)
#undef ROLE
        srv_json_close(t, ']');
    }
    srv_json_close(t, '}');
    srv_json_close(t, '}');
}

bool v1_keys_list(srv_request *q, srv_answer *a)
{
    srv_keyring *k = keyring(q, a);
    if (!k || !is_admin(q, a))
        return false;
    srv_json_open(&a->body, '{');
    srv_json_key(&a->body, "keys");
    srv_json_open(&a->body, '[');
    srv_keyring_list(k, list_key, &a->body);
    srv_json_close(&a->body, ']');
    srv_json_close(&a->body, '}');
    return true;
}

bool v1_keys_create(srv_request *q, srv_answer *a)
{
    char why[512], key[SRV_KEY_TEXT_SIZE], id[SRV_KEY_ID_SIZE];
    const char *name, *roles;
    srv_principal grants = {0};
    srv_keyring *k = keyring(q, a);
    if (!k || !is_admin(q, a) || !srv_string(q, a, "name", SRV_NAME_MAX, &name) ||
        !srv_string(q, a, "roles", 2000, &roles))
        return false;
    if (!name || !*name)
        return srv_refuse(q, a, 400, "name is missing: what the key is for");
    if (!srv_grants_parse(roles ? roles : "", &grants, why))
        return srv_refuse(q, a, 400, "roles: %s", why);
    if (!srv_keyring_add(k, name, &grants, key, id, why)) {
        srv_log_message(SRV_LOG_ERROR, "keys", "request %s: %s", q->id, why);
        return srv_refuse(q, a, 500, "the keys cannot be stored");
    }
    a->status = 201;
    srv_json_open(&a->body, '{');
    srv_json_key(&a->body, "id");
    srv_json_string(&a->body, id);
    srv_json_key(&a->body, "key");
    srv_json_string(&a->body, key);
    srv_json_close(&a->body, '}');
    return true;
}

bool v1_keys_delete(srv_request *q, srv_answer *a)
{
    char why[512];
    srv_keyring *k = keyring(q, a);
    if (!k || !is_admin(q, a))
        return false;
    if (srv_keyring_remove(k, q->params[0], why)) {
        a->status = 204;
        return true;
    }
    if (!*why)
        return srv_refuse(q, a, 404, "there is no key with this id");
    srv_log_message(SRV_LOG_ERROR, "keys", "request %s: %s", q->id, why);
    return srv_refuse(q, a, 500, "the keys cannot be stored");
}
