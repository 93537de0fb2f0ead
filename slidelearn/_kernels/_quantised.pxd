"""The kernels that `_step` calls."""

from libc.stdint cimport int8_t


cpdef void block_logits(
    const float[:, ::1] hidden,
    const float[:, ::1] block,
    const float[::1] bias,
    float[:, ::1] logits,
    int8_t[:, :, ::1] tiles,
    float[:, ::1] scales,
    int8_t[:, :, ::1] scratch,
    int n_threads,
) noexcept
