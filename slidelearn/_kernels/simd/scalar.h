/* Vocabulary of leaf.h: portable C, one lane. Fused where the target says that it is (`fmaf` is
 * one instruction on AArch64 and the like), otherwise a rounded product and a rounded sum. Not every
 * compiler and C library that has the instruction defines the standard FP_FAST_FMAF. */
#define VW 1
#define TILE_ROWS 4
#define STRIP 4
#define VF float
#define v_load(p) (*(p))
#define v_load_int(p) ((float)*(p)) /* of 32 bits */
#define v_store(p, x) (*(p) = (x))
#define v_load_n(p, n) ((n) ? *(p) : 0.0f)
#define v_store_n(p, x, n) do { if (n) *(p) = (x); } while (0)
#define v_set1(a) (a)
#define v_add(a, b) ((a) + (b))
#define v_sub(a, b) ((a) - (b))
#define v_mul(a, b) ((a) * (b))
#define v_div(a, b) ((a) / (b))
#if defined(FP_FAST_FMAF) || defined(__FP_FAST_FMAF) || defined(__ARM_FEATURE_FMA)
#define v_fma(a, b, c) fmaf(a, b, c)
#else
#define v_fma(a, b, c) ((a) * (b) + (c))
#endif
#define v_fma1(a, b, c) v_fma(a, b, c)
#define v_max(a, b) ((a) > (b) ? (a) : (b))
#define v_min(a, b) ((a) < (b) ? (a) : (b))
#define v_sqrt(a) sqrtf(a)
#define v_abs(a) fabsf(a)
/* x >= 0 ? a : b */
#define v_where_nonneg(x, a, b) ((x) >= 0.0f ? (a) : (b))
/* The even lanes of a and b, and the odd ones. */
#define v_split(a, b, x) ((x)[0] = (a), (x)[1] = (b))
/* The sum of the lanes, by the tree of `sum_parts`. */
#define v_sum(a) (a)
/* Bit j: whether a < b in lane j. */
#define v_less(a, b) ((uint32_t)((a) < (b)))
#define v_any_nan(a) ((a) != (a))
/* Integers of 32 bits, as many as there are lanes. */
#define VI uint32_t
#define as_vi(a) bits_of_float(a)
#define as_vf(a) float_of_bits(a)
#define vi_set1(a) ((uint32_t)(a))
#define vi_count() 0u /* the number of each lane */
#define vi_add(a, b) ((a) + (b))
#define vi_max(a, b) ((a) > (b) ? (a) : (b))
#define vi_mul(a, b) ((a) * (b))
#define vi_and(a, b) ((a) & (b))
#define vi_or(a, b) ((a) | (b))
#define vi_xor(a, b) ((a) ^ (b))
#define vi_shl(a, n) ((a) << (n))
#define vi_shr(a, n) ((a) >> (n))
#define vi_load16(p) ((uint32_t)*(p))            /* zero-extended */
#define vi_store16(p, a) (*(p) = (uint16_t)(a))  /* a is below 2**16 */
#define vi_store8(p, a) (*(p) = (int8_t)(uint8_t)(a)) /* the low byte */
#define vi_load_pairs(p) ((uint32_t)(p)[0] | (uint32_t)(p)[1] << 16)
#define vi_store_pairs(p, a)                     \
    do {                                         \
        const uint32_t pair = a;                 \
        (p)[0] = (uint16_t)pair;                 \
        (p)[1] = (uint16_t)(pair >> 16);         \
    } while (0)
/* x is NaN ? a : b */
#define vi_where_nan(x, a, b) ((x) != (x) ? (a) : (b))
/* a * 2**n, where n stands in the low bits of the float t (see v_exp) */
#define v_scale(a, t) as_vf(as_vi(a) + (as_vi(t) << 23))
