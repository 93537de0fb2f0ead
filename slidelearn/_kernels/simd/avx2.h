/* Vocabulary of leaf.h: AVX2 and FMA3, 8 lanes, fused multiply-add. */
#define VW 8
#define TILE_ROWS 6
#define VF __m256
#define v_load(p) _mm256_loadu_ps(p)
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
/* a * 2**n, where n stands in the low bits of the float t (see v_exp) */
#define v_scale(a, t)                      \
    _mm256_castsi256_ps(_mm256_add_epi32(  \
        _mm256_castps_si256(a), _mm256_slli_epi32(_mm256_castps_si256(t), 23)))
