"""What this installation runs on, for bug reports and benchmarks."""

from __future__ import annotations

from typing import TypedDict

from ._kernels import _simd


class SimdInfo(TypedDict):
    """What `simd_info` returns."""

    level: str
    available: list[str]


def simd_info() -> SimdInfo:
    """The instruction set that the kernels use in this process.

    It is chosen at import: the fastest that the processor has, or the one that the environment
    variable ``SLIDELEARN_SIMD`` names. All levels with fused multiply-adds ("avx2", "avx512",
    "avx512vnni", "amx", and "scalar" where the processor's baseline has them) give the same bits.

    Returns
    -------
    info : dict
        "level": the one in use; "available": those that this build and this processor have,
        slowest first.

    Examples
    --------
    >>> import slidelearn
    >>> info = slidelearn.simd_info()
    >>> info["level"] in info["available"]
    True
    """
    return {"level": _simd.get_level(), "available": list(_simd.available_levels())}
