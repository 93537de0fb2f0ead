"""`slidelearn convert`."""

from __future__ import annotations

import argparse

from ._data import (
    Data,
    NpzData,
    SvmlightData,
    XmcData,
    check_writable,
    format_of,
    output_format,
    unlimited,
    write_npz,
    write_text,
)
from ._errors import UserError

ROWS = 4096  # in memory at a time, from text to text


def convert(args: argparse.Namespace) -> None:
    """Write a data set in another format."""
    kind, target = format_of(args.data, args.format), output_format(args.out, args.to)
    if (kind == "npz") != (args.labels is not None):
        raise UserError("--labels names the labels of npz data: it is needed for that, and only "
                        "for that")
    if (target == "npz") != (args.labels_out is not None):
        raise UserError("--labels-out names the npz file for labels: it is needed for npz output, "
                        "and only for that")
    for path in filter(None, (args.out, args.labels_out)):
        check_writable(path)
    first = int(args.one_based)
    data: Data
    if kind == "npz":
        data = NpzData(args.data, args.labels)
    elif kind == "xmc":
        data = XmcData(args.data)
    elif target == "svmlight":  # the only one that needs no shape
        data = SvmlightData(args.data, unlimited(first))
    else:
        data = SvmlightData.scanned(args.data, first)
    if target == "npz":
        write_npz(args.out, args.labels_out, *data.load())
    elif target == "xmc":
        write_text(args.out, data.chunks(ROWS), data.header, 0)
    else:
        write_text(args.out, data.chunks(ROWS), None, first)
