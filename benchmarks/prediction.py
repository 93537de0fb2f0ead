"""Throughput of the k best classes: exact with and without pruning, by hashing, and plain BLAS.

    env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE python benchmarks/prediction.py
        [--nets amazon-670k text-226k gaussian-670k gaussian-226k] [--data DIR ...]
        [--samples 2000] [--threads 2] [--json OUT] [--plot OUT.png]

Nets: "amazon-670k" and "text-226k" are trained for ``--epochs`` on ``--train`` generated samples
(`make_extreme_classification`; 670,091 and 226,000 classes), so that, as in real data of that size,
many classes have few samples or none; "gaussian-N" has rows, and activations before the ReLU, of
independent normal numbers (thousands of classes in the name), which no bound on a part of the
coordinates can tell apart: the worst case. ``--data`` trains on directories (see
`common.load_data`) at ``--width``, with the linear rankers that are the default there.

Search alone, activations being given, in samples a second and as a ratio to the first line:

    product            X @ W.T in blocks by numpy's BLAS, nothing kept; the best of several blocks
    product + select   the same, biases added, and `argpartition` of each sample's scores
    every class        slidelearn's kernel that scores every class
    pruned             ... that rules out most (`slidelearn._pruning`), for 5 and for 64 classes
                       (rankers need 64); "codes" is how long these take to make, once a model

`predict_topk` (k = 5) of the estimator, from sparse X to labels: without pruning, with it, and by
hashing (``method="lsh"``) with some settings, with the share of the exact 5 that hashing finds and
P@1. A number is the best of the repetitions within ``--seconds``. The line above tells which kernel
the BLAS runs: the variable OPENBLAS_CORETYPE may force a slow one.
"""

import argparse
import json
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from common import SHAPES, best_time, describe_machine, load_data
from plotting import logarithmic_x
from threadpoolctl import threadpool_info, threadpool_limits

from slidelearn import SlideClassifier, _prediction, _pruning
from slidelearn._network import Layer, Network
from slidelearn.metrics import precision_at_k

SHAPES["text-226k"] = (100_000, 226_000, 60, 3.0)
BLOCKS = ((1024, 1024), (512, 4096), (256, 2048))  # samples, classes
HASHING = (  # hash_length, n_tables, n_candidates
    (6, 20, 200), (6, 50, 500), (8, 50, 500), (8, 50, 2000), (10, 50, 500), (10, 100, 2000),
    (12, 100, 2000), (12, 200, 2000),
)
K = 5


def rate(run, n_samples, seconds):
    """Samples a second, at best."""
    return n_samples / best_time(run, seconds)


def product(hidden, weights, block, width):
    """All scores without biases, a block at a time."""
    buffer = np.empty((block, width), np.float32)
    for start in range(0, len(hidden), block):
        some = hidden[start:start + block]
        for first in range(0, len(weights), width):
            rows = weights[first:first + width]
            np.matmul(some, rows.T, out=buffer[:len(some), :len(rows)])


def product_and_selection(hidden, weights, bias, k):
    block = max(1, 2**24 // len(weights))
    buffer = np.empty((block, len(weights)), np.float32)
    for start in range(0, len(hidden), block):
        some = hidden[start:start + block]
        scores = np.matmul(some, weights.T, out=buffer[:len(some)])
        scores += bias
        np.argpartition(scores, len(weights) - k, axis=1)


@contextmanager
def without_pruning():
    real, _pruning.pays = _pruning.pays, lambda *_: False
    try:
        yield
    finally:
        _pruning.pays = real


def search(hidden, output, options):
    """Print and return the table of the search alone."""
    n, seconds = len(hidden), options.seconds
    network = Network([output])
    few = hidden[:max(1, min(n, 2**27 // len(output.bias)))]
    start = time.perf_counter()
    layer = _pruning.prune(output, hidden, options.threads)
    codes = time.perf_counter() - start
    with threadpool_limits(options.threads, user_api="blas"):
        result = {
            "product": max(rate(lambda b=block: product(hidden, output.weights, *b), n, seconds)
                           for block in BLOCKS),
            "product + select": rate(lambda: product_and_selection(
                few, output.weights, output.bias, K), len(few), seconds),
        }
    time.sleep(1)  # the BLAS's threads wait for more on both cores
    for k in (K, 64):
        result[f"every class, k={k}"] = rate(
            lambda k=k: _prediction.topk_of_activations(network, hidden, k, options.threads), n,
            seconds)
        result[f"pruned, k={k}"] = rate(
            lambda k=k: _pruning.topk(layer, hidden, k, options.threads), n, seconds)
    print(f"  codes: {codes:.2f} s, {layer.codes.nbytes + layer.classes.nbytes >> 20} MiB")
    for name, value in result.items():
        print(f"  {name:20} {value:10,.0f} /s {value / result['product']:7.2f}", flush=True)
    return {**result, "codes": codes}


def estimator(model, X, Y, options):
    """Print and return the table of `predict_topk`."""
    n, seconds, rows = X.shape[0], options.seconds, []
    model.set_params(n_jobs=options.threads)
    exact, _ = model.predict_topk(X, K)

    def measure(name, **arguments):
        labels, _ = model.predict_topk(X, K, **arguments)
        recall = np.mean([len(np.intersect1d(a, b)) / K
                          for a, b in zip(exact, labels, strict=True)])
        rows.append({"name": name, "rate": rate(lambda: model.predict_topk(X, K, **arguments), n,
                                                seconds),
                     "recall": 100 * recall, "P@1": 100 * precision_at_k(Y, labels, 1)})
        print(f"  {name:24} {rows[-1]['rate']:10,.0f} /s  recall {rows[-1]['recall']:5.1f}  "
              f"P@1 {rows[-1]['P@1']:5.1f}", flush=True)

    with without_pruning():
        measure("every class")
    while not model._pruning._layer:  # made once enough samples were predicted
        model.predict_topk(X, K)
    measure("pruned")
    for length, tables, candidates in HASHING:
        model.set_params(hash_length=length, n_tables=tables, n_candidates=candidates)
        measure(f"lsh {length} x {tables}, {candidates}", method="lsh")
    return rows


def trained(where, options):
    """(model, X_test, Y_test)"""
    X, Y, X_test, Y_test = load_data(where, options.train)
    generated = where in SHAPES
    model = SlideClassifier((128,) if generated else (options.width,), max_iter=options.epochs,
                            ranker=None if generated else "auto", random_state=0,
                            n_jobs=options.threads)
    model.fit(X, Y)
    n = options.samples if generated else max(options.samples, 6000)
    return model, X_test[:n], Y_test[:n]


def gaussian(name, options):
    """(hidden, output)"""
    rng = np.random.default_rng(0)
    n_classes = {"670k": 670_091}.get(name.partition("-")[2]) or (
        1000 * int(name.partition("-")[2].rstrip("k")))
    hidden = np.maximum(rng.standard_normal((options.samples, 128), dtype=np.float32), 0)
    return hidden, Layer(rng.standard_normal((n_classes, 128), dtype=np.float32),
                         np.zeros(n_classes, np.float32))


def plot(results, target):
    """Recall and P@1 against throughput; hashing: hash_length x n_tables, n_candidates."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    results = {name: result for name, result in results.items() if "estimator" in result}
    figure, axes = plt.subplots(2, len(results), squeeze=False, sharex="col",
                                figsize=(5 * len(results), 6.5), layout="constrained")
    for (name, result), column in zip(results.items(), axes.T, strict=True):
        column[0].set_title(name)
        for axis, what in zip(column, ("recall", "P@1"), strict=True):
            for row in result["estimator"]:
                style = "o" if row["name"].startswith("lsh") else "*"
                axis.plot(row["rate"], row[what], style, color="C0" if style == "o" else "C1",
                          ms=5 if style == "o" else 10)
                axis.annotate(row["name"].removeprefix("lsh "), (row["rate"], row[what]),
                              fontsize=6, xytext=(3, 3), textcoords="offset points")
            logarithmic_x(axis)
            axis.margins(x=0.12)
            axis.set_ylabel(f"{what} (%)")
        column[1].set_xlabel("samples a second (log)")
    figure.savefig(target, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nets", nargs="*", default=["amazon-670k", "text-226k", "gaussian-670k",
                                                      "gaussian-226k"])
    parser.add_argument("--data", nargs="+", default=[], metavar="DIR")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--train", type=int, default=60_000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="a measurement (default 1)")
    parser.add_argument("--json", metavar="OUT")
    parser.add_argument("--plot", metavar="OUT.png")
    options = parser.parse_args()
    print(describe_machine())
    print("BLAS:", ", ".join(sorted({f"{info['internal_api']} ({info.get('architecture', '?')})"
                                     for info in threadpool_info() if info["user_api"] == "blas"})))
    results = {}
    for name in [*options.nets, *options.data]:
        if name.startswith("gaussian"):
            hidden, output = gaussian(name, options)
            model = None
        else:
            model, X, Y = trained(name, options)
            network, _, csr, n_threads = model._prepare(X)
            output = network.output
            hidden = _prediction.hidden_activations(network, csr, np.arange(X.shape[0]), n_threads)
        print(f"\n{Path(name).name}: {len(output.bias):,} classes, width {hidden.shape[1]}, "
              f"{len(hidden):,} samples, {options.threads} threads")
        result = {"search": search(hidden, output, options)}
        if model is not None:
            result["estimator"] = estimator(model, X, Y, options)
        results[Path(name).name] = result
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1))
    if options.plot:
        plot(results, options.plot)


if __name__ == "__main__":
    main()
