"""P@1 against training time: slidelearn and dense output layers, epoch by epoch.

    python benchmarks/time_to_accuracy.py --data DIR --environments ENVS \\
        [--set slidelearn:max_iter=10 torch-softmax:epochs=5 ...] [--json OUT] [--plot OUT.png]

The figure of the SLIDE paper. Data, peers, interpreters and ``--set`` are those of `compare.py`,
each peer in its own process. After each epoch of one training the clock stops, and the network as
it is predicts the test part (or with ``--validation`` a tenth of the training part, put aside); the
time on the axis is that of training alone, the allocation of the network included.

For each dense layer the last column is the ratio: its time to its best P@1, divided by
slidelearn's time to the same P@1 (both at the end of the first epoch that reaches it). "never":
slidelearn didn't get there within its own schedule.
"""

import argparse
import json
import tempfile

from common import SHAPES, describe_machine, hold_out, label_of, load_data, write
from peers import PEERS
from peers.launch import Launcher, add_arguments, export
from plotting import COLOURS, logarithmic_x, place_names

from slidelearn.metrics import precision_at_k

DENSE = ["torch-softmax", "tensorflow-softmax", "numpy-softmax"]


def curve_of(run, Y_test):
    """[{"wall", "cpu", "P@1"}], one entry an epoch."""
    return [{**point, "P@1": 100 * precision_at_k(Y_test, top, 1)}
            for point, top in zip(run["curve"], run["curve top"], strict=True)]


def time_to(curve, target, clock):
    """Seconds at the end of the first epoch with a P@1 of at least `target`, or None."""
    return next((point[clock] for point in curve if point["P@1"] >= target), None)


def ratios(ours, theirs):
    """{"P@1": best of theirs, "wall": ratio or None, "cpu": ...}."""
    target = max(point["P@1"] for point in theirs)
    result = {"P@1": target}
    for clock in ("wall", "cpu"):
        seconds = time_to(ours, target, clock)
        result[clock] = time_to(theirs, target, clock) / seconds if seconds else None
    return result


def print_summary(curves):
    print(f"\n{'':20} {'epochs':>6} {'s/epoch':>8} {'best P@1':>9} {'after s':>8} {'CPU s':>8}"
          "  x slidelearn to that P@1 (CPU)")
    for peer, curve in curves.items():
        best = max(point["P@1"] for point in curve)
        wall, cpu = (time_to(curve, best, clock) for clock in ("wall", "cpu"))
        line = (f"{PEERS[peer].title:20} {len(curve):6} {curve[-1]['wall'] / len(curve):8.2f} "
                f"{best:9.2f} {wall:8.2f} {cpu:8.2f}")
        if peer != "slidelearn" and "slidelearn" in curves:
            found = ratios(curves["slidelearn"], curve)
            line += ("  never" if found["wall"] is None else
                     f"  {found['wall']:.1f} ({found['cpu']:.1f})")
        print(line)


def draw(where, curves, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7.5, 4.8), layout="constrained")
    styles = iter(("--", ":", "-.", "-") * len(curves))
    for peer, curve in curves.items():
        ours = peer == "slidelearn"
        seconds = [point["wall"] for point in curve]
        values = [point["P@1"] for point in curve]
        axes.plot(seconds, values, "-" if ours else next(styles), marker="o",
                  markersize=6 if ours else 4, linewidth=2.4 if ours else 1.4,
                  color=COLOURS[PEERS[peer].adapter], zorder=3 if ours else 2)
    logarithmic_x(axes)
    axes.margins(x=0.2)
    place_names(axes, [(curve[-1]["wall"], curve[-1]["P@1"], peer)
                       for peer, curve in curves.items()],
                [(point["wall"], point["P@1"]) for curve in curves.values() for point in curve])
    axes.set_title(where, loc="left", fontweight="bold")
    axes.set_xlabel("training time, seconds (log), evaluation excluded")
    axes.set_ylabel("precision at 1, %")
    axes.grid(True, color="#eeeeee")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", "--dataset", default="synthetic-50k", metavar="DIR",
                        help=f"a directory, python-calls, or one of {', '.join(SHAPES)}")
    add_arguments(parser, ["slidelearn", *DENSE])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--samples", type=int, default=60_000, help="of generated data")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--json", metavar="OUT")
    parser.add_argument("--plot", metavar="OUT.png")
    options = parser.parse_args()
    launcher = Launcher(options)
    print(f"{describe_machine()}, {options.threads} threads", flush=True)
    X, Y, X_test, Y_test = load_data(options.data, options.samples)
    if options.validation:
        X, Y, X_test, Y_test = hold_out(X, Y)
    curves, others = {}, {}
    document = {"machine": describe_machine(), "threads": options.threads, "seed": options.seed,
                "data": label_of(options.data), "curves": curves, "others": others}
    with tempfile.TemporaryDirectory() as folder:
        export(folder, X, Y, X_test, launcher.peers)
        for peer in launcher.peers:
            found, text = launcher.probe(peer)
            run = {"status": "absent", "reason": text}
            if found:
                run = launcher.run(peer, folder, options.seed, options.threads, "top")
            if run["status"] != "ok":
                others[peer] = run["status"] + ": " + run["reason"]
                print(f"{PEERS[peer].title}: {others[peer]}", flush=True)
                continue
            if "curve top" not in run:
                raise SystemExit(f"{peer} isn't trained in epochs.")
            curves[peer] = curve_of(run, Y_test)
            print(f"{PEERS[peer].title} {run['version']}, "
                  f"{json.dumps(run['options']) if peer != 'slidelearn' else ''}")
            for epoch, point in enumerate(curves[peer], 1):
                print(f"  epoch {epoch:3}: {point['wall']:9.2f} s, CPU {point['cpu']:9.2f} s, "
                      f"P@1 {point['P@1']:6.2f}", flush=True)
            if options.json:
                write(options.json, document)
    if curves:
        print_summary(curves)
    if options.plot and curves:
        draw(document["data"], curves, options.plot)


if __name__ == "__main__":
    main()
