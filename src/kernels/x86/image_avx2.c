/* Pixels, compiled for this instruction set. */
#include "kernels/simd/image_body.h"
