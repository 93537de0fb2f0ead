/* The leaves of pruned top-k search (_pruned.pyx): integer products of SCREEN_SAMPLES samples with
 * SCREEN_CLASSES classes, with bounds; and exact scores of a few classes.
 *
 * dispatch.h includes this file once per instruction set; screen_vnni.h has the same with VNNI. */

/* Upper bounds of the scores of some samples with some classes, and which reach a threshold.
 *
 * Codes come in groups of 4 coordinates; the first groups1 have scales of their own:
 *   product1 = sum of (code - 128) * h over the first groups, product2 over the other groups2,
 *   first bound   base + bound1 g1 + scale1 t1 product1                      (SCREEN_* rows below)
 *   second bound  base + bound2 g2 + scale1 t1 product1 + scale2 t2 product2
 * If none of the first bounds reaches its sample's threshold, the rest isn't read. Returns whether
 * any of the second bounds does; then `upper` holds them all, and bit c of kept[i] tells whether
 * class c's does.
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
        if (!any) return 0;
    }
    return 1;
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

/* A number that at least k of the n values reach, and few more, by bisection; -inf if fewer than k
 * are above -inf. No value is NaN. */
static float LEAF(kth_bound)(ptrdiff_t n, ptrdiff_t k, const float *values) {
    enum { LANES = 16 };
    float lows[LANES], highs[LANES], low = INFINITY, high = -INFINITY;
    int32_t counts[LANES] = {0}, reached = 0;
    for (int j = 0; j < LANES; j++) lows[j] = low, highs[j] = high;
    for (ptrdiff_t p = 0; p < n; p += LANES)
        for (int j = 0; j < (n - p < LANES ? n - p : LANES); j++) {
            const float value = values[p + j];
            counts[j] += value > -INFINITY;
            lows[j] = value > -INFINITY && value < lows[j] ? value : lows[j];
            highs[j] = value > highs[j] ? value : highs[j];
        }
    for (int j = 0; j < LANES; j++) {
        reached += counts[j];
        low = lows[j] < low ? lows[j] : low;
        high = highs[j] > high ? highs[j] : high;
    }
    if (reached < k) return -INFINITY;
    for (int step = 0; step < 12; step++) {
        const float middle = 0.5f * low + 0.5f * high;
        reached = 0;
        for (ptrdiff_t p = 0; p < n; p++) reached += values[p] >= middle;
        if (reached < k) high = middle;
        else low = middle;
        if (reached >= k && reached <= k + k / 16) break;
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
