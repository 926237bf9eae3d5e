/* Rounding weights by what a layer's inputs are like. */
#include "optimize/rounding.h"

/* The step (in units of the scale) that takes byte `b` to the other neighbour of its weight; 0
 * where that is out of range. `error` is b - w / scale. */
static int other_neighbour(int8_t b, double error)
{
    const int step = error > 0 ? -1 : 1;
    return b + step > 127 || b + step < -127 ? 0 : step;
}

size_t ufi_round_channel(int8_t *bytes, const float *w, float scale, size_t count,
                         const double *covariance, double *room)
{
    double *error = room, *pull = room + count; /* in units of the scale; covariance * error */
    size_t turned = 0;
    for (size_t i = 0; i < count; i++)
        error[i] = bytes[i] - (double)w[i] / (double)scale;
    for (size_t i = 0; i < count; i++) {
        pull[i] = 0;
        for (size_t k = 0; k < count; k++)
            pull[i] += covariance[i * count + k] * error[k];
    }
    for (; turned < count; turned++) {
        size_t best = 0;
        double gain = 0;
        for (size_t i = 0; i < count; i++) {
            const int step = other_neighbour(bytes[i], error[i]);
            const double g = -step * (2 * pull[i] + step * covariance[i * count + i]);
            if (g > gain) {
                gain = g;
                best = i;
            }
        }
        if (!(gain > 0))
            break;
        const int step = other_neighbour(bytes[best], error[best]);
        bytes[best] = (int8_t)(bytes[best] + step);
        error[best] += step;
        for (size_t k = 0; k < count; k++)
            pull[k] += step * covariance[best * count + k];
    }
    return turned;
}
