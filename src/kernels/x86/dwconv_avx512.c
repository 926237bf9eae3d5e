/* Depthwise convolution, compiled for this instruction set. */
#include "kernels/simd/dwconv_body.h"
