"""Choice of the instruction set at run time, and leaf functions by themselves: `step`, `widen` and
`narrow` for small or rare work, the others for tests."""

import os

from libc.stdint cimport uint16_t, uint64_t

cdef extern from "simd/dispatch.h" nogil:
    const leaf_t* leaf_find(const char* name)
    int SOLVER_SGD, SOLVER_ADAGRAD, SOLVER_ADAM, SOLVER_RMSPROP

LEVELS = ("scalar", "avx2", "avx512", "avx512vnni", "amx")
LEAST_EPSILON = 1e-20  # with less, a g whose square underflows makes a huge step, and 0 / 0
SOLVERS = {"sgd": SOLVER_SGD, "adagrad": SOLVER_ADAGRAD, "adam": SOLVER_ADAM,
           "rmsprop": SOLVER_RMSPROP}  # of adam, what it is with a beta_1 of 0

cdef const leaf_t* chosen = NULL


cdef const leaf_t* active_leaf() noexcept nogil:
    return chosen


def available_levels():
    """Instruction sets that this build and this processor have, slowest first."""
    return tuple(level for level in LEVELS if leaf_find(level.encode()) != NULL)


def get_level():
    """Name of the instruction set in use."""
    return chosen.name.decode()


def set_level(str level):
    """Use the instruction set called `level`; ValueError if it is not available."""
    global chosen
    cdef const leaf_t* found = leaf_find(level.encode())
    if found == NULL:
        raise ValueError(f"SIMD level {level!r} is not available here; "
                         f"available: {', '.join(available_levels())}")
    chosen = found


def has_fast_screen():
    """Whether the instruction set in use makes pruned search pay."""
    return chosen.fast_screen != 0


def has_sample_rows():
    """Whether products of bytes want a sample's codes side by side."""
    return chosen.sample_rows != 0


cdef class Optimizer:
    """Parameters of one optimizer step, in the form that kernels read (simd/leaf_types.h)."""

    def __init__(self, str solver, double learning_rate, long long t, double beta_1=0.9,
                 double beta_2=0.999, double epsilon=1e-8, uint64_t key=0):
        self.values.key = key
        self.values.solver = SOLVERS[solver]
        self.values.rate = learning_rate
        self.values.root_scale = 1.0
        self.values.beta_1 = beta_1
        self.values.beta_2 = beta_2
        self.values.epsilon = max(epsilon, LEAST_EPSILON)
        if self.values.solver == SOLVER_ADAM:
            self.values.rate = learning_rate / (1.0 - beta_1 ** t)
        if self.values.solver in (SOLVER_ADAM, SOLVER_RMSPROP):
            self.values.root_scale = 1.0 / (1.0 - beta_2 ** t) ** 0.5


def axpy(float a, const float[::1] x, float[::1] y):
    chosen.axpy(x.shape[0], a, &x[0] if x.shape[0] else NULL, &y[0] if y.shape[0] else NULL, NULL)


def dot(const float[::1] x, const float[::1] y):
    return chosen.dot(x.shape[0], &x[0] if x.shape[0] else NULL, &y[0] if y.shape[0] else NULL,
                      NULL)


def maximum(const float[::1] x):
    return chosen.maximum(x.shape[0], &x[0] if x.shape[0] else NULL)


def exp_sum(float shift, float[::1] z):
    return chosen.exp_sum(z.shape[0], shift, &z[0] if z.shape[0] else NULL)


def sigmoid_sum(float[::1] z):
    return chosen.sigmoid_sum(z.shape[0], &z[0] if z.shape[0] else NULL)


def step(Optimizer optimizer, const float[::1] g, float[::1] w, float[::1] m, float[::1] v):
    if w.shape[0]:
        with nogil:
            chosen.step(&optimizer.values, w.shape[0], &g[0], &w[0],
                        &m[0] if m.shape[0] else NULL, &v[0] if v.shape[0] else NULL, NULL)


def step16(Optimizer optimizer, const float[::1] g, uint16_t[::1] w, uint16_t[::1] m,
           uint16_t[::1] v, uint64_t key):
    if w.shape[0]:
        chosen.step16(&optimizer.values, w.shape[0], &g[0], &w[0],
                      &m[0] if m.shape[0] else NULL, &v[0] if v.shape[0] else NULL, key, NULL)


def widen(const uint16_t[::1] x, float[::1] y):
    """y <- x, bfloat16 to float32."""
    if x.shape[0]:
        with nogil:
            chosen.widen(x.shape[0], &x[0], &y[0])


def narrow(const float[::1] x, uint16_t[::1] y):
    """y <- x, float32 to the nearest bfloat16, ties to even."""
    if x.shape[0]:
        with nogil:
            chosen.narrow(x.shape[0], &x[0], &y[0])


def gemm(const float[:, :] a, const float[:, ::1] b, float[:, ::1] c):
    """C += A B, A with any strides."""
    if c.shape[0] and c.shape[1] and b.shape[0]:
        chosen.gemm(c.shape[0], c.shape[1], b.shape[0], &a[0, 0],
                    a.strides[0] // <Py_ssize_t>sizeof(float),
                    a.strides[1] // <Py_ssize_t>sizeof(float),
                    &b[0, 0], b.shape[1], &c[0, 0], c.shape[1], NULL)


set_level(os.environ.get("SLIDELEARN_SIMD") or list(available_levels()).pop())
