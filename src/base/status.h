/* Filling a uf_error. Floor 1. */
#ifndef UFI_BASE_STATUS_H
#define UFI_BASE_STATUS_H

#include "uniface/base.h"

#if defined(__GNUC__)
#define UFI_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define UFI_PRINTF(fmt, args)
#endif

/* Fills `err` (when not NULL) and returns `status`, so that `return ufi_fail(...)` reads well. */
uf_status ufi_fail(uf_error *err, uf_status status, const char *fmt, ...) UFI_PRINTF(3, 4);

/* Prefixes the message in `err` with "context: " (the file's name, the node's) and returns
 * `status`; does nothing for UF_OK. */
uf_status ufi_wrap(uf_error *err, uf_status status, const char *fmt, ...) UFI_PRINTF(3, 4);

#endif
