"""Locality-sensitive hashing of the rows of a wide layer: which classes may have a large logit?

`LSHIndex` keeps every row of the output layer in `n_tables` hash tables and answers, for a hidden
activation, with the rows that share its buckets (SLIDE, arXiv:1903.03129, sections 2 and 3).
`RebuildSchedule` says when the tables should follow the weights (section 4.2).

    weights, bias --(centre, append bias)--> hash functions --> slots --(counting sort)--> tables
    hidden -------(centre, append 1)-------> hash functions --> slots --(look-up)--> candidates
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._bfloat16 import DTYPES
from ._kernels import _hashing, _tables

Array = NDArray[Any]

BIN_WIDTH = 8  # coordinates that compete for one code of WTA, DWTA and MinHash
MIN_PROJECTED = 16  # SimHash adds up a third of the coordinates, but no fewer than these
MAX_TABLE_BITS = 22
HASH_LENGTHS = {"simhash": 9, "wta": 6, "dwta": 6, "minhash": 6}
INSERTIONS = ("fifo", "reservoir")
STRATEGIES = ("vanilla", "topk", "threshold")

# Purposes of random numbers: substreams of the seed.
PERMUTATIONS, SIGNS, BORROWING, RESERVOIRS, PROBING = range(0x4C5348_00, 0x4C5348_05)

# Work between two looks at signals (Ctrl-C), some 50 ms: in elementary steps, in queries.
CHUNK_STEPS = 2**27
CHUNK_SAMPLES = 1024


@dataclass(frozen=True)
class SignHash:
    """SimHash: code f is the sign of a sparse random projection.

    Each function adds up a third of the coordinates with random signs, as the reference
    implementation does, which for dense vectors is as good as a Gaussian projection (Li, Hastie &
    Church 2006): two vectors agree with probability ``1 - angle / pi``. With few coordinates a
    third says little, so at least `MIN_PROJECTED` are added up, or all.

    Attributes
    ----------
    projections : int32 array of shape (n_codes, n_projected + 2)
        In each row, coordinates with sign 1, then -1, coordinates with sign -1, then -1.
    """

    projections: Array
    code_bits: ClassVar[int] = 1

    @classmethod
    def draw(cls, seed: int, n_codes: int, n_coordinates: int) -> Self:
        n_projected = min(n_coordinates, max(MIN_PROJECTED, -(-n_coordinates // 3)))
        permutations = np.empty((n_codes, n_coordinates), dtype=np.int32)
        key = _hashing.stream_key(seed, PERMUTATIONS)
        _hashing.random_permutations(key, permutations, 1)
        n_plus = np.empty(n_codes, dtype=np.int32)
        key = _hashing.stream_key(seed, SIGNS)
        _hashing.random_heads(key, n_projected, n_plus, 1)
        # Coordinates are in random order, so all that is random about signs is how many are 1.
        projections = np.full((n_codes, n_projected + 2), -1, dtype=np.int32)
        place = np.arange(n_projected)
        place = place + (place >= n_plus[:, None])
        np.put_along_axis(projections, place, permutations[:, :n_projected], axis=1)
        return cls(projections)

    def __call__(self, vectors: np.ndarray, last: np.ndarray, shift: np.ndarray, rows: np.ndarray,
                 table_bits: int, tiles: np.ndarray, codes: np.ndarray, slots: np.ndarray,
                 n_threads: int) -> None:
        _hashing.hash_by_sign(vectors, last, shift, rows, self.projections, table_bits, tiles,
                              codes, slots, n_threads)

    @property
    def steps_per_row(self) -> int:
        return self.projections.size


@dataclass(frozen=True)
class WinnerHash:
    """WTA, DWTA and MinHash: code f is the position of the largest of a few coordinates.

    - WTA: each bin is the head of a permutation of its own.
    - DWTA: permutations are cut into bins, as many permutations as it takes; a bin of zeros borrows
      a code from another one.
    - MinHash: DWTA of the indicator of a set, here of the `top` largest coordinates (a quarter of
      them): the first member of the set in the random order of a bin.

    Attributes
    ----------
    bins : int32 array of shape (n_codes, width)
        ``width = min(BIN_WIDTH, n_coordinates)``.
    top : int
        Size of the set of MinHash; 0 for the others.
    densify : bool
    borrow_key : int
    """

    bins: Array
    top: int
    densify: bool
    borrow_key: int

    @classmethod
    def draw(cls, family: str, seed: int, n_codes: int, n_coordinates: int) -> Self:
        width = min(BIN_WIDTH, n_coordinates)
        per_permutation = 1 if family == "wta" else n_coordinates // width
        n_permutations = -(-n_codes // per_permutation)
        permutations = np.empty((n_permutations, n_coordinates), dtype=np.int32)
        key = _hashing.stream_key(seed, PERMUTATIONS)
        _hashing.random_permutations(key, permutations, 1)
        bins = permutations[:, : per_permutation * width].reshape(-1, width)[:n_codes]
        return cls(
            bins=np.ascontiguousarray(bins),
            top=max(1, n_coordinates // 4) if family == "minhash" else 0,
            densify=family != "wta",
            borrow_key=_hashing.stream_key(seed, BORROWING),
        )

    @property
    def code_bits(self) -> int:
        return (self.bins.shape[1] - 1).bit_length()

    def __call__(self, vectors: np.ndarray, last: np.ndarray, shift: np.ndarray, rows: np.ndarray,
                 table_bits: int, tiles: np.ndarray, codes: np.ndarray, slots: np.ndarray,
                 n_threads: int) -> None:
        _hashing.hash_by_winner(vectors, last, shift, rows, self.bins, self.code_bits, self.top,
                                self.densify, self.borrow_key, table_bits, tiles, codes, slots,
                                n_threads)

    @property
    def steps_per_row(self) -> int:
        return self.bins.size


@dataclass(eq=False)
class LSHIndex:
    """Hash tables of the rows of a layer, queried with the activations that enter it.

    Hashed is not the weight vector alone but what makes the logit: row c is ``[w_c ; b_c]`` and a
    query ``[h ; 1]``. With `center`, they are ``[w_c - mean(w) ; b_c + w_c @ mean(h) - its mean]``
    and ``[h - mean(h) ; 1]``. Either way the inner product of row and query is the logit up to a
    number that all rows share, so that it orders the rows as the logits do; centred, activations
    that all lie in one orthant (ReLU) are told apart much better.

    What works on arrays takes `n_threads`, on which no result depends. A query changes nothing, so
    that several threads may ask one index at once.

    Parameters
    ----------
    n_rows, n_columns : int
        Shape of the weights: classes and hidden units.
    hash_function : {"simhash", "wta", "dwta", "minhash"}, default="simhash"
    hash_length : int, default=None
        Codes that together index a table (the paper's K). None means 9 for SimHash, else 6.
    n_tables : int, default=50
        The paper's L.
    bucket_size : int, default=128
        Rows that a bucket can hold.
    insertion : {"fifo", "reservoir"}, default="fifo"
        What survives in an overflowing bucket: the last rows, or a uniform random sample.
    center : bool, default=True
    seed : int
        In [0, 2**64). The same seed and weights make the same tables.

    Attributes
    ----------
    n_codes : int
        ``n_tables * hash_length``.
    table_bits : int
        A table has ``2**table_bits`` slots: as many as the codes can tell apart, but no more than
        ``2**max(8, ceil(log2(n_rows)) + 1)`` and `2**22`; longer codes are mixed and cut.
    slots : int32 array of shape (n_tables, n_rows)
        The slot of each row in each table. Before `build` the arrays have no columns.
    indptr : int32 array of shape (n_tables, 2**table_bits + 1)
    ids : int32 array of shape (n_tables, n_rows)
        Bucket s of table t is ``ids[t, indptr[t, s]:indptr[t, s + 1]]``.
    is_built : bool
        Whether there are tables to query: false before `build` and after an interrupted one.
    row_mean, query_mean : float32 arrays of shape (n_columns,)
        What is subtracted, frozen by `build`; zeros without `center`.
    bias_mean : float

    Notes
    -----
    Memory is ``4 * n_tables * (2 * n_rows + 2**table_bits + 1)`` bytes: at most 16 to 24 bytes per
    row and table. A query takes another ``n_threads * (4 * n_rows + 8 * n_touched)`` bytes with
    ``n_touched = min(n_rows, n_tables * bucket_size)`` and the result's ``4 * n_candidates`` per
    sample; a build ``4 * n_threads * 2**table_bits``.
    """

    n_rows: int
    n_columns: int
    _: KW_ONLY
    hash_function: str = "simhash"
    hash_length: int | None = None
    n_tables: int = 50
    bucket_size: int = 128
    insertion: str = "fifo"
    center: bool = True
    seed: int
    n_codes: int = field(init=False, repr=False)
    table_bits: int = field(init=False, repr=False)
    row_mean: Array = field(init=False, repr=False)
    query_mean: Array = field(init=False, repr=False)
    bias_mean: float = field(init=False, repr=False, default=0.0)
    slots: Array = field(init=False, repr=False)
    indptr: Array = field(init=False, repr=False)
    ids: Array = field(init=False, repr=False)
    is_built: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        _check_choice("hash_function", self.hash_function, HASH_LENGTHS)
        _check_choice("insertion", self.insertion, INSERTIONS)
        if self.hash_length is None:
            self.hash_length = HASH_LENGTHS[self.hash_function]
        for name in ("n_rows", "n_columns", "hash_length", "n_tables", "bucket_size"):
            setattr(self, name, _check_int(name, getattr(self, name), 1, 2**31 - 1))
        self.n_codes = self.n_tables * self.hash_length
        self.row_mean = np.zeros(self.n_columns, dtype=np.float32)
        self.query_mean = np.zeros(self.n_columns, dtype=np.float32)
        self.redraw(self.seed)
        natural_bits = self.hash_length * self._hash.code_bits
        if natural_bits > 63:
            raise ValueError(
                f"hash_length={self.hash_length} makes keys of {natural_bits} bits; "
                f"{self.hash_function!r} allows hash_length <= {63 // self._hash.code_bits}."
            )
        sensible_bits = max(8, (self.n_rows - 1).bit_length() + 1)
        self.table_bits = min(natural_bits, sensible_bits, MAX_TABLE_BITS)

    def redraw(self, seed: int) -> Self:
        """Draw fresh hash functions from `seed`; the tables are gone until the next `build`."""
        self.seed = _check_int("seed", seed, 0, 2**64 - 1)
        sizes = (self.n_codes, self.n_columns + 1)
        self._hash = (
            SignHash.draw(self.seed, *sizes)
            if self.hash_function == "simhash"
            else WinnerHash.draw(self.hash_function, self.seed, *sizes)
        )
        self.slots, self.indptr, self.ids = (
            np.empty((self.n_tables, 0), dtype=np.int32) for _ in range(3)
        )
        self.is_built = False
        return self

    def build(self, weights: Array, bias: Array, query_mean: ArrayLike | None = None, *,
              n_threads: int = 1) -> Self:
        """Hash all rows and fill the tables.

        Parameters
        ----------
        weights : float32 or bfloat16 C-contiguous array of shape (n_rows, n_columns)
        bias : float32 array of shape (n_rows,)
        query_mean : array-like of shape (n_columns,), default=None
            Mean activation to centre queries with; None means zeros. Unused without `center`.
        n_threads : int, default=1
        """
        weights, bias = self._check_layer(weights, bias)
        self.is_built = False
        rows, last = np.arange(self.n_rows, dtype=np.int32), bias
        if self.center:
            means = np.empty(self.n_columns)
            _hashing.column_means(weights, means, n_threads)
            self.row_mean = means.astype(np.float32)
            if query_mean is None:
                query_mean = np.zeros(self.n_columns)
            self.query_mean = _check_array("query_mean", query_mean, (self.n_columns,)).copy()
            mean = np.empty(1)
            biases = self._shifted_biases(weights, bias, rows, n_threads)
            _hashing.column_means(biases.astype(np.float32)[:, None], mean, n_threads)
            self.bias_mean = float(mean[0])
            last = (biases - self.bias_mean).astype(np.float32)
        self.slots = np.empty((self.n_tables, self.n_rows), dtype=np.int32)
        self.indptr = np.empty((self.n_tables, 2**self.table_bits + 1), dtype=np.int32)
        self.ids = np.empty((self.n_tables, self.n_rows), dtype=np.int32)
        self._hash_vectors(weights, last, self.row_mean, rows, self.slots, n_threads)
        self._fill_tables(n_threads)
        return self

    def update(self, weights: Array, bias: Array, changed_rows: ArrayLike, *,
               n_threads: int = 1) -> Self:
        """Hash only the rows that changed, and fill the tables again.

        Hash functions and means stay what they were, so the tables are those that hashing all
        rows would make.

        Parameters
        ----------
        weights, bias
            As for `build`.
        changed_rows : array-like of int
            Row numbers in any order; repetitions are harmless.
        n_threads : int, default=1
        """
        self._check_built()
        if self.slots.size == 0:
            raise ValueError("The tables of this LSHIndex were adopted: call build first.")
        weights, bias = self._check_layer(weights, bias)
        rows = np.unique(np.asarray(changed_rows))
        if rows.size == 0:
            return self
        if rows.dtype.kind not in "iu" or rows.ndim != 1:
            raise ValueError("changed_rows must be row numbers.")
        if rows[0] < 0 or rows[-1] >= self.n_rows:
            raise ValueError(f"changed_rows must lie in [0, {self.n_rows}).")
        self.is_built = False
        rows, last = rows.astype(np.int32), bias
        if self.center:
            biases = self._shifted_biases(weights, bias, rows, n_threads)
            last = (biases - self.bias_mean).astype(np.float32)
        self._hash_vectors(weights, last, self.row_mean, rows, self.slots, n_threads)
        self._fill_tables(n_threads)
        return self

    def query(
        self,
        hidden: ArrayLike,
        *,
        strategy: str = "topk",
        n_candidates: int,
        min_collisions: int = 1,
        sample_keys: ArrayLike | None = None,
        n_threads: int = 1,
    ) -> tuple[Array, Array]:
        """Candidate rows of each activation: those that share its buckets.

        Parameters
        ----------
        hidden : array-like of shape (n_samples, n_columns)
        strategy : {"vanilla", "topk", "threshold"}, default="topk"
            - "vanilla": probe tables in random order until there are `n_candidates`.
            - "topk": the `n_candidates` that share most buckets, the first of equals.
            - "threshold": the same, but only rows that share at least `min_collisions`.
        n_candidates : int
        min_collisions : int, default=1
            Used by "threshold" only.
        sample_keys : array-like of uint64 of shape (n_samples,), default=None
            Needed by "vanilla" only: the key of each sample's random order.
        n_threads : int, default=1

        Returns
        -------
        ids : int32 array of shape (n_samples, n_candidates)
            Distinct row numbers, ascending, then -1.
        counts : int32 array of shape (n_samples,)
            How many there are.
        """
        self._check_built()
        _check_choice("strategy", strategy, STRATEGIES)
        n_candidates = _check_int("n_candidates", n_candidates, 0, 2**31 - 1)
        hidden = _check_array("hidden", hidden, (None, self.n_columns))
        n_samples = len(hidden)
        vanilla = strategy == "vanilla"
        least = 1
        if strategy == "threshold":
            least = _check_int("min_collisions", min_collisions, 1, 2**31 - 1)
            least = min(least, self.n_tables + 1)
        if vanilla:
            if sample_keys is None:
                raise ValueError('strategy="vanilla" needs sample_keys.')
            keys = np.ascontiguousarray(sample_keys, dtype=np.uint64)
            if keys.shape != (n_samples,):
                raise ValueError(f"sample_keys has shape {keys.shape}, expected ({n_samples},).")
            key = _hashing.stream_key(self.seed, PROBING)

        n_threads = max(1, min(n_threads, n_samples))
        n_touched = min(self.n_rows, n_candidates if vanilla else self.n_tables * self.bucket_size)
        n_counters = max(_tables.SORT_COUNTERS, self.n_tables + 2)
        scratch = (
            np.zeros((n_threads, self.n_rows), dtype=np.int32),
            np.empty((n_threads, 2 * n_touched), dtype=np.int32),
            np.empty((n_threads, n_counters), dtype=np.int32),
        )
        ids = np.empty((n_samples, n_candidates), dtype=np.int32)
        counts = np.empty(n_samples, dtype=np.int32)
        for start in range(0, n_samples, CHUNK_SAMPLES):
            part = slice(start, start + CHUNK_SAMPLES)
            slots = self.hash(hidden[part], n_threads=n_threads)
            if vanilla:
                _tables.first_collisions(self.indptr, self.ids, slots, key, keys[part],
                                         *scratch, ids[part], counts[part], n_threads)
            else:
                _tables.most_collisions(self.indptr, self.ids, slots, least,
                                        *scratch, ids[part], counts[part], n_threads)
        return ids, counts

    @property
    def tables(self) -> dict[str, Array]:
        """What `adopt` needs to answer queries as this index does."""
        self._check_built()
        return {"indptr": self.indptr, "ids": self.ids, "query_mean": self.query_mean}

    def adopt(self, tables: Mapping[str, Array]) -> Self:
        """Answer queries from the `tables` of an index with the same parameters, without a copy.

        There are no slots then, so `update` needs a `build` before; neither writes into `tables`.

        Raises
        ------
        ValueError
            An array is missing, of another dtype or shape, or refers to rows that aren't there, or
            to one twice in a table.
        """
        wanted = {"indptr": (np.int32, (self.n_tables, 2**self.table_bits + 1)),
                  "ids": (np.int32, (self.n_tables, self.n_rows)),
                  "query_mean": (np.float32, (self.n_columns,))}
        for name, (dtype, shape) in wanted.items():
            array = tables.get(name)
            if not (isinstance(array, np.ndarray) and array.dtype == dtype
                    and array.shape == shape and array.flags.c_contiguous and array.flags.aligned):
                raise ValueError(f"{name} of hash tables must be an array of {np.dtype(dtype)} "
                                 f"{shape}.")
        if not np.isfinite(tables["query_mean"]).all():
            raise ValueError("query_mean of hash tables must be finite.")
        found = np.empty(self.n_rows, dtype=bool)
        for starts, rows in zip(tables["indptr"], tables["ids"], strict=True):
            sizes = np.diff(starts.astype(np.int64))
            used = rows[:max(0, int(starts[-1]))]
            if (starts[0] != 0 or sizes.min() < 0 or sizes.max() > self.bucket_size
                    or starts[-1] > self.n_rows or used.min(initial=0) < 0
                    or used.max(initial=0) >= self.n_rows):
                raise ValueError("hash tables have a bucket that is too large, or a row that "
                                 "isn't there.")
            found[:] = False
            found[used] = True
            if np.count_nonzero(found) < len(used):
                raise ValueError("hash tables have a row that is twice in one table.")
        self.indptr, self.ids = tables["indptr"], tables["ids"]
        self.query_mean = tables["query_mean"]
        self.slots = np.empty((self.n_tables, 0), dtype=np.int32)
        self.is_built = True
        return self

    def hash(self, hidden: ArrayLike, *, n_threads: int = 1) -> Array:
        """Slots of queries: int32 array of shape (n_tables, n_samples)."""
        hidden = _check_array("hidden", hidden, (None, self.n_columns))
        slots = np.empty((self.n_tables, len(hidden)), dtype=np.int32)
        ones = np.ones(len(hidden), dtype=np.float32)
        rows = np.arange(len(hidden), dtype=np.int32)
        self._hash_vectors(hidden, ones, self.query_mean, rows, slots, n_threads)
        return slots

    def _shifted_biases(self, weights: Array, bias: Array, rows: Array, n_threads: int) -> Array:
        """Float64 array of shape (n_rows,), zero but for `rows`."""
        biases = np.zeros(self.n_rows)
        mean = self.query_mean.astype(np.float64)
        _hashing.shifted_biases(weights, bias, mean, rows, biases, n_threads)
        return biases

    def _hash_vectors(self, vectors: np.ndarray, last: np.ndarray, shift: np.ndarray,
                      rows: np.ndarray, slots: np.ndarray, n_threads: int) -> None:
        lanes = _hashing.TILE_LANES
        tiles = np.empty((n_threads, (self.n_columns + 1) * lanes), dtype=np.float32)
        codes = np.empty((n_threads, self.n_codes * lanes), dtype=np.int32)
        chunk = lanes * max(n_threads, CHUNK_STEPS // (lanes * self._hash.steps_per_row))
        for start in range(0, len(rows), chunk):
            self._hash(vectors, last, shift, rows[start : start + chunk], self.table_bits,
                       tiles, codes, slots, n_threads)

    def _fill_tables(self, n_threads: int) -> None:
        n_slots = 2**self.table_bits
        seen = np.empty((n_threads, n_slots), dtype=np.int32)
        key = _hashing.stream_key(self.seed, RESERVOIRS)
        keys = np.array([_hashing.stream_key(key, t) for t in range(self.n_tables)], np.uint64)
        chunk = n_threads * max(1, CHUNK_STEPS // (32 * (self.n_rows + n_slots)))
        for start in range(0, self.n_tables, chunk):
            part = slice(start, start + chunk)
            _tables.build_tables(self.slots[part], self.bucket_size,
                                 self.insertion == "reservoir", keys[part], seen,
                                 self.indptr[part], self.ids[part], n_threads)
        self.is_built = True

    def _check_built(self) -> None:
        if not self.is_built:
            raise ValueError("This LSHIndex has no tables: call build first.")

    def _check_layer(self, weights: Array, bias: Array) -> tuple[Array, Array]:
        shape = (self.n_rows, self.n_columns)
        fits = isinstance(weights, np.ndarray) and weights.shape == shape
        if not (fits and weights.dtype in DTYPES.values() and weights.flags.c_contiguous):
            raise ValueError("weights must be a C-contiguous array of float32 or bfloat16 (as "
                             f"uint16) of shape {shape}.")
        return weights, _check_array("bias", bias, (self.n_rows,))


@dataclass
class RebuildSchedule:
    """When tables should follow the weights, ever more rarely (section 4.2).

    The t-th rebuild (t = 0, 1, ...) is followed by a gap of ``first_gap * growth**t`` batches
    rounded down, with ``growth`` = e**lambda in the paper's notation; the first rebuild comes
    `first_gap` batches after the start.

    Parameters
    ----------
    first_gap : int, default=50
        The paper's N0.
    growth : float, default=1.05
        At least 1.
    redraw_every : int, default=0
        Every so many rebuilds hash functions are drawn afresh; 0 means never.

    Attributes
    ----------
    next_step, n_rebuilds : int
        When the next rebuild is due, and how many were.
    """

    first_gap: int = 50
    growth: float = 1.05
    redraw_every: int = 0
    next_step: int = field(init=False)
    n_rebuilds: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.first_gap = _check_int("first_gap", self.first_gap, 1)
        self.redraw_every = _check_int("redraw_every", self.redraw_every, 0)
        if not isinstance(self.growth, Real) or not 1 <= self.growth < math.inf:
            raise ValueError(f"growth must be a finite number >= 1, got {self.growth!r}.")
        self.next_step = self.first_gap

    @property
    def gap(self) -> int:
        """Batches between the rebuild that comes next and the one after it."""
        if self.n_rebuilds * math.log(self.growth) > 40:  # far beyond any training
            return self.first_gap << 57
        return int(self.first_gap * self.growth**self.n_rebuilds)

    def due(self, step: int) -> Literal["update", "redraw"] | None:
        """What to do after batch `step` (counted from 1); advances when something is due."""
        if step < self.next_step:
            return None
        self.next_step = step + self.gap
        self.n_rebuilds += 1
        redraws = self.redraw_every > 0 and self.n_rebuilds % self.redraw_every == 0
        return "redraw" if redraws else "update"


def _check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    if value not in tuple(choices):
        raise ValueError(f"{name} must be one of {sorted(choices)}, got {value!r}.")


def _check_int(name: str, value: object, low: int, high: float = math.inf) -> int:
    if isinstance(value, Integral) and not isinstance(value, bool) and low <= int(value) <= high:
        return int(value)
    raise ValueError(f"{name} must be an integer in [{low}, {high}], got {value!r}.")


def _check_array(name: str, value: ArrayLike, shape: tuple[int | None, ...]) -> Array:
    """A C-contiguous float32 array of this shape (None: any length), copied only if need be."""
    array = np.ascontiguousarray(value, dtype=np.float32)
    if len(array.shape) != len(shape) or any(
        wanted not in (None, n) for wanted, n in zip(shape, array.shape, strict=True)
    ):
        raise ValueError(f"{name} has shape {array.shape}, expected {shape}.")
    return array
