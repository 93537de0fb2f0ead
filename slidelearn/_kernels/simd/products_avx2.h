/* `products8` of bytes.h for AVX2, and for AVX-512 without VNNI: see there. */
static void LEAF(products8)(ptrdiff_t groups, const uint8_t *h, const int8_t *codes,
                            int32_t sums[SCREEN_SAMPLES][SCREEN_CLASSES]) {
    enum { AT_ONCE = 2, PARTS = SCREEN_CLASSES / 8 };
    const __m256i ones = _mm256_set1_epi16(1);
    for (int i = 0; i < SCREEN_SAMPLES; i += AT_ONCE) {
        __m256i sum[AT_ONCE][PARTS];
        UNROLL for (int j = 0; j < AT_ONCE; j++)
            UNROLL for (int p = 0; p < PARTS; p++) sum[j][p] = _mm256_setzero_si256();
        for (ptrdiff_t k = 0; k < groups; k++) {
            const int8_t *w = codes + 4 * k * SCREEN_CLASSES;
            __m256i x[AT_ONCE];
            UNROLL for (int j = 0; j < AT_ONCE; j++) {
                int32_t four;
                memcpy(&four, h + 4 * (k * SCREEN_SAMPLES + i + j), 4);
                x[j] = _mm256_set1_epi32(four);
            }
            UNROLL for (int p = 0; p < PARTS; p++) {
                const __m256i row = _mm256_loadu_si256((const __m256i *)(w + 32 * p));
                UNROLL for (int j = 0; j < AT_ONCE; j++) {
                    const __m256i twos = _mm256_maddubs_epi16(x[j], row); /* at most 2 x 127^2 */
                    sum[j][p] = _mm256_add_epi32(sum[j][p], _mm256_madd_epi16(twos, ones));
                }
            }
        }
        UNROLL for (int j = 0; j < AT_ONCE; j++)
            UNROLL for (int p = 0; p < PARTS; p++)
                _mm256_storeu_si256((__m256i *)&sums[i + j][8 * p], sum[j][p]);
    }
}
