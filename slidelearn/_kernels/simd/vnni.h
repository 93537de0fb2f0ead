/* LEAF(screen) of screen.h and LEAF(logits8) of bytes.h with AVX-512 VNNI: the same integers; see
 * there. */

/* sums[i][c] = the product of sample i's codes with those of class c. Of the codes of samples and of
 * classes, one kind is unsigned: a constant at each call. */
static ALWAYS_INLINE void vnni_tile(const int unsigned_samples, ptrdiff_t groups,
                                    const void *samples, const void *classes,
                                    int32_t sums[SCREEN_SAMPLES][SCREEN_CLASSES]) {
    const uint8_t *h = samples, *codes = classes;
    __m512i acc[SCREEN_SAMPLES][2]; /* in registers */
    UNROLL for (int i = 0; i < SCREEN_SAMPLES; i++)
        UNROLL for (int p = 0; p < 2; p++) acc[i][p] = _mm512_setzero_si512();
    for (ptrdiff_t k = 0; k < groups; k++, h += 4 * SCREEN_SAMPLES, codes += 4 * SCREEN_CLASSES) {
        const __m512i low = _mm512_loadu_si512(codes), high = _mm512_loadu_si512(codes + 64);
        UNROLL for (int i = 0; i < SCREEN_SAMPLES; i++) {
            int32_t four;
            memcpy(&four, h + 4 * i, 4);
            const __m512i x = _mm512_set1_epi32(four);
            if (unsigned_samples) {
                acc[i][0] = _mm512_dpbusd_epi32(acc[i][0], x, low);
                acc[i][1] = _mm512_dpbusd_epi32(acc[i][1], x, high);
            } else {
                acc[i][0] = _mm512_dpbusd_epi32(acc[i][0], low, x);
                acc[i][1] = _mm512_dpbusd_epi32(acc[i][1], high, x);
            }
        }
    }
    UNROLL for (int i = 0; i < SCREEN_SAMPLES; i++)
        UNROLL for (int p = 0; p < 2; p++) _mm512_store_si512(sums[i] + 16 * p, acc[i][p]);
}

/* Functions of their own, so that sums stay in registers. */
static NOINLINE void vnni_products(ptrdiff_t groups, const int8_t *h, const uint8_t *codes,
                                   int32_t sums[SCREEN_SAMPLES][SCREEN_CLASSES]) {
    vnni_tile(0, groups, h, codes, sums);
}

static NOINLINE void vnni_products8(ptrdiff_t groups, const uint8_t *h, const int8_t *codes,
                                    int32_t sums[SCREEN_SAMPLES][SCREEN_CLASSES]) {
    vnni_tile(1, groups, h, codes, sums);
}

/* 16 products with codes that are 128 too great, times the scales of the classes. */
static ALWAYS_INLINE __m512 screen_product(const int32_t *sums, int32_t start, __m512 scale) {
    const __m512i sum = _mm512_add_epi32(_mm512_set1_epi32(start), _mm512_load_si512(sums));
    return _mm512_mul_ps(_mm512_cvtepi32_ps(sum), scale);
}

/* Whether a first bound reaches its sample's threshold, from the products of the first groups. */
static ALWAYS_INLINE int screen_first(int32_t sums[SCREEN_SAMPLES][SCREEN_CLASSES],
                                      const int32_t *start, const float *sample,
                                      const float *classes) {
    uint32_t any = 0;
    UNROLL for (int p = 0; p < 2; p++) {
        const float *c = classes + 16 * p;
        const __m512 base = _mm512_loadu_ps(c + SCREEN_BASE * SCREEN_CLASSES);
        const __m512 scale = _mm512_loadu_ps(c + SCREEN_SCALE1 * SCREEN_CLASSES);
        const __m512 bound = _mm512_loadu_ps(c + SCREEN_BOUND1 * SCREEN_CLASSES);
        UNROLL for (int i = 0; i < SCREEN_SAMPLES; i++) {
            const float *s = sample + i * SAMPLE_NUMBERS;
            const __m512 z = screen_product(sums[i] + 16 * p, start[i], scale);
            __m512 y = _mm512_fmadd_ps(bound, _mm512_set1_ps(s[SAMPLE_BOUND1]), base);
            y = _mm512_fmadd_ps(z, _mm512_set1_ps(s[SAMPLE_SCALE1]), y);
            any |= _mm512_cmp_ps_mask(y, _mm512_set1_ps(s[SAMPLE_LEAST]), _CMP_GE_OQ);
        }
    }
    return any != 0;
}

/* The second bounds, from both parts' products, and which reach; whether one does. */
static ALWAYS_INLINE int screen_second(int32_t sums[2][SCREEN_SAMPLES][SCREEN_CLASSES],
                                       const int32_t *start, const float *sample,
                                       const float *classes, float *upper, uint32_t *kept) {
    __m512 base[2], scale1[2], scale2[2], bound[2];
    uint32_t any = 0;
    UNROLL for (int p = 0; p < 2; p++) {
        const float *c = classes + 16 * p;
        base[p] = _mm512_loadu_ps(c + SCREEN_BASE * SCREEN_CLASSES);
        scale1[p] = _mm512_loadu_ps(c + SCREEN_SCALE1 * SCREEN_CLASSES);
        scale2[p] = _mm512_loadu_ps(c + SCREEN_SCALE2 * SCREEN_CLASSES);
        bound[p] = _mm512_loadu_ps(c + SCREEN_BOUND2 * SCREEN_CLASSES);
    }
    UNROLL for (int i = 0; i < SCREEN_SAMPLES; i++) {
        const float *s = sample + i * SAMPLE_NUMBERS;
        uint32_t mask = 0;
        UNROLL for (int p = 0; p < 2; p++) {
            const __m512 z1 = screen_product(sums[0][i] + 16 * p, start[i], scale1[p]);
            const __m512 z2 = screen_product(sums[1][i] + 16 * p, start[SCREEN_SAMPLES + i],
                                             scale2[p]);
            __m512 y = _mm512_fmadd_ps(bound[p], _mm512_set1_ps(s[SAMPLE_BOUND2]), base[p]);
            y = _mm512_fmadd_ps(z1, _mm512_set1_ps(s[SAMPLE_SCALE1]), y);
            y = _mm512_fmadd_ps(z2, _mm512_set1_ps(s[SAMPLE_SCALE2]), y);
            mask |= (uint32_t)_mm512_cmp_ps_mask(y, _mm512_set1_ps(s[SAMPLE_LEAST]), _CMP_GE_OQ)
                    << 16 * p;
            _mm512_storeu_ps(upper + i * SCREEN_CLASSES + 16 * p, y);
        }
        kept[i] = mask;
        any |= mask;
    }
    return any != 0;
}

static int vnni_screen(ptrdiff_t groups1, ptrdiff_t groups2, const int8_t *h, const int32_t *start,
                       const float *sample, const uint8_t *codes, const float *classes,
                       float *upper, uint32_t *kept) {
    _Alignas(64) int32_t sums[2][SCREEN_SAMPLES][SCREEN_CLASSES];
    vnni_products(groups1, h, codes, sums[0]);
    if (!screen_first(sums[0], start, sample, classes)) return 0;
    vnni_products(groups2, h + 4 * groups1 * SCREEN_SAMPLES, codes + 4 * groups1 * SCREEN_CLASSES,
                  sums[1]);
    return screen_second(sums, start, sample, classes, upper, kept) ? 2 : 1;
}

static void vnni_logits8(ptrdiff_t groups, int n_samples, int n_classes, const uint8_t *h,
                         const float *sample_scale, const int8_t *codes, const float *class_scale,
                         const float *bias, float *z, ptrdiff_t z_row) {
    _Alignas(64) int32_t sums[SCREEN_SAMPLES][SCREEN_CLASSES];
    vnni_products8(groups, h, codes, sums);
    avx512_scale8(n_samples, n_classes, sums, sample_scale, class_scale, bias, z, z_row);
}
