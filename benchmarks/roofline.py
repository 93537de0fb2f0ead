"""How close the kernels come to what the machine can do: FMA peak and memory bandwidth.

    python benchmarks/roofline.py [--threads 1 2] [--classes 670091] [--seconds 0.5]

Peak (GFLOP/s, a multiply-add being two): where a C compiler is at hand, independent chains of
multiply-adds on registers, compiled on the spot; else the best product below. Beside it the gemm
of slidelearn on operands that stay in the L1 cache (calls from Python included, about a
microsecond each), and sgemm of numpy's BLAS.

Bandwidth (GB/s): the best of copying, adding and negating in place ("scale") arrays of ``--mib``
MiB each, far larger than the last-level cache should be, each thread on its part; reads and writes
counted once each, though a plain store also reads the line that it writes. (What a virtual machine
gets of a shared cache is unknown: more MiB are safer.)

Kernels of one training batch of 128 samples, at some numbers of shared classes and widths:

    block_logits, gradient (matmul), update_block: 2 x samples x classes x width FLOP each, as a
        share of the peak; "block" is all three together. Weights of as many classes as the block
        has, so that they are cached ("cached"), or rows drawn afresh each time from ``--classes``
        ("RAM"), where update_block also moves 16 bytes a weight, GB/s as for update_rows.
    in bytes: `_quantised.block_logits`, which training uses in place of block_logits where
        classes are sampled; rows are rounded to 8 bits on the way. As many FLOP as block_logits
        has, and as a share of the peak of floats, so it can be above 100 %; not part of "block".
    gather_rows: the rows that are read (4 bytes a weight; what is written stays in the cache).
    update_rows: reading and writing weights and the second moment of Adam, whose beta_1 is 0 as by
        default (16 bytes a weight); rows drawn afresh each time, ascending, one sample each.
    combine_rows: the rows that are read (75 features a sample).

A number is the best of the repetitions within ``--seconds``, which on a busy machine is nearest
to the truth; shares are of the measured peak or bandwidth at as many threads.
"""

import argparse
import ctypes

import numpy as np
from common import best_time, compile_c, describe_machine, filled, on_threads
from threadpoolctl import threadpool_limits

from slidelearn import _memory
from slidelearn._kernels import _dense, _quantised, _rows, _simd
from slidelearn._memory import code_scratch

BATCH = 128
FEATURES_PER_SAMPLE = 75
FMA_LOOP = """
typedef float vector __attribute__((vector_size(BYTES)));
float run(long n, float start) {
    vector sum[CHAINS], a, b;
    for (int i = 0; i < (int)(BYTES / 4); i++) {
        a[i] = 0.999f; b[i] = 1e-3f;
        /* The compiler would merge chains that are equal or constant. */
        for (int j = 0; j < CHAINS; j++) sum[j][i] = start + j;
    }
    for (long i = 0; i < n; i++) {
        for (int j = 0; j < CHAINS; j++) sum[j] = sum[j] * a + b;
    }
    float total = 0;
    for (int j = 0; j < CHAINS; j++) for (int i = 0; i < (int)(BYTES / 4); i++) total += sum[j][i];
    return total;
}
"""


def register_peak(n_threads, seconds):
    """GFLOP/s of independent multiply-adds on registers, or None without a compiler."""
    best = 0.0
    for width in (32, 64):
        for chains in (10, 12):
            library = compile_c(FMA_LOOP, "-march=native", "-ffp-contract=fast",
                                "-mprefer-vector-width=512", f"-DBYTES={width}",
                                f"-DCHAINS={chains}")
            if library is None:
                continue
            run = library.run
            run.argtypes, run.restype = [ctypes.c_long, ctypes.c_float], ctypes.c_float
            n = 2_000_000
            work = on_threads(lambda _, run=run, n=n: run(n, 2.0), n_threads)
            took = best_time(work, seconds)
            best = max(best, 2 * n * chains * width / 4 * n_threads / took / 1e9)
    return best or None


def gemm_peak(seconds):
    """(GFLOP/s, shape) of slidelearn's gemm on one thread, operands in the L1 cache."""
    best = 0.0, ()
    for m, n, k in ((12, 32, 256), (48, 32, 128), (24, 64, 96), (96, 32, 96), (192, 32, 48)):
        a, b, c = (np.ones(shape, np.float32) for shape in ((m, k), (k, n), (m, n)))

        def run(a=a, b=b, c=c):
            for _ in range(200):
                _simd.gemm(a, b, c)

        rate = 2 * m * n * k * 200 / best_time(run, seconds / 5) / 1e9
        best = max(best, (rate, (m, n, k)))
    return best


def blas_peak(n_threads, seconds):
    """GFLOP/s of numpy's sgemm."""
    best = 0.0
    with threadpool_limits(n_threads, user_api="blas"):
        for n in (256, 1024, 2048):
            a, b, c = (np.ones((n, n), np.float32) for _ in range(3))
            took = best_time(lambda a=a, b=b, c=c: np.matmul(a, b, out=c), seconds / 2)
            best = max(best, 2 * n**3 / took / 1e9)
    return best


def bandwidth(n_threads, mib, seconds):
    """{"copy": GB/s, "add": GB/s, "scale": GB/s}."""
    n = mib * 2**20 // 4
    x, y, z = (np.ones(n, np.float32) for _ in range(3))
    parts = [slice(i * n // n_threads, (i + 1) * n // n_threads) for i in range(n_threads)]
    copy = on_threads(lambda i: np.copyto(y[parts[i]], x[parts[i]]), n_threads)
    add = on_threads(lambda i: np.add(x[parts[i]], y[parts[i]], out=z[parts[i]]), n_threads)
    scale = on_threads(lambda i: np.negative(x[parts[i]], out=x[parts[i]]), n_threads)
    return {"scale": 2 * x.nbytes / best_time(scale, seconds) / 1e9,
            "copy": 2 * x.nbytes / best_time(copy, seconds) / 1e9,
            "add": 3 * x.nbytes / best_time(add, seconds) / 1e9}


class Batch:
    """One training batch's arrays: a layer of `n_classes` rows, `n_shared` of which it computes."""

    def __init__(self, n_classes, n_shared, width):
        self.rng = np.random.default_rng(0)
        self.n_classes, self.n_shared, self.width = n_classes, n_shared, width
        shapes = (n_classes, width), (0, 0), (n_classes, width)  # no first moment
        self.layer = [filled(shape, np.float32, 1e-3) for shape in shapes]
        self.bias = [np.full(n, 1e-3, np.float32) for n in (n_classes, 0, n_classes)]
        self.hidden = self._random(BATCH, width)
        self.delta = self._random(BATCH, n_shared) / BATCH
        self.block = self._random(n_shared, width)
        self.logits = _memory.empty((BATCH, n_shared))
        self.gradient = _memory.empty((BATCH, width))
        self.optimizer = _simd.Optimizer("rmsprop", 1e-3, 1)

    def _random(self, *shape):
        return self.rng.standard_normal(dtype=np.float32, out=_memory.empty(shape))

    def rows(self, n=None):
        """Distinct rows, ascending."""
        n = n or self.n_shared
        if n == self.n_classes:
            return np.arange(n, dtype=np.int32)
        return np.sort(self.rng.choice(self.n_classes, n, replace=False,
                                       shuffle=False)).astype(np.int32)

    def block_logits(self, n_threads):
        panels = _memory.empty((n_threads, self.width * _dense.PANEL_WIDTH))
        bias = np.zeros(self.n_shared, np.float32)
        return lambda: _dense.block_logits(self.hidden, self.block, bias, self.logits, panels,
                                           n_threads)

    def quantised(self, n_threads):
        scratch = code_scratch(BATCH, self.width, n_threads)
        hidden, bias = np.maximum(self.hidden, 0), np.zeros(self.n_shared, np.float32)
        return lambda: _quantised.block_logits(hidden, self.block, bias, self.logits, *scratch,
                                               n_threads)

    def matmul(self, n_threads):
        start = np.empty(0, np.float32)
        return lambda: _dense.matmul(self.delta, self.block, start, self.gradient, n_threads)

    def update_block(self, n_threads):
        scratch = _memory.empty((n_threads, _dense.TILE_ROWS * (self.width + 1)))
        return lambda ids: _dense.update_block(self.delta, self.hidden, ids, self.optimizer,
                                               *self.layer, *self.bias, scratch, n_threads)

    def gather_rows(self, n_threads):
        block_bias = np.empty(self.n_shared, np.float32)
        weights, bias = self.layer[0], self.bias[0]
        return lambda ids: _dense.gather_rows(weights, bias, bias, ids, self.block, block_bias,
                                              n_threads)

    def update_rows(self, n_threads):
        n = self.n_shared
        scratch = _memory.empty((n_threads, self.width))
        starts, positions = np.arange(n + 1), np.arange(n)
        samples = (positions % BATCH).astype(np.int32)
        data = np.full(n, 1e-3, np.float32)
        return lambda ids: _rows.update_rows(ids, starts, samples, positions, data, self.hidden,
                                             self.optimizer, *self.layer, scratch, n_threads)

    def combine_rows(self, n_threads):
        indptr = np.arange(BATCH + 1) * FEATURES_PER_SAMPLE
        samples, data = np.arange(BATCH), np.full(indptr[-1], 1e-3, np.float32)
        start = np.zeros(self.width, np.float32)
        return lambda ids: _rows.combine_rows(indptr, ids, data, samples, self.layer[0], start,
                                              self.gradient, n_threads)


class Machine:
    """What was measured of it."""

    def __init__(self, options):
        self.peak, self.bandwidth = {}, {}
        gemm, shape = gemm_peak(options.seconds)
        for n in options.threads:
            registers = register_peak(n, options.seconds)
            blas = blas_peak(n, options.seconds)
            streams = bandwidth(n, options.mib, options.seconds)
            self.peak[n] = registers or max(blas, gemm * n)
            self.bandwidth[n] = max(streams.values())
            print(f"{n} thread(s): peak {self.peak[n]:.0f} GFLOP/s"
                  + (" (registers)" if registers else " (best product)")
                  + f"; BLAS sgemm {blas:.0f} ({100 * blas / self.peak[n]:.0f} %); bandwidth "
                  + ", ".join(f"{name} {rate:.1f} GB/s" for name, rate in streams.items()))
            if n == 1:
                print(f"  gemm in L1 {gemm:.0f} GFLOP/s ({100 * gemm / self.peak[1]:.0f} %) with "
                      "m, n, k = {}, {}, {}".format(*shape))


def compute(machine, n_classes, n_shared, width, n_threads, seconds):
    """Print one line of GFLOP/s for the shared block."""
    batch = Batch(n_classes or n_shared, n_shared, width)
    flop = 2 * BATCH * n_shared * width
    cells, total = [], 0.0
    for kernel, prepare in (("quantised", lambda: ()), ("block_logits", lambda: ()),
                            ("matmul", lambda: ()), ("update_block", lambda: (batch.rows(),))):
        took = best_time(getattr(batch, kernel)(n_threads), seconds, prepare)
        total += took if kernel != "quantised" else 0
        cells.append(share(flop / took / 1e9, machine.peak[n_threads]))
    moved = 16 * n_shared * width / took / 1e9
    cells.append(share(3 * flop / total / 1e9, machine.peak[n_threads]))
    if n_classes:
        cells.append(share(moved, machine.bandwidth[n_threads]))
    where = "RAM" if n_classes else "cached"
    print(f"{n_threads:3} {width:6} {n_shared:7} {where:>7}" + "".join(cells), flush=True)


def traffic(machine, n_classes, n_rows, width, n_threads, seconds):
    """Print one line of GB/s for kernels that visit rows."""
    batch = Batch(n_classes, n_rows, width)
    row, cells = 4 * width, []
    nonzeros = BATCH * FEATURES_PER_SAMPLE
    for kernel, moved, prepare in (
        ("gather_rows", n_rows * row, lambda: (batch.rows(),)),
        ("update_rows", 4 * n_rows * row, lambda: (batch.rows(),)),
        ("combine_rows", nonzeros * row,
         lambda: (batch.rng.integers(0, n_classes, nonzeros, dtype=np.int32),)),
    ):
        took = best_time(getattr(batch, kernel)(n_threads), seconds, prepare)
        cells.append(share(moved / took / 1e9, machine.bandwidth[n_threads]))
    print(f"{n_threads:3} {width:6} {n_rows:7} {'RAM':>7}" + "".join(cells), flush=True)


def share(rate, most):
    return f"{rate:10.1f} {100 * rate / most:3.0f} %"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--shared", type=int, nargs="+", default=[600, 1000, 2000])
    parser.add_argument("--classes", type=int, default=670_091)
    parser.add_argument("--mib", type=int, default=1024, help="of one array (default 1024)")
    parser.add_argument("--seconds", type=float, default=0.5, help="a measurement (default 0.5)")
    options = parser.parse_args()
    print(describe_machine())
    machine = Machine(options)
    print(f"\nshared block of {BATCH} samples: GFLOP/s and share of the peak")
    print("thr  width classes    rows" + "".join(
        f"{name:>16}" for name in ("in bytes", "block_logits", "gradient", "update_block", "block",
                                   "update GB/s")))
    for n_threads in options.threads:
        for width in options.widths:
            for n_shared in options.shared:
                for n_classes in (None, options.classes):
                    compute(machine, n_classes, n_shared, width, n_threads, options.seconds)
    print(f"\nrows of {options.classes:,}: GB/s and share of the bandwidth")
    print("thr  width    rows        " + "".join(
        f"{name:>16}" for name in ("gather_rows", "update_rows", "combine_rows")))
    for n_threads in options.threads:
        for width in options.widths:
            for n_rows in (2000, 8000):
                traffic(machine, options.classes, n_rows, width, n_threads, options.seconds)


if __name__ == "__main__":
    main()
