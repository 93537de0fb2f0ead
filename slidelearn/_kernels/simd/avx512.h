/* Vocabulary of leaf.h: AVX-512F, 16 lanes, fused multiply-add. */
#define VW 16
#define TILE_ROWS 12
#define STRIP 8
#define VF __m512
#define v_load(p) _mm512_loadu_ps(p)
#define v_load_int(p) _mm512_cvtepi32_ps(_mm512_loadu_si512(p)) /* of 32 bits */
#define v_store(p, x) _mm512_storeu_ps(p, x)
#define v_load_n(p, n) _mm512_maskz_loadu_ps((__mmask16)((1u << (n)) - 1), p)
#define v_store_n(p, x, n) _mm512_mask_storeu_ps(p, (__mmask16)((1u << (n)) - 1), x)
#define v_set1(a) _mm512_set1_ps(a)
#define v_add(a, b) _mm512_add_ps(a, b)
#define v_sub(a, b) _mm512_sub_ps(a, b)
#define v_mul(a, b) _mm512_mul_ps(a, b)
#define v_div(a, b) _mm512_div_ps(a, b)
#define v_fma1(a, b, c) fmaf(a, b, c) /* one number */
#define v_fma(a, b, c) _mm512_fmadd_ps(a, b, c)
#define v_max(a, b) _mm512_max_ps(a, b)
#define v_min(a, b) _mm512_min_ps(a, b)
#define v_sqrt(a) _mm512_sqrt_ps(a)
#define v_abs(a) _mm512_abs_ps(a)
/* x >= 0 ? a : b, lane by lane */
#define v_where_nonneg(x, a, b) \
    _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GE_OQ), b, a)
/* The even lanes of a and b, and the odd ones. */
#define v_split(a, b, x)                                                                        \
    do {                                                                                        \
        const __m512i even = vi_shl(vi_count(), 1), odd = vi_or(even, vi_set1(1));              \
        const __m512 both[2] = {a, b};                                                          \
        (x)[0] = _mm512_permutex2var_ps(both[0], even, both[1]);                                \
        (x)[1] = _mm512_permutex2var_ps(both[0], odd, both[1]);                                 \
    } while (0)
/* The sum of the lanes, by the tree of `sum_parts`. */
#define v_sum(a) \
    sum_of_8(_mm256_add_ps(_mm512_castps512_ps256(a), \
             _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1))))
/* Bit j: whether a < b in lane j. */
#define v_less(a, b) ((uint32_t)_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ))
#define v_any_nan(a) (_mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q) != 0)
/* Integers of 32 bits, as many as there are lanes. */
#define VI __m512i
#define as_vi(a) _mm512_castps_si512(a)
#define as_vf(a) _mm512_castsi512_ps(a)
#define vi_set1(a) _mm512_set1_epi32((int)(a))
#define vi_count() /* the number of each lane */ \
    _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#define vi_add(a, b) _mm512_add_epi32(a, b)
#define vi_max(a, b) _mm512_max_epi32(a, b) /* of numbers below 2**31 */
#define vi_mul(a, b) _mm512_mullo_epi32(a, b)
#define vi_and(a, b) _mm512_and_si512(a, b)
#define vi_or(a, b) _mm512_or_si512(a, b)
#define vi_xor(a, b) _mm512_xor_si512(a, b)
#define vi_shl(a, n) _mm512_slli_epi32(a, n)
#define vi_shr(a, n) _mm512_srli_epi32(a, n)
#define vi_load16(p) _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(p)))
#define vi_store16(p, a) _mm256_storeu_si256((__m256i *)(p), _mm512_cvtepi32_epi16(a))
#define vi_store8(p, a) _mm_storeu_si128((__m128i *)(p), _mm512_cvtepi32_epi8(a)) /* low bytes */
#define vi_load_pairs(p) _mm512_loadu_si512(p)
#define vi_store_pairs(p, a) _mm512_storeu_si512(p, a)
/* x is NaN ? a : b, lane by lane */
#define vi_where_nan(x, a, b) \
    _mm512_mask_blend_epi32(_mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), b, a)
/* a * 2**n, where n stands in the low bits of the float t (see v_exp) */
#define v_scale(a, t) as_vf(vi_add(as_vi(a), vi_shl(as_vi(t), 23)))
