/*
 * A process that dies leaves its log. SQLite writes what a log holds over whatever database has the
 * name the next time: a back-up that was put back, or a new gallery, would become the former one in
 * part or whole, without an error. Databases are told apart by a random number on their first page,
 * which is in a log as soon as the database has grown. Here is the log's side; the database itself
 * must be read by SQLite alone, whose locks on it end when anybody in the process closes it.
 * (https://www.sqlite.org/fileformat2.html: offsets of headers.)
 */
#include "gallery/stale_log.h"

#include <string.h>

#include "base/file.h"

enum { LOG_HEADER = 32, FRAME_HEADER = 24, VERSION_AT = 60, PAGE_BYTES_MAX = 65536 };

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The user_version in the first frame of page 1. Frames of before the log began anew have other
 * salts (bytes 8 to 15; in the header 16 to 23). What cannot be read is for SQLite to judge. */
static uint32_t version_in(const ufi_file *log)
{
    uint8_t header[LOG_HEADER], frame[FRAME_HEADER], version[4];
    if (ufi_file_read_at(log, 0, header, LOG_HEADER, NULL))
        return 0;
    const size_t page = big_endian(header + 8);
    if (page < 512 || page > PAGE_BYTES_MAX)
        return 0;
    for (size_t at = LOG_HEADER; at + FRAME_HEADER + page <= log->size; at += FRAME_HEADER + page) {
        if (ufi_file_read_at(log, at, frame, FRAME_HEADER, NULL) ||
            memcmp(frame + 8, header + 16, 8) != 0)
            return 0;
        if (big_endian(frame) == 1)
            return ufi_file_read_at(log, at + FRAME_HEADER + VERSION_AT, version, 4, NULL)
                       ? 0
                       : big_endian(version);
    }
    return 0;
}

bool ufi_log_look(const char *name, uint32_t *version)
{
    ufi_file log;
    *version = 0;
    if (ufi_file_open(&log, name, SIZE_MAX, NULL))
        return false; /* mostly: there is none */
    const bool is_log = log.size > LOG_HEADER;
    if (is_log)
        *version = version_in(&log);
    ufi_file_close(&log);
    return is_log;
}
