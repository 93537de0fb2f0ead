"""Which part earns what at equal time: one change of the defaults after the other.

    python benchmarks/ablation.py --data DIR [DIR ...] --budget 30 --json ABLATION.json
    python benchmarks/ablation.py --data amazon-670k --samples 100000 --budget 120 \\
        --only "sampling/*" --json ABLATION.json
    python benchmarks/ablation.py --list

Everything is measured on a tenth of the training part that is put aside; the test part isn't read.
The network alone is trained (``ranker=None``), unless a configuration says otherwise.
DIR is a directory, "python-calls" or a generated shape (`common.load_data`). The configurations
stand in `CONFIGURATIONS`: ``--only`` takes patterns of their names.

Each configuration trains for about ``--budget`` seconds, on a busy machine better of CPU time
(``--clock CPU``): two epochs on a part of the data say what
a sample costs, and ``max_iter`` follows (a budget under one epoch is spent on a random part of the
samples, and "epochs" is that part). The learning rate falls to zero within that time, so what is
compared are finished trainings. With ``--epochs`` all train equally long instead. Columns: wall
and CPU seconds of the fit, P@k and PSP@5 in percent, and the classes that a sample computed on
average ("active").

``--json`` is read first and written after each fit: what is in there isn't measured again.
"""

import argparse
import fnmatch
import json
from pathlib import Path

import numpy as np
from common import (
    SHAPES,
    Stopwatch,
    describe_machine,
    hold_out,
    label_of,
    load_data,
    quality,
    write,
)

from slidelearn import SlideClassifier
from slidelearn._classifier import auto_batch_size

PILOT_BATCHES = 100

SHARED = {f"sampling/shared {n}": {"n_random": n} for n in (0, 100, 300, 1000, 2000, 4000)}
LSH = {
    f"sampling/{strategy} {'centred' if center else 'plain'}{rest}":
        {"sampling": strategy, "center": center, **more}
    for strategy in ("vanilla", "topk", "threshold") for center in (True, False)
    for rest, more in (("", {"share_random": False, "n_random": 0}),
                       (" + own 300", {"share_random": False}),
                       (" + shared 0", {"n_random": 0}), (" + shared 300", {}))
}
# Some are the default under another name: how far they differ is noise.
CONFIGURATIONS = {
    "default": {},
    **SHARED,
    "sampling/own 300": {"share_random": False},
    "sampling/own 1000": {"share_random": False, "n_random": 1000},
    **LSH,
    **{f"sampling/topk {n} + shared 300": {"sampling": "topk", "n_candidates": n}
       for n in (64, 1024)},
    "sampling/topk 256 + shared 1000": {"sampling": "topk", "n_random": 1000},
    "sampling/all (dense)": {"sampling": "all"},
    **{f"hash/{name}": {"sampling": "topk", "hash_function": name}
       for name in ("simhash", "wta", "dwta", "minhash")},
    **{f"hash/K {k}": {"sampling": "topk", "hash_length": k} for k in (6, 9, 12, 14)},
    **{f"hash/L {n}": {"sampling": "topk", "n_tables": n} for n in (10, 25, 50, 100)},
    **{f"hash/rebuild {first} x {growth}":
       {"sampling": "topk", "rebuild_interval": first, "rebuild_growth": growth}
       for first, growth in ((10, 1.05), (50, 1.0), (50, 1.05), (50, 1.3), (500, 1.0))},
    "hash/redraw every 5": {"sampling": "topk", "redraw_every": 5},
    "hash/reservoir": {"sampling": "topk", "insertion": "reservoir"},
    "loss/sigmoid": {"loss": "sigmoid"},
    "loss/softmax": {"loss": "softmax"},
    **{f"width/{n}": {"hidden_layer_sizes": [n]} for n in (64, 128, 256, 512, 1024)},
    "width/256 256": {"hidden_layer_sizes": [256, 256]},
    **{f"dropout/{share}": {"dropout": share} for share in (0.0, 0.2, 0.4, 0.6)},
    **{f"solver/adam, beta_1 {beta_1}": {"beta_1": beta_1} for beta_1 in (0.0, 0.5, 0.9)},
    **{f"solver/adagrad {rate}": {"solver": "adagrad", "learning_rate_init": rate}
       for rate in (0.01, 0.03, 0.1)},
    **{f"solver/sgd {rate}": {"solver": "sgd", "learning_rate_init": rate}
       for rate in (0.1, 1.0, 10.0)},
    **{f"rate/{rate}": {"learning_rate_init": rate} for rate in (0.001, 0.003, 0.01, 0.03)},
    "rate/constant": {"learning_rate": "constant"},
    **{f"epsilon/{epsilon}": {"epsilon": float(epsilon)}
       for epsilon in ("1e-8", "1e-5", "3e-5", "1e-4", "1e-3")},
    **{f"init/{init}": {"init": init} for init in ("random", "labels")},
    **{f"gradient/{threshold}": {"gradient_threshold": threshold}
       for threshold in (0.0, 0.01, 0.03, 0.1)},
    **{f"batch/{n}": {"batch_size": n} for n in (16, 32, 64, 128, 256)},
    "dtype/bfloat16": {"dtype": "bfloat16"},
    "ranker/linear": {"ranker": "linear"},
}


def pilot(parameters, X, Y, seed, clock):
    """(seconds a sample costs, seconds before the first batch) by two epochs on some samples."""
    n = min(X.shape[0], PILOT_BATCHES * 128)
    rows = np.random.default_rng(seed).permutation(X.shape[0])[:n]
    ends = []
    watch = Stopwatch()

    def epoch_end(number, model, row):
        watch.__exit__()
        ends.append(watch.cpu if clock == "CPU" else watch.wall)
        watch.__enter__()

    # The batch size that the whole data would get, and no samples held out.
    model = SlideClassifier(**{"batch_size": auto_batch_size(X.shape[0]), "calibrate": False,
                               **parameters, "max_iter": 2})
    with watch:
        model.fit(X[rows], Y[rows], monitor=epoch_end)
    return (ends[1] - ends[0]) / n, max(0.0, 2 * ends[0] - ends[1])


def plan(per_sample, start, n_samples, options):
    """(max_iter, share of the samples to use)."""
    if options.epochs:
        return options.epochs, 1.0
    epochs = max(0.0, options.budget - start) / (per_sample * n_samples)
    return (max(1, round(epochs)), 1.0) if epochs >= 0.75 else (1, max(epochs, 1e-3))


def measure(changes, data, seed, options):
    X, Y, X_validation, Y_validation = data
    parameters = {"ranker": None, **changes, "random_state": seed, "n_jobs": options.threads}
    per_sample, start = pilot(parameters, X, Y, seed, options.clock)
    max_iter, share = plan(per_sample, start, X.shape[0], options)
    if share < 1:
        n = max(2, round(share * X.shape[0]))
        rows = np.sort(np.random.default_rng(seed).permutation(X.shape[0])[:n])
        parameters = {"batch_size": auto_batch_size(X.shape[0]), **parameters}
        X_train, Y_train = X[rows], Y[rows]
    else:
        X_train, Y_train = X, Y
    model = SlideClassifier(**{**parameters, "max_iter": max_iter})
    with Stopwatch() as watch:
        model.fit(X_train, Y_train)
    top, _ = model.predict_topk(X_validation, k=min(5, Y.shape[1]))
    return {"wall s": watch.wall, "CPU s": watch.cpu, "epochs": max_iter * share,
            "active": float(np.mean(model.history_["active_size"])),
            **quality(Y_validation, top, Y)}


COLUMNS = [("wall s", 8, ".1f"), ("CPU s", 8, ".1f"), ("epochs", 7, ".2f"), ("active", 9, ".0f"),
           ("P@1", 7, ".2f"), ("P@3", 7, ".2f"), ("P@5", 7, ".2f"), ("PSP@5", 7, ".2f")]


def show(name, row):
    if "failed" in row:
        print(f"{name:34} failed: {row['failed']}", flush=True)
        return
    print(f"{name:34}" + "".join(f" {row[key]:{width}{form}}" for key, width, form in COLUMNS),
          flush=True)


def show_means(rows, names):
    """Table of means over the seeds."""
    means = {}
    for name in names:
        mine = [row for row in rows if row["name"] == name and "failed" not in row]
        if mine:
            means[name] = {key: float(np.mean([row[key] for row in mine])) for key, *_ in COLUMNS}
    print(f"\n{'mean over seeds':34}" + "".join(f" {key:>{width}}" for key, width, _ in COLUMNS))
    for name, row in means.items():
        show(name, row)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", "--dataset", nargs="+", default=["python-calls"], metavar="DIR",
                        help=f"directories, python-calls, {', '.join(SHAPES)}")
    parser.add_argument("--samples", type=int, default=60_000, help="of generated data")
    parser.add_argument("--budget", type=float, default=30, help="seconds a fit (default 30)")
    parser.add_argument("--clock", choices=["wall", "CPU"], default="wall", help="of the budget")
    parser.add_argument("--epochs", type=int, help="epochs a fit, instead of a budget")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", metavar="OUT")
    parser.add_argument("--list", action="store_true", help="print the configurations")
    options = parser.parse_args()
    names = [name for name in CONFIGURATIONS
             if any(fnmatch.fnmatch(name, pattern) for pattern in options.only)]
    if options.list:
        for name in names:
            print(f"{name:34} {json.dumps(CONFIGURATIONS[name])}")
        return
    document = {"runs": []}
    if options.json and Path(options.json).exists():
        document = json.loads(Path(options.json).read_text())
    document["machine"] = describe_machine()
    print(f"{document['machine']}, {options.threads} threads")
    for where in options.data:
        data = None
        key = {"data": label_of(where), "threads": options.threads,
               "samples": options.samples if where in SHAPES else None,
               "budget": None if options.epochs else f"{options.budget:g} s {options.clock}",
               "epochs asked": options.epochs}
        print(f"\n{label_of(where)}\n{'':34}"
              + "".join(f" {name:>{width}}" for name, width, _ in COLUMNS), flush=True)
        mine = []
        for seed in range(options.seeds):
            for name in names:
                wanted = {**key, "name": name, "changes": CONFIGURATIONS[name], "seed": seed}
                row = next((row for row in document["runs"] if wanted.items() <= row.items()),
                           None)
                if row is None:
                    if data is None:
                        data = hold_out(*load_data(where, options.samples)[:2])
                    row = dict(wanted)
                    try:
                        row |= measure(CONFIGURATIONS[name], data, seed, options)
                    except (ValueError, MemoryError) as error:  # divergence, size
                        row["failed"] = str(error)
                    document["runs"].append(row)
                    if options.json:
                        write(options.json, document)
                show(name, row)
                mine.append(row)
        if options.seeds > 1:
            show_means(mine, names)


if __name__ == "__main__":
    main()
