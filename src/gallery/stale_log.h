/* Whether a log of SQLite belongs to the database that it lies beside. Floor 6. Shareable. */
#ifndef UFI_GALLERY_STALE_LOG_H
#define UFI_GALLERY_STALE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum { UFI_LOG_HEADER_BYTES = 32 };

/* The user_version that a log of a database with `version` gives it. */
uint32_t ufi_log_number(uint32_t random, uint32_t version);
/* Whether `name` is a log that holds anything, and its header. */
bool ufi_log_look(const char *name, uint8_t header[UFI_LOG_HEADER_BYTES]);
/* Whether the log surely is of another database than the one whose user_version was read after the
 * header. False when the log does not tell, or began anew meanwhile: somebody is using it. */
bool ufi_log_is_foreign(const char *name, const uint8_t header[UFI_LOG_HEADER_BYTES],
                        uint32_t version);

#endif
