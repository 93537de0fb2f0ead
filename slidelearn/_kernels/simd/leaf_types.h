/* The table of leaf functions through which kernels do their arithmetic, and the optimizer's
 * parameters. Implementations: leaf.h. */
#ifndef SLIDELEARN_LEAF_TYPES_H
#define SLIDELEARN_LEAF_TYPES_H

#include <stddef.h>
#include <stdint.h>

enum { SOLVER_SGD, SOLVER_ADAGRAD, SOLVER_ADAM, SOLVER_RMSPROP };

/* A step of the optimizer.
 *   sgd:      w -= rate g
 *   adagrad:  m += g^2;  w -= rate g / (sqrt(m) + epsilon)              (Duchi et al. 2011)
 *   adam:     m, v: moving averages of g and g^2;
 *             w -= rate m / (root_scale sqrt(v) + epsilon)              (Kingma & Ba 2015, sec. 2)
 *   rmsprop:  adam whose beta_1 is 0, so that m is g and isn't kept   (the same, sec. 5)
 * For these two the caller folds the bias corrections of step t into
 * rate = learning_rate / (1 - beta_1^t) and root_scale = 1 / sqrt(1 - beta_2^t).
 * `key` is that of the random numbers with which bfloat16 is rounded in this step. */
typedef struct {
    int solver;
    float rate, beta_1, beta_2, epsilon, root_scale;
    uint64_t key;
} optimizer_t;

/* Whether there is an m, or a v. */
#define SOLVER_HAS_M(solver) ((solver) == SOLVER_ADAGRAD || (solver) == SOLVER_ADAM)
#define SOLVER_HAS_V(solver) ((solver) == SOLVER_ADAM || (solver) == SOLVER_RMSPROP)

/* Rows, `item` bytes a column, of which a product asks for the columns that it computes: they
 * arrive while it works, a line at a time, as the processor can't wait for many at once. Likewise
 * `later` of other leaves: a row of the kind that they read, or rows of weights and of optimizer
 * state, whose lines they ask for one by one; NULL for none. */
typedef struct {
    const char *const *rows;
    ptrdiff_t n, item;
} ask_t;

/* Samples and classes of a tile of products in 8 bits (screen.h, bytes.h), and the numbers of each in
 * the pruned search (screen.h). */
enum { SCREEN_SAMPLES = 12, SCREEN_CLASSES = 32 };
enum { SCREEN_BASE, SCREEN_SCALE1, SCREEN_BOUND1, SCREEN_SCALE2, SCREEN_BOUND2, SCREEN_SLACK,
       CLASS_NUMBERS };
enum { SAMPLE_LEAST, SAMPLE_SCALE1, SAMPLE_BOUND1, SAMPLE_SCALE2, SAMPLE_BOUND2, SAMPLE_NORM,
       SAMPLE_NUMBERS };
enum { RANK_ROOM = 512, BOUND_LANES = 16 };

typedef struct {
    const char *name;
    void (*axpy)(ptrdiff_t n, float a, const float *x, float *y, const float *later);
    void (*axpy16)(ptrdiff_t n, float a, const uint16_t *x, float *y,
                   const uint16_t *later);
    void (*combine)(ptrdiff_t count, ptrdiff_t n, const float *a, const int32_t *places,
                    const float *x, ptrdiff_t step, float *y);
    void (*scaled)(ptrdiff_t n, float a, const float *x, float *y);
    float (*dot)(ptrdiff_t n, const float *x, const float *y, const float *later);
    float (*dot16)(ptrdiff_t n, const float *x, const uint16_t *y, const uint16_t *later);
    float (*maximum)(ptrdiff_t n, const float *x);
    double (*exp_sum)(ptrdiff_t n, float shift, float *z);
    double (*sigmoid_sum)(ptrdiff_t n, float *z);
    ptrdiff_t (*sparsify)(ptrdiff_t n, float least, uint64_t key, const float *x, int32_t *places,
                          float *values);
    void (*step)(const optimizer_t *o, ptrdiff_t n, const float *g, float *w, float *m, float *v,
                 float *const *later);
    void (*step16)(const optimizer_t *o, ptrdiff_t n, const float *g, uint16_t *w, uint16_t *m,
                   uint16_t *v, uint64_t key, uint16_t *const *later);
    void (*widen)(ptrdiff_t n, const uint16_t *x, float *y);
    void (*narrow)(ptrdiff_t n, const float *x, uint16_t *y);
    void (*gemm)(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t depth, const float *a,
                 ptrdiff_t a_row, ptrdiff_t a_step, const float *b, ptrdiff_t b_step, float *c,
                 ptrdiff_t c_row, const ask_t *ask);
    void (*quantise)(ptrdiff_t n, const float *x, ptrdiff_t stride, int offset, uint8_t *codes,
                     double *stats);
    void (*begin8)(ptrdiff_t groups1, ptrdiff_t groups2); /* before a thread calls the next two */
    int (*screen)(ptrdiff_t groups1, ptrdiff_t groups2, const int8_t *h, const int32_t *start,
                  const float *sample, const uint8_t *codes, const float *classes, float *upper,
                  uint32_t *kept);
    void (*logits8)(ptrdiff_t groups, int n_samples, int n_classes, const uint8_t *h,
                    const float *sample_scale, const int8_t *codes, const float *class_scale,
                    const float *bias, float *z, ptrdiff_t z_row);
    void (*end8)(void); /* after that */
    float (*kth_bound)(ptrdiff_t n, ptrdiff_t k, float least, float *values);
    void (*chains)(ptrdiff_t n, ptrdiff_t depth, const float *weights, const float *bias,
                   const int32_t *ids, const float *x, float *z);
    void (*rank)(ptrdiff_t n, ptrdiff_t k, const float *scores, const int32_t *ids, float *best,
                 int32_t *best_ids);
    float (*encode8)(ptrdiff_t n, const float *x, int8_t *codes);
    void (*above)(int n_samples, float z[SCREEN_SAMPLES][SCREEN_CLASSES], const float *least,
                  uint32_t *kept);
    void (*relu_dropout)(ptrdiff_t n, float *x, uint64_t stream, uint32_t threshold, float scale);
    void (*relu_backward)(ptrdiff_t n, const float *hidden, float *gradient, float scale);
    int sample_rows; /* whether `screen` and `logits8` want a sample's codes side by side, not those
                      * of a tile four by four */
    int fast_screen; /* whether `screen` is so much faster than `gemm` that pruning pays */
} leaf_t;

/* Position of the lowest bit that is set. */
static inline int lowest_bit(uint32_t x) {
#if defined(__GNUC__) || defined(__clang__)
    return __builtin_ctz(x);
#else
    int n = 0;
    for (; !(x & 1); x >>= 1) n++;
    return n;
#endif
}

#endif
