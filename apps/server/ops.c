/* What those who run the server ask: does it live, can it work, how is it doing. */
#include <string.h>

#include "server/handlers.h"
#include "server/openapi.h"
#include "server/state.h"

bool ops_healthz(srv_request *q, srv_answer *a)
{
    (void)q;
    srv_text_puts(&a->body, "{\"status\": \"ok\"}");
    return true;
}

bool ops_readyz(srv_request *q, srv_answer *a)
{
    srv_server *s = q->server;
    srv_loaded *detector = srv_engine_hold(s->engine, SRV_LANE_DETECT);
    srv_loaded *embedder = srv_engine_hold(s->engine, SRV_LANE_EMBED);
    const bool ready = detector && embedder && s->gallery && !atomic_load(&s->draining);
    a->status = ready ? 200 : 503;
    srv_json_open(&a->body, '{');
    srv_json_key(&a->body, "ready");
    srv_json_bool(&a->body, ready);
    srv_json_key(&a->body, "detector");
    srv_json_bool(&a->body, detector != NULL);
    srv_json_key(&a->body, "embedder");
    srv_json_bool(&a->body, embedder != NULL);
    srv_json_key(&a->body, "gallery");
    srv_json_bool(&a->body, s->gallery != NULL);
    srv_json_key(&a->body, "draining");
    srv_json_bool(&a->body, atomic_load(&s->draining));
    srv_json_close(&a->body, '}');
    srv_engine_release(detector);
    srv_engine_release(embedder);
    return ready;
}

bool ops_metrics(srv_request *q, srv_answer *a)
{
    const char *accept = srv_header(q, "Accept");
    const bool open = accept && strstr(accept, "application/openmetrics-text");
    a->content_type = open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                           : "text/plain; version=0.0.4; charset=utf-8";
    srv_telemetry_write(q->server, open, &a->body);
    return true;
}

bool ops_openapi(srv_request *q, srv_answer *a)
{
    (void)q;
    srv_openapi_write(&a->body);
    return true;
}
