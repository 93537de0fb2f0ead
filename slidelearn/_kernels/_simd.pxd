"""The leaf functions of the chosen instruction set, for the other kernels to cimport."""

from libc.stdint cimport int8_t, int32_t, uint8_t, uint32_t

cdef extern from "simd/leaf_types.h" nogil:
    enum:
        SCREEN_SAMPLES, SCREEN_CLASSES
        SCREEN_BASE, SCREEN_SCALE1, SCREEN_BOUND1, SCREEN_SCALE2, SCREEN_BOUND2, SCREEN_SLACK
        CLASS_NUMBERS
        SAMPLE_LEAST, SAMPLE_SCALE1, SAMPLE_BOUND1, SAMPLE_SCALE2, SAMPLE_BOUND2, SAMPLE_NORM
        SAMPLE_NUMBERS

    ctypedef struct optimizer_t:
        int solver
        float rate, beta_1, beta_2, epsilon, root_scale

    ctypedef struct leaf_t:
        const char* name
        void (*axpy)(Py_ssize_t n, float a, const float* x, float* y) noexcept nogil
        float (*dot)(Py_ssize_t n, const float* x, const float* y) noexcept nogil
        float (*maximum)(Py_ssize_t n, const float* x) noexcept nogil
        double (*exp_sum)(Py_ssize_t n, float shift, float* z) noexcept nogil
        double (*sigmoid_sum)(Py_ssize_t n, float* z) noexcept nogil
        void (*step)(const optimizer_t* o, Py_ssize_t n, const float* g, float* w, float* m,
                     float* v) noexcept nogil
        void (*gemm)(Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t depth, const float* a,
                     Py_ssize_t a_row, Py_ssize_t a_step, const float* b, Py_ssize_t b_step,
                     float* c, Py_ssize_t c_row) noexcept nogil
        int (*screen)(Py_ssize_t groups1, Py_ssize_t groups2, const int8_t* h,
                      const int32_t* start, const float* sample, const uint8_t* codes,
                      const float* classes, float* upper, uint32_t* kept) noexcept nogil
        float (*kth_bound)(Py_ssize_t n, Py_ssize_t k, const float* values) noexcept nogil
        void (*chains)(Py_ssize_t n, Py_ssize_t depth, const float* weights, const float* bias,
                       const int32_t* ids, const float* x, float* z) noexcept nogil
        int fast_screen

    int lowest_bit(uint32_t x)

cdef const leaf_t* active_leaf() noexcept nogil

cdef class Optimizer:
    cdef optimizer_t values
