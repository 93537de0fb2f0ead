/* The leaves of products in 8 bits (_quantised.pyx): numbers as codes of a byte, and the
 * logits of a tile of samples and classes from them.
 *
 * dispatch.h includes this file once per instruction set; vnni.h has `logits8` with VNNI. */

/* n numbers as codes in [-127, 127], x ~ scale * code, and zeros up to the next multiple of four.
 * Returns the scale, the greatest size being 127 times it; NaN if a number isn't finite. */
static float LEAF(encode8)(ptrdiff_t n, const float *x, int8_t *codes) {
    const VF magic = v_set1(12582912.0f); /* adding it rounds to an integer, in the low bits */
    VI top = vi_set1(0);                  /* of sizes, whose bits order them, NaN last */
    float tops[VW];
    uint32_t most = 0;
    ptrdiff_t i = 0;
    for (; i + VW <= n; i += VW) top = vi_max(top, as_vi(v_abs(v_load(x + i))));
    if (i < n) top = vi_max(top, as_vi(v_abs(v_load_n(x + i, n - i))));
    v_store(tops, as_vf(top));
    for (int j = 0; j < VW; j++) most = bits_of_float(tops[j]) > most ? bits_of_float(tops[j]) : most;
    const float scale = float_of_bits(most) / 127.0f;
    const VF inverse = v_set1(1.0f / (scale > FLT_MIN ? scale : FLT_MIN));
    for (i = 0; i + VW <= n; i += VW)
        vi_store8(codes + i, as_vi(v_add(v_mul(v_load(x + i), inverse), magic)));
    if (i < n) {
        int8_t bytes[VW];
        const ptrdiff_t left = n - i;
        vi_store8(bytes, as_vi(v_add(v_mul(v_load_n(x + i, left), inverse), magic)));
        memcpy(codes + i, bytes, left);
    }
    for (i = n; i % 4; i++) codes[i] = 0;
    return scale + (scale - scale);
}

#ifndef HAVE_PRODUCTS8
/* sums[i][c] = the product of sample i's codes with those of class c; samples' codes aren't
 * negative. See `screen` for how codes lie. */
static void LEAF(products8)(ptrdiff_t groups, const uint8_t *h, const int8_t *codes,
                            int32_t sums[SCREEN_SAMPLES][SCREEN_CLASSES]) {
    for (int i = 0; i < SCREEN_SAMPLES; i++) {
        int32_t sum[SCREEN_CLASSES] = {0};
        for (ptrdiff_t k = 0; k < groups; k++) {
            const uint8_t *x = h + 4 * (k * SCREEN_SAMPLES + i);
            const int8_t *w = codes + 4 * k * SCREEN_CLASSES;
            for (int c = 0; c < SCREEN_CLASSES; c++)
                sum[c] += w[4 * c] * x[0] + w[4 * c + 1] * x[1] + w[4 * c + 2] * x[2]
                          + w[4 * c + 3] * x[3];
        }
        memcpy(sums[i], sum, sizeof sum);
    }
}
#endif

/* z[i * z_row + c] = bias[c] + (scale of sample i) (scale of class c) sums[i][c], for some samples
 * and classes of a tile, whose scales and biases there are in full. */
static ALWAYS_INLINE void LEAF(scale8)(int n_samples, int n_classes,
                                       int32_t sums[SCREEN_SAMPLES][SCREEN_CLASSES],
                                       const float *sample_scale, const float *class_scale,
                                       const float *bias, float *z, ptrdiff_t z_row) {
    VF scale[SCREEN_CLASSES / VW], start[SCREEN_CLASSES / VW];
    float logits[SCREEN_CLASSES];
    for (int p = 0; p < SCREEN_CLASSES / VW; p++)
        scale[p] = v_load(class_scale + p * VW), start[p] = v_load(bias + p * VW);
    for (int i = 0; i < n_samples; i++, z += z_row) {
        float *const out = n_classes == SCREEN_CLASSES ? z : logits;
        for (int p = 0; p < SCREEN_CLASSES / VW; p++) {
            const VF product = v_load_int(sums[i] + p * VW);
            const VF factor = v_mul(v_set1(sample_scale[i]), scale[p]);
            v_store(out + p * VW, v_add(start[p], v_mul(factor, product)));
        }
        if (out == logits) memcpy(z, logits, n_classes * sizeof(float));
    }
}

/* Bit c of kept[i]: whether z[i][c] > least[i]. Only the first of SCREEN_SAMPLES samples are there. */
static void LEAF(above)(int n_samples, float z[SCREEN_SAMPLES][SCREEN_CLASSES],
                        const float *least, uint32_t *kept) {
    for (int i = 0; i < n_samples; i++) {
        uint32_t mask = 0;
        UNROLL for (int c = 0; c < SCREEN_CLASSES; c += VW)
            mask |= v_less(v_set1(least[i]), v_load(z[i] + c)) << c;
        kept[i] = mask;
    }
}

/* The logits of a tile from codes, a multiple of 4 columns in `groups`; see the functions above. */
static void LEAF(logits8)(ptrdiff_t groups, int n_samples, int n_classes, const uint8_t *h,
                          const float *sample_scale, const int8_t *codes,
                          const float *class_scale, const float *bias, float *z,
                          ptrdiff_t z_row) {
    int32_t sums[SCREEN_SAMPLES][SCREEN_CLASSES];
    LEAF(products8)(groups, h, codes, sums);
    LEAF(scale8)(n_samples, n_classes, sums, sample_scale, class_scale, bias, z, z_row);
}
