/* What several answers have in common: faces, scores, bands. */
#include <math.h>

#include "server/state.h"

static void number(srv_text *t, const char *key, double v)
{
    srv_json_key(t, key);
    srv_json_number(t, round(v * 1e4) / 1e4); /* more digits would only be noise */
}

static void quality_json(srv_text *t, const uf_quality *q)
{
    srv_json_key(t, "quality");
    srv_json_open(t, '{');
    number(t, "score", (double)q->total);
#define MEMBER(name, text) number(t, #name, (double)q->name);
#define MEMBERS(X) X(size, ) X(sharpness, ) X(exposure, ) X(pose, ) X(border, )
    MEMBERS(MEMBER)
#undef MEMBERS
#undef MEMBER
    number(t, "yaw", (double)q->yaw);
    number(t, "pitch", (double)q->pitch);
    number(t, "roll", (double)q->roll);
    if (q->reason[0]) {
        srv_json_key(t, "reason");
        srv_json_string(t, q->reason);
    }
    srv_json_close(t, '}');
}

void srv_face_members(srv_request *q, srv_text *t, const srv_photo *p, const uf_face *f)
{
    uf_quality quality;
    uf_error err;
    const float box[] = {f->x, f->y, f->width, f->height};
    srv_json_key(t, "box");
    srv_json_floats(t, box, 4);
    number(t, "score", (double)f->score);
    if (f->has_landmarks) {
        srv_json_key(t, "landmarks");
        srv_json_open(t, '[');
        for (int i = 0; i < UF_LANDMARKS; i++) {
            const float point[] = {f->landmarks[i].x, f->landmarks[i].y};
            srv_json_floats(t, point, 2);
        }
        srv_json_close(t, ']');
    }
    if (!srv_photo_quality(p, f, &quality, &err)) {
        srv_telemetry_quality(q->server->telemetry, (double)quality.total);
        quality_json(t, &quality);
    }
}

/* Exact scores help who tries to look like somebody; a band does not. */
void srv_score_members(srv_request *q, srv_text *t, const char *collection, float score,
                       float threshold)
{
    if (srv_may(q, collection, SRV_SCORES)) {
        srv_json_key(t, "score");
        srv_json_number(t, round((double)score * 1e6) / 1e6);
    }
    srv_json_key(t, "band");
    srv_json_string(t, score >= threshold + 0.15f ? "high" : score >= threshold ? "medium" : "low");
}

float srv_own_threshold(const srv_request *q)
{
    static const float fallback = 0.4f; /* about 1e-4 for embedders trained on large sets */
    uf_threshold measured;
    uf_error err;
    srv_loaded *m = srv_engine_hold(q->server->engine, SRV_LANE_EMBED);
    const bool known = m && !uf_model_threshold(srv_loaded_model(m), 1e-4f, &measured, &err);
    srv_engine_release(m);
    return known ? measured.threshold : fallback;
}

bool srv_threshold(srv_request *q, srv_answer *a, const char *collection, float *out)
{
    static const float rounding = 1e-5f; /* of what an answer said the threshold was */
    const float own = srv_own_threshold(q);
    double asked;
    if (!srv_number(q, a, "threshold", -1, 1, (double)own, &asked))
        return false;
    *out = (float)asked;
    return *out >= own - rounding || srv_may(q, collection, SRV_SCORES) ||
           srv_refuse(q, a, 403, "a threshold below %.4f wants the role scores", (double)own);
}
