"""slidelearn and other classifiers on the same files, each in its own process and interpreter.

    python benchmarks/compare.py --list [--environments ENVS]
    python benchmarks/compare.py --data DIR [DIR ...] --peers all --environments ENVS \\
        --seeds 3 --json RESULTS.json --plot RESULTS.png
    python benchmarks/compare.py --from RESULTS.json [MORE.json ...] --plot RESULTS.png

DIR is a directory, "python-calls" or a generated shape (`common.load_data`). A peer is used with
its own defaults (peers/*.py; the dense networks with those of `NETWORK` in peers/_adapter.py)
unless ``--set PEER:NAME=VALUE``. Its interpreter is ``--python PEER=PATH``, or ADAPTER/bin/python
in the directory ``--environments``, or the one that runs this. What each environment needs:

    omikuji: omikuji scipy                  tensorflow: tensorflow-cpu scipy
    pecos: libpecos scikit-learn, and a     torch: torch (CPU build) scipy
        CPU build of torch                  sklearn: scikit-learn
    napkinxc: napkinxc scipy                fasttext: fasttext-wheel scipy

A process loads the data, fits, and predicts the best five labels of the test part; this script
computes all metrics, for everyone alike, in percent. Times are wall and CPU seconds (CPU: of all
threads). "conv s" is what it took to bring the data into the peer's own form, which isn't in
"fit s". "MiB" is the largest resident memory of the process, data and libraries included; "model"
the size of the model as the peer saves it. Numbers are means over the seeds. A peer that is
absent, fails, refuses the size or takes longer than ``--timeout`` has a line that says so.

The environment is passed on, so OMP_WAIT_POLICY=PASSIVE before the command holds for everybody.
"""

import argparse
import json
import shlex
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import SHAPES, describe_machine, label_of, load_data, quality, write
from peers import PEERS
from peers.launch import Launcher, add_arguments, export, run_all
from plotting import COLOURS, logarithmic_x, place_names

COLUMNS = [  # of the table: key in a run, heading, format
    ("fit s", "fit s", "8.2f"), ("fit CPU s", "CPU s", "8.2f"),
    ("predict s", "pred s", "7.2f"), ("predict CPU s", "CPU s", "7.2f"),
    ("convert s", "conv s", "7.2f"),
    *((name, name, "6.2f") for name in ("P@1", "P@3", "P@5", "nDCG@5", "PSP@1", "PSP@3", "PSP@5")),
    ("memory MiB", "MiB", "7.0f"), ("model MiB", "model", "7.1f"),
]
MARKERS = "osD^vP*X"


def measure(where, launcher, absent, options):
    """All runs on one data set, as they end."""
    X, Y, X_test, Y_test = load_data(where, options.samples)
    names = [name for name in launcher.peers if name not in absent]
    with tempfile.TemporaryDirectory() as folder:
        seconds = export(folder, X, Y, X_test, names)
        jobs = [lambda name=name, seed=seed: launcher.run(name, folder, seed, options.threads)
                for name in names for seed in range(options.seeds)]
        for run in run_all(jobs, options.jobs):
            if run["status"] == "ok":
                run["convert s"] += seconds.get(PEERS[run["peer"]].adapter, 0.0)
                run |= quality(Y_test, run.pop("top"), Y)
                run.pop("curve")
            yield run


def summarise(runs):
    """{peer: mean of its good runs, or its first bad one}; a peer with both has its failures
    counted in "failures"."""
    result = {}
    for peer in dict.fromkeys(run["peer"] for run in runs):
        mine = [run for run in runs if run["peer"] == peer]
        good = [run for run in mine if run["status"] == "ok"]
        if not good:
            result[peer] = mine[0]
            continue
        result[peer] = {key: float(np.mean([run[key] for run in good])) for key, *_ in COLUMNS}
        result[peer] |= {"status": "ok", "n": len(good), "failures": len(mine) - len(good),
                         "low": min(run["P@1"] for run in good),
                         "high": max(run["P@1"] for run in good)}
    return result


def print_table(where, runs):
    summary = summarise(runs)
    print(f"\n{where}")
    print(f"{'':22}" + "".join(f"{heading:>{int(form.partition('.')[0])}}"
                               for _, heading, form in COLUMNS))
    for peer, row in summary.items():
        title = PEERS[peer].title
        if row["status"] != "ok":
            print(f"{title:22}  {row['status']}: {row['reason']}")
            continue
        note = f"  {row['failures']} of {row['n'] + row['failures']} failed" * bool(row["failures"])
        print(f"{title:22}" + "".join(f"{row[key]:{form}}" for key, _, form in COLUMNS) + note)
    sys.stdout.flush()


def draw(results, path):
    """P@1 against fit time, a panel a data set; up and to the left is better."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    n_columns = min(3, len(results))
    n_rows = -(-len(results) // n_columns)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(1 + 5.2 * n_columns, 4.6 * n_rows),
                                squeeze=False, layout="constrained")
    for panel in axes.flat[len(results):]:
        panel.remove()
    for panel, (where, runs) in zip(axes.flat, results.items(), strict=False):
        rows = {peer: row for peer, row in summarise(runs).items() if row["status"] == "ok"}
        draw_panel(panel, rows)
        panel.set_title(where, loc="left", fontweight="bold")
        lost = [PEERS[peer].title + " (" + row["status"] + ")"
                for peer, row in summarise(runs).items() if row["status"] != "ok"]
        if lost:
            panel.text(0.98, 0.02, "not shown: " + "\n".join(lost), transform=panel.transAxes,
                       ha="right", va="bottom", fontsize=7, color="#888888")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_panel(panel, rows):
    seen = {}
    points = sorted((row["fit s"], row["P@1"], peer) for peer, row in rows.items())
    frontier, best = [], -np.inf
    for seconds, value, _ in points:
        if value > best:
            frontier.append((seconds, value))
            best = value
    if frontier:  # nothing else is both faster and better than these
        x, y = zip(*frontier, strict=True)
        panel.step(x, y, where="post", color="#dddddd", linewidth=1.5, zorder=0)
    for peer, row in rows.items():
        family = PEERS[peer].adapter
        marker = MARKERS[seen.setdefault(family, -1) + 1]
        seen[family] += 1
        ours = family == "slidelearn"
        spread = [[row["P@1"] - row["low"]], [row["high"] - row["P@1"]]]
        panel.errorbar(row["fit s"], row["P@1"], yerr=spread, fmt=marker, color=COLOURS[family],
                       markersize=11 if ours else 7.5, markeredgecolor="white",
                       markeredgewidth=0.8, elinewidth=1.2, zorder=3 if ours else 2)
    logarithmic_x(panel)
    panel.margins(x=0.25, y=0.12)
    place_names(panel, points)
    panel.set_xlabel("fit time, seconds (log)")
    panel.set_ylabel("precision at 1, %")
    panel.grid(True, color="#eeeeee", zorder=-1)
    panel.spines[["top", "right"]].set_visible(False)


def list_peers(launcher):
    for name, peer in PEERS.items():
        found, text = launcher.probe(name)
        print(f"{name:20} {peer.title:20} {'there ' if found else 'absent'}  {text}", flush=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", "--dataset", nargs="+", default=["python-calls"], metavar="DIR",
                        help=f"directories, python-calls, {', '.join(SHAPES)}")
    add_arguments(parser, ["all"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=60_000, help="of generated data")
    parser.add_argument("--jobs", type=int, default=1,
                        help="runs at once (default 1; more disturb each other's times)")
    parser.add_argument("--json", metavar="OUT")
    parser.add_argument("--plot", metavar="OUT.png")
    parser.add_argument("--list", action="store_true", help="say which peers are there")
    parser.add_argument("--from", nargs="+", dest="earlier", default=[], metavar="JSON",
                        help="show the results of earlier runs, measure nothing")
    return parser.parse_args()


def main():
    options = parse()
    launcher = Launcher(options)
    if options.list:
        return list_peers(launcher)
    if options.earlier:
        results = {}
        for path in options.earlier:
            document = json.loads(Path(path).read_text())
            print(f"{document['machine']}; {document['command']}")
            for where, runs in document["data"].items():
                results.setdefault(where, []).extend(runs)
        for where, runs in results.items():
            print_table(where, runs)
    else:
        results = run(launcher, options)
    if options.plot:
        draw(results, options.plot)


def run(launcher, options):
    """Measure, print and write as results come in; {data set: runs}."""
    arguments = [Path(text).name if "/" in text and "=" not in text else
                 text.partition("=")[0] + "=..." if "=" in text and "/" in text else text
                 for text in sys.argv[1:]]
    document = {"machine": describe_machine(), "threads": options.threads,
                "command": shlex.join(["compare.py", *arguments]), "peers": {}, "data": {}}
    print(document["machine"] + f", {options.threads} threads", flush=True)
    absent = {}
    for name in launcher.peers:
        found, text = launcher.probe(name)
        document["peers"][name] = text
        print(f"{name:20} {text if found else 'absent: ' + text}", flush=True)
        if not found:
            absent[name] = {"peer": name, "status": "absent", "reason": text}
    for where in options.data:
        runs = document["data"][label_of(where)] = list(absent.values())
        for result in measure(where, launcher, absent, options):
            runs.append(result)
            if result["status"] == "ok":
                print(f"  {label_of(where)}, {result['peer']}, seed {result['seed']}: "
                      f"P@1 {result['P@1']:.2f}, fit {result['fit s']:.2f} s", flush=True)
            else:
                print(f"  {label_of(where)}, {result['peer']}, seed {result['seed']}: "
                      f"{result['status']}: {result['reason']}", flush=True)
            if options.json:
                write(options.json, document)
        print_table(label_of(where), runs)
    return document["data"]


if __name__ == "__main__":
    main()
