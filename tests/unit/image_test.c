/* Pictures: conversions, orientation, decoding of good and of damaged files. */
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "image/image.h"
#include "test.h"

enum { W = 37, H = 21 };

/* A drawn test picture: smooth, with different corners. */
static uf_picture *draw(int w, int h)
{
    uf_error err;
    uf_picture *p = NULL;
    uint8_t *pixels = malloc((size_t)w * (size_t)h * 3);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            uint8_t *to = pixels + (y * w + x) * 3;
            to[0] = (uint8_t)(x * 255 / w);
            to[1] = (uint8_t)(y * 255 / h);
            to[2] = (uint8_t)((x + y) * 255 / (w + h));
        }
    uf_image view = {.format = UF_PIXEL_RGB8, .width = w, .height = h, .planes = {pixels}};
    if (uf_picture_from_image(&p, &view, &err))
        printf("%s\n", err.message);
    free(pixels);
    return p;
}

/* Encodes by saving; the caller frees. */
static uint8_t *encode(const uf_picture *p, const char *suffix, size_t *size)
{
    char path[64];
    uf_error err;
    uint8_t *bytes = NULL;
    snprintf(path, sizeof path, "/tmp/uniface-image-test-%d%s", (int)getpid(), suffix);
    if (uf_picture_save(p, path, &err) || ufi_file_read(&bytes, size, path, 1 << 24, &err))
        printf("%s\n", err.message);
    unlink(path);
    return bytes;
}

static double difference(const uf_picture *a, const uf_picture *b)
{
    uf_image va = uf_picture_view(a), vb = uf_picture_view(b);
    double sum = 0;
    if (va.width != vb.width || va.height != vb.height)
        return 1e9;
    size_t n = (size_t)va.width * (size_t)va.height * 3;
    for (size_t i = 0; i < n; i++)
        sum += abs(va.planes[0][i] - vb.planes[0][i]);
    return sum / (double)n;
}

#if defined(UFI_WITH_JPEG)
#define JPEG ".jpg"
#endif

static const char *const suffixes[] = {
#if defined(UFI_WITH_JPEG)
    ".jpg",
#endif
#if defined(UFI_WITH_PNG)
    ".png",
#endif
#if defined(UFI_WITH_WEBP)
    ".webp",
#endif
    NULL};

TEST(formats_round_trip)
{
    uf_error err;
    if (!suffixes[0])
        SKIP("this build reads no picture format");
    uf_picture *p = draw(160, 120);
    for (int i = 0; suffixes[i]; i++) {
        size_t size;
        uf_picture *q = NULL;
        uint8_t *bytes = encode(p, suffixes[i], &size);
        CHECK_OK(uf_picture_decode(&q, bytes, size, NULL, &err), err);
        CHECK_MSG(q && difference(p, q) < 4, "%s differs by %g", suffixes[i],
                  q ? difference(p, q) : -1);
        uf_picture_destroy(q);
        ufi_free(bytes);
    }
    uf_picture_destroy(p);
}

TEST(damaged_pictures_are_refused)
{
    uf_error err;
    if (!suffixes[0])
        SKIP("this build reads no picture format");
    uf_picture *p = draw(W, H);
    for (int i = 0; suffixes[i]; i++) {
        size_t size, accepted = 0;
        uf_picture *q;
        uint64_t seed = 5;
        uint8_t *bytes = encode(p, suffixes[i], &size);
        for (size_t n = 0; n < size; n++) {
            uf_status st = uf_picture_decode(&q, bytes, n, NULL, &err);
            accepted += st == UF_OK;
            uf_picture_destroy(q);
        }
        /* A file without its last bytes may still hold the whole picture. */
        CHECK_MSG(accepted <= 16, "%s: %zu truncations pass", suffixes[i], accepted);
        for (int k = 0; k < 3000; k++) {
            size_t at = test_random(&seed) % size;
            uint8_t was = bytes[at];
            bytes[at] = (uint8_t)test_random(&seed);
            (void)uf_picture_decode(&q, bytes, size, NULL, &err);
            uf_picture_destroy(q);
            bytes[at] = was;
        }
        ufi_free(bytes);
    }
    uf_picture_destroy(p);
}

TEST(other_files_are_named)
{
    static const struct {
        const char *bytes;
        size_t size;
        uf_status status;
        const char *part;
    } cases[] = {
        {"", 0, UF_E_FORMAT, "empty"},
        {"hello, this is text", 19, UF_E_FORMAT, "no picture that is known"},
        {"GIF89a.............", 19, UF_E_UNSUPPORTED, "GIF"},
        {"\0\0\0\x18"
         "ftypheic........",
         20, UF_E_UNSUPPORTED, "HEIF"},
        {"\0\0\0\x18"
         "ftypavif........",
         20, UF_E_UNSUPPORTED, "AVIF"},
        {"BM..................", 20, UF_E_UNSUPPORTED, "BMP"},
        {"II*\0................", 20, UF_E_UNSUPPORTED, "TIFF"},
        {"%PDF-1.4............", 20, UF_E_UNSUPPORTED, "PDF"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uf_error err = {UF_OK, ""};
        uf_picture *p = NULL;
        CHECK(uf_picture_decode(&p, cases[i].bytes, cases[i].size, NULL, &err) == cases[i].status);
        CHECK_MSG(strstr(err.message, cases[i].part) != NULL, "%s", err.message);
        CHECK(p == NULL);
    }
    uf_error err;
    uf_picture *p = NULL;
    CHECK(uf_picture_load(&p, "/no/such/photo.jpg", NULL, &err) == UF_E_IO);
    CHECK(strstr(err.message, "/no/such/photo.jpg") != NULL);
    CHECK(uf_picture_load(&p, "/tmp", NULL, &err) == UF_E_IO);
}

TEST(large_pictures_are_refused_before_they_cost)
{
    uf_error err;
    uf_decode_options o = UF_DECODE_OPTIONS_INIT;
    if (!suffixes[0])
        SKIP("this build reads no picture format");
    uf_picture *p = draw(64, 64), *q;
    o.max_pixels = 64 * 64 - 1;
    for (int i = 0; suffixes[i]; i++) {
        size_t size;
        uint8_t *bytes = encode(p, suffixes[i], &size);
        CHECK(uf_picture_decode(&q, bytes, size, &o, &err) == UF_E_LIMIT);
        ufi_free(bytes);
    }
    uf_picture_destroy(p);
}

#if defined(UFI_WITH_JPEG)
TEST(scaled_decoding)
{
    uf_error err;
    uf_decode_options o = UF_DECODE_OPTIONS_INIT;
    size_t size;
    uf_picture *p = draw(640, 480), *q;
    uint8_t *bytes = encode(p, ".jpg", &size);
    static const struct {
        int32_t min_side, width;
    } cases[] = {{0, 640}, {480, 640}, {241, 640}, {240, 320}, {120, 160}, {1, 80}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t w, h;
        o.min_side = cases[i].min_side;
        REQUIRE_OK(uf_picture_decode(&q, bytes, size, &o, &err), err);
        CHECK(uf_picture_view(q).width == cases[i].width);
        uf_picture_source_size(q, &w, &h);
        CHECK(w == 640 && h == 480);
        uf_picture_destroy(q);
    }
    ufi_free(bytes);
    uf_picture_destroy(p);
}

/* A JPEG with an EXIF block that asks for `orientation`. */
static uint8_t *with_orientation(const uint8_t *jpeg, size_t size, int orientation,
                                 size_t *out_size)
{
    const uint8_t exif[] = {0xFF, 0xE1, 0, 34,  'E', 'x', 'i', 'f', 0, 0,
                            'M',  'M',  0, '*', 0,   0,   0,   8,   0, 1,
                            1,    0x12, 0, 3,   0,   0,   0,   1,   0, (uint8_t)orientation,
                            0,    0,    0, 0,   0,   0};
    uint8_t *out = malloc(size + sizeof exif);
    memcpy(out, jpeg, 2);
    memcpy(out + 2, exif, sizeof exif);
    memcpy(out + 2 + sizeof exif, jpeg + 2, size - 2);
    *out_size = size + sizeof exif;
    return out;
}

TEST(all_orientations)
{
    /* Where the stored top left corner is to be seen: right? bottom? and whether sides swap. */
    static const struct {
        bool right, bottom, swapped;
    } seen[9] = {{0},       {0, 0, 0}, {1, 0, 0}, {1, 1, 0}, {0, 1, 0},
                 {0, 0, 1}, {1, 0, 1}, {1, 1, 1}, {0, 1, 1}};
    uf_error err;
    size_t size, turned_size;
    uf_picture *p = draw(W, H), *q;
    size_t stride;
    uint8_t *pixels = uf_picture_pixels(p, &stride);
    memset(pixels, 0, stride * H);
    for (int y = 0; y < 8; y++)
        memset(pixels + (size_t)y * stride, 255, 8 * 3); /* a white corner on black */
    uint8_t *bytes = encode(p, ".jpg", &size);
    for (int o = 1; o <= 8; o++) {
        uint8_t *turned = with_orientation(bytes, size, o, &turned_size);
        REQUIRE_OK(uf_picture_decode(&q, turned, turned_size, NULL, &err), err);
        uf_image v = uf_picture_view(q);
        CHECK(v.width == (seen[o].swapped ? H : W) && v.height == (seen[o].swapped ? W : H));
        int x = seen[o].right ? v.width - 3 : 2, y = seen[o].bottom ? v.height - 3 : 2;
        CHECK_MSG(v.planes[0][(size_t)y * v.strides[0] + (size_t)x * 3] > 200, "orientation %d", o);
        uf_picture_destroy(q);
        free(turned);
    }
    ufi_free(bytes);
    uf_picture_destroy(p);
}
#endif

/* ---- views ---- */

TEST(pixel_formats)
{
    uf_error err;
    uint8_t bytes[256];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + 3);
    static const struct {
        uf_pixel_format format;
        uint8_t rgb[3]; /* of pixel (1, 0), stride 16 */
    } cases[] = {{UF_PIXEL_RGB8, {24, 31, 38}},
                 {UF_PIXEL_BGR8, {38, 31, 24}},
                 {UF_PIXEL_GRAY8, {10, 10, 10}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uf_picture *p;
        uf_image v = {
            .format = cases[i].format, .width = 4, .height = 3, .planes = {bytes}, .strides = {16}};
        REQUIRE_OK(uf_picture_from_image(&p, &v, &err), err);
        CHECK(memcmp(uf_picture_view(p).planes[0] + 3, cases[i].rgb, 3) == 0);
        uf_picture_destroy(p);
    }
    uint8_t half[8] = {200, 100, 50, 128, 0, 0, 0, 0};
    uf_picture *p;
    uf_image v = {.format = UF_PIXEL_BGRA8, .width = 2, .height = 1, .planes = {half}};
    REQUIRE_OK(uf_picture_from_image(&p, &v, &err), err);
    CHECK(uf_picture_view(p).planes[0][0] == 25 && uf_picture_view(p).planes[0][2] == 100);
    uf_picture_destroy(p);
}

TEST(yuv_formats_agree)
{
    uf_error err;
    uint8_t luma[12], uv[8], u[4], w[4];
    uint64_t seed = 9;
    for (int i = 0; i < 12; i++)
        luma[i] = (uint8_t)test_random(&seed);
    for (int i = 0; i < 4; i++) {
        u[i] = uv[2 * i] = (uint8_t)test_random(&seed);
        w[i] = uv[2 * i + 1] = (uint8_t)test_random(&seed);
    }
    uf_image nv12 = {.format = UF_PIXEL_NV12, .width = 4, .height = 3, .planes = {luma, uv}};
    uf_image i420 = {.format = UF_PIXEL_I420, .width = 4, .height = 3, .planes = {luma, u, w}};
    uf_picture *a, *b;
    REQUIRE_OK(uf_picture_from_image(&a, &nv12, &err), err);
    REQUIRE_OK(uf_picture_from_image(&b, &i420, &err), err);
    CHECK(difference(a, b) == 0);
    for (int i = 0; i < 12; i++) { /* against the definition */
        int k = i / 4 / 2 * 2 + i % 4 / 2;
        double y = luma[i], cb = u[k] - 128.0, cr = w[k] - 128.0;
        double rgb[3] = {y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb};
        for (int c = 0; c < 3; c++) {
            double want = fmin(fmax(rgb[c], 0), 255);
            CHECK(fabs(want - uf_picture_view(a).planes[0][i * 3 + c]) <= 1);
        }
    }
    uf_picture_destroy(a);
    uf_picture_destroy(b);
}

TEST(bad_views_are_refused)
{
    uint8_t bytes[64] = {0};
    uf_error err;
    uf_picture *p;
    const uf_image good = {.format = UF_PIXEL_RGB8, .width = 4, .height = 4, .planes = {bytes}};
    uf_image v = good;
    v.width = 0;
    CHECK(uf_picture_from_image(&p, &v, &err) == UF_E_ARG && p == NULL);
    v = good, v.height = UF_IMAGE_MAX_SIDE + 1;
    CHECK(uf_picture_from_image(&p, &v, &err) == UF_E_ARG);
    v = good, v.strides[0] = 11;
    CHECK(uf_picture_from_image(&p, &v, &err) == UF_E_ARG && strstr(err.message, "strides[0]"));
    v = good, v.planes[0] = NULL;
    CHECK(uf_picture_from_image(&p, &v, &err) == UF_E_ARG && strstr(err.message, "planes[0]"));
    v = good, v.format = (uf_pixel_format)99;
    CHECK(uf_picture_from_image(&p, &v, &err) == UF_E_ARG);
    v = good, v.rotation = (uf_rotation)45;
    CHECK(uf_picture_from_image(&p, &v, &err) == UF_E_ARG);
    CHECK(uf_picture_from_image(&p, NULL, &err) == UF_E_ARG);
}

/* ---- geometry ---- */

TEST(letterboxing)
{
    uf_error err;
    uint8_t canvas[64 * 64 * 3];
    ufi_letterbox box;
    uf_picture *p = draw(128, 64);
    uf_image v = uf_picture_view(p);
    REQUIRE_OK(ufi_image_letterbox(canvas, 64, 64, &v, UFI_FIT_TOP_LEFT, &box, &err), err);
    CHECK(box.scale_x == 0.5f && box.scale_y == 0.5f && box.offset_y == 0);
    CHECK(canvas[(31 * 64 + 63) * 3] > 240 && canvas[(33 * 64 + 63) * 3] == 0);
    REQUIRE_OK(ufi_image_letterbox(canvas, 64, 64, &v, UFI_FIT_CENTER, &box, &err), err);
    CHECK(box.offset_y == 16 && canvas[(8 * 64 + 63) * 3] == 0);
    REQUIRE_OK(ufi_image_letterbox(canvas, 64, 64, &v, UFI_FIT_STRETCH, &box, &err), err);
    CHECK(box.scale_x == 0.5f && box.scale_y == 1 && canvas[(63 * 64 + 63) * 3] > 240);
    uf_picture_destroy(p);
}

TEST(resizing)
{
    uf_error err;
    static uint8_t out[W * H * 3];
    uf_picture *p = draw(W, H);
    uf_image v = uf_picture_view(p), bgr = v, bad = v;
    REQUIRE_OK(uf_image_resize(&v, W, H, out, &err), err);
    CHECK(memcmp(out, v.planes[0], sizeof out) == 0);
    REQUIRE_OK(uf_image_resize(&v, W / 2, H / 2, out, &err), err);
    bgr.format = UF_PIXEL_BGR8;
    const uint8_t red = out[0];
    REQUIRE_OK(uf_image_resize(&bgr, W / 2, H / 2, out, &err), err);
    CHECK(out[2] == red);
    CHECK(uf_image_resize(&v, 0, 5, out, &err) == UF_E_ARG);
    CHECK(uf_image_resize(&v, 5, UF_IMAGE_MAX_SIDE + 1, out, &err) == UF_E_ARG);
    CHECK(uf_image_resize(&v, 5, 5, NULL, &err) == UF_E_ARG);
    CHECK(uf_image_resize(&v, 5, 5, (uint8_t *)(uintptr_t)v.planes[0], &err) == UF_E_ARG);
    bad.width = 0;
    CHECK(uf_image_resize(&bad, 5, 5, out, &err) == UF_E_ARG);
    uf_picture_destroy(p);
}

/* Reductions by whole numbers are the means of squares, rounded. */
TEST(shrinking)
{
    static const int factors[] = {2, 3, 4, 5, 16, 63};
    uf_error err;
    for (size_t f = 0; f < sizeof factors / sizeof *factors; f++) {
        const int by = factors[f], w = 7, h = 5, area = by * by;
        uint8_t *pixels = malloc((size_t)(w * by * h * by * 3)), out[7 * 5 * 3];
        uint32_t noise = 1;
        for (int i = 0; i < w * by * h * by * 3; i++) {
            noise = noise * 1664525u + 1013904223u;
            pixels[i] = (uint8_t)(i % 5 ? noise >> 24 : 255);
        }
        const uf_image v = {
            .format = UF_PIXEL_RGB8, .width = w * by, .height = h * by, .planes = {pixels}};
        REQUIRE_OK(uf_image_resize(&v, w, h, out, &err), err);
        for (int i = 0; i < w * h * 3; i++) {
            const int x = i / 3 % w, y = i / 3 / w, c = i % 3;
            int sum = area / 2;
            for (int j = 0; j < area; j++)
                sum += pixels[((y * by + j / by) * w * by + x * by + j % by) * 3 + c];
            CHECK_MSG(out[i] == sum / area, "by %d, byte %d: %d, mean %d", by, i, out[i],
                      sum / area);
        }
        free(pixels);
    }
}

TEST(warping)
{
    uf_error err;
    uint8_t out[W * H * 3];
    const float same[6] = {1, 0, 0, 0, 1, 0}, right[6] = {1, 0, -5, 0, 1, 0}, bad[6] = {NAN};
    uf_picture *p = draw(W, H);
    uf_image v = uf_picture_view(p);
    CHECK_OK(ufi_image_warp(out, W, H, &v, same, &err), err);
    CHECK(memcmp(out, v.planes[0], sizeof out) == 0);
    CHECK_OK(ufi_image_warp(out, W, H, &v, right, &err), err);
    CHECK(out[0] == 0 && memcmp(out + 15, v.planes[0], 3) == 0);
    CHECK(ufi_image_warp(out, W, H, &v, bad, &err) == UF_E_ARG);
    uf_picture_destroy(p);
}

TEST_MAIN
