/* Base64: what decodes comes back the same when it is encoded again, and fits where it must. */
#include "fuzz.h"

#include "server/base64.h"

static void require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_base64: %s\n", what);
        abort();
    }
}

/* The text without line ends; its size. */
static size_t without_line_ends(const uint8_t *data, size_t size, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < size; i++)
        if (data[i] != '\r' && data[i] != '\n')
            out[n++] = (char)data[i];
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const size_t skip = srv_base64_skip_url(text, size), room = srv_base64_room(size - skip);
    uint8_t *bytes = malloc(room);
    char *again = malloc(4 * ((room + 2) / 3) + 1), *plain = malloc(size + 1);
    size_t n = 0;
    require(skip <= size && bytes && again && plain, "the URL's head is longer than the URL");
    if (srv_base64_decode(text + skip, size - skip, bytes, &n)) {
        require(n <= room, "more bytes than there is room");
        srv_base64_encode(bytes, n, again);
        const size_t plain_size = without_line_ends(data + skip, size - skip, plain);
        require(plain_size == strlen(again) && !memcmp(plain, again, plain_size),
                "two texts stand for the same bytes");
    }
    free(bytes);
    free(again);
    free(plain);
    return 0;
}

size_t seeds(size_t i, uint8_t *out, size_t cap)
{
    static const char *const texts[] = {
        "Zm9vYmFyLCBmb29iYXIhIQ==", "data:image/png;base64,iVBORw0K\r\nGgo=",
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAEBAQEBAQEBAQEBAQEBAQE"};
    if (i >= sizeof texts / sizeof texts[0])
        return 0;
    memcpy(out, texts[i], strlen(texts[i]));
    return strlen(texts[i]);
}
