/* Boxes, points and short labels into a picture, in colours that show on any skin and background.
 */
#include <string.h>

#include "cli.h"

/* A 5 x 7 font of what labels need, a row per byte, the leftmost pixel in bit 4. */
static const struct {
    char c;
    unsigned char rows[7];
} font[] = {
    {'0', {14, 17, 19, 21, 25, 17, 14}}, {'1', {4, 12, 4, 4, 4, 4, 14}},
    {'2', {14, 17, 1, 2, 4, 8, 31}},     {'3', {31, 2, 4, 2, 1, 17, 14}},
    {'4', {2, 6, 10, 18, 31, 2, 2}},     {'5', {31, 16, 30, 1, 1, 17, 14}},
    {'6', {6, 8, 16, 30, 17, 17, 14}},   {'7', {31, 1, 2, 4, 8, 8, 8}},
    {'8', {14, 17, 17, 14, 17, 17, 14}}, {'9', {14, 17, 17, 15, 1, 2, 12}},
    {'.', {0, 0, 0, 0, 0, 12, 12}},      {'#', {10, 10, 31, 10, 31, 10, 10}},
    {' ', {0, 0, 0, 0, 0, 0, 0}},        {'-', {0, 0, 0, 31, 0, 0, 0}},
};

typedef struct canvas {
    uint8_t *pixels;
    size_t stride;
    int width, height;
} canvas;

static void dot(const canvas *c, int x, int y, const uint8_t colour[3])
{
    if (x >= 0 && y >= 0 && x < c->width && y < c->height)
        memcpy(c->pixels + (size_t)y * c->stride + (size_t)x * 3, colour, 3);
}

static void fill(const canvas *c, int x, int y, int w, int h, const uint8_t colour[3])
{
    for (int j = 0; j < h; j++)
        for (int i = 0; i < w; i++)
            dot(c, x + i, y + j, colour);
}

static void frame(const canvas *c, int x, int y, int w, int h, int thick, const uint8_t colour[3])
{
    fill(c, x, y, w, thick, colour);
    fill(c, x, y + h - thick, w, thick, colour);
    fill(c, x, y, thick, h, colour);
    fill(c, x + w - thick, y, thick, h, colour);
}

static void letter(const canvas *c, char ch, int x, int y, int scale, const uint8_t colour[3])
{
    for (size_t k = 0; k < sizeof font / sizeof *font; k++)
        for (int row = 0; font[k].c == ch && row < 7; row++)
            for (int column = 0; column < 5; column++)
                if (font[k].rows[row] >> (4 - column) & 1)
                    fill(c, x + column * scale, y + row * scale, scale, scale, colour);
}

/* Coordinates of a face may lie anywhere; drawing needs them in the range of int. */
static int whole(float v)
{
    return (int)(v < -65536 ? -65536 : v > 65536 ? 65536 : v);
}

void draw_face(uf_picture *p, const uf_face *f, const char *label)
{
    static const uint8_t green[3] = {40, 220, 90}, dark[3] = {0, 0, 0};
    static const uint8_t points[UF_LANDMARKS][3] = {
        {255, 70, 70}, {70, 120, 255}, {255, 220, 0}, {255, 90, 220}, {60, 230, 230}};
    uf_image view = uf_picture_view(p);
    canvas c = {.width = view.width, .height = view.height};
    c.pixels = uf_picture_pixels(p, &c.stride);
    int longest = c.width > c.height ? c.width : c.height, scale = longest / 640 + 1;
    int x = whole(f->x), y = whole(f->y), w = whole(f->width), h = whole(f->height);
    frame(&c, x, y, w, h, scale + 1, green);
    for (int i = 0; f->has_landmarks && i < UF_LANDMARKS; i++)
        fill(&c, whole(f->landmarks[i].x) - scale, whole(f->landmarks[i].y) - scale, 2 * scale + 1,
             2 * scale + 1, points[i]);
    int n = (int)strlen(label), top = y - 9 * scale < 0 ? y : y - 9 * scale;
    fill(&c, x, top, (6 * n + 1) * scale, 9 * scale, dark);
    for (int i = 0; i < n; i++)
        letter(&c, label[i], x + (6 * i + 1) * scale, top + scale, scale, green);
}
