"""The kernels that `_step` calls."""

from libc.stdint cimport int32_t


cpdef void assign_slots(const int32_t[::1] shared, int32_t[::1] slot) noexcept
cpdef void clear_slots(const int32_t[::1] shared, int32_t[::1] slot) noexcept
