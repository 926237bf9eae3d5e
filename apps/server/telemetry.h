/* The families of /metrics, and what is counted where. Shareable. */
#ifndef UF_SERVER_TELEMETRY_H
#define UF_SERVER_TELEMETRY_H

#include "server/engine.h"
#include "server/server.h"

typedef struct srv_telemetry srv_telemetry;

srv_telemetry *srv_telemetry_create(void);
void srv_telemetry_destroy(srv_telemetry *t);
/* After the answer: latency of route and stages, status, class of error. */
void srv_telemetry_request(srv_telemetry *t, const srv_request *q, const srv_answer *a,
                           double seconds);
/* A refusal before a route was known, or a connection that ended. */
void srv_telemetry_error(srv_telemetry *t, const char *class_name);
void srv_telemetry_batch(srv_telemetry *t, srv_lane_name lane, size_t size, double seconds);
void srv_telemetry_faces(srv_telemetry *t, size_t faces);
void srv_telemetry_quality(srv_telemetry *t, double quality);
/* kind: "verify", "identify", "compare". */
void srv_telemetry_score(srv_telemetry *t, const char *kind, double score);
void srv_telemetry_enrolment(srv_telemetry *t, bool ok);
/* The text of /metrics. */
void srv_telemetry_write(srv_server *s, bool open, srv_text *out);

#endif
