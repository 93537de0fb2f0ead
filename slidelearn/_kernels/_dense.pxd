"""The kernels that `_step` calls."""

from libc.stdint cimport int32_t, uint64_t

from ._simd cimport Optimizer, row_t


cpdef void relu_dropout(float[:, ::1] hidden, uint64_t key, double dropout, int n_threads) noexcept
cpdef void relu_dropout_backward(
    const float[:, ::1] hidden,
    double dropout,
    float[:, ::1] gradient,
    int n_threads,
) noexcept
cpdef void matmul(
    const float[:, :] a,
    const float[:, ::1] b,
    const float[::1] start,
    float[:, ::1] out,
    int n_threads,
) noexcept
cpdef void gather_rows(
    const row_t[:, ::1] weights,
    const float[::1] bias,
    const float[::1] correction,
    const int32_t[::1] ids,
    float[:, ::1] out,
    float[::1] out_bias,
    int n_threads,
) noexcept
cpdef void block_logits(
    const float[:, ::1] hidden,
    const row_t[:, ::1] block,
    const float[::1] bias,
    float[:, ::1] logits,
    float[:, ::1] panels,
    int n_threads,
) noexcept
cpdef void update_block(
    const float[:, :] delta,
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
    int n_threads,
) noexcept
cpdef void update_bias(
    const float[:, ::1] delta,
    Optimizer optimizer,
    float[::1] bias,
    float[::1] bias_m,
    float[::1] bias_v,
    float[:, ::1] gradient,
) noexcept
