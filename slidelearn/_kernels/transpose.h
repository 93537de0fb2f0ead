/* Copies rows into the columns of a panel, four by four where the compiler's target has SSE. */
#ifndef SLIDELEARN_TRANSPOSE_H
#define SLIDELEARN_TRANSPOSE_H

#include <stddef.h>

#ifdef __SSE2__
#include <xmmintrin.h>
#endif

/* panel[k * step + s] = rows[s * width + k] for s < n, k < width. */
static inline void transpose(ptrdiff_t n, ptrdiff_t width, const float *rows, float *panel,
                             ptrdiff_t step) {
    ptrdiff_t fours = 0;
#ifdef __SSE2__
    const ptrdiff_t whole = width - width % 4;
    fours = n - n % 4;
    for (ptrdiff_t s = 0; s < fours; s += 4) {
        const float *row = rows + s * width;
        for (ptrdiff_t k = 0; k < whole; k += 4) {
            __m128 a = _mm_loadu_ps(row + k), b = _mm_loadu_ps(row + width + k);
            __m128 c = _mm_loadu_ps(row + 2 * width + k), d = _mm_loadu_ps(row + 3 * width + k);
            _MM_TRANSPOSE4_PS(a, b, c, d);
            float *column = panel + k * step + s;
            _mm_storeu_ps(column, a);
            _mm_storeu_ps(column + step, b);
            _mm_storeu_ps(column + 2 * step, c);
            _mm_storeu_ps(column + 3 * step, d);
        }
        for (ptrdiff_t k = whole; k < width; k++)
            for (int r = 0; r < 4; r++) panel[k * step + s + r] = row[r * width + k];
    }
#endif
    for (ptrdiff_t s = fours; s < n; s++)
        for (ptrdiff_t k = 0; k < width; k++) panel[k * step + s] = rows[s * width + k];
}

#endif
