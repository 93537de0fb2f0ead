/* ReLU and dropout of a row, without branches on its values or on random draws: half of them would
 * be mispredicted. Written so that compilers vectorise the loops; NaN stays NaN. */
#ifndef SLIDELEARN_RELU_H
#define SLIDELEARN_RELU_H

#include <stddef.h>
#include <stdint.h>

#include "rng.h"

#define DRAWS 64 /* at a time */

/* x <- max(x, 0) * scale where a draw of 16 bits from `stream` is at least `threshold`, else 0. */
static inline void relu_dropout_row(float *x, ptrdiff_t n, uint64_t stream, uint32_t threshold,
                                    float scale) {
    uint32_t draws[DRAWS] = {0};
    for (ptrdiff_t first = 0; first < n; first += DRAWS, x += DRAWS) {
        const ptrdiff_t left = n - first < DRAWS ? n - first : DRAWS;
        if (threshold)
            for (int j = 0; j < DRAWS; j += 4) {
                const uint64_t bits = rng_bits(stream, (uint64_t)(first + j) / 4);
                for (int q = 0; q < 4; q++) draws[j + q] = (bits >> (16 * q)) & 0xFFFF;
            }
        for (ptrdiff_t j = 0; j < left; j++) {
            const float factor = draws[j] >= threshold ? scale : 0.0f;
            x[j] = (x[j] <= 0.0f ? 0.0f : x[j]) * factor;
        }
    }
}

/* gradient <- gradient * scale where hidden > 0, else 0. */
static inline void relu_backward_row(const float *hidden, float *gradient, ptrdiff_t n,
                                     float scale) {
    for (ptrdiff_t j = 0; j < n; j++) gradient[j] *= hidden[j] > 0.0f ? scale : 0.0f;
}

#endif
