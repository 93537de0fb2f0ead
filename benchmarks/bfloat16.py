"""What `dtype="bfloat16"` gives and takes: time, memory and accuracy against float32.

    python benchmarks/bfloat16.py kernels [--classes 670091] [--widths 128 256 512] [--threads 1]
    python benchmarks/bfloat16.py training [--classes 670091 1000000] [--widths ...] [--own]
    python benchmarks/bfloat16.py accuracy --data DIR ... [--seeds 3]

Both dtypes are measured in one process, taking turns, so that a busy machine slows both alike;
"ratio" is float32 divided by bfloat16.

kernels: microseconds a row of the kernels that visit rows of the output layer in RAM, rows being
    drawn afresh each time: gather_rows, update_rows (one sample a row), update_block (128
    samples). The best of the repetitions, which on a busy machine is nearest to the truth.
training: microseconds a sample of the phases that read and write the output layer ("scores" and
    "output step", see `SlideClassifier.history_`) and of the whole step: the best epoch. MiB of
    the output layer and its optimizer state. Data are generated: the shape of Amazon-670K, and the
    same with 10^6 classes.
accuracy: P@1/3/5 on a tenth of the training part of each data set (see `common.load_data`), held
    out, the test part not being looked at; means over seeds, and the standard error of the mean
    of the differences.
"""

import argparse
import time

import numpy as np
from common import SHAPES, describe_machine, filled, hold_out, load_data, quality

from slidelearn import SlideClassifier, _memory
from slidelearn._bfloat16 import DTYPES
from slidelearn._kernels import _dense, _rows, _simd
from slidelearn.datasets import make_extreme_classification

BATCH = 128
TURN = 20  # calls of a kernel with one dtype before the other's turn
PHASES = ("scores", "output_step")


class Kernels:
    """The output layer of `n_classes` rows in each dtype, and calls of kernels on some rows."""

    def __init__(self, n_classes, width, n_rows, n_threads):
        self.rng = np.random.default_rng(0)
        self.n_classes, self.n_rows, self.n_threads = n_classes, n_rows, n_threads
        shapes = (n_classes, width), (0, 0), (n_classes, width)  # no first moment, as by default
        self.layers = {dtype: [filled(shape, DTYPES[dtype], one) for shape in shapes]
                       for dtype, one in (("float32", 1e-3), ("bfloat16", 0x3A83))}
        self.bias = [np.full(n, 1e-3, np.float32) for n in (n_classes, 0, n_classes)]
        self.hidden = self.rng.standard_normal(dtype=np.float32, out=_memory.empty((BATCH, width)))
        self.delta = self.rng.standard_normal((BATCH, n_rows), dtype=np.float32) / BATCH
        self.block = _memory.empty((n_rows, width))
        self.block_bias = np.empty(n_rows, np.float32)
        self.scratch = _memory.empty((n_threads, _dense.TILE_ROWS * (width + 1)))
        self.optimizer = _simd.Optimizer("rmsprop", 1e-3, 1)
        self.starts, self.positions = np.arange(n_rows + 1), np.arange(n_rows)
        self.samples = (self.positions % BATCH).astype(np.int32)
        self.pairs = np.full(n_rows, 1e-3, np.float32)

    def gather_rows(self, layer, ids):
        _dense.gather_rows(layer[0], self.bias[0], self.bias[0], ids, self.block, self.block_bias,
                           self.n_threads)

    def update_rows(self, layer, ids):
        _rows.update_rows(ids, self.starts, self.samples, self.positions, self.pairs, self.hidden,
                          self.optimizer, *layer, self.scratch, self.n_threads)

    def update_block(self, layer, ids):
        _dense.update_block(self.delta, self.hidden, ids, self.optimizer, *layer, *self.bias,
                            self.scratch, self.n_threads)

    def best_time(self, kernel, seconds):
        """Seconds of each dtype."""
        took = {dtype: [] for dtype in DTYPES}
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or not took["bfloat16"]:
            for dtype, layer in self.layers.items():
                for _ in range(TURN):
                    ids = np.unique(self.rng.integers(0, self.n_classes, self.n_rows,
                                                      dtype=np.int32))
                    ids = np.resize(ids, self.n_rows) if kernel == "gather_rows" else ids
                    start = time.perf_counter()
                    getattr(self, kernel)(layer, ids)
                    took[dtype].append((time.perf_counter() - start) / len(ids))
        return {dtype: min(values) for dtype, values in took.items()}


def print_head(what):
    print(f"{what:13} {'classes':>9} {'width':>6} {'thr':>3} {'float32':>10} {'bfloat16':>10} "
          f"{'ratio':>8}")


def line(head, microseconds):
    """One row of a table: both dtypes and their ratio."""
    a, b = microseconds["float32"], microseconds["bfloat16"]
    print(f"{head} {a:10.3f} {b:10.3f} {a / b:8.2f}", flush=True)


def kernels(options):
    print_head("us a row")
    for n_classes in options.classes:
        for width in options.widths:
            for n_threads in options.threads:
                measured = Kernels(n_classes, width, options.rows, n_threads)
                for kernel in ("gather_rows", "update_rows", "update_block"):
                    took = measured.best_time(kernel, options.seconds)
                    line(f"{kernel:13} {n_classes:9,} {width:6} {n_threads:3}",
                         {dtype: 1e6 * value for dtype, value in took.items()})


def output_mib(model):
    arrays = [model._coefs[-1], *model._optimizer_state[-1][:2]]
    return sum(array.nbytes for array in arrays) / 2**20


def epoch(models, dtype, X, Y):
    """Train one epoch; microseconds a sample, by phase."""
    models[dtype].partial_fit(X, Y)
    history = models[dtype].history_
    took = {phase: history[f"seconds_{phase}"][-1] for phase in PHASES}
    took["both"] = sum(took.values())
    took["step"] = history["seconds"][-1]
    return {phase: 1e6 * value / X.shape[0] for phase, value in took.items()}


def training(options):
    n_features, _, n_nonzeros, n_labels = SHAPES["amazon-670k"]
    print_head("us a sample")
    for n_classes in options.classes:
        X, Y = make_extreme_classification(options.samples, n_features, n_classes,
                                           n_nonzeros=n_nonzeros, n_labels=n_labels,
                                           random_state=0)
        for width in options.widths:
            for n_threads in options.threads:
                models = {dtype: SlideClassifier((width,), dtype=dtype, n_jobs=n_threads,
                                                 batch_size=BATCH, random_state=0,
                                                 share_random=not options.own)
                          for dtype in DTYPES}
                best = {dtype: {} for dtype in DTYPES}
                for _ in range(options.epochs):
                    for dtype, sofar in best.items():
                        for phase, took in epoch(models, dtype, X, Y).items():
                            sofar[phase] = min(took, sofar.get(phase, np.inf))
                head = f"{n_classes:9,} {width:6} {n_threads:3}"
                for phase in (*PHASES, "both", "step"):
                    line(f"{phase:13} {head}",
                         {dtype: sofar[phase] for dtype, sofar in best.items()})
                line(f"{'MiB':13} {head}", {dtype: output_mib(model)
                                            for dtype, model in models.items()})


def accuracy(options):
    for where in options.data:
        X, Y, X_test, Y_test = hold_out(*load_data(where)[:2])
        found = {dtype: [] for dtype in DTYPES}
        for seed in range(options.seeds):
            for dtype, rows in found.items():
                model = SlideClassifier(dtype=dtype, random_state=seed, n_jobs=max(options.threads),
                                        ranker=options.ranker).fit(X, Y)
                rows.append(list(quality(Y_test, model.predict_topk(X_test, 5)[0]).values())[:3])
        difference = np.subtract(found["bfloat16"], found["float32"])
        for dtype, rows in found.items():
            print(f"{where:30} {dtype:10} P@1/3/5 {format_row(np.mean(rows, axis=0), '.2f')}")
        error = difference.std(axis=0, ddof=min(1, len(difference) - 1)) / len(difference)**0.5
        print(f"{where:30} difference         {format_row(difference.mean(axis=0), '+.2f')}   "
              f"+- {format_row(error, '.2f')}", flush=True)


def format_row(values, how):
    return " / ".join(format(value, how) for value in values)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["kernels", "training", "accuracy"])
    parser.add_argument("--classes", type=int, nargs="+", default=[670_091, 1_000_000])
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 256, 512])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rows", type=int, default=2000, help="that a batch touches")
    parser.add_argument("--seconds", type=float, default=1.0, help="a kernel (default 1)")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--own", action="store_true", help="share_random=False: each sample "
                        "draws its own classes, so that most rows come from RAM")
    parser.add_argument("--data", nargs="+", default=[], metavar="DIR")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ranker", choices=["auto", "linear"], help="default: none")
    options = parser.parse_args()
    print(describe_machine())
    {"kernels": kernels, "training": training, "accuracy": accuracy}[options.what](options)


if __name__ == "__main__":
    main()
