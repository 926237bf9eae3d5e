/* Pool, compiled for this instruction set. */
#include "kernels/simd/pool_body.h"
