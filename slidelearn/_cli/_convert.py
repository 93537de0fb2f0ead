"""`slidelearn convert`."""

from __future__ import annotations

import argparse

from ._data import (
    SvmlightData,
    check_outputs,
    format_of,
    open_data,
    output_format,
    unlimited,
    write_npz,
    write_text,
)
from ._errors import UserError

ROWS = 4096  # in memory at a time, from text to text


def convert(args: argparse.Namespace) -> None:
    """Write a data set in another format."""
    target = output_format(args.out, args.to)
    if (target == "npz") != (args.labels_out is not None):
        raise UserError("--labels-out names the npz file for labels: it is needed for npz output, "
                        "and only for that")
    check_outputs([args.out, args.labels_out], [args.data, args.labels])
    kind = format_of(args.data, args.format)
    first = int(args.one_based)

    def svmlight(path: str) -> SvmlightData:
        if target == "svmlight":  # the only one that needs no shape
            return SvmlightData(path, unlimited(first))
        return SvmlightData.scanned(path, first)

    data = open_data(args.data, kind, args.labels, svmlight)
    if target == "npz":
        write_npz(args.out, args.labels_out, *data.load())
    elif target == "xmc":
        write_text(args.out, data.chunks(ROWS), data.header, 0)
    else:
        write_text(args.out, data.chunks(ROWS), None, first)
