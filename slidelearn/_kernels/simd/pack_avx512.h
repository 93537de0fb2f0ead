/* `pack` of leaf.h for AVX-512F, which has an instruction for it. */
static inline int LEAF(pack)(uint32_t kept, __m512 x, ptrdiff_t first, int32_t *places,
                             float *values) {
    const __m512i number = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i place = _mm512_add_epi32(number, _mm512_set1_epi32((int)first));
    const int n = __builtin_popcount(kept);
    const __mmask16 head = (__mmask16)((1u << n) - 1), some = (__mmask16)kept;
    _mm512_mask_storeu_epi32(places, head, _mm512_maskz_compress_epi32(some, place));
    _mm512_mask_storeu_ps(values, head, _mm512_maskz_compress_ps(some, x));
    return n;
}
