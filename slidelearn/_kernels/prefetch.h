/* Hints that rows of a matrix will be needed soon. Rows that a batch touches lie anywhere in memory,
 * where the processor doesn't foresee them. */
#ifndef SLIDELEARN_PREFETCH_H
#define SLIDELEARN_PREFETCH_H

#include <stddef.h>

#define FLOATS_PER_LINE 16 /* of 64 bytes */

#if defined(__GNUC__) || defined(__clang__)
/* gcc takes a function of nothing but hints for one without effect, and drops calls of it: so it
 * must be inlined before gcc looks. */
#define PREFETCH_INLINE static inline __attribute__((always_inline))
#define PREFETCH(p) __builtin_prefetch((p), 0, 3)
#else
#define PREFETCH_INLINE static inline
#define PREFETCH(p) ((void)(p))
#endif

/* Ask for row[0], ..., row[n - 1]; nothing happens with NULL. */
PREFETCH_INLINE void prefetch_row(const float *row, ptrdiff_t n) {
    if (row)
        for (ptrdiff_t i = 0; i < n; i += FLOATS_PER_LINE) PREFETCH(row + i);
}

#endif
