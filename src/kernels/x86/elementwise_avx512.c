/* Elementwise, compiled for this instruction set. */
#include "kernels/simd/elementwise_body.h"
