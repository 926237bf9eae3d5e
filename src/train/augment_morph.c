/*
 * A person who does not exist, of two who do.
 *
 * Both faces are brought to the points halfway between theirs: each crop pixel looks into the
 * first picture at its place plus a displacement, into the second at its place minus the same. The
 * displacement is what five Gaussians around the halfway points give, so it fades with the distance
 * from the face. The faces are mixed inside an ellipse and only there: two outlines of hair and jaw
 * on top of each other are no person. The second face is first given the first one's colours.
 */
#include <math.h>
#include <string.h>

#include "model/align.h"
#include "train/augment.h"

enum { POINTS = UF_LANDMARKS, CELL = 16 };

/* Solves a x = b for two right sides; a is symmetric and has a heavy diagonal. */
static void solve(double a[POINTS][POINTS], double b[POINTS][2])
{
    for (int k = 0; k < POINTS; k++)
        for (int i = k + 1; i < POINTS; i++) {
            const double f = a[i][k] / a[k][k];
            for (int j = k; j < POINTS; j++)
                a[i][j] -= f * a[k][j];
            b[i][0] -= f * b[k][0];
            b[i][1] -= f * b[k][1];
        }
    for (int k = POINTS - 1; k >= 0; k--)
        for (int r = 0; r < 2; r++) {
            for (int j = k + 1; j < POINTS; j++)
                b[k][r] -= a[k][j] * b[j][r];
            b[k][r] /= a[k][k];
        }
}

/* Displacements in crop pixels. */
typedef struct field {
    double x[POINTS], y[POINTS]; /* the halfway points */
    double weights[POINTS][2];
    double narrow; /* -1 / (2 sigma^2) */
} field;

static double bump(const field *f, int i, double x, double y)
{
    const double dx = x - f->x[i], dy = y - f->y[i];
    return exp((dx * dx + dy * dy) * f->narrow);
}

/* `first`, `second`: the faces' points in the crop; `face`: pixels of the crop that ArcFace's crop
 * would take there. */
static void make_field(field *f, const uf_point *first, const uf_point *second, double face)
{
    double a[POINTS][POINTS];
    const double sigma = 0.22 * face;
    f->narrow = -1 / (2 * sigma * sigma);
    for (int i = 0; i < POINTS; i++) {
        f->x[i] = ((double)first[i].x + (double)second[i].x) / 2;
        f->y[i] = ((double)first[i].y + (double)second[i].y) / 2;
        f->weights[i][0] = ((double)first[i].x - (double)second[i].x) / 2;
        f->weights[i][1] = ((double)first[i].y - (double)second[i].y) / 2;
    }
    for (int i = 0; i < POINTS; i++)
        for (int j = 0; j < POINTS; j++)
            a[i][j] = bump(f, i, f->x[j], f->y[j]) + (i == j ? 0.02 : 0);
    solve(a, f->weights);
}

static void displace(const field *f, double x, double y, double *dx, double *dy)
{
    *dx = *dy = 0;
    for (int i = 0; i < POINTS; i++) {
        const double w = bump(f, i, x, y);
        *dx += w * f->weights[i][0];
        *dy += w * f->weights[i][1];
    }
}

/* The nodes' places in a picture: of a grid of CELL pixels over the crop. */
static void place_nodes(double *nodes, size_t n, const field *f, double sign,
                        const double to_crop[6], const double to_picture[6])
{
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < n; i++, nodes += 2) {
            const double px = (double)(i * CELL), py = (double)(j * CELL);
            const double x = to_crop[0] * px + to_crop[1] * py + to_crop[2];
            const double y = to_crop[3] * px + to_crop[4] * py + to_crop[5];
            double dx, dy;
            displace(f, x, y, &dx, &dy);
            dx = x + sign * dx;
            dy = y + sign * dy;
            nodes[0] = to_picture[0] * dx + to_picture[1] * dy + to_picture[2];
            nodes[1] = to_picture[3] * dx + to_picture[4] * dy + to_picture[5];
        }
}

static ufi_bounds node_bounds(const double *nodes, size_t count)
{
    ufi_bounds b = {INFINITY, INFINITY, -INFINITY, -INFINITY};
    for (size_t i = 0; i < count; i++, nodes += 2) {
        b.left = fmin(b.left, nodes[0]);
        b.right = fmax(b.right, nodes[0]);
        b.top = fmin(b.top, nodes[1]);
        b.bottom = fmax(b.bottom, nodes[1]);
    }
    return b;
}

/* Draws the crop cell by cell, each by the affine map nearest to its four nodes. */
static void draw_cells(uint8_t *out, size_t size, const ufi_region *region, const double *nodes,
                       size_t n)
{
    for (size_t y = 0; y < size; y += CELL)
        for (size_t x = 0; x < size; x += CELL) {
            const double *a = nodes + (y / CELL * n + x / CELL) * 2, *b = a + 2 * n;
            double m[6];
            for (size_t k = 0; k < 2; k++) {
                const double right = (a[2 + k] - a[k] + b[2 + k] - b[k]) / (2 * CELL);
                const double down = (b[k] - a[k] + b[2 + k] - a[2 + k]) / (2 * CELL);
                m[k * 3] = right;
                m[k * 3 + 1] = down;
                m[k * 3 + 2] = (a[k] + a[2 + k] + b[k] + b[2 + k]) / 4 - (right + down) * CELL / 2;
            }
            const size_t w = size - x < CELL ? size - x : CELL;
            const size_t h = size - y < CELL ? size - y : CELL;
            ufi_region_draw(out + (y * size + x) * 3, size * 3, w, h, region, m);
        }
}

/* ---- colours of the second face ---- */

/* Means and deviations of the middle of a face, looked at in 12 x 12 places. */
static void measure(double mean[3], double deviation[3], const ufi_subject *face)
{
    enum { GRID = 12 };
    double sum[3] = {0}, squares[3] = {0};
    float m[6];
    memset(m, 0, sizeof m);
    /* Both faces came this far by the same check: their points can be aligned. */
    (void)ufi_align_matrix(face->points, ufi_align_arcface, GRID, m, NULL);
    const size_t stride =
        face->image.strides[0] ? face->image.strides[0] : (size_t)face->image.width * 3;
    for (int y = 2; y < GRID; y++)
        for (int x = 2; x < GRID - 2; x++) {
            float px = m[0] * (float)x + m[1] * (float)y + m[2];
            float py = m[3] * (float)x + m[4] * (float)y + m[5];
            const float right = (float)(face->image.width - 1);
            const float bottom = (float)(face->image.height - 1);
            px = px > 0 ? (px < right ? px : right) : 0;
            py = py > 0 ? (py < bottom ? py : bottom) : 0;
            const uint8_t *p = face->image.planes[0] + (size_t)py * stride + (size_t)px * 3;
            for (int c = 0; c < 3; c++) {
                sum[c] += p[c];
                squares[c] += (double)p[c] * p[c];
            }
        }
    const double count = (GRID - 2) * (GRID - 4);
    for (int c = 0; c < 3; c++) {
        mean[c] = sum[c] / count;
        deviation[c] = sqrt(fmax(squares[c] / count - mean[c] * mean[c], 1));
    }
}

static void match_colours(float gain[3], float offset[3], const ufi_subject *first,
                          const ufi_subject *second)
{
    double mean[2][3], deviation[2][3];
    measure(mean[0], deviation[0], first);
    measure(mean[1], deviation[1], second);
    for (int c = 0; c < 3; c++) {
        const double g = fmin(fmax(deviation[0][c] / deviation[1][c], 0.6), 1.6);
        gain[c] = (float)g;
        offset[c] = (float)(mean[0][c] - g * mean[1][c]);
    }
}

/* ---- the mix ---- */

enum { STRIP = 64 };

/* The share of the second face along a row, by place on the face. */
static void row_shares(float *restrict shares, size_t count, float u, float w, float step_u,
                       float step_w, float share)
{
    for (size_t x = 0; x < count; x++) {
        const float uu = u + step_u * (float)(int)x, ww = w + step_w * (float)(int)x;
        float in = (1.25f - (uu * uu + ww * ww)) * (1 / 0.85f);
        in = in < 0 ? 0 : in;
        in = in > 1 ? 1 : in;
        shares[x] = in * in * (3 - 2 * in) * share;
    }
}

static void mix_channel(float *restrict to, const float *restrict second,
                        const float *restrict shares, size_t count, float gain, float offset)
{
    for (size_t x = 0; x < count; x++)
        to[x] += shares[x] * (gain * second[x] + offset - to[x]);
}

static void mix(ufi_planes *p, const uint8_t *first, const uint8_t *second, float share,
                const float gain[3], const float offset[3], const double to_face[6])
{
    const float wide = 0.38f, high = 0.48f; /* half the axes of the ellipse */
    const float step_u = (float)to_face[0] / wide, step_w = (float)to_face[3] / high;
    float shares[STRIP], other[3][STRIP];
    ufi_planes_from_rgb(p, first);
    for (size_t y = 0; y < p->side; y++)
        for (size_t x = 0; x < p->side; x += STRIP) {
            const size_t n = p->side - x < STRIP ? p->side - x : STRIP;
            const uf_point at = ufi_map_point(to_face, (double)x, (double)y);
            row_shares(shares, n, (at.x - 0.5f) / wide, (at.y - 0.64f) / high, step_u, step_w,
                       share);
            ufi_floats_from_rgb(other[0], other[1], other[2], second + (y * p->side + x) * 3, n);
            for (int c = 0; c < 3; c++)
                mix_channel(p->c[c] + y * p->side + x, other[c], shares, n, gain[c], offset[c]);
        }
}

/* ---- the whole ---- */

/* Where the points of a picture lie in the crop, and the way back. */
static uf_status place_points(uf_point *out, double to_picture[6], const ufi_subject *face,
                              const ufi_crop_view *view, uf_error *err)
{
    double to_crop[6];
    float align[6];
    uf_status st = ufi_align_matrix(face->points, view->points, view->size, align, err);
    for (int i = 0; !st && i < 6; i++)
        to_picture[i] = (double)align[i];
    if (!st && !ufi_map_invert(to_crop, to_picture))
        st = ufi_fail(err, UF_E_ARG, "the landmarks coincide: the face cannot be aligned");
    for (int i = 0; !st && i < POINTS; i++)
        out[i] = ufi_map_point(to_crop, (double)face->points[i].x, (double)face->points[i].y);
    return st;
}

double ufi_morph_distance(const uf_point *first, const uf_point *second)
{
    const ufi_crop_view view = ufi_face_view();
    ufi_subject a = {0}, b = {0};
    uf_point at[2][POINTS];
    double m[6], worst = 0;
    memcpy(a.points, first, sizeof a.points);
    memcpy(b.points, second, sizeof b.points);
    if (place_points(at[0], m, &a, &view, NULL) || place_points(at[1], m, &b, &view, NULL))
        return INFINITY;
    for (int i = 0; i < POINTS; i++)
        worst = fmax(worst,
                     hypot((double)(at[0][i].x - at[1][i].x), (double)(at[0][i].y - at[1][i].y)));
    return worst / view.size;
}

uf_status ufi_morph(ufi_studio *s, ufi_planes *out, const ufi_morph_plan *plan,
                    const ufi_subject faces[2], uf_error *err)
{
    const size_t size = out->side, n = (size + CELL - 1) / CELL + 1;
    uf_point points[2][POINTS];
    double to_picture[2][6];
    float gain[3], offset[3];
    field f;
    uf_status st = UF_OK;
    for (int k = 0; !st && k < 2; k++)
        st = place_points(points[k], to_picture[k], &faces[k], plan->view, err);
    if (st)
        return st;
    make_field(&f, points[0], points[1], 1 / ufi_map_scale(plan->to_face));
    double *nodes = ufi_buffer_get(&s->nodes, n * n * 2 * sizeof *nodes);
    uint8_t *pixels = ufi_buffer_get(&s->pixels, 2 * size * size * 3);
    if (!nodes || !pixels)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a new face of %zu pixels", size * size);
    for (int k = 0; !st && k < 2; k++) {
        ufi_region region;
        place_nodes(nodes, n, &f, k ? -1 : 1, plan->to_crop, to_picture[k]);
        const double scale = ufi_map_scale(plan->to_crop) * ufi_map_scale(to_picture[k]);
        st = ufi_region_of(&region, &s->room, &faces[k].image, node_bounds(nodes, n * n), scale,
                           plan->mirror_edges, err);
        if (!st)
            draw_cells(pixels + (size_t)k * size * size * 3, size, &region, nodes, n);
    }
    if (st)
        return st;
    match_colours(gain, offset, &faces[0], &faces[1]);
    mix(out, pixels, pixels + size * size * 3, plan->share, gain, offset, plan->to_face);
    return UF_OK;
}
