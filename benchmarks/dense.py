"""One epoch of SlideClassifier against a dense softmax layer in numpy and BLAS.

    python benchmarks/dense.py [--n-jobs 2] [--epochs 1] [--skip-growth]

Both networks have one hidden layer of 128 ReLU units, batches of 128 and Adam with a linearly
decaying rate; both run in this process on the same data, made by `make_extreme_classification`:
60,000 samples (and 6,000 to test on), 30,000 features, 50,000 classes. Everything else about
SlideClassifier is its default. The dense network is run at each of ``--dense-rates``, and compared
at the one with its best P@1. A second table shows CPU time a sample for 10^3 to 10^6 classes
(measured on so many batches as fit the time, after one to warm up).
"""

import argparse
import math

import numpy as np
from common import Stopwatch, describe_machine
from sklearn.preprocessing import normalize
from threadpoolctl import threadpool_limits

from slidelearn import SlideClassifier
from slidelearn.datasets import make_extreme_classification
from slidelearn.metrics import precision_at_k

WIDTH = BATCH = 128


class DenseSoftmax:
    """CSR -> ReLU -> softmax over all classes; Adam (0.9, 0.999) over all parameters."""

    def __init__(self, n_features, n_classes, rate, n_steps, seed=0, width=WIDTH):
        rng = np.random.default_rng(seed)
        self.parameters = [
            rng.uniform(-1, 1, (n_features, width)).astype("f4") * np.float32(
                math.sqrt(6 / (n_features + width))),
            np.zeros(width, "f4"),
            rng.uniform(-1, 1, (width, n_classes)).astype("f4") * np.float32(
                math.sqrt(6 / (n_classes + width))),
            np.zeros(n_classes, "f4"),
        ]
        self.moments = [(np.zeros_like(p), np.zeros_like(p)) for p in self.parameters]
        self.buffers = [np.empty_like(p) for p in self.parameters]
        self.rate, self.n_steps, self.t = rate, n_steps, 0

    def train_batch(self, X, target):
        """`target`: CSR whose rows sum to 1 (or are empty)."""
        W1, b1, W2, b2 = self.parameters
        hidden = np.maximum(X @ W1 + b1, 0)
        delta = hidden @ W2
        delta += b2
        delta -= delta.max(axis=1, keepdims=True)
        np.exp(delta, out=delta)
        delta /= delta.sum(axis=1, keepdims=True) * np.float32(len(delta))
        rows = np.repeat(np.arange(len(delta)), np.diff(target.indptr))
        delta[rows, target.indices] -= target.data / np.float32(len(delta))
        back = (delta @ W2.T) * (hidden > 0)
        self.adam([X.T @ back, back.sum(axis=0), hidden.T @ delta, delta.sum(axis=0)])

    def adam(self, gradients):
        self.t += 1
        rate = self.rate * (1 - (self.t - 1) / self.n_steps)
        step = np.float32(rate * math.sqrt(1 - 0.999**self.t) / (1 - 0.9**self.t))
        for p, g, (m, v), work in zip(self.parameters, gradients, self.moments, self.buffers,
                                      strict=True):
            np.subtract(g, m, out=work)
            work *= np.float32(0.1)
            m += work
            np.multiply(g, g, out=work)
            work -= v
            work *= np.float32(0.001)
            v += work
            np.sqrt(v, out=work)
            work += np.float32(1e-8)
            np.divide(m, work, out=work)
            work *= step
            p -= work

    def scores(self, X):
        W1, b1, W2, b2 = self.parameters
        return np.maximum(X @ W1 + b1, 0) @ W2 + b2

    def top1(self, X):
        best = [np.argmax(self.scores(X[i:i + BATCH]), axis=1)
                for i in range(0, X.shape[0], BATCH)]
        return np.concatenate(best)[:, None]


def run_dense(X, Y, X_test, Y_test, rate, epochs):
    target = normalize(Y, norm="l1").astype("f4")
    n_steps = epochs * -(-X.shape[0] // BATCH)
    model = DenseSoftmax(X.shape[1], Y.shape[1], rate, n_steps)
    rng = np.random.default_rng(0)
    with Stopwatch() as watch:
        for _ in range(epochs):
            order = rng.permutation(X.shape[0])
            for start in range(0, len(order), BATCH):
                rows = order[start:start + BATCH]
                model.train_batch(X[rows], target[rows])
    return watch, precision_at_k(Y_test, model.top1(X_test), 1)


def run_slide(X, Y, X_test, Y_test, epochs, n_jobs):
    model = SlideClassifier((WIDTH,), batch_size=BATCH, max_iter=epochs, random_state=0,
                            n_jobs=n_jobs)
    with Stopwatch() as watch:
        model.fit(X, Y)
    return watch, precision_at_k(Y_test, model.predict_topk(X_test, k=1)[0], 1)


def compare(options):
    X, Y = make_extreme_classification(66_000, 30_000, 50_000, n_nonzeros=61, random_state=0)
    X, Y, X_test, Y_test = X[:60_000], Y[:60_000], X[60_000:], Y[60_000:]
    print(f"60,000 x 30,000, 50,000 classes, {options.epochs} epoch(s), {options.n_jobs} threads")
    slide, slide_p1 = run_slide(X, Y, X_test, Y_test, options.epochs, options.n_jobs)
    print(f"  slidelearn              CPU {slide.cpu:7.1f} s, wall {slide.wall:7.1f} s, "
          f"P@1 {100 * slide_p1:.1f} %", flush=True)
    runs = []
    for rate in options.dense_rates:
        watch, p1 = run_dense(X, Y, X_test, Y_test, rate, options.epochs)
        runs.append((p1, watch))
        print(f"  dense softmax, {rate:<8g} CPU {watch.cpu:7.1f} s, wall {watch.wall:7.1f} s, "
              f"P@1 {100 * p1:.1f} %", flush=True)
    p1, watch = max(runs, key=lambda run: run[0])
    print(f"  ratio dense / slidelearn: CPU {watch.cpu / slide.cpu:.1f}, "
          f"wall {watch.wall / slide.wall:.1f}; P@1 {100 * (slide_p1 - p1):+.1f} points")


def growth(options):
    print(f"\nCPU milliseconds a sample, {options.n_jobs} threads")
    print(f"{'classes':>10} {'slidelearn':>12} {'dense':>12} {'ratio':>8}")
    for n_classes in (10**3, 10**4, 10**5, 10**6):
        n = 128 * 80
        X, Y = make_extreme_classification(n, 30_000, n_classes, n_nonzeros=61, random_state=0)
        model = SlideClassifier((WIDTH,), batch_size=BATCH, max_iter=1, random_state=0,
                                n_jobs=options.n_jobs)
        model.partial_fit(X[:BATCH], Y[:BATCH])  # allocation isn't what a sample costs
        with Stopwatch() as slide:
            model.partial_fit(X, Y)
        target = normalize(Y, norm="l1").astype("f4")
        dense = DenseSoftmax(X.shape[1], n_classes, 1e-3, 1000)
        n_batches = max(2, min(20, 10**6 // n_classes))
        dense.train_batch(X[:BATCH], target[:BATCH])
        with Stopwatch() as watch:
            for i in range(n_batches):
                rows = slice(i * BATCH, (i + 1) * BATCH)
                dense.train_batch(X[rows], target[rows])
        ours, theirs = 1e3 * slide.cpu / n, 1e3 * watch.cpu / (n_batches * BATCH)
        print(f"{n_classes:10,} {ours:12.4f} {theirs:12.4f} {theirs / ours:8.1f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--dense-rates", type=float, nargs="+", default=[1e-3, 6e-3])
    parser.add_argument("--skip-growth", action="store_true")
    options = parser.parse_args()
    print(describe_machine())
    with threadpool_limits(options.n_jobs, user_api="blas"):
        compare(options)
        if not options.skip_growth:
            growth(options)


if __name__ == "__main__":
    main()
