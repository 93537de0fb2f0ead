"""The leaf functions of the chosen instruction set, for the other kernels to cimport."""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "rng.h" nogil:
    uint64_t rng_stream(uint64_t key, uint64_t index)

cdef extern from "prefetch.h" nogil:
    void prefetch(const void* start, Py_ssize_t size)
    void prefetch_csr(const int64_t* indptr, const int32_t* indices, const int64_t* rows,
                      Py_ssize_t i, Py_ssize_t n)

cdef extern from "simd/bfloat16.h" nogil:
    float float_of_bfloat16(uint16_t a)

cdef extern from "simd/leaf_types.h" nogil:
    enum:
        SCREEN_SAMPLES, SCREEN_CLASSES
        SCREEN_BASE, SCREEN_SCALE1, SCREEN_BOUND1, SCREEN_SCALE2, SCREEN_BOUND2, SCREEN_SLACK
        CLASS_NUMBERS
        SAMPLE_LEAST, SAMPLE_SCALE1, SAMPLE_BOUND1, SAMPLE_SCALE2, SAMPLE_BOUND2, SAMPLE_NORM
        SAMPLE_NUMBERS
        RANK_ROOM, BOUND_LANES

    ctypedef struct optimizer_t:
        int solver
        float rate, beta_1, beta_2, epsilon, root_scale
        uint64_t key

    ctypedef struct ask_t:
        const char** rows
        Py_ssize_t n, item

    ctypedef struct leaf_t:
        const char* name
        void (*axpy)(Py_ssize_t n, float a, const float* x, float* y,
                     const float* later) noexcept nogil
        void (*axpy16)(Py_ssize_t n, float a, const uint16_t* x, float* y,
                       const uint16_t* later) noexcept nogil
        void (*combine)(Py_ssize_t count, Py_ssize_t n, const float* a, const int32_t* places,
                        const float* x, Py_ssize_t step, float* y) noexcept nogil
        void (*scaled)(Py_ssize_t n, float a, const float* x, float* y) noexcept nogil
        float (*dot)(Py_ssize_t n, const float* x, const float* y,
                     const float* later) noexcept nogil
        float (*dot16)(Py_ssize_t n, const float* x, const uint16_t* y,
                       const uint16_t* later) noexcept nogil
        float (*maximum)(Py_ssize_t n, const float* x) noexcept nogil
        double (*exp_sum)(Py_ssize_t n, float shift, float* z) noexcept nogil
        double (*sigmoid_sum)(Py_ssize_t n, float* z) noexcept nogil
        Py_ssize_t (*sparsify)(Py_ssize_t n, float least, uint64_t key, const float* x,
                               int32_t* places, float* values) noexcept nogil
        void (*step)(const optimizer_t* o, Py_ssize_t n, const float* g, float* w, float* m,
                     float* v, float** later) noexcept nogil
        void (*step16)(const optimizer_t* o, Py_ssize_t n, const float* g, uint16_t* w,
                       uint16_t* m, uint16_t* v, uint64_t key,
                       uint16_t** later) noexcept nogil
        void (*widen)(Py_ssize_t n, const uint16_t* x, float* y) noexcept nogil
        void (*narrow)(Py_ssize_t n, const float* x, uint16_t* y) noexcept nogil
        void (*gemm)(Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t depth, const float* a,
                     Py_ssize_t a_row, Py_ssize_t a_step, const float* b, Py_ssize_t b_step,
                     float* c, Py_ssize_t c_row, const ask_t* ask) noexcept nogil
        void (*quantise)(Py_ssize_t n, const float* x, Py_ssize_t stride, int offset,
                         uint8_t* codes, double* stats) noexcept nogil
        void (*begin8)(Py_ssize_t groups1, Py_ssize_t groups2) noexcept nogil
        int (*screen)(Py_ssize_t groups1, Py_ssize_t groups2, const int8_t* h,
                      const int32_t* start, const float* sample, const uint8_t* codes,
                      const float* classes, float* upper, uint32_t* kept) noexcept nogil
        void (*logits8)(Py_ssize_t groups, int n_samples, int n_classes, const uint8_t* h,
                        const float* sample_scale, const int8_t* codes, const float* class_scale,
                        const float* bias, float* z, Py_ssize_t z_row) noexcept nogil
        void (*end8)() noexcept nogil
        float (*kth_bound)(Py_ssize_t n, Py_ssize_t k, float least, float* values) noexcept nogil
        void (*chains)(Py_ssize_t n, Py_ssize_t depth, const float* weights, const float* bias,
                       const int32_t* ids, const float* x, float* z) noexcept nogil
        void (*rank)(Py_ssize_t n, Py_ssize_t k, const float* scores, const int32_t* ids,
                     float* best, int32_t* best_ids) noexcept nogil
        float (*encode8)(Py_ssize_t n, const float* x, int8_t* codes) noexcept nogil
        void (*above)(int n_samples, float (*z)[SCREEN_CLASSES], const float* least,
                      uint32_t* kept) noexcept nogil
        void (*relu_dropout)(Py_ssize_t n, float* x, uint64_t stream, uint32_t threshold,
                             float scale) noexcept nogil
        void (*relu_backward)(Py_ssize_t n, const float* hidden, float* gradient,
                              float scale) noexcept nogil
        int sample_rows
        int fast_screen

    int lowest_bit(uint32_t x)


cdef const leaf_t* active_leaf() noexcept nogil

cdef class Optimizer:
    cdef optimizer_t values

ctypedef fused row_t:  # how the rows of a layer are stored: float32, or bfloat16
    float
    uint16_t


cdef inline float as_float(row_t x) noexcept nogil:
    if row_t is float:
        return x
    else:
        return float_of_bfloat16(x)


cdef inline void axpy_row(const leaf_t* leaf, Py_ssize_t n, float a, const row_t* x,
                          float* y, const row_t* later) noexcept nogil:
    if row_t is float:
        leaf.axpy(n, a, x, y, later)
    else:
        leaf.axpy16(n, a, x, y, later)


cdef inline float dot_row(const leaf_t* leaf, Py_ssize_t n, const float* x,
                          const row_t* y, const row_t* later) noexcept nogil:
    if row_t is float:
        return leaf.dot(n, x, y, later)
    else:
        return leaf.dot16(n, x, y, later)


cdef enum:  # bytes of a layer's rows that kernels ask for, beside the next row,
    READ_AHEAD = 8192  # before they are read,
    STEP_AHEAD = 2048  # before they and their optimizer state are stepped


cdef inline Py_ssize_t rows_ahead(Py_ssize_t n_bytes, Py_ssize_t width,
                                  const row_t[:, ::1] weights) noexcept nogil:
    """How many rows ahead that is, at least one."""
    return 1 + n_bytes // (max(width, 1) * <Py_ssize_t>sizeof(row_t))


cdef inline void find_row(Py_ssize_t number, const row_t[:, ::1] weights,
                          const row_t[:, ::1] m, const row_t[:, ::1] v,
                          row_t** row) noexcept nogil:
    """Row `number` of a layer and of its optimizer state, NULL for a part that is empty."""
    row[0] = <row_t*>&weights[number, 0]
    row[1] = <row_t*>&m[number, 0] if m.shape[0] > 0 else NULL
    row[2] = <row_t*>&v[number, 0] if v.shape[0] > 0 else NULL


cdef inline void step_row(const leaf_t* leaf, const optimizer_t* o, Py_ssize_t number,
                          const float* g, row_t[:, ::1] weights, row_t[:, ::1] m,
                          row_t[:, ::1] v, row_t** later) noexcept nogil:
    """A step on row `number` of a layer; the random numbers depend on the row, not on who asks."""
    cdef Py_ssize_t n = weights.shape[1]
    cdef row_t* row[3]
    find_row(number, weights, m, v, row)
    if row_t is float:
        leaf.step(o, n, g, row[0], row[1], row[2], later)
    else:
        leaf.step16(o, n, g, row[0], row[1], row[2], rng_stream(o.key, number), later)


cdef enum:
    ENTRIES = 64  # of a bias that are stepped at once


cdef inline void step_entries(const leaf_t* leaf, const optimizer_t* o, Py_ssize_t n,
                              const int32_t* ids, const float* g, float[::1] bias, float[::1] m,
                              float[::1] v) noexcept nogil:
    """A step on n <= ENTRIES entries of a bias; its optimizer state may be empty."""
    cdef float entries[3][ENTRIES]
    cdef Py_ssize_t j
    cdef bint has_m = m.shape[0] > 0, has_v = v.shape[0] > 0
    for j in range(n):
        entries[0][j] = bias[ids[j]]
        if has_m:
            entries[1][j] = m[ids[j]]
        if has_v:
            entries[2][j] = v[ids[j]]
    leaf.step(o, n, g, entries[0], entries[1], entries[2], NULL)
    for j in range(n):
        bias[ids[j]] = entries[0][j]
        if has_m:
            m[ids[j]] = entries[1][j]
        if has_v:
            v[ids[j]] = entries[2][j]


cdef inline void prefetch_entry(Py_ssize_t number, const float[::1] bias, const float[::1] m,
                                const float[::1] v) noexcept nogil:
    """Ask for an entry of a bias and of its optimizer state, which may be empty."""
    prefetch(&bias[number], sizeof(float))
    if m.shape[0] > 0:
        prefetch(&m[number], sizeof(float))
    if v.shape[0] > 0:
        prefetch(&v[number], sizeof(float))
