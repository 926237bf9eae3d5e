/*
 * Forms: any split of the same bytes gives the same parts and the same verdict. The first line is
 * the Content-Type, the others are the body.
 */
#include "fuzz.h"

#include "../server/form.h"

static void require_same(const srv_text *a, const srv_text *b, bool same_verdict)
{
    if (!same_verdict || a->size != b->size || (a->size && memcmp(a->data, b->data, a->size))) {
        fprintf(stderr, "fuzz_multipart: another split, other parts\n");
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char type[256] = "";
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    const size_t head = end ? (size_t)(end - data) : 0;
    if (!end || head >= sizeof type || memchr(data, '\0', head))
        return 0;
    memcpy(type, data, head);
    const uint8_t *body = end + 1;
    const size_t left = size - head - 1;
    srv_text whole = {0};
    const char *error = "", *other_error = "";
    const srv_multipart_status status = form_read(type, body, left, 0, 0, &whole, &error);
    /* in steps of one and two bytes all through; then in halves, and near the ends */
    const size_t cuts[] = {left, left / 2, left > 30 ? left - 30 : 0, size % 37};
    for (size_t i = 0; i < 4; i++)
        for (size_t step = 0; step < 3; step++) {
            srv_text split = {0};
            const srv_multipart_status other =
                form_read(type, body, left, cuts[i], step, &split, &other_error);
            require_same(&whole, &split, status == other && !strcmp(error, other_error));
            srv_text_free(&split);
        }
    srv_text_free(&whole);
    return 0;
}

size_t seeds(size_t i, uint8_t *out, size_t cap)
{
    static const char *const forms[] = {
        ("multipart/form-data; boundary=b\n--b\r\nContent-Disposition: form-data; name=\"file\"; "
         "filename=\"a.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8\r\n--\r\n-b\r\n--b\r\n"
         "Content-Disposition: form-data; name=x\r\n\r\n1\r\n--b--\r\n"),
        ("multipart/form-data; charset=utf-8; boundary=\"a b\"\npreamble\r\n--a b \r\n"
         "content-disposition:form-data;name=\"\\\"\"\r\nX: y\r\n\r\n\r\r\n\r\n--a b--epilogue")};
    if (i >= sizeof forms / sizeof forms[0])
        return 0;
    memcpy(out, forms[i], strlen(forms[i]));
    return strlen(forms[i]);
}
