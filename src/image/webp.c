/* WebP by libwebp: still pictures, alpha over black; EXIF from the RIFF container. */
#include <string.h>
#include <webp/decode.h>
#include <webp/encode.h>

#include "base/mem.h"
#include "base/reader.h"
#include "image/picture.h"

/* Chunks behind "RIFF" size "WEBP": a name, a size, bytes, padding to even. */
static int find_orientation(const uint8_t *data, size_t size)
{
    ufi_reader r;
    ufi_reader_init(&r, data, size);
    ufi_reader_skip(&r, 12);
    while (ufi_reader_left(&r) >= 8) {
        const uint8_t *name = ufi_read_bytes(&r, 4);
        uint32_t bytes = ufi_read_u32(&r);
        const uint8_t *chunk = ufi_read_bytes(&r, bytes);
        if (!chunk)
            return 1;
        if (memcmp(name, "EXIF", 4) == 0)
            return ufi_exif_orientation(chunk, bytes);
        ufi_reader_skip(&r, bytes & 1);
    }
    return 1;
}

uf_status ufi_webp_decode(uf_picture **out, int *orientation, const uint8_t *data, size_t size,
                          const uf_decode_options *options, uf_error *err)
{
    WebPBitstreamFeatures features;
    if (WebPGetFeatures(data, size, &features) != VP8_STATUS_OK)
        return ufi_fail(err, UF_E_FORMAT, "damaged WebP: its header cannot be read");
    if (features.has_animation)
        return ufi_fail(err, UF_E_UNSUPPORTED, "the WebP is animated; give a still picture");
    uf_status st =
        ufi_picture_check_size((uint64_t)features.width, (uint64_t)features.height, options, err);
    if (!st)
        st = ufi_picture_new(out, features.width, features.height, err);
    if (st)
        return st;
    size_t pixels = (size_t)features.width * (size_t)features.height;
    uint8_t *rgba = ufi_malloc(pixels, 4);
    if (!rgba)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a picture");
    WebPDecoderConfig config;
    WebPInitDecoderConfig(&config);
    config.output.colorspace = MODE_RGBA;
    config.output.is_external_memory = 1;
    config.output.u.RGBA =
        (WebPRGBABuffer){.rgba = rgba, .stride = features.width * 4, .size = pixels * 4};
    const VP8StatusCode code = WebPDecode(data, size, &config);
    if (code == VP8_STATUS_OUT_OF_MEMORY)
        st = ufi_fail(err, UF_E_NOMEM, "no memory for a decoder");
    else if (code != VP8_STATUS_OK)
        st = ufi_fail(err, UF_E_FORMAT, "damaged or truncated WebP (%zu bytes)", size);
    for (size_t i = 0; !st && i < pixels; i++)
        for (size_t c = 0; c < 3; c++)
            (*out)->pixels[i * 3 + c] = (uint8_t)((rgba[i * 4 + c] * rgba[i * 4 + 3] + 127) / 255);
    ufi_free(rgba);
    *orientation = find_orientation(data, size);
    return st;
}

uf_status ufi_webp_encode(uint8_t **data, size_t *size, const uf_picture *p, uf_error *err)
{
    uint8_t *bytes = NULL;
    size_t n = WebPEncodeRGB(p->pixels, p->width, p->height, p->width * 3, 90, &bytes);
    uf_status st = UF_OK;
    *data = n ? ufi_malloc(n, 1) : NULL;
    *size = n;
    if (*data)
        memcpy(*data, bytes, n);
    else
        st = ufi_fail(err, n ? UF_E_NOMEM : UF_E_IO, "encoding WebP failed");
    WebPFree(bytes);
    return st;
}
