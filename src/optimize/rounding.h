/*
 * Rounding weights by what a layer's inputs are like. Floor 5.
 *
 * Rounding each weight to nearest minimises the error of the weights, not that of the layer's
 * output: errors of channels that rise and fall together add up or cancel (Nagel et al. 2020,
 * AdaRound; there by gradients, here by turning one weight after the other to its other neighbour
 * as long as the expected squared error falls).
 */
#ifndef UFI_OPTIMIZE_ROUNDING_H
#define UFI_OPTIMIZE_ROUNDING_H

#include <stddef.h>
#include <stdint.h>

/* One output channel: bytes[count] are `w` in units of `scale`, rounded; `covariance` is that of
 * the inputs, [count][count] (means are left to the correction of the bias). `room` holds 2 * count
 * numbers. Returns how many weights were turned, each to a byte at most 1 from w / scale, on which
 * sums of bytes that fit 16 bits rely (quantize.c). */
size_t ufi_round_channel(int8_t *bytes, const float *w, float scale, size_t count,
                         const double *covariance, double *room);

#endif
