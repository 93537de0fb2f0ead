"""How long a model takes to load, and what two processes that use it have in memory.

    python benchmarks/export.py [--classes 670091] [--features 135909] [--width 128] [--folder DIR]

The model has random weights and no linear rankers. For each way to save it: the file's size, the
time to write it, and in a new process the time to load it and to predict the first 64 samples
(after imports, the file being in the page cache; medians of seven processes). Two processes hold
the model at once and have read all of it: memory is their proportional set size (PSS, where shared
pages count half) less that before loading, both together.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import joblib
import numpy as np
import scipy.sparse as sp
from common import SHAPES, describe_machine

from slidelearn import SlideClassifier

MIB = 2**20
N_ROWS = 64
N_ALONE = 5


def random_model(n_classes, n_features, width):
    """A fitted model whose weights are random."""
    X = sp.eye_array(2, n_features, format="csr", dtype=np.float32)
    Y = sp.csr_array(([1, 1], [0, 1], [0, 1, 2]), shape=(2, n_classes))
    return SlideClassifier((width,), max_iter=1, ranker=None, n_jobs=2, random_state=0).fit(X, Y)


def ways(model, folder):
    """Name, writer, reader and file of each way to keep a model."""
    def narrow(path):
        model.export(path, dtype="bfloat16")

    load = SlideClassifier.load
    return {
        "pickle (joblib)": (lambda path: joblib.dump(model, path), joblib.load, folder / "joblib"),
        "joblib, mmap_mode='r'": (None, lambda path: joblib.load(path, mmap_mode="r"),
                                  folder / "joblib"),
        "export": (model and model.export, load, folder / "float32"),
        "export, bfloat16": (narrow, load, folder / "bfloat16"),
        "export, mmap_mode=None": (None, lambda path: load(path, mmap_mode=None),
                                   folder / "float32"),
    }


def pss():
    """Proportional set size of this process, MiB."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("/proc/self/smaps_rollup has no Pss: this needs Linux.")


def hold(way, folder):
    """Load, predict, and say when; then wait for a line before measuring memory."""
    _, reader, path = ways(None, Path(folder))[way]
    before = pss()
    start = perf_counter()
    model = reader(path)
    loaded = perf_counter()
    rng = np.random.default_rng(0)
    X = sp.random_array((N_ROWS, model.n_features_in_), density=75 / model.n_features_in_,
                        format="csr", dtype=np.float32, rng=rng)
    begin = perf_counter()
    model.predict_topk(X, k=5)
    end = perf_counter()
    for array in (*model._coefs, *model.intercepts_):  # so that all of it has been read
        array.ravel(order="K")[::512].sum()
    print(json.dumps({"load": loaded - start, "predict": end - begin, "before": before}),
          flush=True)
    sys.stdin.readline()
    print(json.dumps(pss()), flush=True)
    sys.stdin.readline()


def measure(way, folder):
    """Median seconds of load and first prediction, MiB of two processes together."""
    command = [sys.executable, __file__, "--hold", way, "--folder", str(folder)]

    def begin():
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   text=True)
        return process, json.loads(process.stdout.readline())

    rows = []
    for _ in range(N_ALONE):
        process, row = begin()
        process.communicate("\n\n")
        rows.append(row)
    held = [begin() for _ in range(2)]
    memory = 0
    for process, row in held:
        process.stdin.write("\n")
        process.stdin.flush()
        memory += json.loads(process.stdout.readline()) - row["before"]
    for process, row in held:
        process.communicate("\n")
        rows.append(row)
    return median(row["load"] for row in rows), median(row["predict"] for row in rows), memory


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    n_features, n_classes, *_ = SHAPES["amazon-670k"]
    parser.add_argument("--classes", type=int, default=n_classes)
    parser.add_argument("--features", type=int, default=n_features)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--folder", help="where files go (default: a temporary directory)")
    parser.add_argument("--hold", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.hold:
        return hold(options.hold, options.folder)
    print(describe_machine())
    model = random_model(options.classes, options.features, options.width)
    print(f"{options.classes:,} classes, {options.features:,} features, width {options.width}")
    print(f"{'':24}{'file MiB':>9}{'write s':>9}{'load ms':>9}{'first predict ms':>18}"
          f"{'MiB of two processes':>22}")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for way, (writer, _, path) in ways(model, Path(folder)).items():
            start = perf_counter()
            if writer is not None:
                writer(path)
            seconds = f"{perf_counter() - start:.2f}" if writer is not None else ""
            load, predict, memory = measure(way, folder)
            print(f"{way:24}{os.path.getsize(path) / MIB:9.0f}{seconds:>9}{1000 * load:9.1f}"
                  f"{1000 * predict:18.0f}{memory:22.0f}", flush=True)


if __name__ == "__main__":
    main()
