/* Vocabulary of leaf.h: AVX-512F, 16 lanes, fused multiply-add. */
#define VW 16
#define TILE_ROWS 12
#define VF __m512
#define v_load(p) _mm512_loadu_ps(p)
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
/* a * 2**n, where n stands in the low bits of the float t (see v_exp) */
#define v_scale(a, t)                      \
    _mm512_castsi512_ps(_mm512_add_epi32(  \
        _mm512_castps_si512(a), _mm512_slli_epi32(_mm512_castps_si512(t), 23)))
