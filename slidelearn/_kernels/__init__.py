"""Compiled kernels: nogil code that only fills arrays which its callers allocated.

===============  ============================================================================
`_simd`          leaf functions (simd/leaf.h) and the choice of the instruction set
`_rows`          the input layer, and (sample, class) pairs: rows touched one at a time
`_dense`         middle layers, and the output rows that a batch shares: small matrix products
`_quantised`     logits from products of bytes: of those rows, and for rankers' shortlists
`_loss`          logits to gradients
`_sparse_block`  the way back from few of them, of the output rows that a batch shares
`_sampling`      active sets
`_grouping`      a batch transposed: which samples touch a row
`_hashing`       hash functions
`_tables`        hash tables
`_topk`          the k best classes
`_pruned`        ... of which most are ruled out by bounds in 8-bit arithmetic
`_ranker`        linear classifiers on X: dual coordinate descent, and their penalties
===============  ============================================================================
"""

import os


def _load_openmp() -> None:
    """Load the OpenMP runtime with threads that don't spin for long.

    A batch has a dozen short parallel phases. Where other processes compete for the cores, GNU
    libgomp's threads, which by default spin for milliseconds at the end of a phase, take the
    core away from the very thread that they wait for (measured: 5 to 10 times slower). The
    runtime reads this variable once, when it is loaded; a user's own setting is respected.
    """
    name = "GOMP_SPINCOUNT"
    if name in os.environ or "OMP_WAIT_POLICY" in os.environ:
        return
    os.environ[name] = "3000"
    try:
        from . import _rows  # noqa: F401
    finally:
        del os.environ[name]


_load_openmp()
