/* bfloat16: the upper half of a float32 (sign, 8 bits of exponent, 7 of fraction), as a uint16_t.
 * Only memory holds it; all arithmetic is done in float32. */
#ifndef SLIDELEARN_BFLOAT16_H
#define SLIDELEARN_BFLOAT16_H

#include <stdint.h>
#include <string.h>

static inline uint32_t bits_of_float(float a) {
    uint32_t bits;
    memcpy(&bits, &a, 4);
    return bits;
}

static inline float float_of_bits(uint32_t bits) {
    float a;
    memcpy(&a, &bits, 4);
    return a;
}

static inline float float_of_bfloat16(uint16_t a) { return float_of_bits((uint32_t)a << 16); }

#endif
