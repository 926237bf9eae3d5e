/* How pictures are varied: the parts behind ufi_loader. Private to the train room. Confined. */
#ifndef UFI_TRAIN_AUGMENT_H
#define UFI_TRAIN_AUGMENT_H

#include "train/data.h"
#include "train/random.h"
#include "uniface/image.h"

/* ---- a view's pixels while they are worked on ---- */

/* Three planes of side x side values of 0..255. */
typedef struct ufi_planes {
    size_t side;
    float *c[3];
} ufi_planes;

void ufi_planes_from_rgb(ufi_planes *p, const uint8_t *rgb);
void ufi_planes_to_rgb(const ufi_planes *p, uint8_t *rgb);

/* ---- memory that grows to what is needed ---- */

typedef struct ufi_buffer {
    void *data;
    size_t size;
} ufi_buffer;

/* At least `size` bytes, what was in them is lost; NULL when memory is short. */
void *ufi_buffer_get(ufi_buffer *b, size_t size);
void ufi_buffer_free(ufi_buffer *b);

/* ---- geometry: maps are x' = m0 x + m1 y + m2, y' = m3 x + m4 y + m5 ---- */

/* out = b after a; out may be one of them. */
void ufi_map_then(double out[6], const double a[6], const double b[6]);
bool ufi_map_invert(double out[6], const double m[6]);
uf_point ufi_map_point(const double m[6], double x, double y);
/* Pixels of one picture that one pixel of the other covers, along a line. */
double ufi_map_scale(const double m[6]);

/* The part of a picture that a crop needs, averaged where the crop shrinks it by 2 or more, with
 * its edges mirrored outwards where the crop is to look beyond them. */
typedef struct ufi_region {
    const uint8_t *pixels;
    size_t stride, width, height;
    double from_picture[6];
} ufi_region;

typedef struct ufi_region_room {
    ufi_buffer reduced, padded, sums;
} ufi_region_room;

/* The corners of what is looked at, in picture pixels. */
typedef struct ufi_bounds {
    double left, top, right, bottom;
} ufi_bounds;

ufi_bounds ufi_map_bounds(const double m[6], double width, double height);
uf_status ufi_region_of(ufi_region *out, ufi_region_room *room, const uf_image *image,
                        ufi_bounds bounds, double scale, bool mirror_edges, uf_error *err);
/* canvas(x, y) = picture(m(x, y)), RGB8, for width x height pixels. */
void ufi_region_draw(uint8_t *canvas, size_t stride, size_t width, size_t height,
                     const ufi_region *region, const double m[6]);

/* ---- what is drawn by lot for one sample ---- */

typedef struct ufi_variation {
    uint64_t key; /* of whatever is drawn pixel by pixel */
    bool mirror;
    double shift_x, shift_y; /* shares of the side */
    double scale, angle;     /* factor; radians */
    bool colours;
    float matrix[9], offset; /* colour: out = matrix * in + offset, values 0..255 */
} ufi_variation;

void ufi_variation_draw(ufi_variation *v, const ufi_augment *a, uint64_t key);

void ufi_vary_colours(ufi_planes *p, const ufi_variation *v);

/* ---- the views of a sample ---- */

typedef struct ufi_subject {
    uf_image image; /* RGB8 */
    uf_point points[UF_LANDMARKS];
} ufi_subject;

/* Crops of one size each, and the memory to make them in. */
typedef struct ufi_studio {
    const ufi_crop_view *views;
    size_t view_count;
    ufi_region_room room;
    ufi_buffer planes;
} ufi_studio;

void ufi_studio_free(ufi_studio *s);
/* out[view]: RGB8 [size][size][3]. Errors: UF_E_ARG when the points allow no crop, UF_E_NOMEM. */
uf_status ufi_studio_crops(ufi_studio *s, const ufi_variation *v, const ufi_subject *face,
                           uint8_t *const *out, uf_error *err);

#endif
