"""`slidelearn export`."""

from __future__ import annotations

import argparse
import importlib
import os
from functools import partial

from .._files import replacing
from ._data import check_outputs
from ._errors import UserError, about
from ._models import check_k, load_model

FORMATS = ("safetensors", "onnx")
OPTIONS = {"safetensors": ("dtype", "hash_tables"), "onnx": ("k", "sparse")}


def export(args: argparse.Namespace) -> None:
    """Write a model for prediction only."""
    kind = args.to or os.path.splitext(args.out)[1].removeprefix(".")
    if kind not in FORMATS:
        raise UserError(f"{args.out}: the name doesn't tell the format; say --to")
    for other in set(FORMATS) - {kind}:
        for name in OPTIONS[other]:
            if getattr(args, name):
                option = f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"
                raise UserError(f"{option} is for {other} files")
    check_outputs([args.out], [args.model])
    model = load_model(args.model, -1)
    with about(args.model):
        if kind == "safetensors":
            write = partial(model.set_params(n_jobs=None).export, args.out, dtype=args.dtype,
                            hash_tables=args.hash_tables)
        else:
            try:
                importlib.import_module("onnx")
            except ImportError as error:
                raise UserError("onnx files need the package onnx: pip install onnx") from error
            check_k(args.k, model)
            data = model.to_onnx(args.k, sparse=args.sparse).SerializeToString()
            write = partial(_write, args.out, data)
    write()


def _write(path: str, data: bytes) -> None:
    with replacing(path) as stream:
        stream.write(data)
