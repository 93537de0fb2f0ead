"""The parent's side of the comparison: data for the peers, their processes, what they return."""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import scipy.sparse as sp

import slidelearn

from . import PEERS

BENCHMARKS = Path(__file__).resolve().parent.parent
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def add_arguments(parser, default_peers, flag="--peers"):
    """Options of every script that runs peers."""
    parser.add_argument(flag, dest="peers", nargs="+", default=default_peers, metavar="PEER",
                        help="some of " + ", ".join(PEERS) + "; or all")
    parser.add_argument("--python", nargs="+", action="extend", default=[], metavar="PEER=PATH",
                        help="interpreter of a peer, or of an adapter (all its peers)")
    parser.add_argument("--environments", metavar="DIR",
                        help="interpreters: DIR/ADAPTER/bin/python where there is one")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds a run (default 3600)")
    parser.add_argument("--set", nargs="+", action="extend", default=[],
                        metavar="PEER:NAME=VALUE", help="a hyperparameter of a peer")


class Launcher:
    """Runs peers as the command line says.

    Parameters
    ----------
    options : the parsed arguments of `add_arguments`
    """

    def __init__(self, options):
        names = list(PEERS) if options.peers == ["all"] else options.peers
        unknown = [name for name in names if name not in PEERS]
        if unknown:
            raise SystemExit(f"Unknown peer: {', '.join(unknown)}. There are {', '.join(PEERS)}.")
        self.peers = names
        self.timeout = options.timeout
        self._pythons = {}
        for text in options.python:
            name, _, path = text.partition("=")
            if name not in PEERS and name not in {peer.adapter for peer in PEERS.values()}:
                raise SystemExit(f"--python {text}: unknown peer.")
            self._pythons[name] = path
        self._environments = options.environments
        self._settings = {name: [] for name in PEERS}
        for text in options.set:
            name, _, setting = text.partition(":")
            if name not in PEERS or "=" not in setting:
                raise SystemExit(f"--set {text}: expected PEER:NAME=VALUE.")
            self._settings[name].append(setting)

    def python(self, name):
        """Path of the interpreter that runs a peer."""
        adapter = PEERS[name].adapter
        for key in (name, adapter):
            if key in self._pythons:
                return self._pythons[key]
        if self._environments:
            path = Path(self._environments).absolute() / adapter / "bin" / "python"
            if path.exists():
                return str(path)
        return sys.executable

    def probe(self, name):
        """(is the peer there, its version or the reason why not)."""
        with tempfile.TemporaryDirectory() as folder:
            status, reason = self._call(name, ["--probe"], Path(folder), 120, 1)
            if status == "ok":
                reason = (Path(folder) / "out.txt").read_text().strip()
        return status == "ok", reason

    def run(self, name, data, seed, threads, curve="times", settings=()):
        """Fit and predict once.

        Parameters
        ----------
        name : a key of `PEERS`
        data : directory that `export` filled
        seed, threads : int
        curve : {"times", "top"}
            "top": also what the network predicts after each epoch.
        settings : sequence of "NAME=VALUE"
            Hyperparameters; those of the command line have the last word.

        Returns
        -------
        run : dict with "peer", "seed", "status" ("ok", "refused", "timeout" or "failed"), and
            "reason", or what the adapter wrote and the arrays "top" and (``curve="top"``) "curve
            top"
        """
        arguments = ["--data", str(data), "--variant", PEERS[name].variant,
                     "--threads", str(threads), "--seed", str(seed), "--curve", curve,
                     "--set", *settings, *self._settings[name]]
        run = {"peer": name, "seed": seed}
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            status, reason = self._call(name, ["--out", str(folder), *arguments], folder,
                                        self.timeout, threads)
            if (folder / "refused.txt").exists():
                status, reason = "refused", (folder / "refused.txt").read_text()
            elif status == "ok" and not (folder / "result.json").exists():
                status, reason = "failed", "it left no result"
            if status != "ok":
                return {**run, "status": status, "reason": reason}
            run |= json.loads((folder / "result.json").read_text())
            run["top"] = np.load(folder / "top.npy")
            if (folder / "curve.npy").exists():
                run["curve top"] = np.load(folder / "curve.npy")
        return {**run, "status": "ok", "reason": ""}

    def _call(self, name, arguments, folder, timeout, threads):
        """Run an adapter with its output in `folder`; (status, reason)."""
        python = self.python(name)
        if shutil.which(python) is None:
            return "failed", "no such interpreter"
        path = [BENCHMARKS]
        if PEERS[name].adapter in ("slidelearn", "numpy_dense"):
            path.append(Path(slidelearn.__file__).resolve().parent.parent)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)),
                       **dict.fromkeys(THREAD_VARIABLES, str(threads))}
        command = [python, "-m", f"peers.{PEERS[name].adapter}", *arguments]
        with open(folder / "out.txt", "wb") as out, open(folder / "err.txt", "wb") as err:
            # A session of its own, so that a peer's processes can be ended together.
            child = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=err,
                                     start_new_session=True)
            try:
                code = child.wait(timeout)
            except subprocess.TimeoutExpired:
                return "timeout", f"not done in {timeout:g} s"
            finally:
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
        if code == 0:
            return "ok", ""
        said = (folder / "err.txt").read_text(errors="replace").strip().splitlines()
        reason = said[-1] if said else ""
        if code < 0:
            reason = f"ended by signal {-code} ({signal.Signals(-code).name}) {reason}"
        return "failed", reason or f"exit code {code}"


def export(folder, X, Y, X_test, names):
    """Write the data that the peers `names` read; {adapter: seconds} for those that need text."""
    folder = Path(folder)
    for name, matrix in (("X_train", X), ("Y_train", Y), ("X_test", X_test)):
        sp.save_npz(folder / f"{name}.npz", sp.csr_matrix(matrix), compressed=False)
    seconds = {}
    for adapter in dict.fromkeys(PEERS[name].adapter for name in names):
        if adapter == "numpy_dense":
            continue
        module = importlib.import_module(f".{adapter}", __package__)
        if hasattr(module, "export"):
            start = time.perf_counter()
            module.export(folder, sp.csr_matrix(X), sp.csr_matrix(Y))
            seconds[adapter] = time.perf_counter() - start
    return seconds


def run_all(jobs, n_at_once):
    """Results of callables in order of completion; one after another unless told otherwise."""
    if n_at_once == 1:
        for job in jobs:
            yield job()
        return
    with ThreadPoolExecutor(n_at_once) as pool:
        futures = [pool.submit(job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()
