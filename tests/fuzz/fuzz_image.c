/* Decoding of pictures, EXIF included. Seeds are drawn and encoded here. */
#include "fuzz.h"

#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "uniface/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uf_decode_options o = UF_DECODE_OPTIONS_INIT;
    uf_picture *p = NULL;
    o.max_pixels = 1 << 18;
    o.min_side = size % 3 ? 0 : 16;
    (void)uf_picture_decode(&p, data, size, &o, NULL);
    uf_picture_destroy(p);
    return 0;
}

size_t seeds(size_t i, uint8_t *out, size_t cap)
{
    static const char *const suffixes[] = {".jpg", ".png", ".webp"};
    static uint8_t *bytes[3];
    static size_t sizes[3];
    static uint8_t pixels[24 * 16 * 3];
    if (i >= 3)
        return 0;
    if (!bytes[i]) {
        char path[64];
        uf_picture *p;
        uf_image v = {.format = UF_PIXEL_RGB8, .width = 24, .height = 16, .planes = {pixels}};
        for (size_t k = 0; k < sizeof pixels; k++)
            pixels[k] = (uint8_t)(k * k / 7);
        snprintf(path, sizeof path, "/tmp/uniface-fuzz-%d%s", (int)getpid(), suffixes[i]);
        if (uf_picture_from_image(&p, &v, NULL))
            return 0;
        if (uf_picture_save(p, path, NULL) ||
            ufi_file_read(&bytes[i], &sizes[i], path, cap, NULL)) {
            /* a build without this format: anything will do */
            bytes[i] = (uint8_t *)ufi_strdup("\xff\xd8\xff, not really");
            sizes[i] = 16;
        }
        uf_picture_destroy(p);
        unlink(path);
    }
    memcpy(out, bytes[i], sizes[i]);
    return sizes[i];
}
