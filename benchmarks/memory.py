"""Peak memory of a fit, against the bound 1.3 x (parameters x 3 for Adam) + data + 200 MB.

    python benchmarks/memory.py [--classes 50000 670091] [--samples 100000] [--n-jobs 2]

Data come from `make_extreme_classification`; each fit runs in a process of its own that loads them
from a file, so that making them doesn't count. "data" is X and y as they lie in memory.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import scipy.sparse as sp
from common import describe_machine, peak_memory_mb

from slidelearn import SlideClassifier
from slidelearn.datasets import make_extreme_classification

MIB = 2**20


def csr_bytes(matrix):
    return matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes


def fit_here(folder, n_jobs):
    """Fit in this process; print one JSON line."""
    X, Y = (sp.load_npz(Path(folder) / f"{name}.npz") for name in "XY")
    before = peak_memory_mb()
    model = SlideClassifier(random_state=0, n_jobs=n_jobs, max_iter=1).fit(X, Y)
    parameters = sum(a.nbytes for a in (*model.coefs_, *model.intercepts_))
    print(json.dumps({
        "before": before, "peak": peak_memory_mb(), "parameters": parameters / MIB,
        "data": (csr_bytes(X) + csr_bytes(Y)) / MIB,
    }))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--classes", type=int, nargs="+", default=[50_000, 670_091])
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--features", type=int, default=135_909)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--fit", metavar="DIR", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit:
        return fit_here(options.fit, options.n_jobs)
    print(describe_machine())
    print(f"{'classes':>10} {'parameters':>11} {'data':>8} {'imports+data':>13} {'peak':>8} "
          f"{'bound':>8}   (MiB)")
    for n_classes in options.classes:
        with tempfile.TemporaryDirectory() as folder:
            X, Y = make_extreme_classification(options.samples, options.features, n_classes,
                                               n_nonzeros=75, n_labels=5.45, random_state=0)
            sp.save_npz(Path(folder) / "X.npz", X, compressed=False)
            sp.save_npz(Path(folder) / "Y.npz", Y, compressed=False)
            done = subprocess.run([sys.executable, __file__, "--fit", folder,
                                   "--n-jobs", str(options.n_jobs)],
                                  check=True, capture_output=True, text=True)
        row = json.loads(done.stdout)
        bound = 1.3 * 3 * row["parameters"] + row["data"] + 200
        print(f"{n_classes:10,} {row['parameters']:11.0f} {row['data']:8.0f} {row['before']:13.0f} "
              f"{row['peak']:8.0f} {bound:8.0f}   {'within' if row['peak'] <= bound else 'ABOVE'}",
              flush=True)


if __name__ == "__main__":
    main()
