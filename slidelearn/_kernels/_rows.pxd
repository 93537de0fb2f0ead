"""The kernels that `_step` calls."""

from libc.stdint cimport int32_t, int64_t

from ._simd cimport Optimizer, row_t


cpdef void combine_rows(
    const int64_t[::1] indptr,
    const int32_t[::1] indices,
    const float[::1] data,
    const int64_t[::1] rows,
    const float[:, ::1] weights,
    const float[::1] start,
    float[:, ::1] out,
    int n_threads,
) noexcept
cpdef void combine_slices(
    const int64_t[::1] indptr,
    const int32_t[::1] indices,
    const float[::1] data,
    const int64_t[::1] rows,
    const float[:, :, ::1] slices,
    const float[::1] start,
    float[:, ::1] out,
    int n_threads,
) noexcept
cpdef void add_rows(
    const int64_t[::1] indptr,
    const int32_t[::1] indices,
    const float[::1] data,
    const row_t[:, ::1] weights,
    float[:, ::1] out,
    int n_threads,
) noexcept
cpdef void pair_logits(
    const int64_t[::1] indptr,
    const int32_t[::1] indices,
    const float[:, ::1] hidden,
    const row_t[:, ::1] weights,
    const float[::1] bias,
    float[::1] out,
    int n_threads,
) noexcept
cpdef void update_rows(
    const int32_t[::1] columns,
    const int64_t[::1] starts,
    const int32_t[::1] samples,
    const int64_t[::1] positions,
    const float[::1] data,
    const float[:, ::1] vectors,
    Optimizer optimizer,
    row_t[:, ::1] weights,
    row_t[:, ::1] m,
    row_t[:, ::1] v,
    float[:, ::1] gradient,
    int n_threads,
) noexcept
cpdef void update_slices(
    const int32_t[::1] columns,
    const int64_t[::1] starts,
    const int32_t[::1] samples,
    const int64_t[::1] positions,
    const float[::1] data,
    const float[:, ::1] vectors,
    Optimizer optimizer,
    float[:, :, ::1] slices,
    float[:, :, ::1] m,
    float[:, :, ::1] v,
    float[:, ::1] gradient,
    int n_threads,
) noexcept
cpdef void update_entries(
    const int32_t[::1] columns,
    const int64_t[::1] starts,
    const int64_t[::1] positions,
    const float[::1] data,
    Optimizer optimizer,
    float[::1] bias,
    float[::1] m,
    float[::1] v,
    int n_threads,
) noexcept
