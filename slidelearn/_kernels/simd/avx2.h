/* Vocabulary of leaf.h: AVX2 and FMA3, 8 lanes, fused multiply-add. */
static inline float sum_of_8(__m256 a) {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

#define VW 8
#define TILE_ROWS 6
#define STRIP 8
#define VF __m256
#define v_load(p) _mm256_loadu_ps(p)
#define v_load_int(p) _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)(p))) /* of 32 bits */
#define v_store(p, x) _mm256_storeu_ps(p, x)
#define v_tail_mask(n)                                       \
    _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n)),          \
                       _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
#define v_load_n(p, n) _mm256_maskload_ps(p, v_tail_mask(n))
#define v_store_n(p, x, n) _mm256_maskstore_ps(p, v_tail_mask(n), x)
#define v_set1(a) _mm256_set1_ps(a)
#define v_add(a, b) _mm256_add_ps(a, b)
#define v_sub(a, b) _mm256_sub_ps(a, b)
#define v_mul(a, b) _mm256_mul_ps(a, b)
#define v_div(a, b) _mm256_div_ps(a, b)
#define v_fma1(a, b, c) fmaf(a, b, c) /* one number */
#define v_fma(a, b, c) _mm256_fmadd_ps(a, b, c)
#define v_max(a, b) _mm256_max_ps(a, b)
#define v_min(a, b) _mm256_min_ps(a, b)
#define v_sqrt(a) _mm256_sqrt_ps(a)
#define v_abs(a) _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a)
/* x >= 0 ? a : b, lane by lane */
#define v_where_nonneg(x, a, b) \
    _mm256_blendv_ps(b, a, _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GE_OQ))
/* The even lanes of a and b, and the odd ones. */
#define v_split(a, b, x)                                                                        \
    do {                                                                                        \
        const __m256 both[2] = {a, b};                                                          \
        (x)[0] = v_in_order(_mm256_shuffle_ps(both[0], both[1], 0x88));                         \
        (x)[1] = v_in_order(_mm256_shuffle_ps(both[0], both[1], 0xDD));                         \
    } while (0)
#define v_in_order(x) \
    _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(x), 0xD8))
/* The sum of the lanes, by the tree of `sum_parts`. */
#define v_sum(a) sum_of_8(a)
/* Bit j: whether a < b in lane j. */
#define v_less(a, b) ((uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ)))
#define v_any_nan(a) (_mm256_movemask_ps(_mm256_cmp_ps(a, a, _CMP_UNORD_Q)) != 0)
/* Integers of 32 bits, as many as there are lanes. */
#define VI __m256i
#define as_vi(a) _mm256_castps_si256(a)
#define as_vf(a) _mm256_castsi256_ps(a)
#define vi_set1(a) _mm256_set1_epi32((int)(a))
#define vi_count() _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7) /* the number of each lane */
#define vi_add(a, b) _mm256_add_epi32(a, b)
#define vi_max(a, b) _mm256_max_epi32(a, b)
#define vi_mul(a, b) _mm256_mullo_epi32(a, b)
#define vi_and(a, b) _mm256_and_si256(a, b)
#define vi_or(a, b) _mm256_or_si256(a, b)
#define vi_xor(a, b) _mm256_xor_si256(a, b)
#define vi_shl(a, n) _mm256_slli_epi32(a, n)
#define vi_shr(a, n) _mm256_srli_epi32(a, n)
#define vi_load16(p) _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(p)))
#define vi_store16(p, a)                                                \
    _mm_storeu_si128((__m128i *)(p), _mm256_castsi256_si128(            \
        _mm256_permute4x64_epi64(_mm256_packus_epi32(a, a), 8)))
#define vi_store8(p, a) /* low bytes */                                              \
    do {                                                                             \
        const __m256i low = _mm256_shuffle_epi8(a, _mm256_set1_epi32(0x0C080400));   \
        const int32_t halves[2] = {_mm256_extract_epi32(low, 0),                     \
                                   _mm256_extract_epi32(low, 4)};                    \
        memcpy(p, halves, 8);                                                        \
    } while (0)
#define vi_load_pairs(p) _mm256_loadu_si256((const __m256i *)(p))
#define vi_store_pairs(p, a) _mm256_storeu_si256((__m256i *)(p), a)
/* x is NaN ? a : b, lane by lane */
#define vi_where_nan(x, a, b) \
    _mm256_blendv_epi8(b, a, _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q)))
/* a * 2**n, where n stands in the low bits of the float t (see v_exp) */
#define v_scale(a, t) as_vf(vi_add(as_vi(a), vi_shl(as_vi(t), 23)))
