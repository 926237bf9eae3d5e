/* Pictures that come as bare pixels instead of JPEG, PNG or WebP. */
#ifndef UF_SERVER_RAW_H
#define UF_SERVER_RAW_H

#include "server/server.h"

/* The body is application/octet-stream and a shape is given, as query "shape" or header
 * X-Tensor-Shape: "height,width,channels" or "count,height,width,channels", bytes of one (gray) or
 * three channels (RGB; BGR with the query pixels=bgr). */
bool srv_is_raw(const srv_request *q);
/* Views of the body, without a copy. False: refused. */
bool srv_raw_photos(srv_request *q, srv_answer *a, srv_photo *out, size_t room, size_t *count);

#endif
