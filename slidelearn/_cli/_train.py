"""`slidelearn train`."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from warnings import catch_warnings, filterwarnings

from .._classifier import SlideClassifier, auto_batch_size, n_epochs
from .._progress import tqdm
from ._data import Data, SvmlightData, check_outputs, format_of, open_data
from ._errors import UserError, about
from ._models import save_model
from ._options import estimator_parameters


def train(args: argparse.Namespace) -> None:
    """Train a model and write it."""
    start = perf_counter()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # a log shows each epoch when it is over
    check_outputs([args.model], [args.data, args.labels])
    model = SlideClassifier(
        **{name: getattr(args, name) for name in estimator_parameters()},
        random_state=args.seed, n_jobs=args.threads, verbose=0 if args.quiet else 1)
    if args.stream:
        _check_streaming(args)
    data = _training_data(args)
    if data.header.n_samples == 0:
        raise UserError(f"{args.data}: there are no rows")
    with about(args.data), _interrupt_ends_training():
        if args.stream:
            _fit_stream(model, data, args.chunk_rows)
        else:
            model.fit(*data.load())
    size = save_model(model, args.model)
    if not args.quiet:
        shape = data.header
        print(f"{args.model}: {size / 1e6:.1f} MB, trained on {shape.n_samples} samples with "
              f"{shape.n_features} features and {shape.n_labels} labels in "
              f"{perf_counter() - start:.1f} s, loss {model.loss_:.4f}")


def _training_data(args: argparse.Namespace) -> Data:
    """Open the data, or say which option is missing or too much."""
    kind = format_of(args.data, args.format)
    if kind != "svmlight" and (args.n_features, args.n_labels) != (None, None):
        raise UserError(f"--n-features and --n-labels are for svmlight files; {args.data} "
                        "has its own shape")
    if kind == "npz" and args.stream:
        raise UserError(f"{args.data}: npz files are read whole, so they can't be streamed; "
                        "convert it to text first")
    return open_data(args.data, kind, args.labels, lambda path: SvmlightData.scanned(
        path, int(args.one_based), args.n_features, args.n_labels))


def _check_streaming(args: argparse.Namespace) -> None:
    """Refuse what only works on data that is in memory."""
    for option, asked in (("--early-stopping", args.early_stopping),
                          ("--ranker linear", args.ranker == "linear"),
                          (f"--class-weight {args.class_weight}", args.class_weight is not None)):
        if asked:
            raise UserError(f"{option} needs all data in memory and can't be used with --stream")


def _fit_stream(model: SlideClassifier, data: Data, chunk_rows: int) -> None:
    """Train by one pass over the file an epoch, a chunk in memory at a time.

    `partial_fit` knows its chunk only: what depends on the whole of training is set here.
    """
    asked, n_samples = model.get_params(), data.header.n_samples
    rate, verbose = asked["learning_rate_init"], asked["verbose"]
    n_chunks = -(-n_samples // chunk_rows)
    rows = -(-n_samples // n_chunks)  # chunks of one size, rather than a small one at the end
    max_iter = n_epochs(model.max_iter, data.header.n_labels)
    n_steps, step, n_given = max_iter * n_chunks, 0, 0
    model.set_params(verbose=0, learning_rate="constant")
    if model.batch_size == "auto":
        model.set_params(batch_size=auto_batch_size(n_samples))
    with tqdm(total=max_iter * n_samples, unit="sample", unit_scale=True, leave=False,
              disable=None if verbose else True) as bar:
        for epoch in range(1, max_iter + 1):
            total = 0.0
            for X, Y in data.chunks(rows):
                if asked["learning_rate"] == "linear":
                    model.set_params(learning_rate_init=rate * (1 - (step + 0.5) / n_steps))
                model.partial_fit(X, Y)
                step += 1
                total += model.loss_ * X.shape[0]
                n_given += Y.nnz
                bar.update(X.shape[0])
                del X, Y  # not to be held beside the next ones
            if n_given == 0:
                raise ValueError("y has no labels at all: every row of the indicator is empty.")
            if verbose:
                tqdm.write(f"epoch {epoch}/{max_iter}: loss {total / n_samples:.4f}")
    model.set_params(**asked)
    if not model.warm_start:
        model._optimizer_state = []  # as after fit: half of the file


@contextmanager
def _interrupt_ends_training() -> Iterator[None]:
    """Let Ctrl-C end the program; in Python it ends training with a warning and leaves a model."""
    with catch_warnings():
        filterwarnings("error", "Training interrupted by user")
        try:
            yield
        except UserWarning as warning:
            if isinstance(warning.__context__, KeyboardInterrupt):
                raise KeyboardInterrupt from warning
            raise
