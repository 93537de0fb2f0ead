/* The leaf functions of every instruction set that this compiler can emit, and the choice between
 * them at run time. Only _simd.pyx includes this file; kernels call through `leaf_t` (leaf_types.h).
 */
#ifndef SLIDELEARN_DISPATCH_H
#define SLIDELEARN_DISPATCH_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../prefetch.h"
#include "../rng.h"
#include "bfloat16.h"
#include "leaf_types.h"

#define SUM_LANES 64

#if defined(__GNUC__) || defined(__clang__)
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define UNROLL _Pragma("GCC unroll 16")
#else
#define ALWAYS_INLINE __forceinline
#define UNROLL
#endif

#define FOR_SOLVER(f, o, ...)                                                       \
    do {                                                                            \
        if ((o)->solver == SOLVER_ADAM) f(SOLVER_ADAM, o, __VA_ARGS__);             \
        else if ((o)->solver == SOLVER_RMSPROP) f(SOLVER_RMSPROP, o, __VA_ARGS__);  \
        else if ((o)->solver == SOLVER_ADAGRAD) f(SOLVER_ADAGRAD, o, __VA_ARGS__);  \
        else f(SOLVER_SGD, o, __VA_ARGS__);                                         \
    } while (0)

/* The line that begins `place` bytes into a row, where one does; there is one every `step` bytes. */
static ALWAYS_INLINE void ask_at(const void *row, ptrdiff_t place, ptrdiff_t step) {
    if (step % CACHE_LINE == 0 || place % CACHE_LINE == 0) PREFETCH((const char *)row + place);
}

/* Line k of the columns that begin `offset` bytes into the rows of `ask`, a line of each or two. */
static ALWAYS_INLINE void ask_for(const ask_t *ask, ptrdiff_t offset, int two, ptrdiff_t k) {
    PREFETCH(ask->rows[k >> two] + offset + (k & two) * CACHE_LINE);
}

static inline double sum_tree_double(double *lanes) {
    for (int half = SUM_LANES / 2; half; half /= 2)
        for (int j = 0; j < half; j++) lanes[j] += lanes[j + half];
    return lanes[0];
}

/* The product of SUM_LANES numbers, as a double. */
static inline double product_tree(const float *factors) {
    double lanes[SUM_LANES];
    for (int j = 0; j < SUM_LANES; j++) lanes[j] = factors[j];
    for (int half = SUM_LANES / 2; half; half /= 2)
        for (int j = 0; j < half; j++) lanes[j] *= lanes[j + half];
    return lanes[0];
}

/* The logarithm of x > 0; the C library's depends on the processor. */
static inline double log_double(double x) {
    /* x = m 2**n with m in [sqrt(1/2), sqrt(2)), log m = 2 atanh(s), |s| < 0.172 */
    int n;
    double m = frexp(x, &n), p = 0;
    if (m < 0.70710678118654752) m *= 2, n--;
    const double s = (m - 1) / (m + 1), q = s * s;
    for (int k = 19; k >= 1; k -= 2) p = p * q + 1.0 / k;
    return n * 0.69314718055994531 + 2 * s * p;
}

/* The logarithm of x > 0 to base 2, within 0.09. */
static inline float near_log2(float x) {
    return (float)bits_of_float(x) * 0x1p-23f - 127.0f;
}

/* The 16-bit quarters of n numbers, the lowest one of each first. */
static ALWAYS_INLINE void split_bits(int n, const uint64_t *bits, uint16_t *quarters) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(quarters, bits, n * sizeof(uint64_t));
#else
    for (int j = 0; j < 4 * n; j++) quarters[j] = (uint16_t)(bits[j / 4] >> (16 * (j % 4)));
#endif
}

/* Products of bytes need no preparation, but with AMX. */
static void no_begin8(ptrdiff_t groups1, ptrdiff_t groups2) { (void)groups1, (void)groups2; }
static void no_end8(void) {}

/* The leaf functions of a level, in the order of leaf_t. */
#define LEAF_TABLE(name, begin8, end8, screen, logits8, sample_rows, fast_screen)          \
    {                                                                                      \
        name, LEAF(axpy), LEAF(axpy16), LEAF(combine), LEAF(scaled), LEAF(dot),            \
        LEAF(dot16), LEAF(maximum), LEAF(exp_sum), LEAF(sigmoid_sum), LEAF(sparsify),      \
        LEAF(step), LEAF(step16), LEAF(widen), LEAF(narrow), LEAF(gemm), LEAF(quantise),   \
        begin8, screen, logits8, end8, LEAF(kth_bound), LEAF(chains), LEAF(rank),          \
        LEAF(encode8), LEAF(above), LEAF(relu_dropout), LEAF(relu_backward), sample_rows,  \
        fast_screen,                                                                       \
    }

#define LEAF(name) scalar_##name
#define LEVEL_NAME "scalar"
#include "scalar.h"
#include "leaf.h"
#include "undef.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define HAVE_X86_LEVELS 1
#if defined(__linux__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#define HAVE_AMX_LEVEL 1
#endif
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define LEAF(name) avx2_##name
#define LEVEL_NAME "avx2"
#include "avx2.h"
#include "products_avx2.h"
#define HAVE_PRODUCTS8
#include "leaf.h"
#include "undef.h"
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,popcnt"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,popcnt,prefer-vector-width=512")
#endif
#define LEAF(name) avx512_##name
#define LEVEL_NAME "avx512"
#include "avx512.h"
#include "chains_avx512.h"
#include "pack_avx512.h"
#include "products_avx2.h"
#define HAVE_FAST_CHAINS
#define HAVE_PACK
#include "leaf.h"
#undef HAVE_FAST_CHAINS
#undef HAVE_PACK
#undef HAVE_PRODUCTS8
#include "undef.h"
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512vnni"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vnni,prefer-vector-width=512")
#endif
#include "vnni.h"
#define LEAF(name) avx512_##name /* all but products of bytes, here and with AMX */
static const leaf_t vnni_leaf = LEAF_TABLE("avx512vnni", no_begin8, no_end8, vnni_screen,
                                           vnni_logits8, 0, 1);
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#ifdef HAVE_AMX_LEVEL
#if defined(__clang__)
#pragma clang attribute push(                                                              \
    __attribute__((target("avx512f,avx512vnni,amx-tile,amx-int8"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vnni,amx-tile,amx-int8,prefer-vector-width=512")
#endif
#include "amx.h"
static const leaf_t amx_leaf = LEAF_TABLE("amx", amx_begin, amx_end, amx_screen, amx_logits8, 1, 1);
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
#undef LEAF
#endif /* x86-64 */

/* The leaf functions of the level called `name`, NULL if this build or this processor lacks it. */
static const leaf_t *leaf_find(const char *name) {
    if (!strcmp(name, "scalar")) return &scalar_leaf;
#ifdef HAVE_X86_LEVELS
    __builtin_cpu_init();
    if (!strcmp(name, "avx2") && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &avx2_leaf;
    if (!strcmp(name, "avx512") && __builtin_cpu_supports("avx512f")) return &avx512_leaf;
    if (!strcmp(name, "avx512vnni") && __builtin_cpu_supports("avx512f")
        && __builtin_cpu_supports("avx512vnni")) {
        return &vnni_leaf;
    }
#ifdef HAVE_AMX_LEVEL
    if (!strcmp(name, "amx") && __builtin_cpu_supports("avx512f")
        && __builtin_cpu_supports("avx512vnni") && amx_allowed()) {
        return &amx_leaf;
    }
#endif
#endif
    return NULL;
}

#endif
