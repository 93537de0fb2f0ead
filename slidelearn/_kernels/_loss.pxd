"""The kernels that `_step` calls."""

from libc.stdint cimport int32_t, int64_t


cpdef double sigmoid_loss(
    const int64_t[::1] label_indptr,
    const int32_t[::1] labels,
    const float[::1] label_weight,
    const int64_t[::1] rows,
    const int32_t[::1] slot,
    const float[::1] sample_weight,
    Py_ssize_t n_shared,
    float[:, ::1] shared,
    const int64_t[::1] own_indptr,
    float[::1] own,
    double[::1] loss,
    int n_threads,
) noexcept
cpdef double softmax_loss(
    const int64_t[::1] label_indptr,
    const int32_t[::1] labels,
    const float[::1] label_weight,
    const int64_t[::1] rows,
    const int32_t[::1] slot,
    const float[::1] sample_weight,
    Py_ssize_t n_shared,
    float[:, ::1] shared,
    const int64_t[::1] own_indptr,
    float[::1] own,
    double[::1] loss,
    int n_threads,
) noexcept
