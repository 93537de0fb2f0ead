/* Rows that are drawn at random lie anywhere in memory, so the processor can't foresee them. */
#ifndef SLIDELEARN_PREFETCH_H
#define SLIDELEARN_PREFETCH_H

#include <stddef.h>

#define CACHE_LINE 64

#if defined(__GNUC__) || defined(__clang__)
#define PREFETCH(p) __builtin_prefetch(p)
/* gcc drops calls of functions that do nothing but prefetch, as having no effect. */
#define PREFETCH_END __asm__ __volatile__("")
#else
#define PREFETCH(p) ((void)(p))
#define PREFETCH_END
#endif

/* Ask for the cache lines of `size` bytes, which may start and end within a line. */
static inline void prefetch(const void *start, ptrdiff_t size) {
    const char *p = (const char *)start;
    for (ptrdiff_t i = 0; i < size; i += CACHE_LINE) PREFETCH(p + i);
    if (size > 0) PREFETCH(p + size - 1);
    PREFETCH_END;
}

#endif
