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
void ufi_floats_from_rgb(float *r, float *g, float *b, const uint8_t *rgb, size_t count);
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

/* Most faces in a scene. */
enum { UFI_MAX_FACES = 64 };

/* ---- what is drawn by lot for one sample ---- */

/* Rows of random numbers; their order is part of what a seed means. */
enum {
    UFI_DRAW_FLIP,
    UFI_DRAW_JITTER,
    UFI_DRAW_COLOUR,
    UFI_DRAW_GRAY,
    UFI_DRAW_BLUR,
    UFI_DRAW_LOW,
    UFI_DRAW_JPEG,
    UFI_DRAW_NOISE,
    UFI_DRAW_NOISE_ROWS,
    UFI_DRAW_PATCH,
    UFI_DRAW_BLEND,
    UFI_DRAW_TONE,
    UFI_DRAW_OTHERS,
    UFI_DRAW_SCENE,
    UFI_DRAW_SCENE_PICTURE,
    UFI_DRAW_SCENE_FACES,
    UFI_DRAW_WARP
};

typedef enum ufi_patch_fill {
    UFI_PATCH_NONE,
    UFI_PATCH_COLOUR,
    UFI_PATCH_STRIPES,
    UFI_PATCH_NOISE,
    UFI_PATCH_PICTURE
} ufi_patch_fill;

/* Something before the face; lengths are fractions of the side of ArcFace's crop. */
typedef struct ufi_patch {
    ufi_patch_fill fill;
    int corners; /* 0: an ellipse; 4: a rectangle; 3, 5, 6... */
    float x, y, half_width, half_height, angle;
    float sharpness;    /* of its edge: 1 is a cone, 40 a cut */
    float colour[2][3]; /* of its left and its right side; of stripes */
    float cell;         /* of noise and stripes */
    uint64_t key;
} ufi_patch;

typedef struct ufi_variation {
    uint64_t key; /* of whatever is drawn pixel by pixel */
    bool mirror;
    double shift_x, shift_y; /* shares of the side */
    double scale, angle;     /* factor; radians */
    bool colours;
    float matrix[9], offset; /* out = matrix * in + offset, values 0..255 */
    double blur_x, blur_y;   /* sigma, shares of the side; 0: none */
    double low;              /* factor; 0: none */
    int jpeg;                /* quality; 0: none */
    bool jpeg_coarse;        /* half as much colour */
    float noise;             /* sigma; 0: none */
    float noise_colour;      /* 0: gray, 1: each channel by itself */
    bool blend;
    float share; /* of the second face */
    bool tone;
    float tone_at, tone_strength; /* 0 light to 1 dark; how much of the way */
    float light_x, light_y;       /* change of brightness over the face */
    bool warp;
    ufi_patch patch;
} ufi_variation;

void ufi_variation_draw(ufi_variation *v, const ufi_augment *a, uint64_t key);

/* ---- steps on planes; `room` is memory of as many floats as ..._room says ---- */

void ufi_vary_colours(ufi_planes *p, const ufi_variation *v);

/* Bends the whole, as `v` says by its key: every face in it gets a shape of its own. */
void ufi_vary_shape(ufi_planes *p, const ufi_variation *v, float *room);
size_t ufi_shape_room(size_t side);
void ufi_vary_blur(ufi_planes *p, const ufi_variation *v, float *room);
size_t ufi_blur_room(size_t side);
void ufi_vary_low(ufi_planes *p, const ufi_variation *v, float *room);
size_t ufi_low_room(size_t side);
/* out[side][side] = in[n][n], straight from value to value; 2 * side * side floats of room. */
void ufi_enlarge(float *out, size_t side, const float *in, size_t n, float *room);

enum { UFI_NOISE_COUNT = 8192 };
void ufi_noise_table(float table[UFI_NOISE_COUNT]);
void ufi_vary_noise(ufi_planes *p, const ufi_variation *v, const float *table);

/* In place, by libjpeg; only where the build has it. */
uf_status ufi_jpeg_trip(uint8_t *rgb, size_t width, size_t height, int quality, bool coarse,
                        uf_error *err);

/* ---- faces ---- */

typedef struct ufi_subject {
    uf_image image; /* RGB8 */
    uf_point points[UF_LANDMARKS];
} ufi_subject;

/* ArcFace's crop of 112 pixels: "the face", in whose fractions places on faces are given. */
ufi_crop_view ufi_face_view(void);
/* From a view's pixels to fractions of the face. */
bool ufi_view_to_face(double m[6], const ufi_crop_view *view);

typedef struct ufi_skin {
    float red, blue, hue, bias, even; /* what is skin: see ufi_skin_plan */
    float gain[3];
} ufi_skin;

/* How this face's skin becomes that of the drawn tone. */
void ufi_skin_plan(ufi_skin *s, const ufi_variation *v, const ufi_subject *face);
void ufi_vary_skin(ufi_planes *p, const ufi_skin *s);
/* `to_face`: from pixels to fractions of the face. */
void ufi_vary_light(ufi_planes *p, const ufi_variation *v, const double to_face[6]);
/* `picture`: dense RGB8 of the planes' size, for a patch of a picture. */
void ufi_vary_patch(ufi_planes *p, const ufi_patch *patch, const double to_face[6],
                    const uint8_t *picture);

/* ---- the views of a sample ---- */

/* Crops, and the memory to make them in. */
typedef struct ufi_studio {
    const ufi_crop_view *views;
    size_t view_count;
    ufi_region_room room;
    ufi_buffer planes, face, scratch, pixels, nodes;
    float noise[UFI_NOISE_COUNT];
} ufi_studio;

void ufi_studio_init(ufi_studio *s, const ufi_crop_view *views, size_t view_count);
void ufi_studio_free(ufi_studio *s);

/* Pictures of a sample. */
typedef struct ufi_cast {
    ufi_subject faces[2];  /* the second one only for a new person */
    const uf_image *patch; /* for a patch of a picture */
} ufi_cast;

/* out[view]: RGB8 [size][size][3]. Errors: UF_E_ARG when the points allow no crop, UF_E_NOMEM. */
uf_status ufi_studio_crops(ufi_studio *s, const ufi_variation *v, const ufi_cast *cast,
                           uint8_t *const *out, uf_error *err);
/* What cameras do: blur, few pixels, colours, noise, JPEG; `p` ends as `out`. */
uf_status ufi_studio_photograph(ufi_studio *s, const ufi_variation *v, ufi_planes *p, uint8_t *out,
                                uf_error *err);
/* A piece of another picture, side x side pixels of the studio's memory. */
uf_status ufi_studio_patch(ufi_studio *s, const ufi_variation *v, const uf_image *image,
                           size_t side, const uint8_t **out, uf_error *err);
uf_status ufi_planes_of(ufi_planes *p, ufi_buffer *memory, size_t side, uf_error *err);

/* ---- scenes ---- */

typedef struct ufi_stage {
    ufi_planes p;
    size_t placed;
    struct {
        double x, y, width;
    } faces[UFI_MAX_FACES + 1];
} ufi_stage;

/* An empty scene of `size` pixels: the background. The stage uses the studio's planes. */
uf_status ufi_stage_open(ufi_stage *stage, ufi_studio *s, size_t size, uint64_t key, uf_error *err);
/* Puts a picture into it, whole or in part; `points`, if it has any, say how large its face is. */
uf_status ufi_stage_picture(ufi_stage *stage, ufi_studio *s, const ufi_scene *scene,
                            const uf_image *image, const uf_point *points, uint64_t key,
                            uf_error *err);
/* Pastes one face of the scene's range, varied by itself where `a` says so; of two faces, one that
 * is morphed of them. */
uf_status ufi_stage_face(ufi_stage *stage, ufi_studio *s, const ufi_scene *scene,
                         const ufi_augment *a, const ufi_subject *faces, size_t count, uint64_t key,
                         uf_error *err);
/* Varies the whole and gives its pixels. */
uf_status ufi_stage_close(ufi_stage *stage, ufi_studio *s, const ufi_variation *v,
                          const uf_image *patch, uint8_t *out, uf_error *err);

/* ---- two faces become one ---- */

typedef struct ufi_morph_plan {
    const ufi_crop_view *view;
    double to_crop[6]; /* from pixels to the plain crop's: jitter */
    double to_face[6]; /* from pixels to fractions of the face */
    float share;
    bool mirror_edges;
} ufi_morph_plan;

/* How far points of two faces lie apart when both are aligned, at most, as a fraction of the face;
 * INFINITY when they cannot be. */
double ufi_morph_distance(const uf_point *first, const uf_point *second);
uf_status ufi_morph(ufi_studio *s, ufi_planes *out, const ufi_morph_plan *plan,
                    const ufi_subject faces[2], uf_error *err);

#endif
