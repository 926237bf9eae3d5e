/*
 * The orientation in EXIF data: tag 0x0112 of the first directory of a TIFF block. A picture with
 * broken EXIF is still a picture: whatever is wrong means "upright".
 */
#include <string.h>

#include "image/picture.h"

static uint32_t read_uint(const uint8_t *p, size_t bytes, bool big_endian)
{
    uint32_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v |= (uint32_t)p[i] << 8 * (big_endian ? bytes - 1 - i : i);
    return v;
}

int ufi_exif_orientation(const uint8_t *tiff, size_t size)
{
    if (size >= 6 && memcmp(tiff, "Exif\0\0", 6) == 0) {
        tiff += 6;
        size -= 6;
    }
    if (size < 14 || (memcmp(tiff, "II*\0", 4) != 0 && memcmp(tiff, "MM\0*", 4) != 0))
        return 1;
    bool big = tiff[0] == 'M';
    size_t directory = read_uint(tiff + 4, 4, big);
    if (directory > size - 2)
        return 1;
    size_t entries = read_uint(tiff + directory, 2, big);
    for (size_t i = 0; i < entries; i++) {
        size_t at = directory + 2 + i * 12;
        if (at + 12 > size)
            return 1;
        if (read_uint(tiff + at, 2, big) != 0x0112)
            continue;
        uint32_t value = read_uint(tiff + at + 8, 2, big);
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}
