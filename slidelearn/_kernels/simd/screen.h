/* The leaves of pruned top-k search (_pruned.pyx): integer products of SCREEN_SAMPLES samples with
 * SCREEN_CLASSES classes, with bounds; and exact scores of a few classes.
 *
 * dispatch.h includes this file once per instruction set; vnni.h has the same with VNNI. */

/* Upper bounds of the scores of some samples with some classes, and which reach a threshold.
 *
 * Codes come in groups of 4 coordinates; the first groups1 have scales of their own:
 *   product1 = sum of (code - 128) * h over the first groups, product2 over the other groups2,
 *   first bound   base + bound1 g1 + scale1 t1 product1                      (SCREEN_* rows below)
 *   second bound  base + bound2 g2 + scale1 t1 product1 + scale2 t2 product2
 * If none of the first bounds reaches its sample's threshold, the rest isn't read. Returns how many
 * of the two bounds reach one, for some class; if both do, `upper` holds all second bounds, and bit c
 * of kept[i] tells whether class c's reaches sample i's.
 *
 * h: (groups1 + groups2, SCREEN_SAMPLES, 4); start: (2, SCREEN_SAMPLES), -128 times the sums of the
 * samples' codes, the value at which each product starts; sample: SAMPLE_NUMBERS a sample;
 * codes: (groups1 + groups2, SCREEN_CLASSES, 4); classes: (CLASS_NUMBERS, SCREEN_CLASSES). */
static int LEAF(screen)(ptrdiff_t groups1, ptrdiff_t groups2, const int8_t *h,
                        const int32_t *start, const float *sample, const uint8_t *codes,
                        const float *classes, float *upper, uint32_t *kept) {
    float first[SCREEN_SAMPLES][SCREEN_CLASSES];
    int any = 0;
    for (int stage = 0; stage < 2; stage++) {
        const ptrdiff_t low = stage ? groups1 : 0, high = stage ? groups1 + groups2 : groups1;
        const float *scale = classes + (stage ? SCREEN_SCALE2 : SCREEN_SCALE1) * SCREEN_CLASSES;
        const float *bound = classes + (stage ? SCREEN_BOUND2 : SCREEN_BOUND1) * SCREEN_CLASSES;
        const float *base = classes + SCREEN_BASE * SCREEN_CLASSES;
        any = 0;
        for (int i = 0; i < SCREEN_SAMPLES; i++) {
            int32_t sum[SCREEN_CLASSES];
            const float *p = sample + i * SAMPLE_NUMBERS;
            const float t = p[stage ? SAMPLE_SCALE2 : SAMPLE_SCALE1];
            const float g = p[stage ? SAMPLE_BOUND2 : SAMPLE_BOUND1], least = p[SAMPLE_LEAST];
            for (int c = 0; c < SCREEN_CLASSES; c++) sum[c] = start[stage * SCREEN_SAMPLES + i];
            for (ptrdiff_t k = low; k < high; k++) {
                const int8_t *x = h + 4 * (k * SCREEN_SAMPLES + i);
                const uint8_t *w = codes + 4 * k * SCREEN_CLASSES;
                for (int c = 0; c < SCREEN_CLASSES; c++)
                    sum[c] += w[4 * c] * x[0] + w[4 * c + 1] * x[1] + w[4 * c + 2] * x[2]
                              + w[4 * c + 3] * x[3];
            }
            uint32_t mask = 0;
            for (int c = 0; c < SCREEN_CLASSES; c++) {
                float z = (float)sum[c] * scale[c] * t;
                if (stage) z += first[i][c];
                else first[i][c] = z;
                z += base[c] + bound[c] * g;
                upper[i * SCREEN_CLASSES + c] = z;
                mask |= (uint32_t)(z >= least) << c;
            }
            kept[i] = mask;
            any |= mask != 0;
        }
        if (!any) return stage;
    }
    return 2;
}

/* n coordinates of a row, a multiple of 4, as codes of 8 bits, x ~ scale * code: four side by side,
 * the next four `stride` bytes further, with `offset` added. stats: scale; lengths of x, of
 * x - scale * code, and of scale * code; the sum of the codes. */
static void LEAF(quantise)(ptrdiff_t n, const float *x, ptrdiff_t stride, int offset,
                           uint8_t *codes, double *stats) {
    enum { LANES = 16 };
    const VF magic = v_set1(12582912.0f), most = v_set1(127.0f); /* see v_exp */
    double squares[LANES] = {0}, losses[LANES] = {0}, keeps[LANES] = {0}, totals[LANES] = {0};
    double square = 0, lost = 0, kept = 0, total = 0;
    VF top = v_set1(0.0f);
    for (ptrdiff_t i = 0; i < n; i += VW)
        top = v_max(top, v_abs(n - i < VW ? v_load_n(x + i, n - i) : v_load(x + i)));
    float tops[VW], part[LANES], rounded[LANES];
    v_store(tops, top);
    for (int j = 1; j < VW; j++) tops[0] = tops[j] > tops[0] ? tops[j] : tops[0];
    const float scale = tops[0] / 127.0f, inverse = 1.0f / (scale > FLT_MIN ? scale : FLT_MIN);
    const double wide_scale = scale;
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        const ptrdiff_t left = n - i < LANES ? n - i : LANES;
        uint8_t bytes[LANES];
        if (left < LANES) memset(part, 0, sizeof part);
        memcpy(part, x + i, left == LANES ? sizeof part : left * sizeof *x);
        for (int j = 0; j < LANES; j += VW) {
            const VF z = v_mul(v_load(part + j), v_set1(inverse));
            const VF clipped = v_min(most, v_max(v_sub(v_set1(0.0f), most), z));
            v_store(rounded + j, v_sub(v_add(clipped, magic), magic));
        }
        for (int j = 0; j < LANES; j++) {
            const double code = rounded[j], value = part[j], rest = value - wide_scale * code;
            losses[j] += rest * rest;
            squares[j] += value * value;
            keeps[j] += code * code;
            totals[j] += code;
        }
        for (int j = 0; j < LANES; j++) bytes[j] = (uint8_t)((int32_t)rounded[j] + offset);
        for (ptrdiff_t j = 0; j < left; j += 4) memcpy(codes + (i + j) / 4 * stride, bytes + j, 4);
    }
    for (int j = 0; j < LANES; j++) {
        square += squares[j], lost += losses[j], kept += keeps[j], total += totals[j];
    }
    stats[0] = scale, stats[1] = sqrt(square), stats[2] = sqrt(lost);
    stats[3] = sqrt(kept) * scale, stats[4] = total;
}

/* The k best of n at most RANK_ROOM (score, class) pairs, best first: of equal scores the smaller
 * class. Classes are distinct, NaN counts as -infinity. The place of a pair is the number of
 * better ones: n^2 comparisons without a branch. */
static void LEAF(rank)(ptrdiff_t n, ptrdiff_t k, const float *scores, const int32_t *ids,
                       float *best, int32_t *best_ids) {
    enum { LANES = 32 };
    uint64_t key[RANK_ROOM + LANES]; /* greater is better */
    for (ptrdiff_t p = 0; p < n; p++) {
        const float score = scores[p] == scores[p] ? scores[p] + 0.0f : -INFINITY; /* no -0 */
        uint32_t bits;
        memcpy(&bits, &score, 4);
        bits ^= bits >> 31 ? 0xFFFFFFFFu : 0x80000000u;
        key[p] = (uint64_t)bits << 32 | (uint32_t)(INT32_MAX - ids[p]);
    }
    for (int j = 0; j < LANES; j++) key[n + j] = 0;
    for (ptrdiff_t first = 0; first < n; first += LANES) {
        int64_t place[LANES] = {0};
        for (ptrdiff_t q = 0; q < n; q++)
            for (int j = 0; j < LANES; j++) place[j] += key[q] > key[first + j];
        for (ptrdiff_t p = first; p < n && p < first + LANES; p++)
            if (place[p - first] < k) {
                best[place[p - first]] = scores[p] == scores[p] ? scores[p] : -INFINITY;
                best_ids[place[p - first]] = ids[p];
            }
    }
}

/* A number that at least k of the n values reach, and few more; no less than `least`, which it is
 * if fewer than k values are above -inf and reach it. No value is NaN. There is room for a multiple
 * of BOUND_LANES values.
 *
 * As numbers of values above a threshold fall about exponentially with it, the search interpolates
 * between their logarithms, and goes on by bisection. */
static float LEAF(kth_bound)(ptrdiff_t n, ptrdiff_t k, float least, float *values) {
    const VF zero = v_set1(0.0f), one = v_set1(1.0f), infinity = v_set1(INFINITY);
    float lows[VW], highs[VW], low, high, at_low, at_high = 0;
    VF count = zero, bottom = infinity, top = v_sub(zero, infinity);
    while (n % BOUND_LANES) values[n++] = -INFINITY;
    for (ptrdiff_t p = 0; p < n; p += VW) {
        const VF value = v_load(values + p), rest = v_sub(value, v_set1(least));
        count = v_add(count, v_where_nonneg(rest, one, zero)); /* -inf less -inf is NaN */
        bottom = v_min(bottom, v_where_nonneg(rest, value, infinity));
        top = v_max(top, value);
    }
    at_low = v_sum(count);
    if (at_low < k) return least;
    v_store(lows, bottom), v_store(highs, top);
    low = lows[0], high = highs[0];
    for (int j = 1; j < VW; j++) {
        low = lows[j] < low ? lows[j] : low;
        high = highs[j] > high ? highs[j] : high;
    }
    for (int step = 0; step < 12 && at_low > k + k / 16; step++) {
        float part = 0.5f;
        if (step < 4) {
            const float most = near_log2(at_low);
            part = (most - near_log2(1.03f * k)) / (most - near_log2(at_high + 0.5f));
            part = part > 0.05f ? part : 0.05f;
        }
        const float middle = (1 - part) * low + part * high;
        count = zero;
        for (ptrdiff_t p = 0; p < n; p += VW)
            count = v_add(count, v_where_nonneg(v_sub(v_load(values + p), v_set1(middle)), one,
                                                zero));
        const float reached = v_sum(count);
        if (reached < k) high = middle, at_high = reached;
        else low = middle, at_low = reached;
    }
    return low;
}

#ifndef HAVE_FAST_CHAINS
/* z[r] = bias[ids[r]] + the inner product of x with row ids[r] of `weights`: chains of
 * multiply-adds in the order of k, several at a time. */
static void LEAF(chains)(ptrdiff_t n, ptrdiff_t depth, const float *weights, const float *bias,
                         const int32_t *ids, const float *x, float *z) {
    enum { AT_ONCE = 8 };
    for (ptrdiff_t r = 0; r < n; r += AT_ONCE) {
        const int rows = n - r < AT_ONCE ? (int)(n - r) : AT_ONCE;
        const float *row[AT_ONCE];
        float sum[AT_ONCE];
        for (int j = 0; j < AT_ONCE; j++) { /* a short group repeats its last row */
            const ptrdiff_t id = ids[r + (j < rows ? j : rows - 1)];
            row[j] = weights + id * depth;
            sum[j] = bias[id];
        }
        for (ptrdiff_t k = 0; k < depth; k++) {
            const float factor = x[k];
            UNROLL for (int j = 0; j < AT_ONCE; j++) sum[j] = v_fma1(row[j][k], factor, sum[j]);
        }
        for (int j = 0; j < rows; j++) z[r + j] = sum[j];
    }
}
#endif
