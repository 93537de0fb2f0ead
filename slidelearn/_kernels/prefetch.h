/* Rows that are drawn at random lie anywhere in memory, so the processor can't foresee them. */
#ifndef SLIDELEARN_PREFETCH_H
#define SLIDELEARN_PREFETCH_H

#include <stddef.h>
#include <stdint.h>

#define CACHE_LINE 64
#define CSR_AHEAD 16 /* rows of a CSR matrix whose place is asked for before it is read */

#if defined(__GNUC__) && defined(__x86_64__)
#include <cpuid.h>

static int second_cache_only; /* whether rows are asked for there, not into the first one as well */

/* On a Zen 4, the only AMD processor of family 25 with AVX-512, random rows then arrive 1.2 to 1.6
 * times as fast; on a Zen 5 that is level or slower (docs/speed.md, "Rows from memory"). */
__attribute__((constructor)) static void choose_cache(void) {
    unsigned eax, ebx, ecx, edx;
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx512f") || !__get_cpuid(0, &eax, &ebx, &ecx, &edx)) return;
    if (ebx != signature_AMD_ebx || !__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return;
    second_cache_only = (eax >> 8 & 15) + (eax >> 20 & 255) == 25;
}

#define PREFETCH(p) (second_cache_only ? __builtin_prefetch(p, 0, 2) : __builtin_prefetch(p))
#elif defined(__GNUC__) || defined(__clang__)
#define PREFETCH(p) __builtin_prefetch(p)
#else
#define PREFETCH(p) ((void)(p))
#endif

#if defined(__GNUC__) || defined(__clang__)
/* gcc drops calls of functions that do nothing but prefetch, as having no effect. */
#define PREFETCH_END __asm__ __volatile__("")
#else
#define PREFETCH_END
#endif

/* Ask for the cache lines of `size` bytes, which may start and end within a line. */
static inline void prefetch(const void *start, ptrdiff_t size) {
    const char *p = (const char *)start;
    for (ptrdiff_t i = 0; i < size; i += CACHE_LINE) PREFETCH(p + i);
    if (size > 0) PREFETCH(p + size - 1);
    PREFETCH_END;
}

/* Ask for what a loop over some `rows` of a CSR matrix reads soon after the i-th of n: where a later
 * row lies, and the columns of one that is half as late. */
static inline void prefetch_csr(const int64_t *indptr, const int32_t *indices, const int64_t *rows,
                                ptrdiff_t i, ptrdiff_t n) {
    if (i + CSR_AHEAD < n) prefetch(indptr + rows[i + CSR_AHEAD], 2 * sizeof(int64_t));
    if (i + CSR_AHEAD / 2 < n) {
        const int64_t *place = indptr + rows[i + CSR_AHEAD / 2];
        prefetch(indices + place[0], (place[1] - place[0]) * (ptrdiff_t)sizeof(int32_t));
    }
}

#endif
