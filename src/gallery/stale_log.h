/* What a log of SQLite says about the database that it belongs to. Floor 6. Shareable. */
#ifndef UFI_GALLERY_STALE_LOG_H
#define UFI_GALLERY_STALE_LOG_H

#include <stdbool.h>
#include <stdint.h>

/* Whether `name` is a log that holds anything. *version: the user_version of its database, 0 when
 * the log does not tell. */
bool ufi_log_look(const char *name, uint32_t *version);

#endif
