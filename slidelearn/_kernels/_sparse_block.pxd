"""The kernels that `_step` calls."""

from libc.stdint cimport int32_t, int64_t, uint64_t

from ._simd cimport Optimizer, row_t


cpdef Py_ssize_t sparsify(
    const float[:, ::1] gradient,
    Py_ssize_t n_block,
    const float[::1] least,
    uint64_t key,
    int64_t[::1] counts,
    int32_t[:, ::1] places,
    float[:, ::1] values,
    int n_threads,
) noexcept
cpdef void multiply_pairs(
    const int64_t[::1] counts,
    const int32_t[:, ::1] places,
    const float[:, ::1] values,
    const float[:, ::1] block,
    float[:, ::1] out,
    int n_threads,
) noexcept
cpdef void update_pairs(
    const int64_t[::1] counts,
    const int32_t[:, ::1] places,
    const float[:, ::1] values,
    const float[:, ::1] vectors,
    const int32_t[::1] ids,
    Optimizer optimizer,
    row_t[:, ::1] weights,
    row_t[:, ::1] weights_m,
    row_t[:, ::1] weights_v,
    float[::1] bias,
    float[::1] bias_m,
    float[::1] bias_v,
    float[:, ::1] gradient,
    int32_t[::1] samples,
    float[::1] factors,
    int64_t[:, ::1] heads,
    int32_t[:, ::1] starts,
    int n_threads,
) noexcept
