"""The leaf functions of the chosen instruction set, for the other kernels to cimport."""

cdef extern from "simd/leaf_types.h" nogil:
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

cdef const leaf_t* active_leaf() noexcept nogil

cdef class Optimizer:
    cdef optimizer_t values
