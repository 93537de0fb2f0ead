/* The leaf functions, written once in the words of a vocabulary (avx512.h, avx2.h, scalar.h).
 *
 * dispatch.h includes this file once per instruction set. Every sum has a fixed order that doesn't
 * depend on the number of lanes: either each lane is one output and the sum runs along k
 * (`axpy`, `gemm`), or the sum has SUM_LANES partial sums and one tree (`dot`, ...). So all
 * vocabularies with a fused multiply-add return the same bits.
 */

static inline VF LEAF(v_exp)(VF x) {
    /* Cephes expf: x = n ln 2 + r, polynomial in r, times 2**n; within 2 ulp, no denormals. */
    const VF magic = v_set1(12582912.0f); /* 1.5 * 2**23: adding it rounds to an integer */
    x = v_min(v_set1(88.0f), v_max(v_set1(-87.0f), x)); /* NaN, as second operand, stays NaN */
    VF t = v_fma(x, v_set1(1.44269504088896341f), magic);
    VF n = v_sub(t, magic);
    VF r = v_fma(n, v_set1(-0.693359375f), x);
    r = v_fma(n, v_set1(2.12194440e-4f), r);
    VF p = v_set1(1.9875691500e-4f);
    p = v_fma(p, r, v_set1(1.3981999507e-3f));
    p = v_fma(p, r, v_set1(8.3334519073e-3f));
    p = v_fma(p, r, v_set1(4.1665795894e-2f));
    p = v_fma(p, r, v_set1(1.6666665459e-1f));
    p = v_fma(p, r, v_set1(5.0000001201e-1f));
    p = v_add(v_fma(p, v_mul(r, r), r), v_set1(1.0f));
    return v_scale(p, t);
}

/* x[i], x[i + 1], ... of a row that is bfloat16 if `half`, a constant at each call, else float32;
 * `row_n`: of the `left` that there are. */
static ALWAYS_INLINE VF LEAF(row)(const int half, const void *x, ptrdiff_t i) {
    if (half) return as_vf(vi_shl(vi_load16((const uint16_t *)x + i), 16));
    return v_load((const float *)x + i);
}

static ALWAYS_INLINE VF LEAF(row_n)(const int half, const void *x, ptrdiff_t i, ptrdiff_t left) {
    uint16_t part[VW] = {0};
    if (!half) return v_load_n((const float *)x + i, left);
    memcpy(part, (const uint16_t *)x + i, left * sizeof(uint16_t));
    return LEAF(row)(1, part, 0);
}

/* Whether to ask for the lines of a later row one by one. Loops over single numbers, of which the
 * compiler makes vectors, are left alone: the whole row is asked for here. */
static ALWAYS_INLINE int LEAF(asks)(const void *later, ptrdiff_t size) {
    if (VW == 1 && later) prefetch(later, size);
    return VW > 1 && later;
}

/* y += a * x */
static ALWAYS_INLINE void LEAF(axpy_row)(const int half, const int asks, ptrdiff_t n, float a,
                                         const void *x, float *y, const void *later) {
    const VF va = v_set1(a);
    const ptrdiff_t item = half ? 2 : 4;
    ptrdiff_t i = 0;
    for (; i + VW <= n; i += VW) {
        if (asks) ask_at(later, i * item, VW * item);
        v_store(y + i, v_fma(va, LEAF(row)(half, x, i), v_load(y + i)));
    }
    if (i < n) {
        if (asks) ask_at(later, i * item, VW * item);
        v_store_n(y + i, v_fma(va, LEAF(row_n)(half, x, i, n - i), v_load_n(y + i, n - i)), n - i);
    }
}

static void LEAF(axpy)(ptrdiff_t n, float a, const float *x, float *y, const float *later) {
    if (LEAF(asks)(later, 4 * n)) LEAF(axpy_row)(0, 1, n, a, x, y, later);
    else LEAF(axpy_row)(0, 0, n, a, x, y, NULL);
}

static void LEAF(axpy16)(ptrdiff_t n, float a, const uint16_t *x, float *y,
                         const uint16_t *later) {
    if (LEAF(asks)(later, 2 * n)) LEAF(axpy_row)(1, 1, n, a, x, y, later);
    else LEAF(axpy_row)(1, 0, n, a, x, y, NULL);
}

/* y += sum over p of a[p] * row places[p] of x, whose rows are `step` apart: for each column one
 * chain of multiply-adds in the order of p. */
static void LEAF(combine)(ptrdiff_t count, ptrdiff_t n, const float *a, const int32_t *places,
                          const float *x, ptrdiff_t step, float *y) {
    ptrdiff_t i = 0;
    for (; i + STRIP * VW <= n; i += STRIP * VW) {
        VF sum[STRIP];
        UNROLL for (int j = 0; j < STRIP; j++) sum[j] = v_load(y + i + j * VW);
        for (ptrdiff_t p = 0; p < count; p++) {
            const float *row = x + places[p] * step + i;
            const VF factor = v_set1(a[p]);
            UNROLL for (int j = 0; j < STRIP; j++)
                sum[j] = v_fma(factor, v_load(row + j * VW), sum[j]);
        }
        UNROLL for (int j = 0; j < STRIP; j++) v_store(y + i + j * VW, sum[j]);
    }
    if (i < n)
        for (ptrdiff_t p = 0; p < count; p++)
            LEAF(axpy)(n - i, a[p], x + places[p] * step + i, y + i, NULL);
}

/* y <- 0 + a * x */
static void LEAF(scaled)(ptrdiff_t n, float a, const float *x, float *y) {
    const VF va = v_set1(a), zero = v_set1(0.0f);
    ptrdiff_t i = 0;
    for (; i + VW <= n; i += VW) v_store(y + i, v_fma(va, v_load(x + i), zero));
    if (i < n) v_store_n(y + i, v_fma(va, v_load_n(x + i, n - i), zero), n - i);
}

/* The sum of SUM_LANES numbers in vectors, by a tree: always the two halves of what is left. */
static ALWAYS_INLINE float LEAF(sum_parts)(VF *parts) {
    UNROLL for (int half = SUM_LANES / VW / 2; half; half /= 2)
        UNROLL for (int p = 0; p < half; p++) parts[p] = v_add(parts[p], parts[p + half]);
    return v_sum(parts[0]);
}

/* The inner product of x and y. */
static ALWAYS_INLINE float LEAF(dot_row)(const int half, const int asks, ptrdiff_t n,
                                         const float *x, const void *y, const void *later) {
    enum { PARTS = SUM_LANES / VW };
    const ptrdiff_t item = half ? 2 : 4;
    VF acc[PARTS];
    UNROLL for (int p = 0; p < PARTS; p++) acc[p] = v_set1(0.0f);
    ptrdiff_t i = 0;
    for (; i + SUM_LANES <= n; i += SUM_LANES)
        UNROLL for (int p = 0; p < PARTS; p++) {
            if (asks) ask_at(later, (i + p * VW) * item, VW * item);
            acc[p] = v_fma(v_load(x + i + p * VW), LEAF(row)(half, y, i + p * VW), acc[p]);
        }
    UNROLL for (int p = 0; p < PARTS; p++, i += VW) {
        if (i >= n) break;
        const ptrdiff_t left = n - i < VW ? n - i : VW;
        if (asks) ask_at(later, i * item, VW * item);
        acc[p] = v_fma(v_load_n(x + i, left), LEAF(row_n)(half, y, i, left), acc[p]);
    }
    return LEAF(sum_parts)(acc);
}

static float LEAF(dot)(ptrdiff_t n, const float *x, const float *y, const float *later) {
    return LEAF(asks)(later, 4 * n) ? LEAF(dot_row)(0, 1, n, x, y, later)
                                    : LEAF(dot_row)(0, 0, n, x, y, NULL);
}

static float LEAF(dot16)(ptrdiff_t n, const float *x, const uint16_t *y, const uint16_t *later) {
    return LEAF(asks)(later, 2 * n) ? LEAF(dot_row)(1, 1, n, x, y, later)
                                    : LEAF(dot_row)(1, 0, n, x, y, NULL);
}

/* max(x[0], ..., x[n-1]), -inf for n = 0; NaN may get lost. */
static float LEAF(maximum)(ptrdiff_t n, const float *x) {
    float lanes[VW], best = -INFINITY;
    ptrdiff_t i = 0;
    if (n >= VW) {
        VF top = v_load(x);
        for (i = VW; i + VW <= n; i += VW) top = v_max(top, v_load(x + i));
        v_store(lanes, top);
        for (int j = 0; j < VW; j++) best = lanes[j] > best ? lanes[j] : best;
    }
    for (; i < n; i++) best = x[i] > best ? x[i] : best;
    return best;
}

/* z <- exp(z - shift); returns the sum. */
static double LEAF(exp_sum)(ptrdiff_t n, float shift, float *z) {
    const VF vshift = v_set1(shift);
    double lanes[SUM_LANES] = {0};
    ptrdiff_t i = 0;
    for (; i + VW <= n; i += VW) {
        v_store(z + i, LEAF(v_exp)(v_sub(v_load(z + i), vshift)));
        double *lane = lanes + i % SUM_LANES;
        for (int j = 0; j < VW; j++) lane[j] += z[i + j];
    }
    if (i < n) {
        v_store_n(z + i, LEAF(v_exp)(v_sub(v_load_n(z + i, n - i), vshift)), n - i);
        for (; i < n; i++) lanes[i % SUM_LANES] += z[i];
    }
    return sum_tree_double(lanes);
}

/* Sigmoids of the numbers x. Adds log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)) to *sum, but for
 * the logarithm of a factor, 1 + exp(-|x|), which it returns. */
static ALWAYS_INLINE VF LEAF(v_sigmoid)(VF x, VF *sum, VF *sigmoid) {
    const VF one = v_set1(1.0f), zero = v_set1(0.0f);
    const VF e = LEAF(v_exp)(v_sub(zero, v_abs(x)));
    const VF factor = v_add(one, e);
    *sigmoid = v_div(v_where_nonneg(x, one, e), factor);
    *sum = v_add(*sum, v_add(v_max(zero, x), v_sub(e, v_sub(factor, one))));
    return factor;
}

/* z <- 1 / (1 + exp(-z)); returns the sum of log(1 + exp(z)) = max(z, 0) + log(1 + exp(-|z|)).
 * Logarithms are taken of products, whose factors 1 + exp(-|z|) are at most 2; what a factor loses
 * in rounding is added up with the rest. */
static double LEAF(sigmoid_sum)(ptrdiff_t n, float *z) {
    enum { PARTS = SUM_LANES / VW, AT_ONCE = 15 * SUM_LANES }; /* a double holds 2**AT_ONCE */
    const VF one = v_set1(1.0f), zero = v_set1(0.0f);
    double total = 0;
    for (; n > 0; n -= AT_ONCE, z += AT_ONCE) {
        const ptrdiff_t end = n < AT_ONCE ? n : AT_ONCE;
        float products[SUM_LANES], part[VW];
        VF sum[PARTS], product[PARTS];
        for (int p = 0; p < PARTS; p++) sum[p] = zero, product[p] = one;
        ptrdiff_t i = 0;
        for (; i + SUM_LANES <= end; i += SUM_LANES)
            UNROLL for (int p = 0; p < PARTS; p++) {
                VF sigmoid;
                product[p] = v_mul(product[p], LEAF(v_sigmoid)(v_load(z + i + p * VW), &sum[p],
                                                               &sigmoid));
                v_store(z + i + p * VW, sigmoid);
            }
        UNROLL for (int p = 0; p < PARTS; p++, i += VW) {
            const ptrdiff_t left = end - i < VW ? end - i : VW;
            VF sigmoid, factor;
            if (left <= 0) break;
            factor = LEAF(v_sigmoid)(v_load_n(z + i, left), &sum[p], &sigmoid); /* 0 has no term */
            v_store_n(z + i, sigmoid, left);
            v_store(part, one);
            v_store_n(part, factor, left);
            product[p] = v_mul(product[p], v_load(part));
        }
        for (int p = 0; p < PARTS; p++) v_store(products + p * VW, product[p]);
        total += LEAF(sum_parts)(sum) + log_double(product_tree(products));
    }
    return total;
}

/* One optimizer step on n weights (see leaf_types.h for the meaning of the arguments). */
static inline VF LEAF(v_step)(const optimizer_t *o, VF g, VF w, VF *m, VF *v) {
    if (SOLVER_HAS_V(o->solver)) {
        *m = o->solver == SOLVER_ADAM ? v_fma(v_set1(o->beta_1), v_sub(*m, g), g) : g;
        VF gg = v_mul(g, g);
        *v = v_fma(v_set1(o->beta_2), v_sub(*v, gg), gg);
        VF root = v_fma(v_sqrt(*v), v_set1(o->root_scale), v_set1(o->epsilon));
        return v_fma(v_set1(-o->rate), v_div(*m, root), w);
    }
    if (o->solver == SOLVER_ADAGRAD) {
        *m = v_fma(g, g, *m);
        return v_fma(v_set1(-o->rate), v_div(g, v_add(v_sqrt(*m), v_set1(o->epsilon))), w);
    }
    return v_fma(v_set1(-o->rate), g, w);
}

/* See `asks`; `later` has rows of weights and of optimizer state, NULL where there are none. */
static ALWAYS_INLINE int LEAF(step_asks)(const void *const *later, ptrdiff_t size) {
    if (!later) return 0;
    for (int r = 1; r < 3; r++) LEAF(asks)(later[r], size);
    return LEAF(asks)(later[0], size);
}

/* The lines of later rows that begin with column i; there is one every `step` columns. */
static ALWAYS_INLINE void LEAF(ask_for_step)(const int has_m, const int has_v, ptrdiff_t item,
                                             ptrdiff_t step, const void *const *later,
                                             ptrdiff_t i) {
    ask_at(later[0], i * item, step * item);
    if (has_m) ask_at(later[1], i * item, step * item);
    if (has_v) ask_at(later[2], i * item, step * item);
}

/* `solver` is a constant at each call, and of `o` there is a copy that no store can change: so the
 * loops have neither branches nor loads that are always the same. */
static ALWAYS_INLINE void LEAF(step_with)(const int solver, const optimizer_t *given,
                                          const int asks, ptrdiff_t n, const float *g,
                                          float *w, float *m, float *v, float *const *later) {
    const int has_m = SOLVER_HAS_M(solver), has_v = SOLVER_HAS_V(solver);
    optimizer_t o = *given;
    VF vm = v_set1(0.0f), vv = v_set1(0.0f);
    ptrdiff_t i = 0;
    o.solver = solver;
    for (; i + VW <= n; i += VW) {
        if (asks) LEAF(ask_for_step)(has_m, has_v, 4, VW, (const void *const *)later, i);
        if (has_m) vm = v_load(m + i);
        if (has_v) vv = v_load(v + i);
        v_store(w + i, LEAF(v_step)(&o, v_load(g + i), v_load(w + i), &vm, &vv));
        if (has_m) v_store(m + i, vm);
        if (has_v) v_store(v + i, vv);
    }
    if (i < n) {
        ptrdiff_t left = n - i;
        if (asks) LEAF(ask_for_step)(has_m, has_v, 4, VW, (const void *const *)later, i);
        if (has_m) vm = v_load_n(m + i, left);
        if (has_v) vv = v_load_n(v + i, left);
        v_store_n(w + i, LEAF(v_step)(&o, v_load_n(g + i, left), v_load_n(w + i, left), &vm, &vv),
                  left);
        if (has_m) v_store_n(m + i, vm, left);
        if (has_v) v_store_n(v + i, vv, left);
    }
}

static void LEAF(step)(const optimizer_t *o, ptrdiff_t n, const float *g, float *w, float *m,
                       float *v, float *const *later) {
    if (LEAF(step_asks)((const void *const *)later, 4 * n))
        FOR_SOLVER(LEAF(step_with), o, 1, n, g, w, m, v, later);
    else FOR_SOLVER(LEAF(step_with), o, 0, n, g, w, m, v, NULL);
}

/* y <- x, from bfloat16 */
static void LEAF(widen)(ptrdiff_t n, const uint16_t *x, float *y) {
    ptrdiff_t i = 0;
    for (; i + VW <= n; i += VW) v_store(y + i, as_vf(vi_shl(vi_load16(x + i), 16)));
    for (; i < n; i++) y[i] = float_of_bfloat16(x[i]);
}

/* x as bfloat16 in the low halves of the lanes: rounded up where the half that falls away is at
 * least 2**16 - up. A NaN stays one, and infinity itself; what is too large becomes infinity. */
static inline VI LEAF(v_narrow)(VF x, VI up) {
    const VI bits = as_vi(x), quiet = vi_or(vi_shr(bits, 16), vi_set1(0x40));
    return vi_where_nan(x, quiet, vi_shr(vi_add(bits, up), 16));
}

/* y <- x, to the nearest bfloat16, of two equally near to the even one */
static void LEAF(narrow)(ptrdiff_t n, const float *x, uint16_t *y) {
    uint16_t rounded[VW];
    for (ptrdiff_t i = 0; i < n; i += VW) {
        const ptrdiff_t left = n - i < VW ? n - i : VW;
        const VF part = left == VW ? v_load(x + i) : v_load_n(x + i, left);
        const VI odd = vi_and(vi_shr(as_vi(part), 16), vi_set1(1));
        vi_store16(rounded, LEAF(v_narrow)(part, vi_add(odd, vi_set1(0x7FFF))));
        memcpy(y + i, rounded, left * sizeof(uint16_t));
    }
}

/* 32 random bits for each of the lanes i, i + 1, ...: a mixer of two multiplications (Wellons,
 * "Prospecting for hash functions", 2018) with the halves of a key before and between them. */
static inline VI LEAF(v_random)(uint64_t key, ptrdiff_t i) {
    VI x = vi_mul(vi_add(vi_count(), vi_set1((uint32_t)i)), vi_set1(0x9E3779B9u));
    x = vi_add(x, vi_set1((uint32_t)key));
    x = vi_mul(vi_xor(x, vi_shr(x, 16)), vi_set1(0x7FEB352Du));
    x = vi_add(x, vi_set1((uint32_t)(key >> 32)));
    x = vi_mul(vi_xor(x, vi_shr(x, 15)), vi_set1(0x846CA68Bu));
    return vi_xor(x, vi_shr(x, 16));
}

#ifndef HAVE_PACK
/* Writes those lanes of x whose bits are set, and their numbers, counted from `first`. */
static inline int LEAF(pack)(uint32_t kept, VF x, ptrdiff_t first, int32_t *places,
                             float *values) {
    float lanes[VW];
    int n = 0;
    if (kept) v_store(lanes, x);
    for (; kept; kept &= kept - 1, n++) {
        const int lane = lowest_bit(kept);
        places[n] = (int32_t)(first + lane);
        values[n] = lanes[lane];
    }
    return n;
}
#endif

/* Rounds numbers that are smaller in size than `least` to it or to 0, at random so that the
 * expectation stays; writes those that aren't 0 then, with their places, and returns how many. */
static ptrdiff_t LEAF(sparsify)(ptrdiff_t n, float least, uint64_t key, const float *x,
                                int32_t *places, float *values) {
    const VF one = v_set1(1.0f), lowest = v_set1(least);
    const VI sign = vi_set1(0x80000000u), exponent = vi_set1(0x3F800000u);
    ptrdiff_t count = 0;
    for (ptrdiff_t i = 0; i < n; i += VW) {
        const VF number = n - i < VW ? v_load_n(x + i, n - i) : v_load(x + i);
        const VF size = v_abs(number);
        const VI random = vi_or(vi_shr(LEAF(v_random)(key, i), 9), exponent); /* 1 and a fraction */
        const uint32_t kept = v_less(v_mul(lowest, v_sub(as_vf(random), one)), size);
        const VF rounded = as_vf(vi_or(as_vi(v_max(size, lowest)), vi_and(as_vi(number), sign)));
        count += LEAF(pack)(kept, rounded, i, places + count, values + count);
    }
    return count;
}

/* 2 VW numbers in bfloat16, those with even places in x[0] and those with odd ones in x[1]. */
static ALWAYS_INLINE void LEAF(load_pairs)(const uint16_t *p, VF *x) {
    const VI pairs = vi_load_pairs(p);
    x[0] = as_vf(vi_shl(pairs, 16));
    x[1] = as_vf(vi_and(pairs, vi_set1(0xFFFF0000u)));
}

/* And back, rounded as by `v_narrow`; `nan`: whether there may be one. */
static ALWAYS_INLINE void LEAF(store_pairs)(const int nan, uint16_t *p, const VF *x, VI up0,
                                            VI up1) {
    const VI even = nan ? LEAF(v_narrow)(x[0], up0) : vi_shr(vi_add(as_vi(x[0]), up0), 16);
    const VI odd = nan ? vi_shl(LEAF(v_narrow)(x[1], up1), 16)
                       : vi_and(vi_add(as_vi(x[1]), up1), vi_set1(0xFFFF0000u));
    vi_store_pairs(p, vi_or(even, odd));
}

/* `step` on 2 VW weights in bfloat16. Each result is rounded up with a probability that makes its
 * expectation exact; otherwise steps far smaller than the weight, and the slow mean of squares,
 * would never move it. Two neighbours share 32 random bits, 16 for each: of w the low and the high
 * ones, of v the other way round, of m those between and around; so each result is unbiased, though
 * not all are independent. */
static ALWAYS_INLINE void LEAF(step_pairs)(const int solver, const optimizer_t *o, const float *g,
                                           uint16_t *w, uint16_t *m, uint16_t *v, VI random) {
    const int has_m = SOLVER_HAS_M(solver), has_v = SOLVER_HAS_V(solver);
    const VI low = vi_and(random, vi_set1(0xFFFF)), high = vi_shr(random, 16);
    const VI between = vi_and(vi_shr(random, 8), vi_set1(0xFFFF));
    const VI around = vi_or(vi_and(vi_shl(random, 8), vi_set1(0xFF00)), vi_shr(random, 24));
    VF vg[2], vw[2], vm[2], vv[2];
    v_split(v_load(g), v_load(g + VW), vg);
    LEAF(load_pairs)(w, vw);
    if (has_m) LEAF(load_pairs)(m, vm);
    if (has_v) LEAF(load_pairs)(v, vv);
    for (int j = 0; j < 2; j++) vw[j] = LEAF(v_step)(o, vg[j], vw[j], &vm[j], &vv[j]);
    if (v_any_nan(v_add(vw[0], vw[1]))) { /* where m or v is NaN, so is w */
        LEAF(store_pairs)(1, w, vw, low, high);
        if (has_m) LEAF(store_pairs)(1, m, vm, between, around);
        if (has_v) LEAF(store_pairs)(1, v, vv, high, low);
    } else {
        LEAF(store_pairs)(0, w, vw, low, high);
        if (has_m) LEAF(store_pairs)(0, m, vm, between, around);
        if (has_v) LEAF(store_pairs)(0, v, vv, high, low);
    }
}

/* See `step_with`. */
static ALWAYS_INLINE void LEAF(step16_with)(const int solver, const optimizer_t *given,
                                            const int asks, ptrdiff_t n, const float *g,
                                            uint16_t *w, uint16_t *m, uint16_t *v, uint64_t key,
                                            uint16_t *const *later) {
    const int has_m = SOLVER_HAS_M(solver), has_v = SOLVER_HAS_V(solver);
    optimizer_t o = *given;
    ptrdiff_t i = 0;
    o.solver = solver;
    for (; i + 2 * VW <= n; i += 2 * VW) {
        if (asks) LEAF(ask_for_step)(has_m, has_v, 2, 2 * VW, (const void *const *)later, i);
        LEAF(step_pairs)(solver, &o, g + i, w + i, m ? m + i : m, v ? v + i : v,
                         LEAF(v_random)(key, i / 2));
    }
    if (i < n) {
        if (asks) LEAF(ask_for_step)(has_m, has_v, 2, 2 * VW, (const void *const *)later, i);
        const ptrdiff_t left = n - i, size = left * sizeof(uint16_t);
        float gradient[2 * VW] = {0};
        uint16_t part[3][2 * VW] = {{0}}, *arrays[3] = {w, m, v};
        memcpy(gradient, g + i, left * sizeof(float));
        for (int a = 0; a < 3; a++)
            if (arrays[a]) memcpy(part[a], arrays[a] + i, size);
        LEAF(step_pairs)(solver, &o, gradient, part[0], part[1], part[2],
                         LEAF(v_random)(key, i / 2));
        for (int a = 0; a < 3; a++)
            if (arrays[a]) memcpy(arrays[a] + i, part[a], size);
    }
}

static void LEAF(step16)(const optimizer_t *o, ptrdiff_t n, const float *g, uint16_t *w,
                         uint16_t *m, uint16_t *v, uint64_t key, uint16_t *const *later) {
    if (LEAF(step_asks)((const void *const *)later, 2 * n))
        FOR_SOLVER(LEAF(step16_with), o, 1, n, g, w, m, v, key, later);
    else FOR_SOLVER(LEAF(step16_with), o, 0, n, g, w, m, v, key, NULL);
}

/* C[i, 0:columns] += sum over k of A[i, k] B[k, 0:columns] for `rows` <= TILE_ROWS rows of C and at
 * most two vectors of columns, all in registers. `rows` and `parts` are constants at each call.
 * The columns of `ask` begin `offset` bytes into its rows and take one cache line or two. */
static ALWAYS_INLINE void LEAF(tile)(const int rows, const int parts, ptrdiff_t columns,
                                     ptrdiff_t depth, const float *a, ptrdiff_t a_row,
                                     ptrdiff_t a_step, const float *b, ptrdiff_t b_step, float *c,
                                     ptrdiff_t c_row, const ask_t *ask, ptrdiff_t offset) {
    const int two = ask && parts * VW * ask->item > CACHE_LINE;
    const ptrdiff_t n_lines = ask ? ask->n << two : 0;
    VF acc[TILE_ROWS][2];
    const ptrdiff_t left = columns - (parts - 1) * VW; /* lanes of the last vector */
    const int partial = left != VW;
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int p = 0; p < parts; p++)
            acc[i][p] = partial && p == parts - 1 ? v_load_n(c + i * c_row + p * VW, left)
                                                  : v_load(c + i * c_row + p * VW);
    for (ptrdiff_t k = 0; k < depth; k++, a += a_step, b += b_step) {
        VF row[2];
        if (k < n_lines) ask_for(ask, offset, two, k);
        UNROLL for (int p = 0; p < parts; p++)
            row[p] = partial && p == parts - 1 ? v_load_n(b + p * VW, left) : v_load(b + p * VW);
        UNROLL for (int i = 0; i < rows; i++) {
            const VF factor = v_set1(a[i * a_row]);
            UNROLL for (int p = 0; p < parts; p++) acc[i][p] = v_fma(factor, row[p], acc[i][p]);
        }
    }
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int p = 0; p < parts; p++) {
            if (partial && p == parts - 1) v_store_n(c + i * c_row + p * VW, acc[i][p], left);
            else v_store(c + i * c_row + p * VW, acc[i][p]);
        }
    for (ptrdiff_t k = depth; k < n_lines; k++) ask_for(ask, offset, two, k);
}

/* All rows of C for one strip of columns, which begins with column `first`: full tiles, then single
 * rows. */
static ALWAYS_INLINE void LEAF(strip)(const int parts, ptrdiff_t first, ptrdiff_t columns,
                                      ptrdiff_t rows, ptrdiff_t depth, const float *a,
                                      ptrdiff_t a_row, ptrdiff_t a_step, const float *b,
                                      ptrdiff_t b_step, float *c, ptrdiff_t c_row,
                                      const ask_t *ask) {
    const ptrdiff_t offset = ask ? first * ask->item : 0;
    ptrdiff_t i = 0;
    b += first, c += first;
    for (; i + TILE_ROWS <= rows; i += TILE_ROWS, ask = NULL)
        LEAF(tile)(TILE_ROWS, parts, columns, depth, a + i * a_row, a_row, a_step, b, b_step,
                   c + i * c_row, c_row, ask, offset);
    for (; i + 4 <= rows; i += 4)
        LEAF(tile)(4, parts, columns, depth, a + i * a_row, a_row, a_step, b, b_step,
                   c + i * c_row, c_row, NULL, 0);
    for (; i < rows; i++)
        LEAF(tile)(1, parts, columns, depth, a + i * a_row, a_row, a_step, b, b_step,
                   c + i * c_row, c_row, NULL, 0);
}

/* C += A B: A[i, k] = a[i * a_row + k * a_step], B[k, j] = b[k * b_step + j],
 * C[i, j] = c[i * c_row + j]. Each element is one chain of multiply-adds in the order of k.
 * `ask` may be NULL; products of less than a tile of rows pass over it. */
static void LEAF(gemm)(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t depth, const float *a,
                       ptrdiff_t a_row, ptrdiff_t a_step, const float *b, ptrdiff_t b_step,
                       float *c, ptrdiff_t c_row, const ask_t *ask) {
    ptrdiff_t j = 0;
    for (; j + 2 * VW <= columns; j += 2 * VW)
        LEAF(strip)(2, j, 2 * VW, rows, depth, a, a_row, a_step, b, b_step, c, c_row, ask);
    for (; j + VW <= columns; j += VW)
        LEAF(strip)(1, j, VW, rows, depth, a, a_row, a_step, b, b_step, c, c_row, ask);
    if (j < columns)
        LEAF(strip)(1, j, columns - j, rows, depth, a, a_row, a_step, b, b_step, c, c_row, ask);
}

#include "bytes.h"
#include "screen.h"
#include "relu.h"

static const leaf_t LEAF(leaf) = LEAF_TABLE(LEVEL_NAME, no_begin8, no_end8, LEAF(screen),
                                             LEAF(logits8), 0, 0);
