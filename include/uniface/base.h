/*
 * uniface/base.h - status codes, errors, version.
 *
 * Every function of UniFace that can fail returns a uf_status and takes, last, a pointer to a
 * uf_error that the caller owns and that may be NULL. On failure it says what was wrong, with which
 * input, and what to do. The library never prints, never exits and never aborts on data.
 */
#ifndef UNIFACE_BASE_H
#define UNIFACE_BASE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define UF_VERSION_MAJOR 0
#define UF_VERSION_MINOR 1
#define UF_VERSION_PATCH 0

#if defined(_WIN32)
#define UF_API
#else
#define UF_API __attribute__((visibility("default")))
#endif

/* Pinned values: a code keeps its number for ever. X(name, value, text) */
#define UF_STATUS_LIST(X)                                      \
    X(OK, 0, "success")                                        \
    X(E_ARG, 1, "invalid argument")                            \
    X(E_NOMEM, 2, "out of memory")                             \
    X(E_IO, 3, "input/output error")                           \
    X(E_FORMAT, 4, "malformed data")                           \
    X(E_UNSUPPORTED, 5, "not supported")                       \
    X(E_LIMIT, 6, "limit exceeded")                            \
    X(E_DEVICE_NOT_FOUND, 7, "device not found")               \
    X(E_STATE, 8, "wrong state")                               \
    X(E_MISMATCH, 9, "values do not belong together")          \
    X(E_NOT_FOUND, 10, "not found")                            \
    X(E_NO_FACE, 11, "no face found")                          \
    X(E_QUALITY, 12, "face quality too low")                   \
    X(E_UNCALIBRATED, 13, "model has no calibrated threshold") \
    X(E_CANCELLED, 14, "cancelled")                            \
    X(E_UNTRUSTED, 15, "not trusted")                          \
    X(E_EXISTS, 16, "there already")

typedef enum uf_status {
#define UF_STATUS_ENUM(name, value, text) UF_##name = value,
    UF_STATUS_LIST(UF_STATUS_ENUM)
#undef UF_STATUS_ENUM
} uf_status;

/* Filled on failure, untouched on success. `message` is one line of UTF-8 text. */
typedef struct uf_error {
    uf_status status;
    char message[512];
} uf_error;

/* The short English text of a status; never NULL, also for unknown values. Since 0.1. */
UF_API const char *uf_status_text(uf_status status);

/* The pinned name of a status, such as "UF_E_FORMAT"; never NULL. Since 0.1. */
UF_API const char *uf_status_name(uf_status status);

/* "0.1.0": the version of the library that is linked, as opposed to UF_VERSION_*. Since 0.1. */
UF_API const char *uf_version(void);

/* Element types of tensors. The values are pinned (they are written to model files). */
typedef enum uf_dtype {
    UF_DTYPE_NONE = 0,
    UF_F32 = 1,
    UF_F16 = 2,
    UF_BF16 = 3,
    UF_F64 = 4,
    UF_I8 = 5,
    UF_U8 = 6,
    UF_I16 = 7,
    UF_U16 = 8,
    UF_I32 = 9,
    UF_U32 = 10,
    UF_I64 = 11,
    UF_U64 = 12,
    UF_BOOL = 13
} uf_dtype;

#define UF_MAX_DIMS 8

#ifdef __cplusplus
}
#endif

#endif
