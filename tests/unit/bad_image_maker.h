/*
 * Writes JPEG and PNG files by hand, whole or wrong in one chosen way. A field of the description
 * that is left at its default gives a good file; pictures are of one colour, so that what comes
 * back can be told exactly.
 */
#ifndef UF_TESTS_BAD_IMAGE_MAKER_H
#define UF_TESTS_BAD_IMAGE_MAKER_H

#include <stdbool.h>

#include "bytes_maker.h"

/* ---- JPEG ---- */

enum { NO_DHT = 1, NO_DQT = 2, NO_SOF = 4, NO_SOS = 8, NO_EOI = 16, NO_DATA = 32 };
enum rst_order { RST_GOOD, RST_MISSING, RST_SWAPPED };
/* The sample that makes luma (and CMYK's ink) 200. */
enum { JPEG_LEVEL = 200 };

typedef struct jpeg_spec {
    int width, height, components; /* default 16 x 16, 1 */
    uint8_t sampling[4];           /* 0: 0x11 */
    uint8_t sof;                   /* marker, default 0xC0 */
    uint8_t precision;             /* default 8 */
    int say_width, say_height;     /* what SOF claims, when not the truth (+1: 0 means truth) */
    int say_components;            /* likewise */
    int omit;                      /* NO_... */
    int adobe;                     /* transform of an Adobe marker, -1 (default 0 is none): +1 */
    int restart;                   /* MCUs between restart markers */
    enum rst_order order;
    bool quant16;        /* 16-bit quantisation table */
    uint8_t huff_select; /* tables that SOS names: Td << 4 | Ta */
    const bytes *dht;    /* instead of the good tables */
    const bytes *before; /* segments behind SOI */
    const bytes *scans;  /* instead of the one scan */
} jpeg_spec;

static inline void put_segment(bytes *b, uint8_t marker, const void *data, size_t n)
{
    put_uint(b, 0xFF00u | marker, 2);
    put_uint(b, n + 2, 2);
    put_data(b, data, n);
}

typedef struct bit_writer {
    bytes *to;
    uint32_t held;
    int count;
} bit_writer;

/* JPEG's order: the first bit is the highest; 0xFF is followed by a zero. */
static inline void put_bits(bit_writer *w, uint32_t bits, int n)
{
    while (n-- > 0) {
        w->held = w->held << 1 | (bits >> n & 1);
        if (++w->count < 8)
            continue;
        put_uint(w->to, w->held & 0xFF, 1);
        if ((w->held & 0xFF) == 0xFF)
            put_uint(w->to, 0, 1);
        w->count = 0;
    }
}

static inline void end_bits(bit_writer *w)
{
    while (w->count)
        put_bits(w, 1, 1);
}

static inline int jpeg_blocks(const jpeg_spec *s, int c)
{
    uint8_t v = s->sampling[c] ? s->sampling[c] : 0x11;
    return (v >> 4) * (v & 15);
}

/* MCUs across the picture: a single component is not interleaved, whatever its sampling is. */
static inline int jpeg_mcu_count(const jpeg_spec *s)
{
    int h = 1, v = 1;
    for (int c = 0; c < s->components && s->components > 1; c++) {
        uint8_t f = s->sampling[c] ? s->sampling[c] : 0x11;
        h = f >> 4 > h ? f >> 4 : h;
        v = (f & 15) > v ? f & 15 : v;
    }
    return (s->width + 8 * h - 1) / (8 * h) * ((s->height + 8 * v - 1) / (8 * v));
}

/* Code 0: no change of the mean / end of block; code 10: a change of 7 bits. */
static inline void put_block(bit_writer *w, bool first, int level)
{
    put_bits(w, first ? 2 : 0, first ? 2 : 1);
    if (first)
        put_bits(w, (uint32_t)level, 7);
    put_bits(w, 0, 1);
}

static inline void put_jpeg_data(bytes *b, const jpeg_spec *s)
{
    bit_writer w = {.to = b};
    int mcus = jpeg_mcu_count(s), since = 0, next = 0;
    bool first = true;
    for (int m = 0; m < mcus; m++, since++) {
        if (s->restart && since == s->restart) {
            int number = s->order == RST_SWAPPED ? next ^ 1 : next;
            end_bits(&w);
            if (s->order != RST_MISSING)
                put_uint(b, 0xFFD0u + (unsigned)number, 2);
            next = (next + 1) & 7;
            since = 0;
            first = true;
        }
        for (int c = 0; c < s->components; c++)
            for (int k = 0; k < (s->components > 1 ? jpeg_blocks(s, c) : 1); k++)
                /* Only luma differs from the middle; of CMYK all do. */
                put_block(&w, first && k == 0 && (c == 0 || s->components == 4), JPEG_LEVEL - 128);
        first = false;
    }
    end_bits(&w);
}

static inline void put_dqt(bytes *b, bool wide)
{
    uint8_t t[129] = {wide ? 0x10 : 0};
    for (int i = 0; i < 64; i++)
        t[wide ? 2 + 2 * i : 1 + i] = 8;
    put_segment(b, 0xDB, t, wide ? 129 : 65);
}

/* One Huffman table: how many codes of each length, and their symbols. */
static inline void put_dht(bytes *b, uint8_t id, const uint8_t counts[16], const uint8_t *symbols,
                           size_t n)
{
    uint8_t t[1 + 16 + 1024] = {id};
    memcpy(t + 1, counts, 16);
    memcpy(t + 17, symbols, n);
    put_segment(b, 0xC4, t, 17 + n);
}

static inline void put_good_dht(bytes *b)
{
    static const uint8_t dc[16] = {1, 1}, dc_symbols[2] = {0, 7}, ac[16] = {1}, ac_symbols[1] = {0};
    put_dht(b, 0x00, dc, dc_symbols, 2);
    put_dht(b, 0x10, ac, ac_symbols, 1);
}

static inline void put_sof(bytes *b, const jpeg_spec *s)
{
    uint8_t t[6 + 3 * 255];
    int n = s->say_components ? s->say_components - 1 : s->components;
    int w = s->say_width ? s->say_width - 1 : s->width;
    int h = s->say_height ? s->say_height - 1 : s->height;
    t[0] = s->precision;
    t[1] = (uint8_t)(h >> 8), t[2] = (uint8_t)h, t[3] = (uint8_t)(w >> 8), t[4] = (uint8_t)w;
    t[5] = (uint8_t)n;
    for (int c = 0; c < n; c++) {
        t[6 + 3 * c] = (uint8_t)(c + 1);
        t[7 + 3 * c] = c < 4 && s->sampling[c] ? s->sampling[c] : 0x11;
        t[8 + 3 * c] = 0;
    }
    put_segment(b, s->sof, t, 6 + 3 * (size_t)n);
}

/* A scan of the first n components. */
static inline void put_sos(bytes *b, int n, uint8_t select, uint8_t from, uint8_t to, uint8_t bits)
{
    uint8_t t[1 + 2 * 4 + 3] = {(uint8_t)n};
    for (int c = 0; c < n; c++)
        t[1 + 2 * c] = (uint8_t)(c + 1), t[2 + 2 * c] = select;
    t[1 + 2 * n] = from, t[2 + 2 * n] = to, t[3 + 2 * n] = bits;
    put_segment(b, 0xDA, t, 4 + 2 * (size_t)n);
}

static inline void make_jpeg(bytes *b, jpeg_spec s)
{
    s.width = s.width ? s.width : 16;
    s.height = s.height ? s.height : 16;
    s.components = s.components ? s.components : 1;
    s.sof = s.sof ? s.sof : 0xC0;
    s.precision = s.precision ? s.precision : 8;
    put_uint(b, 0xFFD8, 2);
    if (s.before)
        put_data(b, s.before->data, s.before->size);
    if (s.adobe) {
        const uint8_t t[12] = {'A', 'd', 'o', 'b', 'e', 0, 100, 0, 0, 0, 0, (uint8_t)(s.adobe - 1)};
        put_segment(b, 0xEE, t, 12);
    }
    if (!(s.omit & NO_DQT))
        put_dqt(b, s.quant16);
    if (!(s.omit & NO_SOF))
        put_sof(b, &s);
    if (s.dht)
        put_data(b, s.dht->data, s.dht->size);
    else if (!(s.omit & NO_DHT))
        put_good_dht(b);
    if (s.restart) {
        const uint8_t t[2] = {(uint8_t)(s.restart >> 8), (uint8_t)s.restart};
        put_segment(b, 0xDD, t, 2);
    }
    if (s.scans) {
        put_data(b, s.scans->data, s.scans->size);
    } else {
        if (!(s.omit & NO_SOS))
            put_sos(b, s.components, s.huff_select, 0, 63, 0);
        if (!(s.omit & NO_DATA))
            put_jpeg_data(b, &s);
    }
    if (!(s.omit & NO_EOI))
        put_uint(b, 0xFFD9, 2);
}

/* ---- EXIF ---- */

/* An APP1 segment with a TIFF block of one directory entry, big-endian. */
static inline void put_exif(bytes *b, uint32_t directory, unsigned entries, unsigned tag,
                            unsigned value, uint32_t next)
{
    bytes t = {0};
    put_data(&t, "Exif\0\0MM\0*", 10);
    put_uint(&t, directory, 4);
    put_uint(&t, entries, 2);
    put_uint(&t, tag, 2);
    put_uint(&t, 3, 2);
    put_uint(&t, 1, 4);
    put_uint(&t, value, 2);
    put_uint(&t, 0, 2);
    put_uint(&t, next, 4);
    put_segment(b, 0xE1, t.data, t.size);
    bytes_free(&t);
}

/* ---- PNG ---- */

static inline uint32_t png_crc(const uint8_t *p, size_t n)
{
    uint32_t c = 0xFFFFFFFFu;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ 0xEDB88320u : c >> 1;
    }
    return ~c;
}

static inline void put_chunk(bytes *b, const char *name, const void *data, size_t n)
{
    put_uint(b, n, 4);
    size_t at = b->size;
    put_data(b, name, 4);
    put_data(b, data, n);
    put_uint(b, png_crc(b->data + at, n + 4), 4);
}

static inline uint32_t adler32_of(const uint8_t *p, size_t n, uint32_t start)
{
    uint32_t a = start & 0xFFFF, c = start >> 16;
    for (size_t i = 0; i < n; i++) {
        a = (a + p[i]) % 65521;
        c = (c + a) % 65521;
    }
    return c << 16 | a;
}

/* zlib's format, stored. */
static inline void put_zlib(bytes *b, const uint8_t *data, size_t n)
{
    put_uint(b, 0x7801, 2);
    size_t at = 0;
    do {
        size_t now = n - at < 65535 ? n - at : 65535;
        put_fill(b, at + now == n, 1);
        put_fill(b, (uint8_t)now, 1), put_fill(b, (uint8_t)(now >> 8), 1);
        put_fill(b, (uint8_t)~now, 1), put_fill(b, (uint8_t)(~now >> 8), 1);
        put_data(b, data + at, now);
        at += now;
    } while (at < n);
    put_uint(b, adler32_of(data, n, 1), 4);
}

/* Deflate's order: the first bit is the lowest. */
static inline void put_low_bits(bit_writer *w, uint32_t bits, int n)
{
    for (int i = 0; i < n; i++) {
        w->held |= (bits >> i & 1) << w->count;
        if (++w->count == 8) {
            put_uint(w->to, w->held, 1);
            w->held = 0;
            w->count = 0;
        }
    }
}

/* 1 + 258 * repeats zeros, at two bits for 258 of them: a ratio of 1032 to 1. One dynamic block:
 * literal 0 is 10, the end is 11, a copy of 258 bytes is 0 with distance 0. */
static inline void put_zlib_bomb(bytes *b, size_t repeats)
{
    bit_writer w = {.to = b};
    put_uint(b, 0x7801, 2);
    put_low_bits(&w, 1, 1);  /* last block */
    put_low_bits(&w, 2, 2);  /* dynamic */
    put_low_bits(&w, 29, 5); /* 286 literals and lengths */
    put_low_bits(&w, 0, 5);  /* 1 distance */
    put_low_bits(&w, 14, 4); /* 18 lengths of the code of lengths */
    for (int i = 0; i < 18; i++)
        put_low_bits(&w, i == 2 ? 1 : i == 15 || i == 17 ? 2 : 0, 3); /* 18, 2, 1 */
    put_low_bits(&w, 3, 2);                                           /* literal 0: 2 bits */
    put_low_bits(&w, 0, 1), put_low_bits(&w, 127, 7);                 /* 138 absent */
    put_low_bits(&w, 0, 1), put_low_bits(&w, 106, 7);                 /* 117 absent */
    put_low_bits(&w, 3, 2);                                           /* end: 2 bits */
    put_low_bits(&w, 0, 1), put_low_bits(&w, 17, 7);                  /* 28 absent */
    put_low_bits(&w, 1, 2);                                           /* length 258: 1 bit */
    put_low_bits(&w, 1, 2);                                           /* distance 1: 1 bit */
    put_low_bits(&w, 1, 2);                                           /* a zero (10) */
    for (size_t i = 0; i < repeats; i++)
        put_low_bits(&w, 0, 2);
    put_low_bits(&w, 3, 2); /* the end (11) */
    if (w.count)
        put_low_bits(&w, 0, 8 - w.count);
    size_t n = 1 + 258 * repeats;
    put_uint(b, (n % 65521) << 16 | 1, 4); /* Adler-32 of n zeros */
}

enum { GRAY = 0, RGB = 2, PALETTE = 3, GRAY_ALPHA = 4, RGBA = 6 };

typedef struct png_spec {
    uint32_t width, height; /* default 4 x 4 */
    int depth, colour;      /* default 8, GRAY */
    uint8_t level;          /* every byte of the rows, default 200 */
    uint8_t filter;         /* of every row */
    bool interlaced;
    int palette;        /* entries of PLTE; entry i is (i, 200, 100) */
    const bytes *early; /* chunks behind IHDR */
    const bytes *late;  /* chunks before IEND */
    const bytes *idat;  /* instead of the good compressed data */
    size_t piece;       /* bytes of an IDAT chunk; 0: one chunk for all */
} png_spec;

static inline size_t png_row_bytes(const png_spec *s, size_t width)
{
    static const size_t channels[8] = {1, 1, 3, 1, 2, 1, 4, 1};
    return (width * channels[s->colour] * (size_t)s->depth + 7) / 8;
}

static inline void put_png_rows(bytes *raw, const png_spec *s)
{
    /* Adam7: where each pass begins and its steps. */
    static const uint8_t passes[7][4] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                         {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
    for (int p = 0; p < (s->interlaced ? 7 : 1); p++) {
        const uint8_t *a = passes[p];
        size_t w = s->width, h = s->height;
        if (s->interlaced) {
            w = w > a[0] ? (w - a[0] + a[2] - 1) / a[2] : 0;
            h = h > a[1] ? (h - a[1] + a[3] - 1) / a[3] : 0;
        }
        for (size_t y = 0; w && y < h; y++) {
            put_fill(raw, s->filter, 1);
            put_fill(raw, s->level, png_row_bytes(s, w));
        }
    }
}

static inline void put_ihdr(bytes *b, const png_spec *s)
{
    bytes t = {0};
    put_uint(&t, s->width, 4);
    put_uint(&t, s->height, 4);
    put_uint(&t, (uint64_t)s->depth, 1);
    put_uint(&t, (uint64_t)s->colour, 1);
    put_uint(&t, s->interlaced, 3);
    put_chunk(b, "IHDR", t.data, t.size);
    bytes_free(&t);
}

static inline void put_plte(bytes *b, int entries)
{
    bytes t = {0};
    for (int i = 0; i < entries; i++)
        put_uint(&t, (uint64_t)(i & 255) << 16 | 200 << 8 | 100, 3);
    put_chunk(b, "PLTE", t.data, t.size);
    bytes_free(&t);
}

static inline png_spec png_defaults(png_spec s)
{
    s.width = s.width ? s.width : 4;
    s.height = s.height ? s.height : 4;
    s.depth = s.depth ? s.depth : 8;
    s.level = s.level ? s.level : 200;
    return s;
}

#define PNG_MAGIC "\x89PNG\r\n\x1a\n"

/* IDAT and what follows. */
static inline void put_png_rest(bytes *b, const png_spec *s)
{
    bytes raw = {0}, z = {0};
    if (s->idat) {
        put_data(&z, s->idat->data, s->idat->size);
    } else {
        put_png_rows(&raw, s);
        put_zlib(&z, raw.data, raw.size);
    }
    size_t piece = s->piece ? s->piece : z.size, at = 0;
    do {
        size_t now = z.size - at < piece ? z.size - at : piece;
        put_chunk(b, "IDAT", z.data + at, now);
        at += now;
    } while (at < z.size);
    if (s->late)
        put_data(b, s->late->data, s->late->size);
    put_chunk(b, "IEND", "", 0);
    bytes_free(&raw);
    bytes_free(&z);
}

static inline void make_png(bytes *b, png_spec s)
{
    s = png_defaults(s);
    put_data(b, PNG_MAGIC, 8);
    put_ihdr(b, &s);
    if (s.early)
        put_data(b, s.early->data, s.early->size);
    if (s.palette)
        put_plte(b, s.palette);
    put_png_rest(b, &s);
}

/* The chunk called `name`; its first byte is the length. */
static inline uint8_t *find_chunk(const bytes *b, const char *name)
{
    for (size_t at = 8; at + 12 <= b->size;) {
        const uint8_t *c = b->data + at;
        size_t n = (size_t)c[0] << 24 | (size_t)c[1] << 16 | (size_t)c[2] << 8 | c[3];
        if (memcmp(c + 4, name, 4) == 0)
            return b->data + at;
        at += 12 + n;
    }
    abort();
}

#endif
