/* Pictures that come as bare pixels: application/octet-stream with a shape. */
#include "server/raw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/body.h"
#include "server/state.h"

typedef struct shape {
    size_t count, height, width, channels;
} shape;

static const char *shape_of(const srv_request *q)
{
    const char *text = srv_query(q, "shape");
    return text ? text : srv_header(q, "X-Tensor-Shape");
}

bool srv_is_raw(const srv_request *q)
{
    return q->item_count == 1 && !*q->items[0].name &&
           srv_type_is(q->content_type, "application/octet-stream") && shape_of(q);
}

/* "480,640,3" or "4,480,640,3". */
static bool read_shape(const char *text, shape *out)
{
    size_t n = 0, dims[4];
    for (const char *p = text;; p++) {
        char *end;
        if (n == 4 || *p < '0' || *p > '9')
            return false;
        const unsigned long d = strtoul(p, &end, 10);
        if (d < 1 || d > UF_IMAGE_MAX_SIDE || (*end && *end != ','))
            return false;
        dims[n++] = d;
        p = end;
        if (!*p)
            break;
    }
    if (n < 3)
        return false;
    *out = (shape){n == 4 ? dims[0] : 1, dims[n - 3], dims[n - 2], dims[n - 1]};
    return out->channels == 1 || out->channels == 3;
}

static bool read_format(const srv_request *q, srv_answer *a, size_t channels, uf_pixel_format *out)
{
    const char *text = srv_query(q, "pixels");
    *out = channels == 1 ? UF_PIXEL_GRAY8 : UF_PIXEL_RGB8;
    if (!text || (!strcmp(text, "rgb") && channels == 3) ||
        (!strcmp(text, "gray") && channels == 1))
        return true;
    if (strcmp(text, "bgr") != 0 || channels != 3)
        return srv_refuse(q, a, 400, "pixels must be rgb or bgr with 3 channels, gray with 1");
    *out = UF_PIXEL_BGR8;
    return true;
}

bool srv_raw_photos(srv_request *q, srv_answer *a, srv_photo *out, size_t room, size_t *count)
{
    const srv_item *item = &q->items[0];
    uf_pixel_format format;
    shape s;
    if (!read_shape(shape_of(q), &s))
        return srv_refuse(
            q, a, 400,
            "shape must be height,width,channels or count,height,width,channels, of 1 "
            "or 3 channels and sides of at most %d",
            UF_IMAGE_MAX_SIDE);
    const size_t pixels = s.height * s.width, bytes = pixels * s.channels;
    if (!read_format(q, a, s.channels, &format))
        return false;
    if ((double)pixels > q->server->config.max_pixels)
        return srv_refuse(q, a, 413, "the picture has more pixels than this server takes");
    if (s.count > room)
        return srv_refuse(q, a, 413, "there are more than %zu pictures", room);
    if (item->size != bytes * s.count)
        return srv_refuse(q, a, 400, "the shape is one of %zu bytes, the body has %zu",
                          bytes * s.count, item->size);
    for (; *count < s.count; ++*count)
        out[*count] = (srv_photo){.name = item->name,
                                  .width = (int32_t)s.width,
                                  .height = (int32_t)s.height,
                                  .view = {.format = format,
                                           .width = (int32_t)s.width,
                                           .height = (int32_t)s.height,
                                           .planes = {item->data + *count * bytes}}};
    return true;
}
