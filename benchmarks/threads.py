"""How much more two threads get done than one.

    python benchmarks/threads.py [--only SUBSTRING ...] [--data DIR ...] [--passes 8]
        [--fit] [--processes]

The data of `scaling.py`, or the training parts of ``--data``. One network is trained by
`partial_fit`, pass after pass, by one thread and by more in turns, so that a busy host slows them
alike; with ``--fit``, by all epochs of a fit, without rankers and calibration. Of the time of
training alone ("seconds" of `history_`), "ms" is the median a sample and "least" the shortest.
"ratio" is how many times as long one thread takes, the median of the turns and their quartiles; "of
least" compares the shortest times; "ns" is how long a message between two threads takes. Below, the
ratio of each phase and its share of the time of one thread. ``--processes``: how much more as many
processes of one thread get done, which share nothing: the most that threads could.
"""

import argparse
import multiprocessing

import numpy as np
from common import CoreDistance, describe_machine, label_of, load_data
from scaling import COUNTS, PAPER, make

from slidelearn import SlideClassifier
from slidelearn._step import PHASES

COLUMNS = ["seconds", *(f"seconds_{phase}" for phase in PHASES)]


def new_model(X, Y, n_jobs, whole):
    """A model for `train`; one to train further has had a pass, which touched its memory."""
    if whole:
        return SlideClassifier(random_state=0, n_jobs=n_jobs, ranker=None, calibrate=False)
    return SlideClassifier(random_state=0, n_jobs=n_jobs).partial_fit(X, Y)


def train(model, X, Y, whole):
    """Seconds of training, and of its phases, of all epochs of a fit or of one pass."""
    table = (model.fit(X, Y) if whole else model.partial_fit(X, Y)).history_
    return [sum(table[name]) if whole else table[name][-1] for name in COLUMNS]


def in_turns(X, Y, threads, n_passes, whole):
    """What `train` takes by teams of threads in turns, (len(COLUMNS), n_passes, len(threads))."""
    model = new_model(X, Y, max(threads), whole)
    seconds = np.empty((len(COLUMNS), n_passes, len(threads)))
    for number in range(n_passes):
        for i, n_jobs in enumerate(threads):
            seconds[:, number, i] = train(model.set_params(n_jobs=n_jobs), X, Y, whole)
    return seconds


def train_when_told(told, X, Y, whole):
    """In a process of its own: train by one thread at each message, and answer the seconds."""
    model = new_model(X, Y, 1, whole)
    told.send("ready")
    while told.recv():
        told.send(train(model, X, Y, whole)[0])


def processes_ratio(X, Y, n, n_passes, whole):
    """How much more n processes get done than one of them: the median of turns."""
    context = multiprocessing.get_context("spawn")
    ends = [context.Pipe() for _ in range(n)]
    workers = [context.Process(target=train_when_told, args=(end, X, Y, whole)) for _, end in ends]
    for worker in workers:
        worker.start()
    told = [end for end, _ in ends]
    for end in told:
        end.recv()

    def seconds(some):
        for end in some:
            end.send(True)
        return np.array([end.recv() for end in some])

    ratios = [(seconds(told[:1]) / seconds(told)).sum() for _ in range(n_passes)]
    for end, worker in zip(told, workers, strict=True):
        end.send(False)
        worker.join()
    return float(np.median(ratios))


def print_rows(name, threads, seconds, n_samples, distance):
    ms = 1e3 * seconds[0] / n_samples
    for i, n_threads in enumerate(threads):
        line = f"{name:18} {n_threads:3} {np.median(ms[:, i]):9.4f} {ms[:, i].min():9.4f}"
        if i:
            low, middle, high = np.percentile(ms[:, 0] / ms[:, i], [25, 50, 75])
            line += (f" {middle:6.2f} ({low:.2f} to {high:.2f}) "
                     f"{ms[:, 0].min() / ms[:, i].min():8.2f}")
            line += "" if distance is None else f" {distance:6.0f}"
        print(line)
        if i:
            alone, shared = np.median(seconds, axis=1)[1:, [0, i]].T
            print("    " + ", ".join(
                f"{phase} {ratio:.2f} ({share:.0f} %)" for phase, ratio, share
                in zip(PHASES, alone / shared, 100 * alone / alone.sum(), strict=True)), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", nargs="+", metavar="DIR", help="see common.load_data")
    parser.add_argument("--only", nargs="+", default=[""], metavar="SUBSTRING")
    parser.add_argument("--more-threads", type=int, nargs="+", default=[2])
    parser.add_argument("--samples", type=int, default=20_000, help="of generated data")
    parser.add_argument("--passes", type=int, default=8)
    parser.add_argument("--fit", action="store_true", help="all epochs instead of a pass")
    parser.add_argument("--processes", action="store_true", help="also as many processes")
    options = parser.parse_args()
    if options.passes < 1:
        parser.error("--passes: at least 1.")
    threads, distance = [1, *options.more_threads], CoreDistance()
    generated = [name for name in (*COUNTS, *PAPER) if any(part in name for part in options.only)]
    print(f"{describe_machine()}; {options.passes} passes of each number of threads")
    print(f"{'':18} {'thr':>3} {'ms':>9} {'least':>9} {'ratio':>6} {'':14} {'of least':>8} "
          f"{'ns':>6}")
    for where in options.data or generated:
        X, Y = load_data(where)[:2] if options.data else make(where, options.samples)
        before = distance.measure()
        seconds = in_turns(X, Y, threads, options.passes, options.fit)
        print_rows(label_of(where), threads, seconds, X.shape[0],
                   None if before is None else max(before, distance.measure()))
        for n in options.more_threads if options.processes else []:
            ratio = processes_ratio(X, Y, n, options.passes, options.fit)
            print(f"    {n} processes {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
