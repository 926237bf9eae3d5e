/*
 * Picture files that are wrong, odd or hostile, a test each. REFUSED names the status and a part of
 * the message; DECODED names the size and the colour of every pixel. The files are written by
 * bad_image_maker.h. (Content, views and buffers: bad_content_test.c.)
 */
#include <unistd.h>

#if defined(UFI_WITH_JPEG)
#include <stdio.h>

#include <jpeglib.h>
#endif

#include "bad_image_maker.h"
#include "base/mem.h"
#include "image/image.h"
#include "test.h"

/* Builds without any of the formats have tests of neither kind. */
__attribute__((unused)) static void refuse(const bytes *b, uf_status want, const char *part)
{
    uf_error err = {UF_OK, ""};
    uf_picture *p = NULL;
    uf_status st = uf_picture_decode(&p, b->size ? b->data : NULL, b->size, NULL, &err);
    CHECK_MSG(st == want, "%s: %s", uf_status_name(st), err.message);
    CHECK_MSG(strstr(err.message, part) != NULL, "\"%s\" lacks \"%s\"", err.message, part);
    CHECK(p == NULL);
    uf_picture_destroy(p);
}

__attribute__((unused)) static void decode(const bytes *b, int width, int height, int red,
                                           int green, int blue)
{
    uf_error err = {UF_OK, ""};
    uf_picture *p = NULL;
    const int want[3] = {red, green, blue};
    REQUIRE_OK(uf_picture_decode(&p, b->data, b->size, NULL, &err), err);
    uf_image v = uf_picture_view(p);
    CHECK_MSG(v.width == width && v.height == height, "%d x %d", v.width, v.height);
    size_t wrong = 0, n = (size_t)v.width * (size_t)v.height * 3;
    for (size_t i = 0; i < n; i++)
        wrong += abs(v.planes[0][i] - want[i % 3]) > 1;
    CHECK_MSG(wrong == 0, "%zu bytes differ; the first pixel is %d %d %d", wrong, v.planes[0][0],
              v.planes[0][1], v.planes[0][2]);
    uf_picture_destroy(p);
}

/* In the bodies `b` is the file, `x` another buffer. */
#define REFUSED(id, status, part, ...) \
    TEST(id)                           \
    {                                  \
        bytes b = {0}, x = {0};        \
        __VA_ARGS__;                   \
        refuse(&b, status, part);      \
        bytes_free(&b);                \
        bytes_free(&x);                \
    }
#define DECODED(id, w, h, red, green, blue, ...) \
    TEST(id)                                     \
    {                                            \
        bytes b = {0}, x = {0};                  \
        __VA_ARGS__;                             \
        decode(&b, w, h, red, green, blue);      \
        bytes_free(&b);                          \
        bytes_free(&x);                          \
    }
#define JPEG(...) make_jpeg(&b, (jpeg_spec){__VA_ARGS__})
#define PNG(...) make_png(&b, (png_spec){__VA_ARGS__})

/* ---- what is no picture, or another one than its name says ---- */

static void refuse_named_jpg(const void *data, size_t n, uf_status want, const char *part)
{
    char path[64];
    uf_error err = {UF_OK, ""};
    uf_picture *p = NULL;
    snprintf(path, sizeof path, "/tmp/uniface-bad-image-%d.jpg", (int)getpid());
    FILE *f = fopen(path, "wb");
    REQUIRE(f != NULL);
    fwrite(data, 1, n, f);
    fclose(f);
    uf_status st = uf_picture_load(&p, path, NULL, &err);
    CHECK_MSG(st == want, "%s: %s", uf_status_name(st), err.message);
    CHECK_MSG(!strncmp(err.message, path, strlen(path)) && strstr(err.message, part), "%s",
              err.message);
    CHECK(p == NULL);
    unlink(path);
}

#define NAMED_JPG(id, text, status, part)                      \
    TEST(id)                                                   \
    {                                                          \
        refuse_named_jpg(text, sizeof text - 1, status, part); \
    }

NAMED_JPG(file_of_0_bytes, "", UF_E_FORMAT, "0 bytes")
NAMED_JPG(file_of_1_byte, "\xff", UF_E_FORMAT, "no picture")
NAMED_JPG(text_named_jpg, "Dear reader, this is text.\n", UF_E_FORMAT, "no picture")
NAMED_JPG(html_named_jpg, "<!DOCTYPE html><html><body>404</body></html>", UF_E_FORMAT, "no picture")
NAMED_JPG(zip_named_jpg, "PK\3\4\24\0\0\0\0\0\0\0\0\0\0\0\0\0", UF_E_FORMAT, "no picture")
NAMED_JPG(pdf_named_jpg, "%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj", UF_E_UNSUPPORTED, "PDF")
NAMED_JPG(gif_named_jpg, "GIF89a\1\0\1\0\x80\0\0\0\0\0\xff\xff\xff", UF_E_UNSUPPORTED, "GIF")
NAMED_JPG(bmp_named_jpg, "BM\x3a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", UF_E_UNSUPPORTED, "BMP")
NAMED_JPG(tiff_named_jpg, "II*\0\x08\0\0\0\0\0\0\0\0\0", UF_E_UNSUPPORTED, "TIFF")
NAMED_JPG(big_endian_tiff_named_jpg, "MM\0*\0\0\0\x08\0\0\0\0\0\0", UF_E_UNSUPPORTED, "TIFF")
NAMED_JPG(heic_named_jpg,
          "\0\0\0\x18"
          "ftypheic\0\0\0\0mif1heic",
          UF_E_UNSUPPORTED, "HEIF")
NAMED_JPG(avif_named_jpg,
          "\0\0\0\x18"
          "ftypavif\0\0\0\0mif1avif",
          UF_E_UNSUPPORTED, "AVIF")
NAMED_JPG(jpeg_xl_named_jpg, "\xff\x0a\xfa\x1f\0\0\0\0\0\0", UF_E_UNSUPPORTED, "JPEG XL")

#if defined(UFI_WITH_WEBP)

NAMED_JPG(webp_header_alone, "RIFF\x0c\0\0\0WEBPVP8 ", UF_E_FORMAT, "WebP")

/* The smallest lossless WebP: one pixel. */
TEST(webp_named_jpg)
{
    char path[64];
    uf_error err = {UF_OK, ""};
    uf_picture *p = NULL, *q = NULL;
    uint8_t pixel[3] = {10, 20, 30};
    uf_image v = {.format = UF_PIXEL_RGB8, .width = 1, .height = 1, .planes = {pixel}};
    char renamed[64];
    snprintf(path, sizeof path, "/tmp/uniface-bad-image-%d.webp", (int)getpid());
    snprintf(renamed, sizeof renamed, "/tmp/uniface-bad-image-%d.jpg", (int)getpid());
    REQUIRE_OK(uf_picture_from_image(&p, &v, &err), err);
    CHECK_OK(uf_picture_save(p, path, &err), err);
    CHECK(rename(path, renamed) == 0);
    CHECK_OK(uf_picture_load(&q, renamed, NULL, &err), err);
    CHECK(q && uf_picture_view(q).width == 1);
    unlink(renamed);
    uf_picture_destroy(p);
    uf_picture_destroy(q);
}

#endif

#if defined(UFI_WITH_JPEG)

/* ---- JPEG: what is there ---- */

DECODED(jpeg_of_the_maker_is_good, 16, 16, 200, 200, 200, JPEG(0))
DECODED(jpeg_colour, 16, 16, 200, 200, 200, JPEG(.components = 3))
REFUSED(jpeg_only_soi, UF_E_FORMAT, "no picture", put_uint(&b, 0xFFD8, 2))
REFUSED(jpeg_soi_eoi, UF_E_FORMAT, "damaged JPEG near byte", put_uint(&b, 0xFFD8FFD9, 4))
REFUSED(jpeg_soi_twice, UF_E_FORMAT, "damaged JPEG near byte", put_uint(&b, 0xFFD8FFD8, 4); JPEG(0))
REFUSED(jpeg_without_dht, UF_E_FORMAT, "Huffman table", JPEG(.omit = NO_DHT, .huff_select = 0x22))
REFUSED(jpeg_without_dqt, UF_E_FORMAT, "damaged JPEG near byte", JPEG(.omit = NO_DQT))
REFUSED(jpeg_without_sof, UF_E_FORMAT, "damaged JPEG near byte", JPEG(.omit = NO_SOF))
REFUSED(jpeg_without_sos, UF_E_FORMAT, "damaged JPEG near byte", JPEG(.omit = NO_SOS))
REFUSED(jpeg_without_data, UF_E_FORMAT, "damaged JPEG near byte", JPEG(.omit = NO_DATA))
REFUSED(jpeg_without_eoi, UF_E_FORMAT, "damaged JPEG near byte", JPEG(.omit = NO_EOI))
DECODED(jpeg_and_zip_in_one, 16, 16, 200, 200, 200, JPEG(0);
        put_data(&b, "PK\3\4\24\0\0\0\0\0PK\5\6\0\0\0\0", 18))
DECODED(jpeg_trailing_100_mb, 16, 16, 200, 200, 200, JPEG(0); put_fill(&b, 0x55, 100 << 20))
REFUSED(jpeg_thumbnail_only, UF_E_FORMAT, "damaged JPEG near byte",
        put_data(&x, "Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0", 20);
        make_jpeg(&x, (jpeg_spec){0}); put_uint(&b, 0xFFD8, 2);
        put_segment(&b, 0xE1, x.data, x.size); put_uint(&b, 0xFFD9, 2))

/* ---- JPEG: sizes ---- */

REFUSED(jpeg_0_wide, UF_E_FORMAT, "damaged JPEG near byte", JPEG(.say_width = 1))
REFUSED(jpeg_0_high, UF_E_FORMAT, "damaged JPEG near byte", JPEG(.say_height = 1))
DECODED(jpeg_1_by_1, 1, 1, 200, 200, 200, JPEG(.width = 1, .height = 1))
DECODED(jpeg_1_by_1_colour_420, 1, 1, 200, 200, 200,
        JPEG(.width = 1, .height = 1, .components = 3, .sampling = {0x22}))
REFUSED(jpeg_65535_by_65535, UF_E_LIMIT, "JPEG", JPEG(.say_width = 65536, .say_height = 65536))
REFUSED(jpeg_65535_by_1, UF_E_LIMIT, "JPEG", JPEG(.say_width = 65536, .say_height = 2))
REFUSED(jpeg_65500_by_1, UF_E_LIMIT, "65500 x 1", JPEG(.say_width = 65501, .say_height = 2))
REFUSED(jpeg_30000_by_30000, UF_E_LIMIT, "30000 x 30000",
        JPEG(.say_width = 30001, .say_height = 30001))
REFUSED(jpeg_10000_by_9000_without_data, UF_E_FORMAT, "damaged JPEG near byte",
        JPEG(.say_width = 10001, .say_height = 9001))
DECODED(jpeg_32768_by_1, 32768, 1, 200, 200, 200, JPEG(.width = 32768, .height = 1))

/* ---- JPEG: components and sampling ---- */

REFUSED(jpeg_0_components, UF_E_FORMAT, "damaged JPEG near byte", JPEG(.say_components = 1))
REFUSED(jpeg_2_components, UF_E_UNSUPPORTED, "JPEG", JPEG(.components = 2))
REFUSED(jpeg_5_components, UF_E_UNSUPPORTED, "JPEG", JPEG(.say_components = 6))
REFUSED(jpeg_255_components, UF_E_FORMAT, "damaged JPEG near byte", JPEG(.say_components = 256))

/* Changes byte `at` of the frame header, its marker being byte 0. */
static void patch_sof(bytes *b, size_t at, uint8_t v)
{
    for (size_t i = 0; i + at < b->size; i++)
        if (b->data[i] == 0xFF && b->data[i + 1] == 0xC0) {
            b->data[i + at] = v;
            return;
        }
}

REFUSED(jpeg_sampling_0, UF_E_FORMAT, "sampling", JPEG(0); patch_sof(&b, 11, 0))
REFUSED(jpeg_sampling_5, UF_E_FORMAT, "sampling", JPEG(.components = 3, .sampling = {0x51}))
REFUSED(jpeg_sampling_4x4_and_1x1, UF_E_FORMAT, "damaged JPEG near byte",
        JPEG(.components = 3, .sampling = {0x44}))
DECODED(jpeg_gray_sampling_4x4, 40, 40, 200, 200, 200,
        JPEG(.width = 40, .height = 40, .sampling = {0x44}))
DECODED(jpeg_sampling_411, 50, 20, 200, 200, 200,
        JPEG(.width = 50, .height = 20, .components = 3, .sampling = {0x41}))
DECODED(jpeg_sampling_440, 20, 50, 200, 200, 200,
        JPEG(.width = 20, .height = 50, .components = 3, .sampling = {0x12}))
DECODED(jpeg_sampling_mixed, 33, 35, 200, 200, 200,
        JPEG(.width = 33, .height = 35, .components = 3, .sampling = {0x22, 0x21, 0x12}))
DECODED(jpeg_sampling_3x1, 50, 20, 200, 200, 200,
        JPEG(.width = 50, .height = 20, .components = 3, .sampling = {0x31}))
REFUSED(jpeg_sampling_3_to_2, UF_E_UNSUPPORTED, "JPEG",
        JPEG(.components = 3, .sampling = {0x31, 0x21, 0x11}))
REFUSED(jpeg_component_twice, UF_E_FORMAT, "damaged JPEG near byte", JPEG(.components = 3);
        patch_sof(&b, 13, 1))

/* ---- JPEG: tables ---- */

static void put_wide_dht(bytes *b, int codes)
{
    uint8_t counts[16] = {0}, symbols[600] = {0};
    for (int i = 0; i < codes; i++)
        counts[15 - i / 255]++;
    put_dht(b, 0x00, counts, symbols, (size_t)codes);
}

static void put_dht_of_length_1(bytes *b, uint8_t id, uint8_t codes, uint8_t symbol)
{
    uint8_t counts[16] = {codes}, symbols[8];
    memset(symbols, symbol, sizeof symbols);
    put_dht(b, id, counts, symbols, codes);
}

REFUSED(jpeg_dht_257_codes, UF_E_FORMAT, "Huffman", put_wide_dht(&x, 257); JPEG(.dht = &x))
REFUSED(jpeg_dht_600_codes, UF_E_FORMAT, "Huffman", put_wide_dht(&x, 600); JPEG(.dht = &x))
REFUSED(jpeg_dht_overfull, UF_E_FORMAT, "Huffman", put_dht_of_length_1(&x, 0x00, 3, 0);
        put_dht_of_length_1(&x, 0x10, 1, 0); JPEG(.dht = &x))
REFUSED(jpeg_dht_empty, UF_E_FORMAT, "damaged JPEG near byte", put_dht_of_length_1(&x, 0x00, 0, 0);
        put_dht_of_length_1(&x, 0x10, 0, 0); JPEG(.dht = &x))
REFUSED(jpeg_dht_dc_of_255_bits, UF_E_FORMAT, "Huffman", put_dht_of_length_1(&x, 0x00, 1, 255);
        put_dht_of_length_1(&x, 0x10, 1, 0); JPEG(.dht = &x))
REFUSED(jpeg_dht_number_9, UF_E_FORMAT, "DHT", put_dht_of_length_1(&x, 0x09, 1, 0); JPEG(.dht = &x))
DECODED(jpeg_dqt_16_bit_in_baseline, 16, 16, 200, 200, 200, JPEG(.quant16 = true))
REFUSED(jpeg_sos_names_absent_tables, UF_E_FORMAT, "Huffman table", JPEG(.huff_select = 0x33))
REFUSED(jpeg_sos_names_table_15, UF_E_FORMAT, "Huffman table", JPEG(.huff_select = 0xFF))
REFUSED(jpeg_sos_names_absent_component, UF_E_FORMAT, "damaged JPEG near byte",
        JPEG(.say_components = 2);
        patch_sof(&b, 10, 77))

/* ---- JPEG: restart markers ---- */

DECODED(jpeg_dri_1, 64, 64, 200, 200, 200, JPEG(.width = 64, .height = 64, .restart = 1))
REFUSED(jpeg_dri_1_without_rst, UF_E_FORMAT, "damaged JPEG near byte",
        JPEG(.width = 64, .height = 64, .restart = 1, .order = RST_MISSING))
REFUSED(jpeg_dri_1_rst_reordered, UF_E_FORMAT, "damaged JPEG near byte",
        JPEG(.width = 64, .height = 64, .restart = 1, .order = RST_SWAPPED))

/* ---- JPEG: processes ---- */

/* The DC scan of a gray picture of so many blocks. */
static void put_dc_scan(bytes *b, size_t blocks)
{
    bit_writer w = {.to = b};
    put_sos(b, 1, 0, 0, 0, 0);
    for (size_t i = 0; i < blocks; i++) {
        put_bits(&w, i ? 0 : 2, i ? 1 : 2);
        if (i == 0)
            put_bits(&w, JPEG_LEVEL - 128, 7);
    }
    end_bits(&w);
}

/* AC scans that say nothing, one block after the other. */
static void put_ac_scans(bytes *b, int scans, int blocks)
{
    for (int s = 0; s < scans; s++) {
        bit_writer w = {.to = b};
        put_sos(b, 1, 0, 1, 63, 0);
        for (int i = 0; i < blocks; i++)
            put_bits(&w, 0, 1);
        end_bits(&w);
    }
}

/* AC scans of runs of blocks without coefficients: 32767 blocks in 15 bits. */
static void put_run_scans(bytes *b, int scans, int blocks)
{
    for (int s = 0; s < scans; s++) {
        bit_writer w = {.to = b};
        put_sos(b, 1, 0, 1, 63, 0);
        for (int left = blocks; left > 0; left -= 32767) {
            put_bits(&w, 0, 1); /* EOB14: 16384 and 14 bits more */
            put_bits(&w, 0x3FFF, 14);
        }
        end_bits(&w);
    }
}

static void put_run_dht(bytes *b)
{
    static const uint8_t dc[16] = {1, 1}, symbols[2] = {0, 7};
    put_dht(b, 0x00, dc, symbols, 2);
    put_dht_of_length_1(b, 0x10, 1, 0xE0);
}

DECODED(jpeg_progressive, 16, 16, 200, 200, 200, put_dc_scan(&x, 4); put_ac_scans(&x, 1, 4);
        JPEG(.sof = 0xC2, .scans = &x))
DECODED(jpeg_150_scans, 16, 16, 200, 200, 200, put_dc_scan(&x, 4); put_ac_scans(&x, 149, 4);
        JPEG(.sof = 0xC2, .scans = &x))
REFUSED(jpeg_80000_scans, UF_E_LIMIT, "scans", put_dc_scan(&x, 4); put_ac_scans(&x, 80000, 4);
        JPEG(.sof = 0xC2, .scans = &x))

/* 180 passes over 16 million pixels, asked for by 50 KB. */
TEST(jpeg_eob_run_bomb)
{
    bytes b = {0}, scans = {0}, dht = {0};
    put_run_dht(&dht);
    put_dc_scan(&scans, 512 * 512);
    put_run_scans(&scans, 180, 512 * 512);
    make_jpeg(
        &b, (jpeg_spec){.width = 4096, .height = 4096, .sof = 0xC2, .scans = &scans, .dht = &dht});
    refuse(&b, UF_E_LIMIT, "scans");
    bytes_free(&b);
    bytes_free(&scans);
    bytes_free(&dht);
}

REFUSED(jpeg_scan_of_no_component, UF_E_FORMAT, "damaged JPEG near byte",
        put_sos(&x, 0, 0, 0, 63, 0);
        JPEG(.scans = &x))
REFUSED(jpeg_scan_past_coefficient_63, UF_E_FORMAT, "damaged JPEG near byte",
        put_sos(&x, 1, 0, 1, 64, 0);
        put_fill(&x, 0, 8); JPEG(.sof = 0xC2, .scans = &x))
REFUSED(jpeg_lossless, UF_E_UNSUPPORTED, "JPEG", JPEG(.sof = 0xC3))
REFUSED(jpeg_hierarchical, UF_E_UNSUPPORTED, "JPEG", JPEG(.sof = 0xC5))
REFUSED(jpeg_hierarchical_progressive, UF_E_UNSUPPORTED, "JPEG", JPEG(.sof = 0xC6))
REFUSED(jpeg_12_bit, UF_E_UNSUPPORTED, "JPEG", JPEG(.sof = 0xC1, .precision = 12))
REFUSED(jpeg_16_bit, UF_E_UNSUPPORTED, "JPEG", JPEG(.precision = 16))
DECODED(jpeg_extended_sequential, 16, 16, 200, 200, 200, JPEG(.sof = 0xC1))
REFUSED(jpeg_reserved_frame, UF_E_UNSUPPORTED, "JPEG", JPEG(.sof = 0xC8))

#if defined(C_ARITH_CODING_SUPPORTED) && defined(D_ARITH_CODING_SUPPORTED)

/* The library's own encoder, as arithmetic codes are no table to write down. */
TEST(jpeg_arithmetic)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    unsigned char *data = NULL;
    unsigned long size = 0;
    uint8_t level[16];
    JSAMPROW row = level;
    memset(level, 200, sizeof level);
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &data, &size);
    c.image_width = c.image_height = 16;
    c.input_components = 1;
    c.in_color_space = JCS_GRAYSCALE;
    jpeg_set_defaults(&c);
    c.arith_code = TRUE;
    jpeg_start_compress(&c, TRUE);
    while (c.next_scanline < 16)
        jpeg_write_scanlines(&c, &row, 1);
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    bytes b = {.data = data, .size = size};
    decode(&b, 16, 16, 200, 200, 200);
    free(data);
}

#else

REFUSED(jpeg_arithmetic, UF_E_UNSUPPORTED, "JPEG", JPEG(.sof = 0xC9))

#endif

/* 200 of ink and of black, stored inverted: 200 * 200 / 255. */
DECODED(jpeg_cmyk_adobe, 16, 16, 157, 157, 157, JPEG(.components = 4, .adobe = 1))
DECODED(jpeg_cmyk_plain, 16, 16, 12, 12, 12, JPEG(.components = 4))
DECODED(jpeg_ycck_adobe, 16, 16, 0, 103, 0, JPEG(.components = 4, .adobe = 3))
REFUSED(jpeg_adobe_transform_255, UF_E_FORMAT, "Adobe", JPEG(.components = 3, .adobe = 256))

/* ---- JPEG: EXIF and other segments ---- */

#define ORIENTED(id, value, w, h)                                          \
    DECODED(id, w, h, 200, 200, 200, put_exif(&x, 8, 1, 0x0112, value, 0); \
            JPEG(.width = 24, .height = 16, .before = &x))

ORIENTED(exif_orientation_0, 0, 24, 16)
ORIENTED(exif_orientation_1, 1, 24, 16)
ORIENTED(exif_orientation_2, 2, 24, 16)
ORIENTED(exif_orientation_3, 3, 24, 16)
ORIENTED(exif_orientation_4, 4, 24, 16)
ORIENTED(exif_orientation_5, 5, 16, 24)
ORIENTED(exif_orientation_6, 6, 16, 24)
ORIENTED(exif_orientation_7, 7, 16, 24)
ORIENTED(exif_orientation_8, 8, 16, 24)
ORIENTED(exif_orientation_9, 9, 24, 16)
ORIENTED(exif_orientation_65535, 65535, 24, 16)

#define ODD_EXIF(id, directory, entries, tag, next)                                    \
    DECODED(id, 24, 16, 200, 200, 200, put_exif(&x, directory, entries, tag, 6, next); \
            JPEG(.width = 24, .height = 16, .before = &x))

ODD_EXIF(exif_directory_follows_itself, 8, 1, 0x0100, 8)
ODD_EXIF(exif_directory_in_the_header, 0, 1, 0x0112, 0)
ODD_EXIF(exif_directory_past_the_end, 0xFFFFFFF0u, 1, 0x0112, 0)
ODD_EXIF(exif_directory_at_the_last_byte, 25, 1, 0x0112, 0)
ODD_EXIF(exif_65535_entries, 8, 65535, 0x0100, 0)
ODD_EXIF(exif_directory_of_itself, 8, 1, 0x8769, 8)

DECODED(jpeg_1000_app_segments_of_64_kb, 16, 16, 200, 200, 200, put_fill(&b, 'E', 65533);
        for (int i = 0; i < 1000; i++) put_segment(&x, 0xE1, b.data, 65533); b.size = 0;
        JPEG(.before = &x))

/* The profile in 255 pieces, as long as they may be. */
DECODED(
    jpeg_icc_16_mb, 16, 16, 200, 200, 200, for (int i = 1; i <= 255; i++) {
        bytes piece = {0};
        put_data(&piece, "ICC_PROFILE\0", 12);
        put_uint(&piece, (unsigned)i << 8 | 255, 2);
        put_fill(&piece, 7, 65519);
        put_segment(&x, 0xE2, piece.data, piece.size);
        bytes_free(&piece);
    } JPEG(.before = &x))
/* Shorter than its own length field: taken as empty. */
DECODED(jpeg_segment_of_length_1, 16, 16, 200, 200, 200, put_uint(&x, 0xFFE00001, 4);
        JPEG(.before = &x))
REFUSED(jpeg_segment_past_the_end, UF_E_FORMAT, "damaged JPEG near byte",
        put_uint(&b, 0xFFD8FFE0FFFF, 6);
        put_fill(&b, 0, 100))

/* ---- JPEG: cuts ---- */

static void make_large_jpeg(bytes *b)
{
    bytes exif = {0};
    put_exif(&exif, 8, 1, 0x0112, 1, 0);
    make_jpeg(b, (jpeg_spec){.width = 640,
                             .height = 480,
                             .components = 3,
                             .sampling = {0x22},
                             .restart = 40,
                             .before = &exif});
    bytes_free(&exif);
}

TEST(jpeg_cut_at_every_marker)
{
    bytes b = {0};
    int cuts = 0;
    make_large_jpeg(&b);
    const size_t whole = b.size;
    for (size_t i = 2; i + 1 < whole; i++) {
        if (b.data[i] != 0xFF || b.data[i + 1] == 0 || b.data[i + 1] == 0xFF)
            continue;
        for (size_t n = i; n <= i + 2 && n < whole; n++) {
            b.size = n;
            refuse(&b, UF_E_FORMAT, n < 3 ? "no picture" : "damaged JPEG near byte");
        }
        cuts++;
    }
    CHECK_MSG(cuts > 30, "%d markers", cuts);
    bytes_free(&b);
}

TEST(jpeg_cut_at_every_97th_byte)
{
    bytes b = {0};
    make_large_jpeg(&b);
    const size_t whole = b.size;
    CHECK(whole > 97 * 10);
    for (b.size = 97; b.size < whole; b.size += 97)
        refuse(&b, UF_E_FORMAT, "damaged JPEG near byte");
    bytes_free(&b);
}

#endif

#if defined(UFI_WITH_PNG)

/* ---- PNG: signature and checksums ---- */

DECODED(png_of_the_maker_is_good, 4, 4, 200, 200, 200, PNG(0))
REFUSED(png_bad_signature, UF_E_FORMAT, "no picture", PNG(0); b.data[1] = 'p')
REFUSED(png_signature_by_text_transfer, UF_E_FORMAT, "no picture", PNG(0); b.data[4] = '\n')
REFUSED(png_signature_alone, UF_E_FORMAT, "damaged PNG near byte", put_data(&b, PNG_MAGIC, 8))

/* The checksum of the chunk called `name` is spoiled. */
static void spoil(bytes *b, const char *name)
{
    uint8_t *c = find_chunk(b, name);
    size_t n = (size_t)c[2] << 8 | c[3];
    c[8 + n] ^= 1;
}

REFUSED(png_crc_of_ihdr, UF_E_FORMAT, "CRC", PNG(0); spoil(&b, "IHDR"))
REFUSED(png_crc_of_plte, UF_E_FORMAT, "CRC", PNG(.colour = PALETTE, .palette = 256);
        spoil(&b, "PLTE"))
REFUSED(png_crc_of_idat, UF_E_FORMAT, "CRC", PNG(0); spoil(&b, "IDAT"))
REFUSED(png_crc_of_iend, UF_E_FORMAT, "CRC", PNG(0); spoil(&b, "IEND"))
DECODED(png_crc_of_text, 4, 4, 200, 200, 200, put_chunk(&x, "tEXt", "k\0v", 3); PNG(.early = &x);
        spoil(&b, "tEXt"))

/* ---- PNG: the header ---- */

REFUSED(png_without_ihdr, UF_E_FORMAT, "damaged PNG near byte", put_data(&b, PNG_MAGIC, 8);
        png_spec s = png_defaults((png_spec){0}); put_png_rest(&b, &s))
REFUSED(png_ihdr_twice, UF_E_FORMAT, "damaged PNG near byte",
        png_spec s = png_defaults((png_spec){0});
        put_ihdr(&x, &s); PNG(.early = &x))
REFUSED(png_ihdr_late, UF_E_FORMAT, "damaged PNG near byte", put_data(&b, PNG_MAGIC, 8);
        put_chunk(&b, "gAMA", "\0\0\xb1\x8f", 4); png_spec s = png_defaults((png_spec){0});
        put_ihdr(&b, &s); put_png_rest(&b, &s))
REFUSED(png_ihdr_of_12_bytes, UF_E_FORMAT, "damaged PNG near byte", put_data(&b, PNG_MAGIC, 8);
        put_chunk(&b, "IHDR", "\0\0\0\4\0\0\0\4\x08\0\0", 12))

/* A header that says what no picture has; data of one byte a pixel. */
static void put_png_header(bytes *b, uint32_t width, uint32_t height, unsigned rest)
{
    bytes t = {0};
    png_spec s = png_defaults((png_spec){0});
    put_data(b, PNG_MAGIC, 8);
    put_uint(&t, width, 4);
    put_uint(&t, height, 4);
    put_uint(&t, rest, 4); /* depth, colour, compression, filter */
    put_uint(&t, 0, 1);
    put_chunk(b, "IHDR", t.data, t.size);
    put_png_rest(b, &s);
    bytes_free(&t);
}

#define BAD_HEADER(id, width, height, rest) \
    REFUSED(id, UF_E_FORMAT, "damaged PNG near byte", put_png_header(&b, width, height, rest))

BAD_HEADER(png_depth_0, 4, 4, 0x00000000)
BAD_HEADER(png_depth_3, 4, 4, 0x03000000)
BAD_HEADER(png_depth_32, 4, 4, 0x20000000)
BAD_HEADER(png_colour_1, 4, 4, 0x08010000)
BAD_HEADER(png_colour_5, 4, 4, 0x08050000)
BAD_HEADER(png_colour_7, 4, 4, 0x08070000)
BAD_HEADER(png_rgb_of_4_bits, 4, 4, 0x04020000)
BAD_HEADER(png_palette_of_16_bits, 4, 4, 0x10030000)
BAD_HEADER(png_alpha_of_2_bits, 4, 4, 0x02060000)
BAD_HEADER(png_compression_1, 4, 4, 0x08000100)
BAD_HEADER(png_filter_method_1, 4, 4, 0x08000001)
BAD_HEADER(png_0_wide, 0, 4, 0x08000000)
BAD_HEADER(png_0_high, 4, 0, 0x08000000)
BAD_HEADER(png_2_to_the_31_wide, 0x80000000u, 4, 0x08000000)
REFUSED(png_1_by_2_to_the_31_less_1, UF_E_LIMIT, "1 x 2147483647",
        put_png_header(&b, 1, 0x7FFFFFFF, 0x08000000))
REFUSED(png_60000_by_60000, UF_E_LIMIT, "60000 x 60000",
        put_png_header(&b, 60000, 60000, 0x08000000))
REFUSED(png_30000_by_30000, UF_E_LIMIT, "30000 x 30000",
        put_png_header(&b, 30000, 30000, 0x08000000))

/* ---- PNG: palettes and transparency ---- */

DECODED(png_palette, 4, 4, 7, 200, 100, PNG(.colour = PALETTE, .palette = 256, .level = 7))
REFUSED(png_palette_missing, UF_E_FORMAT, "PLTE", PNG(.colour = PALETTE))
REFUSED(png_palette_of_0, UF_E_FORMAT, "damaged PNG near byte", put_chunk(&x, "PLTE", "", 0);
        PNG(.colour = PALETTE, .early = &x))
/* What the palette does not have is black. */
DECODED(png_palette_short, 4, 4, 0, 0, 0, PNG(.colour = PALETTE, .palette = 2, .level = 7))
REFUSED(png_palette_of_257, UF_E_FORMAT, "PLTE", PNG(.colour = PALETTE, .palette = 257))
REFUSED(png_palette_of_7_bytes, UF_E_FORMAT, "PLTE", put_chunk(&x, "PLTE", "1234567", 7);
        PNG(.colour = PALETTE, .early = &x))
REFUSED(png_palette_twice, UF_E_FORMAT, "PLTE", put_plte(&x, 4);
        PNG(.colour = PALETTE, .palette = 4, .early = &x, .level = 1))
DECODED(png_palette_of_a_gray_picture, 4, 4, 200, 200, 200, put_plte(&x, 4); PNG(.early = &x))
DECODED(png_trns_longer_than_the_palette, 4, 4, 1, 200, 100, put_plte(&x, 2);
        put_chunk(&x, "tRNS", "\0\0\0\0\0\0", 6); PNG(.colour = PALETTE, .early = &x, .level = 1))
DECODED(png_trns_of_3_bytes_for_gray, 4, 4, 200, 200, 200, put_chunk(&x, "tRNS", "\0\xc8\0", 3);
        PNG(.early = &x))
DECODED(png_trns_before_the_palette, 4, 4, 1, 200, 100, put_chunk(&x, "tRNS", "\0\0", 2);
        PNG(.colour = PALETTE, .early = &x, .palette = 2, .level = 1))
DECODED(png_trns_hides_the_picture, 4, 4, 0, 0, 0, put_chunk(&x, "tRNS", "\0\xc8", 2);
        PNG(.early = &x))

/* ---- PNG: data ---- */

#define ROWS_OF_ZEROS(repeats) put_zlib_bomb(&x, repeats)

REFUSED(png_filter_5, UF_E_FORMAT, "filter", PNG(.filter = 5))
REFUSED(png_filter_255, UF_E_FORMAT, "filter", PNG(.filter = 255))
REFUSED(png_idat_empty, UF_E_FORMAT, "damaged PNG near byte", bytes none = {0}; PNG(.idat = &none))
DECODED(png_idat_split_per_byte, 9, 9, 200, 200, 200, PNG(.width = 9, .height = 9, .piece = 1))
REFUSED(png_idat_missing, UF_E_FORMAT, "damaged PNG near byte", put_data(&b, PNG_MAGIC, 8);
        png_spec s = png_defaults((png_spec){0}); put_ihdr(&b, &s); put_chunk(&b, "IEND", "", 0))
REFUSED(png_idat_short, UF_E_FORMAT, "damaged PNG near byte",
        png_spec s = png_defaults((png_spec){.height = 3});
        bytes raw = {0}; put_png_rows(&raw, &s); put_zlib(&x, raw.data, raw.size); bytes_free(&raw);
        PNG(.idat = &x))
REFUSED(png_idat_no_zlib, UF_E_FORMAT, "damaged PNG near byte",
        put_data(&x, "this is not compressed", 22);
        PNG(.idat = &x))
REFUSED(png_idat_cut, UF_E_FORMAT, "damaged PNG near byte", PNG(0);
        b.size = (size_t)(find_chunk(&b, "IDAT") - b.data) + 12)
REFUSED(png_without_iend, UF_E_FORMAT, "truncated", PNG(0); b.size -= 12)

static void spoil_adler(bytes *z)
{
    png_spec s = png_defaults((png_spec){0});
    bytes raw = {0};
    put_png_rows(&raw, &s);
    put_zlib(z, raw.data, raw.size);
    z->data[z->size - 1] ^= 1;
    bytes_free(&raw);
}

REFUSED(png_adler_wrong, UF_E_FORMAT, "damaged PNG near byte", spoil_adler(&x); PNG(.idat = &x))

/* 65 KB hold the 67 million pixels: that is what they say, and within the limit. */
DECODED(png_deflate_1000_to_1, 8192, 8192, 0, 0, 0, ROWS_OF_ZEROS((8193 * 8192 - 1) / 258 + 1);
        PNG(.width = 8192, .height = 8192, .idat = &x))
/* A small picture with a gigabyte behind it. */
DECODED(png_gigabyte_behind_the_picture, 4, 4, 0, 0, 0, ROWS_OF_ZEROS(4 << 20); PNG(.idat = &x))

TEST(png_bomb_over_the_limit)
{
    bytes b = {0}, z = {0};
    uf_error err = {UF_OK, ""};
    uf_decode_options o = UF_DECODE_OPTIONS_INIT;
    uf_picture *p = NULL;
    put_zlib_bomb(&z, 20000);
    make_png(&b, (png_spec){.width = 2000, .height = 2000, .idat = &z});
    o.max_pixels = 1000000;
    CHECK(uf_picture_decode(&p, b.data, b.size, &o, &err) == UF_E_LIMIT);
    CHECK_MSG(strstr(err.message, "2000 x 2000") != NULL, "%s", err.message);
    bytes_free(&b);
    bytes_free(&z);
}

/* A gigabyte in a text and in a colour profile: neither is of interest. */
static void put_bomb_chunk(bytes *b, const char *name)
{
    bytes t = {0};
    put_data(&t, "name\0", 6);
    put_zlib_bomb(&t, 4 << 20);
    put_chunk(b, name, t.data, t.size);
    bytes_free(&t);
}

DECODED(png_ztxt_bomb, 4, 4, 200, 200, 200, put_bomb_chunk(&x, "zTXt"); PNG(.early = &x))
DECODED(png_iccp_bomb, 4, 4, 200, 200, 200, put_bomb_chunk(&x, "iCCP"); PNG(.early = &x))
DECODED(png_ztxt_bomb_at_the_end, 4, 4, 200, 200, 200, put_bomb_chunk(&x, "zTXt"); PNG(.late = &x))

static void put_many(bytes *b, const char *name, const char *data, size_t size, size_t n)
{
    bytes one = {0};
    put_chunk(&one, name, data, size);
    for (size_t i = 0; i < n; i++)
        put_data(b, one.data, one.size);
    bytes_free(&one);
}

DECODED(png_1000001_chunks, 4, 4, 200, 200, 200, put_many(&x, "prVt", "", 0, 1000001);
        PNG(.early = &x))
DECODED(png_1000001_texts, 4, 4, 200, 200, 200, put_many(&x, "tEXt", "k\0v", 3, 1000001);
        PNG(.early = &x))
REFUSED(png_unknown_critical_chunk, UF_E_FORMAT, "damaged PNG near byte",
        put_chunk(&x, "NEWs", "", 0);
        PNG(.early = &x))
REFUSED(png_chunk_of_4_gb, UF_E_FORMAT, "damaged PNG near byte", PNG(0);
        memset(find_chunk(&b, "IDAT"), 0xFF, 4))
REFUSED(png_chunk_with_digits_for_a_name, UF_E_FORMAT, "damaged PNG near byte",
        put_chunk(&x, "1234", "", 0);
        PNG(.early = &x))

/* ---- PNG: kinds ---- */

DECODED(png_interlaced_1_by_17, 1, 17, 200, 200, 200,
        PNG(.width = 1, .height = 17, .interlaced = true))
DECODED(png_interlaced_17_by_1, 17, 1, 200, 200, 200,
        PNG(.width = 17, .height = 1, .interlaced = true))
DECODED(png_interlaced_1_by_1, 1, 1, 200, 200, 200,
        PNG(.width = 1, .height = 1, .interlaced = true))
DECODED(png_interlaced_of_1_bit, 9, 9, 255, 255, 255,
        PNG(.width = 9, .height = 9, .depth = 1, .level = 255, .interlaced = true))
DECODED(png_16_bit, 4, 4, 200, 200, 200, PNG(.depth = 16))
DECODED(png_16_bit_rgb, 4, 4, 200, 200, 200, PNG(.depth = 16, .colour = RGB))
DECODED(png_1_bit, 9, 4, 255, 255, 255, PNG(.width = 9, .depth = 1, .level = 255))
/* Alpha of 200 over black. */
DECODED(png_alpha, 4, 4, 157, 157, 157, PNG(.colour = RGBA))
DECODED(png_gray_alpha, 4, 4, 157, 157, 157, PNG(.colour = GRAY_ALPHA))
DECODED(png_16_bit_alpha, 4, 4, 157, 157, 157, PNG(.depth = 16, .colour = RGBA))
DECODED(png_animated, 4, 4, 200, 200, 200, put_chunk(&x, "acTL", "\0\0\0\2\0\0\0\0", 8);
        put_chunk(&x, "fcTL", "\0\0\0\0\0\0\0\4\0\0\0\4\0\0\0\0\0\0\0\0\0\1\0\1\0\0", 26);
        PNG(.early = &x, .late = &x))
DECODED(png_gamma_0, 4, 4, 200, 200, 200, put_chunk(&x, "gAMA", "\0\0\0\0", 4); PNG(.early = &x))
DECODED(png_gamma_largest, 4, 4, 200, 200, 200, put_chunk(&x, "gAMA", "\x7f\xff\xff\xff", 4);
        PNG(.early = &x))

/* EXIF in a PNG turns it as well. */
DECODED(png_exif_orientation_6, 2, 5, 200, 200, 200,
        put_chunk(&x, "eXIf", "MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0", 26);
        PNG(.width = 5, .height = 2, .early = &x))

/* Without memory libpng says what it says of damaged files: that is not the picture's fault. */
TEST(png_without_memory)
{
    bytes b = {0}, exif = {0};
    uf_status st = UF_E_NOMEM;
    put_chunk(&exif, "eXIf", "MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0", 26);
    make_png(&b, (png_spec){.width = 30, .height = 20, .colour = RGB, .early = &exif});
    int failures = 0;
    for (uint64_t k = 1; st == UF_E_NOMEM && k < 100; k++, failures++) {
        uf_error err = {UF_OK, ""};
        uf_picture *p = NULL;
        ufi_mem_fail_after(k, false);
        st = uf_picture_decode(&p, b.data, b.size, NULL, &err);
        ufi_mem_fail_after(0, false);
        CHECK_MSG(st == UF_E_NOMEM || st == UF_OK, "%llu: %s", (unsigned long long)k, err.message);
        CHECK((st == UF_OK) == (p != NULL));
        uf_picture_destroy(p);
    }
    CHECK_MSG(failures > 3, "%d", failures);
    bytes_free(&b);
    bytes_free(&exif);
}

TEST(png_cut_at_every_byte)
{
    bytes b = {0};
    make_png(&b, (png_spec){.width = 30, .height = 20, .colour = RGB, .piece = 100});
    const size_t whole = b.size;
    for (b.size = 8; b.size < whole; b.size++)
        refuse(&b, UF_E_FORMAT, "damaged PNG near byte");
    bytes_free(&b);
}

#endif

TEST_MAIN
