"""Instructions of a small fixed fit, for regressions that wall time is too noisy to show.

    python benchmarks/instructions.py [--tool callgrind|perf] [--simd avx2] [--json OUT]
    python benchmarks/instructions.py --against OLD.json

Fits 512 samples with 2,000 classes on one thread, for one epoch and for three, and prints half of
the difference: the instructions of one epoch, without imports, data and initialisation. With
callgrind also those of each kernel, the functions that it calls included, and how much of the
epoch is outside of kernels (Python, numpy). ``--sampling topk`` counts hashing and tables too.

perf reads the processor's counter, which many virtual machines don't have; callgrind (valgrind)
simulates a processor with AVX2 but not AVX-512, so ``--simd`` may be scalar or avx2 there. The
counts of a build repeat to within a tenth of a percent; compare builds by the same compiler.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

EPOCHS = (1, 3)
SAMPLINGS = ("random", "vanilla", "topk", "threshold", "all")
KERNEL = re.compile(r"__pyx_pw_10slidelearn_8_kernels_\d+_([a-z_]+)_\d+([a-z]\w*)")


def fit(epochs, sampling):
    """The work that is counted."""
    from slidelearn import SlideClassifier
    from slidelearn.datasets import make_extreme_classification

    if "CALLGRIND" in os.environ:  # imports aren't counted, which takes them a tenth of the time
        subprocess.run(["callgrind_control", "-i", "on", str(os.getpid())], check=True,
                       capture_output=True)
    X, Y = make_extreme_classification(512, 2000, 2000, n_nonzeros=30, random_state=0)
    SlideClassifier((64,), max_iter=epochs, batch_size=64, sampling=sampling, n_random=200,
                    random_state=0, n_jobs=1, calibrate=False).fit(X, Y)


def command(options, epochs):
    return [sys.executable, __file__, "--fit", str(epochs), "--sampling", options.sampling]


def environment(options):
    """The same hashes, one thread everywhere, and the instruction set asked for."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**os.environ, **one, "PYTHONHASHSEED": "0", "SLIDELEARN_SIMD": options.simd}


def count_perf(options, epochs):
    """{"total": instructions} of one run, or an exit that says why not."""
    done = subprocess.run(["perf", "stat", "-x", ",", "-e", "instructions:u",
                           *command(options, epochs)],
                          env=environment(options), capture_output=True, text=True)
    found = re.search(r"^(\d+),[^,]*,instructions", done.stderr, re.M)
    if done.returncode or not found:
        sys.exit(f"perf can't count here: {done.stderr.strip().splitlines()[-1:]}")
    return {"total": int(found[1])}


def count_callgrind(options, epochs):
    """{"total": ..., kernel: ...} of one run."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--instr-atstart=no",
             *command(options, epochs)], env={**environment(options), "CALLGRIND": "1"},
            capture_output=True, text=True)
        if done.returncode or not out.exists():
            sys.exit(f"callgrind failed:\n{done.stderr[-2000:]}")
        return parse_callgrind(out)


def parse_callgrind(path):
    """Inclusive instructions of kernels: what their wrappers cost where they are called.

    The file names a function at its first use, "(12) name", and later has "(12)" only. After
    "cfn=" and "calls=" comes a line whose second number is the inclusive cost of these calls.
    """
    names, counts, called = {}, {}, None
    with open(path, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if line.startswith(("fn=", "cfn=")):
                kind, _, text = line.strip().partition("=")
                number, _, name = text.partition(" ")
                if name:
                    names[number] = name
                called = names[number] if kind == "cfn" else None
            elif line.startswith("calls=") and called:
                kernel = KERNEL.search(called)
                if kernel:
                    cost = int(next(lines).split()[1])
                    name = ".".join(kernel.groups())
                    counts[name] = counts.get(name, 0) + cost
            elif line.startswith(("summary:", "totals:")):
                counts["total"] = int(line.split()[1])
    return counts


def per_epoch(options):
    """{"total", kernels...: instructions an epoch}."""
    count = {"callgrind": count_callgrind, "perf": count_perf}[options.tool]
    few, many = (count(options, epochs) for epochs in EPOCHS)
    steps = EPOCHS[1] - EPOCHS[0]
    result = {name: (many[name] - few.get(name, 0)) / steps for name in many}
    result = {name: value for name, value in result.items() if value > 0}
    if len(result) > 1:
        kernels = sum(value for name, value in result.items() if name != "total")
        result["outside of kernels"] = result["total"] - kernels
    return result


def show(counts, before):
    print(f"{'':32} {'instructions':>15} {'share':>7}" + f" {'change':>8}" * bool(before))
    for name, value in sorted(counts.items(), key=lambda item: -item[1]):
        line = f"{name:32} {value:15,.0f} {100 * value / counts['total']:6.1f}%"
        if before.get(name):
            line += f" {100 * (value / before[name] - 1):+7.2f}%"
        print(line)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tool", choices=["callgrind", "perf"], default="callgrind")
    parser.add_argument("--simd", default="avx2")
    parser.add_argument("--sampling", choices=SAMPLINGS, default="random")
    parser.add_argument("--json", metavar="OUT")
    parser.add_argument("--against", metavar="JSON", help="earlier counts to compare with")
    parser.add_argument("--fit", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.fit:
        return fit(options.fit, options.sampling)
    program = {"callgrind": "valgrind"}.get(options.tool, options.tool)
    if shutil.which(program) is None:
        sys.exit(f"{program} isn't installed.")
    counts = per_epoch(options)
    print(f"one epoch: 512 samples, 2,000 classes, sampling={options.sampling!r}, "
          f"{options.simd}, by {options.tool}")
    key = {"tool": options.tool, "simd": options.simd, "sampling": options.sampling}
    before = {}
    if options.against:
        earlier = json.loads(Path(options.against).read_text())
        if any(earlier[name] != value for name, value in key.items()):
            sys.exit(f"{options.against} was counted otherwise: tool, simd or sampling differ.")
        before = earlier["counts"]
    show(counts, before)
    if options.json:
        Path(options.json).write_text(json.dumps({**key, "counts": counts}, indent=1))


if __name__ == "__main__":
    main()
