"""What a sample costs, for 10^3 to 10^6 classes and at the shapes of public data sets.

    python benchmarks/scaling.py [--samples 20000] [--threads 1 2] [--only SUBSTRING ...]
    python benchmarks/scaling.py --only amazon --dense torch-softmax tensorflow-softmax \\
        --environments ENVS

All data are generated. The first four have 30,000 features, 61 nonzeros and 3 labels a row and
differ in the number of classes only; the others have the shapes of Amazon-670K, Delicious-200K
and WikiLSH-325K with ``--samples`` rows. Each fit has its own process and the default parameters.
One training of ``--epochs`` epochs; of the samples of an epoch but the first, "ms" is the wall
and "CPU ms" the CPU time each (the best epoch of the best of ``--repeats`` runs, for which the
numbers of threads take turns, so that a busy host slows them alike), without evaluation,
allocation and initialisation, which "start s" has together with the first epoch. "MiB" is the
peak of resident memory, data included. "x 10^4" is CPU time relative to 10^4 classes at as many
threads, "x 1 thr" how much more a second thread gets done.

``--dense`` measures dense layers too, at slidelearn's width and batch size, on ``--dense-batches``
batches an epoch, and prints how much longer a sample takes.
"""

import argparse
import sys
import tempfile
from itertools import pairwise

from common import CoreDistance, describe_machine, generate, write
from peers import PEERS
from peers.launch import Launcher, add_arguments, export

from slidelearn.datasets import make_extreme_classification

COUNTS = {f"{n:,} classes": n for n in (10**3, 10**4, 10**5, 10**6)}
PAPER = ("amazon-670k", "delicious-200k", "wikilsh-325k")
TO_PREDICT = 256  # rows


def make(name, n_samples):
    if name in COUNTS:
        return make_extreme_classification(n_samples, 30_000, COUNTS[name], n_nonzeros=61,
                                           random_state=0)
    return generate(name, n_samples)


def cost(run, n_samples):
    """What a run says about the cost of a sample; None in a field if it failed."""
    if run["status"] != "ok":
        return {"status": run["status"], "reason": run["reason"]}
    curve = run["curve"]
    steps = [(after["wall"] - before["wall"], after["cpu"] - before["cpu"])
             for before, after in pairwise(curve)]
    return {"status": "ok", "ms": 1e3 * min(wall for wall, _ in steps) / n_samples,
            "CPU ms": 1e3 * min(cpu for _, cpu in steps) / n_samples,
            "start s": curve[0]["wall"], "memory MiB": run["memory MiB"],
            "distance ns": run["distance ns"]}


class Session:
    """Measures one data set after the other; keeps what is compared later."""

    def __init__(self, options):
        self.options = options
        self.launcher = Launcher(options)
        self.distance = CoreDistance()
        self.rows = []

    def measure(self, name):
        options = self.options
        X, Y = make(name, options.samples)
        with tempfile.TemporaryDirectory() as folder:
            export(folder, X, Y, X[:TO_PREDICT], ["slidelearn"])
            runs = [self.launch("slidelearn", folder, threads, [f"max_iter={options.epochs}"])
                    for _ in range(options.repeats) for threads in options.threads]
        for i, threads in enumerate(options.threads):
            self.add("slidelearn", name, threads, X.shape[0], runs[i::len(options.threads)])
        if options.peers:
            n = min(X.shape[0], 128 * options.dense_batches)
            with tempfile.TemporaryDirectory() as folder:
                export(folder, X[:n], Y[:n], X[:TO_PREDICT], options.peers)
                for peer in options.peers:
                    threads = max(options.threads)
                    run = self.launch(peer, folder, threads,
                                      [f"epochs={options.epochs}", "batch_size=128"])
                    self.add(peer, name, threads, n, [run])

    def launch(self, peer, folder, threads, settings):
        before = self.distance.measure()
        run = self.launcher.run(peer, folder, 0, threads, settings=settings)
        after = self.distance.measure()
        return {**run, "distance ns": None if before is None else max(before, after)}

    def add(self, peer, name, threads, n_samples, runs):
        row = {"data": name, "peer": peer, "threads": threads, "samples": n_samples,
               **min((cost(run, n_samples) for run in runs),
                     key=lambda one: one.get("ms", float("inf")))}
        self.rows.append(row)
        self.print(row)
        if self.options.json:
            write(self.options.json, {"machine": describe_machine(), "rows": self.rows})

    def print(self, row):
        head = f"{row['data']:18} {PEERS[row['peer']].title:18} {row['threads']:3} "
        if row["status"] != "ok":
            print(f"{head} {row['status']}: {row['reason']}", flush=True)
            return
        line = (f"{head} {row['ms']:9.4f} {row['CPU ms']:9.4f} {row['start s']:8.2f} "
                f"{row['memory MiB']:8.0f}")
        if row["peer"] == "slidelearn":
            line += self.ratio(row, "CPU ms", data="10,000 classes")
            line += self.ratio(row, "ms", inverse=True, threads=1)
            if row["threads"] > 1 and row["distance ns"] is not None:
                line += f" {row['distance ns']:6.0f}"
        else:
            line += self.ratio(row, "ms", peer="slidelearn") + "  x slidelearn"
        print(line, flush=True)

    def ratio(self, row, key, inverse=False, **changes):
        """Relative to the row that differs as `changes` say, formatted; blank without one."""
        wanted = {key: row[key] for key in ("data", "peer", "threads")} | changes
        base = next((other for other in self.rows if other["status"] == "ok"
                     and all(other[key] == value for key, value in wanted.items())), None)
        if base is None or (base is row and changes.get("threads") == 1):
            return " " * 9
        value = base[key] / row[key] if inverse else row[key] / base[key]
        return f" {value:8.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add_arguments(parser, [], flag="--dense")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--dense-batches", type=int, default=4)
    parser.add_argument("--only", nargs="+", default=[""], metavar="SUBSTRING")
    parser.add_argument("--json", metavar="OUT")
    options = parser.parse_args()
    if options.epochs < 2:
        sys.exit("--epochs: at least 2, of which the first doesn't count.")
    if options.repeats < 1:
        sys.exit("--repeats: at least 1.")
    session = Session(options)
    print(f"{describe_machine()}; {options.samples:,} samples")
    print(f"{'':18} {'':18} {'thr':>3} {'ms':>9} {'CPU ms':>9} {'start s':>8} {'MiB':>8} "
          f"{'x 10^4':>8} {'x 1 thr':>8} {'ns':>6}")
    for name in (*COUNTS, *PAPER):
        if any(part in name for part in options.only):
            session.measure(name)


if __name__ == "__main__":
    main()
