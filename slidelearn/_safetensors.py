"""Arrays in one file that is read by mapping it: the safetensors format.

8 bytes with the length of the header, the header (JSON: dtype, shape and place of each array, and
strings under "__metadata__"), then the arrays. It is written and read here, rather than by the
package of that name, because that copies what it reads. Arrays begin at multiples of 64 bytes: the
header is filled up with spaces, and the format, which allows no gaps, gets small arrays between.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ._files import replacing

DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16, "I64": np.int64,
    "I32": np.int32, "I16": np.int16, "I8": np.int8, "U64": np.uint64, "U32": np.uint32,
    "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}
NAMES = {np.dtype(kind): name for name, kind in DTYPES.items() if name != "BF16"}
ALIGNMENT = 64
GAP = "_gap."  # begins the names of the arrays between
MAX_HEADER = 100_000_000  # as in the package


@dataclass(frozen=True)
class Tensor:
    """An array and the name of its dtype, one of `DTYPES`; bfloat16 is held as uint16."""

    array: np.ndarray
    dtype: str

    @classmethod
    def of(cls, array: np.ndarray) -> Tensor:
        """The tensor of an array of a dtype that numpy has."""
        return cls(array, NAMES[array.dtype])


def write(path: str | os.PathLike[str], tensors: dict[str, Tensor],
          metadata: dict[str, str]) -> None:
    """Write a file, which appears under its name when it is complete.

    Parameters
    ----------
    path : str or path-like
    tensors : dict of str to Tensor
    metadata : dict of str to str
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    parts, end = [], 0
    for name, tensor in tensors.items():
        array = np.ascontiguousarray(tensor.array).reshape(-1).view(np.uint8)
        gap = np.zeros(-array.nbytes % ALIGNMENT, np.uint8)
        for key, dtype, shape, part in ((name, tensor.dtype, tensor.array.shape, array),
                                        (f"{GAP}{name}", "U8", gap.shape, gap)):
            if key == name or len(gap):
                header[key] = {"dtype": dtype, "shape": list(shape),
                               "data_offsets": [end, end + part.nbytes]}
                parts.append(part)
                end += part.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    if len(text) > MAX_HEADER:
        raise ValueError(f"The header has {len(text)} bytes, more than {MAX_HEADER}.")
    with replacing(path) as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for part in parts:
            stream.write(part.data)


def is_safetensors(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as such files do."""
    with open(path, "rb") as stream:
        start = stream.read(9)
    return (len(start) == 9 and start[8:] == b"{"
            and int.from_bytes(start[:8], "little") <= MAX_HEADER)


def read(path: str | os.PathLike[str],
         mmap_mode: Literal["r", "c"] | None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file.

    Parameters
    ----------
    path : str or path-like
    mmap_mode : {"r", "c"} or None
        Arrays are parts of the mapped file, read-only or copied where they are written to; None:
        they are read.

    Raises
    ------
    ValueError
        The file isn't one, is shorter or longer than its header says, or has an array whose place
        doesn't fit its dtype and shape, or arrays that overlap or leave gaps.
    """
    size = os.stat(path).st_size
    with open(path, "rb") as stream:
        start = stream.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or not 2 <= length <= min(MAX_HEADER, size - 8):
            pickled = start[:1] == b"\x80"
            raise ValueError("it looks like a pickle, which joblib.load or pickle.load reads."
                             if pickled else "it isn't a safetensors file, or is cut short.")
        entries, metadata = _parse(stream.read(length))
    first = 8 + length
    places = sorted(offsets for _, _, offsets in entries.values())
    ends = [0, *(end for _, end in places)]
    if first + max(ends) != size:
        raise ValueError(f"it has {size} bytes, but its header speaks of {first + max(ends)}.")
    if [begin for begin, _ in places] != ends[:-1]:
        raise ValueError("its arrays overlap, or there are gaps between them.")
    data = (np.fromfile(path, np.uint8) if mmap_mode is None
            else np.asarray(np.memmap(path, np.uint8, mmap_mode)))
    if len(data) != size:
        raise ValueError("it changed while it was read.")
    tensors = {name: Tensor(data[first + begin:first + end].view(DTYPES[dtype]).reshape(shape),
                            dtype)
               for name, (dtype, shape, (begin, end)) in entries.items()
               if not name.startswith(GAP)}
    return tensors, metadata


def _parse(text: bytes) -> tuple[dict[str, tuple[str, list[int], list[int]]], dict[str, str]]:
    """Dtype, shape and place of each array; metadata."""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its header is not JSON ({error}).") from error
    if not isinstance(header, dict):
        raise ValueError("its header is not a JSON object.")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its metadata are not strings.")
    return {name: _entry(name, entry) for name, entry in header.items()}, metadata


def _entry(name: str, entry: object) -> tuple[str, list[int], list[int]]:
    if isinstance(entry, dict):
        dtype: Any = entry.get("dtype")
        shape: Any = entry.get("shape")
        offsets: Any = entry.get("data_offsets")
        known = isinstance(dtype, str) and dtype in DTYPES
        if known and _naturals(shape) and len(shape) <= 8 and _naturals(offsets, 2):
            item = np.dtype(DTYPES[dtype]).itemsize
            if offsets[1] - offsets[0] == item * math.prod(shape):
                return dtype, shape, offsets
    raise ValueError(f"array {name!r} has a dtype, shape or place that can't be.")


def _naturals(values: object, length: int | None = None) -> bool:
    return (isinstance(values, list) and length in (None, len(values))
            and all(type(value) is int and 0 <= value < 2**62 for value in values))
