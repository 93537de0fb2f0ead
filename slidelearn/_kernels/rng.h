/* Counter-based random numbers: a draw is a pure function of (key, counter), so it does not depend
 * on the order in which threads ask for it.
 *
 * The mixer is splitmix64's finaliser (Steele, Lea & Flood, OOPSLA 2014, section 4); a draw is the
 * mixed value of key + (counter + 1) * golden gamma, i.e. element `counter` of the splitmix64 stream
 * that starts at `key`.
 */
#ifndef SLIDELEARN_RNG_H
#define SLIDELEARN_RNG_H

#include <stdint.h>

#define RNG_GOLDEN_GAMMA UINT64_C(0x9E3779B97F4A7C15)

static inline uint64_t rng_mix(uint64_t z) {
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* 64 random bits: element `counter` of stream `key`. */
static inline uint64_t rng_bits(uint64_t key, uint64_t counter) {
    return rng_mix(key + (counter + 1) * RNG_GOLDEN_GAMMA);
}

/* The key of an independent stream: substream `index` of `key`. */
static inline uint64_t rng_stream(uint64_t key, uint64_t index) {
    return rng_mix(rng_bits(key, index) ^ UINT64_C(0xD1B54A32D192ED03));
}

/* An integer in [0, n), 0 < n < 2**32, from 64 random bits (bias below n / 2**32). */
static inline uint64_t rng_below(uint64_t bits, uint64_t n) {
    return ((bits >> 32) * n) >> 32;
}

#endif
