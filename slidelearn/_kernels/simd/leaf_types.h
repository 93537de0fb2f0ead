/* The table of leaf functions through which kernels do their arithmetic, and the optimizer's
 * parameters. Implementations: leaf.h. */
#ifndef SLIDELEARN_LEAF_TYPES_H
#define SLIDELEARN_LEAF_TYPES_H

#include <stddef.h>
#include <stdint.h>

enum { SOLVER_SGD = 0, SOLVER_ADAGRAD = 1, SOLVER_ADAM = 2 };

/* A step of the optimizer.
 *   sgd:      w -= rate g
 *   adagrad:  m += g^2;  w -= rate g / (sqrt(m) + epsilon)              (Duchi et al. 2011)
 *   adam:     m, v: moving averages of g and g^2;
 *             w -= rate m / (root_scale sqrt(v) + epsilon)              (Kingma & Ba 2015, sec. 2)
 * For adam the caller folds the bias corrections of step t into
 * rate = learning_rate / (1 - beta_1^t) and root_scale = 1 / sqrt(1 - beta_2^t).
 * `key` is that of the random numbers with which bfloat16 is rounded in this step. */
typedef struct {
    int solver;
    float rate, beta_1, beta_2, epsilon, root_scale;
    uint64_t key;
} optimizer_t;

typedef struct {
    const char *name;
    void (*axpy)(ptrdiff_t n, float a, const float *x, float *y);
    void (*axpy16)(ptrdiff_t n, float a, const uint16_t *x, float *y);
    float (*dot)(ptrdiff_t n, const float *x, const float *y);
    float (*dot16)(ptrdiff_t n, const float *x, const uint16_t *y);
    float (*maximum)(ptrdiff_t n, const float *x);
    double (*exp_sum)(ptrdiff_t n, float shift, float *z);
    double (*sigmoid_sum)(ptrdiff_t n, float *z);
    void (*step)(const optimizer_t *o, ptrdiff_t n, const float *g, float *w, float *m, float *v);
    void (*step16)(const optimizer_t *o, ptrdiff_t n, const float *g, uint16_t *w, uint16_t *m,
                   uint16_t *v, uint64_t key);
    void (*widen)(ptrdiff_t n, const uint16_t *x, float *y);
    void (*narrow)(ptrdiff_t n, const float *x, uint16_t *y);
    void (*gemm)(ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t depth, const float *a,
                 ptrdiff_t a_row, ptrdiff_t a_step, const float *b, ptrdiff_t b_step, float *c,
                 ptrdiff_t c_row);
} leaf_t;

#endif
