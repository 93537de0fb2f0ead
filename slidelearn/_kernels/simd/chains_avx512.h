/* LEAF(chains) of screen.h for AVX-512: two vectors of 16 rows, a lane each; see there. */

enum { CHAIN_ROWS = 32 };

/* Adds four coordinates of 16 rows: a transpose in which every fourth row shares a quarter. */
static ALWAYS_INLINE __m512 avx512_four(const float *const *row, ptrdiff_t k, const float *x,
                                        __m512 sum) {
    __m512 t[4];
    UNROLL for (int j = 0; j < 4; j++) {
        t[j] = _mm512_castps128_ps512(_mm_loadu_ps(row[j] + k));
        t[j] = _mm512_insertf32x4(t[j], _mm_loadu_ps(row[j + 4] + k), 1);
        t[j] = _mm512_insertf32x4(t[j], _mm_loadu_ps(row[j + 8] + k), 2);
        t[j] = _mm512_insertf32x4(t[j], _mm_loadu_ps(row[j + 12] + k), 3);
    }
    const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(t[0], t[1]));
    const __m512d b = _mm512_castps_pd(_mm512_unpacklo_ps(t[2], t[3]));
    const __m512d c = _mm512_castps_pd(_mm512_unpackhi_ps(t[0], t[1]));
    const __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(t[2], t[3]));
    sum = _mm512_fmadd_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_set1_ps(x[k]), sum);
    sum = _mm512_fmadd_ps(_mm512_castpd_ps(_mm512_unpackhi_pd(a, b)), _mm512_set1_ps(x[k + 1]),
                          sum);
    sum = _mm512_fmadd_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(c, d)), _mm512_set1_ps(x[k + 2]),
                          sum);
    return _mm512_fmadd_ps(_mm512_castpd_ps(_mm512_unpackhi_pd(c, d)), _mm512_set1_ps(x[k + 3]),
                           sum);
}

static void avx512_chains(ptrdiff_t n, ptrdiff_t depth, const float *weights, const float *bias,
                          const int32_t *ids, const float *x, float *z) {
    for (ptrdiff_t r = 0; r < n; r += CHAIN_ROWS) {
        const int rows = n - r < CHAIN_ROWS ? (int)(n - r) : CHAIN_ROWS;
        const float *row[CHAIN_ROWS]; /* lane 4 q + j of a vector has row[j + 4 q] */
        float sum[CHAIN_ROWS];
        for (int j = 0; j < CHAIN_ROWS; j++) { /* a short group repeats its last row */
            const ptrdiff_t id = ids[r + (j < rows ? j : rows - 1)];
            row[j] = weights + id * depth;
            sum[j] = bias[id];
        }
        __m512 first = _mm512_loadu_ps(sum), second = _mm512_loadu_ps(sum + 16);
        ptrdiff_t k = 0;
        for (; k + 4 <= depth; k += 4) {
            first = avx512_four(row, k, x, first);
            if (rows > 16) second = avx512_four(row + 16, k, x, second);
        }
        _mm512_storeu_ps(sum, first);
        _mm512_storeu_ps(sum + 16, second);
        for (; k < depth; k++)
            for (int j = 0; j < rows; j++) sum[j] = fmaf(row[j][k], x[k], sum[j]);
        memcpy(z + r, sum, rows * sizeof(float));
    }
}
