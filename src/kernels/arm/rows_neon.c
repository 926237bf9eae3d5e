/* Rows of a matrix, compiled for this instruction set. */
#include "kernels/simd/rows_body.h"
