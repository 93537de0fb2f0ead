"""`slidelearn predict` and `slidelearn evaluate`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
from scipy.special import expit

from .. import metrics
from .._classifier import NonFiniteScoresError, SlideClassifier
from .._files import compressed_for, replacing
from .._progress import tqdm
from ._data import (
    Data,
    SvmlightData,
    check_outputs,
    format_of,
    load_indicator,
    open_data,
    unlimited,
)
from ._errors import UserError, about
from ._models import check_k, is_multilabel, load_model

ROWS = 8192  # predicted at a time


def predict(args: argparse.Namespace) -> None:
    """Write the best labels of each row."""
    check_outputs([args.out], [args.model, args.data, args.label_names])
    model = load_model(args.model, args.threads)
    if args.proba and not is_multilabel(model):
        raise UserError("--proba is for models of an indicator; this one was fitted to labels")
    names = (model.classes_.astype(str) if args.label_names is None
             else _label_names(args.label_names, model))
    data = _data_for(model, args, labels_matter=False)
    check_k(args.k, model)
    with _output(args.out) as write:
        for _, labels, scores in _predictions(model, data, args.k, args,
                                              show=args.out is not None):
            write(_lines(names, model, labels, expit(scores) if args.proba else scores))


def evaluate(args: argparse.Namespace) -> None:
    """Print how good the ranking of labels is."""
    model = load_model(args.model, args.threads)
    if not is_multilabel(model):
        raise UserError(f"{args.model}: was fitted to labels, not to an indicator of label sets")
    data = _data_for(model, args, labels_matter=True)
    ks = args.k or [k for k in (1, 3, 5) if k <= len(model.classes_)]
    truth, best = [], []
    check_k(max(ks), model)
    for Y, labels, _ in _predictions(model, data, max(ks), args, show=True):
        truth.append(Y)
        best.append(labels)
    if not truth:
        raise UserError(f"{args.data}: there are no rows")
    Y, topk = sp.vstack(truth, format="csr"), np.concatenate(best)
    found = {"samples": len(topk), **_scores(Y, topk, ks, _propensities(args, model))}
    if args.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:8}{value:8}" if name == "samples" else f"{name:8}{100 * value:8.2f}")


def _scores(Y: sp.csr_matrix, topk: np.ndarray, ks: list[int],
            propensities: np.ndarray | None) -> dict[str, float]:
    """Return all metrics by name."""
    found = {f"P@{k}": metrics.precision_at_k(Y, topk, k) for k in ks}
    found |= {f"nDCG@{k}": metrics.ndcg_at_k(Y, topk, k) for k in ks}
    if propensities is not None:
        found |= {f"PSP@{k}": metrics.propensity_scored_precision_at_k(Y, topk, propensities, k)
                  for k in ks}
    return found


def _propensities(args: argparse.Namespace, model: SlideClassifier) -> np.ndarray | None:
    """Estimate propensities from the labels of the training data, if they are given."""
    path = args.train_labels
    if path is None:
        return None
    kind = format_of(path)
    n_labels = len(model.classes_)
    if kind == "npz":
        Y = load_indicator(path)
    else:
        header = replace(unlimited(int(args.one_based)), n_labels=n_labels, origin="the model")
        data = open_data(path, kind, None, lambda path: SvmlightData(path, header))
        Y = sp.vstack([sp.csr_matrix((0, data.header.n_labels), dtype=np.float32),
                       *(part for _, part in data.chunks(ROWS))], format="csr")
    if Y.shape[1] != n_labels:
        raise UserError(f"{path}: {Y.shape[1]} labels, but the model has {n_labels}")
    with about(path):
        return metrics.label_propensities(Y, A=args.propensity_a, B=args.propensity_b)


def _predictions(model: SlideClassifier, data: Data, k: int | None, args: argparse.Namespace,
                 show: bool) -> Iterator[tuple[sp.csr_matrix, np.ndarray, np.ndarray]]:
    """Yield true labels, predicted labels and their scores, some rows at a time."""
    with tqdm(total=data.header.n_samples or None, unit="sample", unit_scale=True, leave=False,
              disable=None if show and not args.quiet else True) as bar:
        first = 0
        for X, Y in data.chunks(ROWS):
            with about(data.path):
                try:
                    labels, scores = model.predict_topk(X, k=k, method=args.method)
                except NonFiniteScoresError as error:  # counts from the first row of this part
                    raise NonFiniteScoresError(first + error.row) from error
            yield Y, labels, scores
            first += X.shape[0]
            bar.update(X.shape[0])


def _data_for(model: SlideClassifier, args: argparse.Namespace, labels_matter: bool) -> Data:
    """Open data that must have the features, and if they matter the labels, of the model."""
    n_features, n_labels = model.n_features_in_, len(model.classes_)
    labels_path = args.labels if labels_matter else None
    header = replace(unlimited(int(args.one_based)), n_features=n_features, origin="the model")
    if labels_matter:
        header = replace(header, n_labels=n_labels)
    data = open_data(args.data, format_of(args.data, args.format), labels_path,
                     lambda path: SvmlightData(path, header), with_labels=labels_matter)
    shape = data.header
    if shape.n_features != n_features:
        raise UserError(f"{args.data}: {shape.n_features} features, but the model has "
                        f"{n_features}")
    if labels_matter and shape.n_labels != n_labels:
        raise UserError(f"{labels_path or args.data}: {shape.n_labels} labels, but the model has "
                        f"{n_labels}")
    return data


def _label_names(path: str, model: SlideClassifier) -> np.ndarray:
    """Read a name for each label."""
    if not is_multilabel(model):
        raise UserError("--label-names is for models of an indicator; this one has names")
    with about(path), open(path, encoding="utf-8-sig") as stream:
        names = stream.read().removesuffix("\n").split("\n")
    if len(names) != len(model.classes_):
        raise UserError(f"{path}: {len(names)} names, but the model has {len(model.classes_)} "
                        "labels")
    for number, name in enumerate(names, start=1):
        if "\t" in name:
            raise UserError(f"{path}:{number}: a tab in a name; tabs separate predictions")
    return np.array(names, dtype=object)


def _lines(names: np.ndarray, model: SlideClassifier, labels: np.ndarray,
           scores: np.ndarray) -> Iterator[str]:
    """Yield predictions as `label:score`, a row a line, separated by tabs."""
    texts = names[np.searchsorted(model.classes_, labels)].tolist()
    for row in zip(texts, scores.tolist(), strict=True):
        yield "\t".join(f"{text}:{score:.6g}" for text, score in zip(*row, strict=True)) + "\n"


@contextmanager
def _output(path: str | None) -> Iterator[Callable[[Iterable[str]], object]]:
    """Open where predictions go: a file that appears when it is complete, or standard output."""
    if path is None:
        yield sys.stdout.writelines  # by lines: unbuffered output may cut longer texts
        return
    with replacing(path) as raw, compressed_for(path, raw) as stream:
        yield lambda lines: stream.writelines(line.encode() for line in lines)
