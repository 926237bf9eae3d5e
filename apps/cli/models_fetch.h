/* Files of models over HTTPS: libcurl behind one function. Confined. */
#ifndef UF_CLI_MODELS_FETCH_H
#define UF_CLI_MODELS_FETCH_H

#include "models_manifest.h"

typedef struct fetch_options {
    const char *ca_file; /* PEM file of who may sign the server's certificate; NULL: the system's */
    bool allow_http;     /* also http://, of this machine only */
    double stall_s;      /* without a byte: given up */
} fetch_options;

/* Brings `f` to `path`, whole and with its digest, or not at all; *bytes came over the network.
 * What was received of a connection that broke stays in PATH.part, and the next call goes on there.
 * False with the reason. */
bool fetch_file(const model_file *f, const char *path, const fetch_options *o, uint64_t *bytes,
                char why[512]);

#endif
