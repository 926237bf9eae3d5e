/* Pixels, compiled for this instruction set. */
#include "kernels/x86/image_warp.h"

#include "kernels/simd/image_body.h"
