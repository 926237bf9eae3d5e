/* Winograd, compiled for this instruction set. */
#include "kernels/simd/winograd_body.h"
