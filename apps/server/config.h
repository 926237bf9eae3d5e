/* The settings of a server: flags, then environment, then a file, then what is built in. */
#ifndef UF_SERVER_CONFIG_H
#define UF_SERVER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SRV_PATH_MAX = 1024 };

/* Every setting: as a flag by its name, in the environment as UNIFACE_NAME, in the file with "_"
 * for "-". Ends of the ranges are those that make sense on a machine, not those of the types.
 * TEXT(name, field, fallback, metavar, help) NUMBER and WHOLE(name, field, min, max, fallback,
 * help) SWITCH(name, field, help) */
#define SRV_SETTING_LIST(TEXT, NUMBER, WHOLE, SWITCH)                                              \
    TEXT("listen", listen, "127.0.0.1:8000", "ADDR:PORT", "where to listen (127.0.0.1:8000)")      \
    TEXT("data", data, "", "DIR", "folder of keys and gallery (~/.local/share/uniface)")           \
    TEXT("detector", detector, "", "MODEL", "detector (default: the store's, else the built-in)")  \
    TEXT("embedder", embedder, "", "MODEL", "embedder (the same); none: without one")              \
    TEXT("models", models, "", "DIR", "folder from which models may be loaded by name")            \
    TEXT("trusted-keys", trusted_keys, "", "PATH", "public keys: only models signed by them load") \
    TEXT("releases", releases, "", "FILE", "remembers the releases of these (DIR/releases)")       \
    TEXT("gallery", gallery, "", "NAME", "a file or postgresql://... (DIR/gallery.ufg)")           \
    TEXT("key-file", key_file, "", "FILE", "what opens the gallery (DIR/gallery.key)")             \
    SWITCH("plain", plain, "where a gallery is made: without encryption")                          \
    SWITCH("keep-crops", keep_crops, "keep aligned crops of those who are enrolled")               \
    TEXT("auth", auth, "on", "on|off", "off: nobody needs a key")                                  \
    SWITCH("allow-remote-without-auth", allow_remote_without_auth,                                 \
           "auth off beyond this machine too")                                                     \
    SWITCH("allow-remote-without-tls", allow_remote_without_tls,                                   \
           "no TLS beyond this machine: something in front has it")                                \
    TEXT("tls-cert", tls_cert, "", "FILE", "certificate chain, PEM")                               \
    TEXT("tls-key", tls_key, "", "FILE", "its private key, PEM")                                   \
    TEXT("tls-client-ca", tls_client_ca, "", "FILE", "clients need a certificate by this CA")      \
    WHOLE("threads", threads, 0, 1024, 0, "workers (0: one per core)")                             \
    WHOLE("batch", batch, 1, 256, 16, "most faces or pictures in a run (16)")                      \
    NUMBER("batch-wait-us", batch_wait_us, 0, 1e6, 50000,                                          \
           "longest wait for a fuller batch (50000)")                                              \
    WHOLE("queue", queue, 0, 100000, 0, "most requests inside, then 503 (0: 32 for each core)")    \
    WHOLE("size", size, -1, 8192, 0, "longest side the detector sees (0: the model's; -1: auto)")  \
    WHOLE("max-body", max_body, 1024, 1e9, 16 << 20, "largest body, bytes (16777216)")             \
    WHOLE("max-body-memory", max_body_memory, 1 << 20, 1e12, 512 << 20, "of all bodies together")  \
    WHOLE("max-pixels", max_pixels, 1e4, 1e9, 5e7, "largest picture (50000000)")                   \
    WHOLE("max-connections", max_connections, 1, 100000, 4096, "open at once (4096)")              \
    WHOLE("max-connections-per-address", max_connections_per_address, 0, 100000, 0,                \
          "of one address (0: no limit of its own)")                                               \
    NUMBER("header-timeout", header_timeout, 0.1, 3600, 10, "seconds for a request's head (10)")   \
    NUMBER("body-timeout", body_timeout, 0.1, 3600, 30, "seconds for its body (30)")               \
    NUMBER("request-timeout", request_timeout, 0.1, 3600, 30, "seconds for the work (30)")         \
    NUMBER("idle-timeout", idle_timeout, 0.1, 3600, 60, "seconds between requests (60)")           \
    NUMBER("drain-timeout", drain_timeout, 0.1, 3600, 4, "seconds for what runs when it ends (4)") \
    NUMBER("rate", rate, 0, 1e6, 0, "most requests a second of a client (0: any)")                 \
    WHOLE("verify-failures", verify_failures, 1, 1e6, 5, "failed 1:1 tries until a lock (5)")      \
    NUMBER("verify-lock-seconds", verify_lock_seconds, 1, 1e6, 300, "how long it lasts (300)")     \
    TEXT("seccomp", seccomp, "on", "on|off", "off: any system call is allowed (for debugging)")    \
    TEXT("log-level", log_level, "info", "LEVEL", "debug, info, warn or error (info)")             \
    TEXT("log-format", log_format, "json", "json|text", "lines of JSON, or to read")               \
    TEXT("log-file", log_file, "-", "FILE", "where to log (-: standard error)")

typedef struct srv_config {
    char listen[300], data[SRV_PATH_MAX], gallery[SRV_PATH_MAX], key_file[SRV_PATH_MAX];
    char detector[SRV_PATH_MAX], embedder[SRV_PATH_MAX], models[SRV_PATH_MAX];
    char trusted_keys[SRV_PATH_MAX], releases[SRV_PATH_MAX];
    char tls_cert[SRV_PATH_MAX], tls_key[SRV_PATH_MAX], tls_client_ca[SRV_PATH_MAX];
    char log_level[16], log_format[16], log_file[SRV_PATH_MAX], auth[8], seccomp[8];
    bool plain, keep_crops, allow_remote_without_tls, allow_remote_without_auth;
    double threads, batch, batch_wait_us, queue, size;
    double max_body, max_body_memory, max_connections, max_connections_per_address, max_pixels;
    double header_timeout, body_timeout, request_timeout, idle_timeout, drain_timeout;
    double rate, verify_failures, verify_lock_seconds;
    /* worked out from the above */
    char host[256];
    uint16_t port;
    bool loopback, auth_off, tls;
} srv_config;

/* The setting's flag ("" for a switch), or NULL when it was not given. */
typedef const char *srv_flag_fn(void *user, const char *name);

/* Reads all and checks it. False: `why` says which setting is wrong, where it came from, and what
 * would do. `file` NULL: UNIFACE_CONFIG, or none. */
bool srv_config_read(srv_config *c, const char *file, srv_flag_fn *flag, void *user, char why[512]);

#endif
