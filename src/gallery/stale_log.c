/*
 * A process that dies leaves its log. SQLite writes what a log holds over whatever database has the
 * name the next time: a back-up that was put back, or a new gallery, would become the former one in
 * part or whole, without an error. So each log changes the user_version, on the first page: the
 * upper half is drawn anew, the lower half is the upper half of before, by which a log knows the
 * state that it began with, and older copies of the same database are told from it too. Here is the
 * log's side; the database itself must be read by SQLite alone, whose locks on it end when anybody
 * in the process closes it. (https://www.sqlite.org/fileformat2.html: offsets of headers.)
 */
#include "gallery/stale_log.h"

#include <string.h>

#include "base/file.h"

enum { FRAME_HEADER = 24, VERSION_AT = 60, PAGE_BYTES_MAX = 65536 };

uint32_t ufi_log_number(uint32_t random, uint32_t version)
{
    return (random % 0xFFFF + 1) << 16 | version >> 16;
}

static uint32_t big_endian(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The database has what it had when the log began, or any first page that the log has since. Frames
 * of before the log began anew have other salts (bytes 8 to 15; in the header 16 to 23). What
 * cannot be read is for SQLite to judge. */
static bool knows(const ufi_file *log, const uint8_t *header, uint32_t version)
{
    uint8_t frame[FRAME_HEADER], bytes[4];
    bool is_first = true;
    const size_t page = big_endian(header + 8);
    if (page < 512 || page > PAGE_BYTES_MAX)
        return true;
    for (size_t at = UFI_LOG_HEADER_BYTES; at + FRAME_HEADER + page <= log->size;
         at += FRAME_HEADER + page) {
        if (ufi_file_read_at(log, at, frame, FRAME_HEADER, NULL))
            return true;
        if (memcmp(frame + 8, header + 16, 8) != 0)
            break;
        if (big_endian(frame) != 1)
            continue;
        if (ufi_file_read_at(log, at + FRAME_HEADER + VERSION_AT, bytes, 4, NULL))
            return true;
        const uint32_t logged = big_endian(bytes);
        if (logged == version || !logged || (is_first && (logged & 0xFFFF) == version >> 16))
            return true;
        is_first = false;
    }
    return is_first;
}

bool ufi_log_look(const char *name, uint8_t header[UFI_LOG_HEADER_BYTES])
{
    ufi_file log;
    memset(header, 0, UFI_LOG_HEADER_BYTES);
    if (ufi_file_open(&log, name, SIZE_MAX, NULL))
        return false; /* mostly: there is none */
    const bool is_log = log.size > UFI_LOG_HEADER_BYTES;
    if (is_log)
        ufi_file_read_at(&log, 0, header, UFI_LOG_HEADER_BYTES, NULL);
    ufi_file_close(&log);
    return is_log;
}

bool ufi_log_is_foreign(const char *name, const uint8_t header[UFI_LOG_HEADER_BYTES],
                        uint32_t version)
{
    ufi_file log;
    uint8_t now[UFI_LOG_HEADER_BYTES];
    if (ufi_file_open(&log, name, SIZE_MAX, NULL))
        return false;
    bool foreign = !knows(&log, header, version);
    /* A log that begins anew writes its header first. */
    if (foreign)
        foreign = !ufi_file_read_at(&log, 0, now, sizeof now, NULL) &&
                  memcmp(now, header, sizeof now) == 0;
    ufi_file_close(&log);
    return foreign;
}
