"""Ranking and calibration quality of the default parameters on real data.

    python benchmarks/accuracy.py --data DIR [DIR ...] [--seeds 3] [--n-jobs 2]

DIR is "python-calls" or a directory as `common.load_data` reads it. For each seed: fit on the
training part, and on the test part precision at 1, 3, 5 and nDCG at 5 of `predict_topk`; micro
and sample-averaged F1 of `predict` at the threshold 0.5; expected calibration error of
`predict_proba` over all pairs with a probability above 1 % (15 bins); fit and predict time.
"""

import argparse

import numpy as np
import scipy.sparse as sp
from common import Stopwatch, describe_machine, load_data, quality
from sklearn.metrics import f1_score

from slidelearn import SlideClassifier

ROWS = 2000  # test samples whose probabilities are looked at (they are dense)


def expected_calibration_error(proba, truth, bins=15):
    """Mean gap between predicted and observed frequency over pairs with proba > 1 %."""
    chosen = proba > 0.01
    p, y = proba[chosen], truth[chosen]
    place = np.minimum((p * bins).astype(int), bins - 1)
    counts = np.bincount(place, minlength=bins)
    gap = np.bincount(place, p, bins) - np.bincount(place, y, bins)
    return np.abs(gap).sum() / counts.sum()


def evaluate(where, seed, options):
    X, Y, X_test, Y_test = load_data(where)
    model = SlideClassifier(random_state=seed, n_jobs=options.n_jobs, verbose=options.verbose)
    with Stopwatch() as fit:
        model.fit(X, Y)
    with Stopwatch() as predict:
        labels, _ = model.predict_topk(X_test, k=min(5, Y.shape[1]))
    row = {"fit s": fit.wall, "fit CPU s": fit.cpu, "predict s": predict.wall}
    row |= quality(Y_test, labels)
    predicted = model.predict(X_test)
    row["F1 micro"] = 100 * f1_score(Y_test, predicted, average="micro")
    row["F1 samples"] = 100 * f1_score(Y_test, predicted, average="samples", zero_division=0)
    row["labels/row"] = sp.csr_matrix(predicted).nnz / predicted.shape[0]
    n = min(ROWS, max(1, 2**28 // Y.shape[1]), X_test.shape[0])
    proba = model.predict_proba(X_test[:n])
    row["ECE %"] = 100 * expected_calibration_error(proba, Y_test[:n].toarray())
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", nargs="+", default=["python-calls"], metavar="DIR")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--verbose", type=int, default=0)
    options = parser.parse_args()
    print(describe_machine())
    header = None
    for where in options.data:
        rows = []
        for seed in range(options.seeds):
            row = evaluate(where, seed, options)
            if header is None:
                header = list(row)
                print(f"{'data':24} seed " + " ".join(f"{name:>10}" for name in header))
            rows.append(list(row.values()))
            show(where, seed, rows[-1])
        if options.seeds > 1:
            show(where, "mean", np.mean(rows, axis=0))


def show(where, seed, values):
    print(f"{where.rstrip('/').rpartition('/')[2]:24} {seed!s:>4} "
          + " ".join(f"{value:10.2f}" for value in values), flush=True)


if __name__ == "__main__":
    main()
