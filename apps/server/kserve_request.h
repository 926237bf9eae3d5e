/*
 * Requests for inference of the Open Inference Protocol (KServe v2): JSON, and tensors in it or as
 * bytes behind it. Reentrant; knows no model.
 */
#ifndef UF_SERVER_KSERVE_REQUEST_H
#define UF_SERVER_KSERVE_REQUEST_H

#include <stdbool.h>

#include "server/engine.h"

/* "FP32", ...; NULL: the protocol has no such type. And back; UF_DTYPE_NONE: unknown. */
const char *ks_type_name(uf_dtype type);
uf_dtype ks_type_of(const char *name);
size_t ks_type_bytes(uf_dtype type);

typedef struct ks_wanted {
    const char *name;
    bool binary;
} ks_wanted;

/* Names are those of the JSON; data of bytes lies in the body, which must outlive it. */
typedef struct ks_request {
    struct json_t *json;
    const char *id; /* NULL: none */
    srv_tensor inputs[SRV_TENSORS_MAX];
    void *owned[SRV_TENSORS_MAX]; /* data that came as JSON */
    size_t input_count;
    ks_wanted outputs[SRV_TENSORS_MAX];
    size_t output_count; /* 0: all are wanted */
    bool binary;         /* then: as bytes */
} ks_request;

/* `json_size` bytes of the body are JSON, tensors follow. False: `why` says what is wrong, and
 * *status is 400 or, without memory for the JSON, 503; nothing is held. */
bool ks_request_read(ks_request *r, const uint8_t *body, size_t size, size_t json_size,
                     char why[200], int *status);
void ks_request_free(ks_request *r);

#endif
