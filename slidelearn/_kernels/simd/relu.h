/* ReLU and dropout of a row, without branches on its values or on random draws: half of them would
 * be mispredicted. Of these loops compilers make vectors, for each instruction set those that it has;
 * NaN stays NaN.
 *
 * dispatch.h includes this file once per instruction set. */

/* x <- max(x, 0) * scale where a draw of 16 bits from `stream` is at least `threshold`, else 0. */
static void LEAF(relu_dropout)(ptrdiff_t n, float *x, uint64_t stream, uint32_t threshold,
                               float scale) {
    enum { AT_ONCE = 64 };
    uint64_t bits[AT_ONCE / 4] = {0};
    uint16_t draws[AT_ONCE] = {0};
    for (ptrdiff_t first = 0; first < n; first += AT_ONCE, x += AT_ONCE) {
        const int left = n - first < AT_ONCE ? (int)(n - first) : AT_ONCE;
        if (threshold) {
            for (int j = 0; j < AT_ONCE / 4; j++)
                bits[j] = rng_bits(stream, (uint64_t)first / 4 + (uint64_t)j);
            split_bits(AT_ONCE / 4, bits, draws);
        }
        if (left == AT_ONCE) {
            for (int j = 0; j < AT_ONCE; j++)
                x[j] = (x[j] <= 0.0f ? 0.0f : x[j]) * (draws[j] >= threshold ? scale : 0.0f);
        } else {
            for (int j = 0; j < left; j++)
                x[j] = (x[j] <= 0.0f ? 0.0f : x[j]) * (draws[j] >= threshold ? scale : 0.0f);
        }
    }
}

/* gradient <- gradient * scale where hidden > 0, else 0. */
static void LEAF(relu_backward)(ptrdiff_t n, const float *hidden, float *gradient, float scale) {
    for (ptrdiff_t j = 0; j < n; j++) gradient[j] *= hidden[j] > 0.0f ? scale : 0.0f;
}
