/*
 * The Open Inference Protocol (KServe v2) for the models that are loaded: bare networks, tensors in
 * and tensors out, as `uniface run` has them. A model is known by its name or by its task.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/body.h"
#include "server/handlers.h"
#include "server/json_parse.h"
#include "server/kserve_request.h"
#include "server/state.h"

static const char *const tasks[SRV_LANE_COUNT] = {"detector", "embedder"};

/* ---- the server ---- */

bool ks_server(srv_request *q, srv_answer *a)
{
    (void)q;
    srv_json_open(&a->body, '{');
    srv_json_key(&a->body, "name");
    srv_json_string(&a->body, "uniface");
    srv_json_key(&a->body, "version");
    srv_json_string(&a->body, uf_version());
    srv_json_key(&a->body, "extensions");
    srv_text_puts(&a->body, "[\"binary_tensor_data\"]}");
    return true;
}

static bool answer_flag(srv_answer *a, const char *key, bool value)
{
    a->status = value ? 200 : 503;
    srv_text_printf(&a->body, "{\"%s\":%s}", key, value ? "true" : "false");
    return value;
}

bool ks_live(srv_request *q, srv_answer *a)
{
    (void)q;
    return answer_flag(a, "live", true);
}

bool ks_ready(srv_request *q, srv_answer *a)
{
    bool any = false;
    for (int l = 0; l < SRV_LANE_COUNT; l++) {
        srv_loaded *m = srv_engine_hold(q->server->engine, (srv_lane_name)l);
        any = any || m;
        srv_engine_release(m);
    }
    return answer_flag(a, "ready", any && !atomic_load(&q->server->draining));
}

/* ---- models ---- */

/* Held; NULL: refused. There is one version of each. */
static srv_loaded *hold_model(srv_request *q, srv_answer *a)
{
    const char *name = q->params[0], *version = q->params[1];
    for (int by_task = 0; by_task < 2; by_task++)
        for (int l = 0; l < SRV_LANE_COUNT; l++) {
            srv_loaded *m = srv_engine_hold(q->server->engine, (srv_lane_name)l);
            if (m && !strcmp(by_task ? tasks[l] : srv_loaded_name(m), name) &&
                (!version || !strcmp(version, "1")))
                return m;
            srv_engine_release(m);
        }
    srv_refuse(q, a, 404, "no model \"%.64s\"%s%.20s is loaded", name,
               version ? " of version " : "", version ? version : "");
    return NULL;
}

static void shape_member(srv_text *t, const uf_tensor_info *info)
{
    srv_json_key(t, "shape");
    srv_json_open(t, '[');
    for (uint32_t d = 0; d < info->rank; d++)
        srv_json_integer(t, info->dims[d]);
    srv_json_close(t, ']');
}

/* Name, type and shape, without the closing bracket. */
static void open_tensor(srv_text *t, const uf_tensor_info *info)
{
    srv_json_open(t, '{');
    srv_json_key(t, "name");
    srv_json_string(t, info->name);
    srv_json_key(t, "datatype");
    srv_json_string(t, ks_type_name(info->dtype));
    shape_member(t, info);
}

static void tensors_member(srv_text *t, const char *key, const uf_model *m, size_t count,
                           uf_status (*get)(const uf_model *m, size_t i, uf_tensor_info *out,
                                            uf_error *err))
{
    uf_tensor_info info;
    uf_error err;
    srv_json_key(t, key);
    srv_json_open(t, '[');
    for (size_t i = 0; i < count; i++) {
        if (get(m, i, &info, &err))
            continue;
        open_tensor(t, &info);
        srv_json_close(t, '}');
    }
    srv_json_close(t, ']');
}

bool ks_model(srv_request *q, srv_answer *a)
{
    srv_loaded *loaded = hold_model(q, a);
    if (!loaded)
        return false;
    const uf_model *m = srv_loaded_model(loaded);
    srv_text *t = &a->body;
    srv_json_open(t, '{');
    srv_json_key(t, "name");
    srv_json_string(t, q->params[0]);
    srv_json_key(t, "versions");
    srv_text_puts(t, "[\"1\"]");
    t->comma = true; /* a value was written past the writer */
    srv_json_key(t, "platform");
    srv_json_string(t, "uniface_ufm");
    tensors_member(t, "inputs", m, uf_model_input_count(m), uf_model_input);
    tensors_member(t, "outputs", m, uf_model_output_count(m), uf_model_output);
    srv_json_close(t, '}');
    srv_engine_release(loaded);
    return true;
}

bool ks_model_ready(srv_request *q, srv_answer *a)
{
    srv_loaded *m = hold_model(q, a);
    if (!m)
        return false;
    srv_engine_release(m);
    srv_json_open(&a->body, '{');
    srv_json_key(&a->body, "name");
    srv_json_string(&a->body, q->params[0]);
    srv_json_key(&a->body, "ready");
    srv_json_bool(&a->body, true);
    srv_json_close(&a->body, '}');
    return true;
}

/* ---- inference ---- */

/* A request as the model takes it. */
typedef struct run {
    const uf_model *model;
    ks_request request;
    srv_tensor inputs[SRV_TENSORS_MAX], outputs[SRV_TENSORS_MAX];
    size_t output_count, held; /* memory that counts as the body's */
} run;

static void run_free(srv_request *q, run *r)
{
    srv_body_memory_release(q->server, r->held);
    for (size_t i = 0; i < r->output_count; i++)
        free(r->outputs[i].data);
    ks_request_free(&r->request);
}

/* How much of the body is JSON: all of it, unless the header says. */
static bool json_size_of(srv_request *q, srv_answer *a, size_t size, size_t *out)
{
    const char *text = srv_header(q, "Inference-Header-Content-Length");
    *out = size;
    if (!text)
        return true;
    if (!*text || strspn(text, "0123456789") != strlen(text) || strlen(text) > 18 ||
        strtoull(text, NULL, 10) > size)
        return srv_refuse(q, a, 400,
                          "Inference-Header-Content-Length must be how many bytes of the body are "
                          "JSON");
    *out = (size_t)strtoull(text, NULL, 10);
    return true;
}

static bool read_request(srv_request *q, srv_answer *a, run *r)
{
    char why[200];
    int status;
    size_t json_size;
    const srv_item *body = &q->items[0];
    const char *coding = srv_header(q, "Content-Encoding");
    if (coding && *coding && strcmp(coding, "identity") != 0)
        return srv_refuse(q, a, 415, "compressed bodies are not read");
    if (!json_size_of(q, a, body->size, &json_size))
        return false;
    const size_t weight = srv_json_weight(body->data, json_size);
    if (!srv_body_memory_hold(q->server, weight))
        return srv_refuse(q, a, 503, "the bodies of all requests together take too much memory");
    r->held = weight;
    return ks_request_read(&r->request, body->data, body->size, json_size, why, &status) ||
           srv_refuse(q, a, status, "%s", why);
}

/* The first dimension of -1 is the batch, of which the memory of a run depends. */
static bool shape_fits(srv_request *q, srv_answer *a, const uf_tensor_info *want,
                       const uf_tensor_info *got)
{
    if (want->dtype != got->dtype)
        return srv_refuse(q, a, 400, "input \"%.60s\" is %s, not %s", want->name,
                          ks_type_name(want->dtype), ks_type_name(got->dtype));
    bool fits = want->rank == got->rank;
    for (uint32_t d = 0; fits && d < want->rank; d++)
        fits = want->dims[d] < 0 || want->dims[d] == got->dims[d];
    if (!fits)
        return srv_refuse(q, a, 400, "input \"%.60s\" has another shape than the model",
                          want->name);
    const int64_t most = (int64_t)q->server->config.batch;
    return want->dims[0] >= 0 || got->dims[0] <= most ||
           srv_refuse(q, a, 413, "input \"%.60s\": a batch has at most %lld", want->name,
                      (long long)most);
}

/* The request's inputs in the order of the model's. */
static bool order_inputs(srv_request *q, srv_answer *a, run *r)
{
    const size_t n = uf_model_input_count(r->model);
    uf_tensor_info want;
    uf_error err;
    if (n > SRV_TENSORS_MAX || r->request.input_count != n)
        return srv_refuse(q, a, 400, "the model has %zu inputs, %zu were given", n,
                          r->request.input_count);
    for (size_t i = 0; i < n; i++) {
        const srv_tensor *found = NULL;
        if (uf_model_input(r->model, i, &want, &err))
            return srv_refuse_error(q, a, &err);
        for (size_t k = 0; k < n; k++)
            if (!strcmp(r->request.inputs[k].info.name, want.name))
                found = &r->request.inputs[k];
        if (!found)
            return srv_refuse(q, a, 400, "input \"%.60s\" is missing", want.name);
        if (!shape_fits(q, a, &want, &found->info))
            return false;
        r->inputs[i] = *found;
    }
    return true;
}

/* All of the model's, with the bytes of an element; those that were asked for must be there. */
static bool prepare_outputs(srv_request *q, srv_answer *a, run *r)
{
    const size_t n = uf_model_output_count(r->model);
    uf_error err;
    if (n > SRV_TENSORS_MAX)
        return srv_refuse(q, a, 501, "the model has more than %d outputs", SRV_TENSORS_MAX);
    r->output_count = n;
    for (size_t i = 0; i < n; i++) {
        if (uf_model_output(r->model, i, &r->outputs[i].info, &err))
            return srv_refuse_error(q, a, &err);
        r->outputs[i].bytes = ks_type_bytes(r->outputs[i].info.dtype);
    }
    for (size_t k = 0; k < r->request.output_count; k++) {
        bool there = false;
        for (size_t i = 0; i < n; i++)
            there = there || !strcmp(r->outputs[i].info.name, r->request.outputs[k].name);
        if (!there)
            return srv_refuse(q, a, 400, "the model has no output \"%.60s\"",
                              r->request.outputs[k].name);
    }
    return true;
}

/* ---- the answer ---- */

static int64_t integer_at(const srv_tensor *o, size_t i)
{
    switch (o->info.dtype) {
    case UF_I8:
        return ((const int8_t *)o->data)[i];
    case UF_I16:
        return ((const int16_t *)o->data)[i];
    case UF_U16:
        return ((const uint16_t *)o->data)[i];
    case UF_I32:
        return ((const int32_t *)o->data)[i];
    case UF_U32:
        return ((const uint32_t *)o->data)[i];
    case UF_I64:
    case UF_U64:
        return ((const int64_t *)o->data)[i];
    default:
        return ((const uint8_t *)o->data)[i];
    }
}

static void data_member(srv_text *t, const srv_tensor *o)
{
    const size_t n = o->bytes / ks_type_bytes(o->info.dtype);
    srv_json_key(t, "data");
    if (o->info.dtype == UF_F32) {
        srv_json_floats(t, o->data, n);
        return;
    }
    srv_json_open(t, '[');
    for (size_t i = 0; i < n; i++)
        if (o->info.dtype == UF_F64)
            srv_json_number(t, ((const double *)o->data)[i]);
        else if (o->info.dtype == UF_BOOL)
            srv_json_bool(t, ((const uint8_t *)o->data)[i]);
        else
            srv_json_integer(t, integer_at(o, i));
    srv_json_close(t, ']');
}

static void output_json(srv_text *t, const srv_tensor *o, bool binary, srv_text *bytes)
{
    open_tensor(t, &o->info);
    if (binary) {
        srv_json_key(t, "parameters");
        srv_json_open(t, '{');
        srv_json_key(t, "binary_data_size");
        srv_json_integer(t, (int64_t)o->bytes);
        srv_json_close(t, '}');
        srv_text_add(bytes, o->data, o->bytes);
    } else {
        data_member(t, o);
    }
    srv_json_close(t, '}');
}

/* Those that were asked for in the request's order, else all. Half floats have no text. */
static void outputs_member(srv_text *t, const run *r, srv_text *bytes)
{
    const ks_request *k = &r->request;
    srv_json_key(t, "outputs");
    srv_json_open(t, '[');
    for (size_t i = 0; i < (k->output_count ? k->output_count : r->output_count); i++) {
        const srv_tensor *o = &r->outputs[i];
        for (size_t j = 0; k->output_count && j < r->output_count; j++)
            if (!strcmp(r->outputs[j].info.name, k->outputs[i].name))
                o = &r->outputs[j];
        const bool half = o->info.dtype == UF_F16 || o->info.dtype == UF_BF16;
        output_json(t, o, half || (k->output_count ? k->outputs[i].binary : k->binary), bytes);
    }
    srv_json_close(t, ']');
}

static void answer_run(srv_request *q, srv_answer *a, const run *r)
{
    srv_text *t = &a->body;
    srv_text bytes = {0};
    srv_json_open(t, '{');
    srv_json_key(t, "model_name");
    srv_json_string(t, q->params[0]);
    srv_json_key(t, "model_version");
    srv_json_string(t, "1");
    if (r->request.id) {
        srv_json_key(t, "id");
        srv_json_string(t, r->request.id);
    }
    outputs_member(t, r, &bytes);
    srv_json_close(t, '}');
    if (bytes.size) {
        a->json_size = t->size;
        a->content_type = "application/octet-stream";
        srv_text_add(t, bytes.data, bytes.size);
    }
    t->failed = t->failed || bytes.failed;
    srv_text_free(&bytes);
}

bool ks_infer(srv_request *q, srv_answer *a)
{
    uf_error err;
    run r = {0};
    srv_loaded *m = hold_model(q, a);
    if (!m)
        return false;
    r.model = srv_loaded_model(m);
    bool ok = read_request(q, a, &r) && order_inputs(q, a, &r) && prepare_outputs(q, a, &r);
    if (ok && srv_engine_tensors(q->server->engine, &q->work, m, r.inputs, r.outputs, &err))
        ok = srv_refuse_error(q, a, &err);
    if (ok)
        answer_run(q, a, &r);
    run_free(q, &r);
    srv_engine_release(m);
    return ok;
}
