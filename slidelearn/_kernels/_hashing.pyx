"""Hash families: vectors -> slots of hash tables (SLIDE, arXiv:1903.03129, sections 2.1 and 4.1).

Every family turns a vector into ``n_tables * hash_length`` small codes, and ``hash_length`` codes
into one slot per table:

=========  ======================================================================================
simhash    sign of a sparse random projection (Charikar 2002; Li, Hastie & Church 2006): 1 bit
wta        position of the largest of 8 random coordinates (Yagnik et al. 2011): 3 bits
dwta       the same over the bins of permutations; a bin of zeros borrows the code of another
           (Chen & Shrivastava 2018): 3 bits
minhash    densified one-permutation MinHash (Shrivastava & Li 2014) of the set of the `top`
           largest coordinates, i.e. dwta of that set's indicator: 3 bits
=========  ======================================================================================

Vectors are hashed 32 at a time, as the columns of a *tile*, a small transposed copy in which one
vector is one lane. So the compiler vectorises over vectors, each lane adds in a fixed order, and a
slot depends on nothing but its own vector. The tile is also where a vector is centred and gets its
last coordinate, so no augmented or float32 copy of a weight matrix is ever made.
"""

from cython.parallel cimport prange, threadid
from libc.stdint cimport int32_t, uint64_t
from libc.string cimport memcpy, memset

from ._simd cimport as_float, row_t

cdef extern from "rng.h" nogil:
    uint64_t rng_mix(uint64_t z)
    uint64_t rng_bits(uint64_t key, uint64_t counter)
    uint64_t rng_stream(uint64_t key, uint64_t index)
    uint64_t rng_below(uint64_t bits, uint64_t n)

cdef enum:
    LANES = 32
    MAX_BORROWS = 100  # attempts of an empty bin to find a code; then it is 0

TILE_LANES = LANES


# Drawing hash functions

def stream_key(uint64_t key, uint64_t index):
    """The key of substream `index` of `key`, as an int of 64 bits."""
    return rng_stream(key, index)


def random_permutations(uint64_t key, int32_t[:, ::1] permutations, int n_threads):
    """Fill each row with a permutation of its column numbers (Fisher-Yates).

    Parameters
    ----------
    key : int
        Row i is drawn from substream i of this key.
    permutations : int32 array of shape (n_permutations, n), output
    n_threads : int
    """
    cdef Py_ssize_t i
    for i in prange(permutations.shape[0], nogil=True, num_threads=n_threads):
        _permute(rng_stream(key, i), permutations[i])


cdef void _permute(uint64_t key, int32_t[::1] out) noexcept nogil:
    cdef Py_ssize_t i, j
    cdef int32_t swapped
    for i in range(out.shape[0]):
        out[i] = <int32_t>i
    for i in range(out.shape[0] - 1, 0, -1):
        j = <Py_ssize_t>rng_below(rng_bits(key, i), i + 1)
        swapped = out[i]
        out[i] = out[j]
        out[j] = swapped


def random_heads(uint64_t key, int32_t n_flips, int32_t[::1] heads, int n_threads):
    """Fill with the number of heads in `n_flips` throws of a fair coin.

    Parameters
    ----------
    key : int
        Element i is drawn from substream i of this key.
    n_flips : int
    heads : int32 array of shape (n,), output
    n_threads : int
    """
    cdef Py_ssize_t i
    for i in prange(heads.shape[0], nogil=True, num_threads=n_threads):
        heads[i] = _count_heads(rng_stream(key, i), n_flips)


cdef int32_t _count_heads(uint64_t key, int32_t n_flips) noexcept nogil:
    cdef int32_t flip, n_heads = 0
    for flip in range(n_flips):
        n_heads += rng_bits(key, flip) >> 63
    return n_heads


# Statistics for centring

def column_means(const row_t[:, ::1] values, double[::1] means, int n_threads):
    """Mean of every column, summed in float64 in the order of the rows.

    Parameters
    ----------
    values : float32 or bfloat16 array of shape (n_rows, n_columns)
    means : float64 array of shape (n_columns,), output
        Zeros if there are no rows.
    n_threads : int
    """
    cdef Py_ssize_t n_columns = values.shape[1]
    cdef Py_ssize_t block, n_blocks = (n_columns + LANES - 1) // LANES
    for block in prange(n_blocks, nogil=True, num_threads=n_threads):
        _block_means(values, block * LANES, min(n_columns, (block + 1) * LANES), means)


cdef void _block_means(const row_t[:, ::1] values, Py_ssize_t start, Py_ssize_t stop,
                       double[::1] means) noexcept nogil:
    cdef Py_ssize_t i, j, n_rows = values.shape[0]
    means[start:stop] = 0
    for i in range(n_rows):
        for j in range(start, stop):
            means[j] += as_float(values[i, j])
    for j in range(start, stop):
        means[j] /= max(n_rows, 1)


def shifted_biases(const row_t[:, ::1] weights, const float[::1] biases, const double[::1] mean,
                   const int32_t[::1] rows, double[::1] out, int n_threads):
    """The logit of some rows at the mean query: ``biases + weights @ mean``, in float64.

    Parameters
    ----------
    weights : float32 or bfloat16 array of shape (n_rows, n_columns)
    biases : float32 array of shape (n_rows,)
    mean : float64 array of shape (n_columns,)
    rows : int32 array of shape (n,)
        Distinct row numbers.
    out : float64 array of shape (n_rows,), output
        Only the entries in `rows` are written.
    n_threads : int
    """
    cdef Py_ssize_t i
    for i in prange(rows.shape[0], nogil=True, num_threads=n_threads):
        out[rows[i]] = _shifted_bias(weights, rows[i], biases[rows[i]], mean)


cdef double _shifted_bias(const row_t[:, ::1] weights, Py_ssize_t i, double bias,
                          const double[::1] mean) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(weights.shape[1]):
        bias += as_float(weights[i, j]) * mean[j]
    return bias


# Hashing

def hash_by_sign(const row_t[:, ::1] vectors, const float[::1] last, const float[::1] shift,
                 const int32_t[::1] rows, const int32_t[:, ::1] projections,
                 int table_bits, float[:, ::1] tiles, int32_t[:, ::1] codes,
                 int32_t[:, ::1] slots, int n_threads):
    """SimHash slots of ``[vectors[r] - shift ; last[r]]`` for every r in `rows`.

    Code f is 1 if the projection on signs 1 and -1 is positive, i.e. if the first coordinates that
    ``projections[f]`` lists have a greater sum than the second ones, and else 0.

    Parameters
    ----------
    vectors : float32 or bfloat16 array of shape (n_vectors, n_columns)
    last : float32 array of shape (n_vectors,)
        The coordinate appended to each vector, not shifted.
    shift : float32 array of shape (n_columns,)
    rows : int32 array of shape (n_rows,)
        Distinct row numbers: the vectors to hash.
    projections : int32 array of shape (n_tables * hash_length, n_projected + 2)
        In each row, coordinates with sign 1, then -1, coordinates with sign -1, then -1.
        Coordinates are in [0, n_columns], columns of an augmented vector.
    table_bits : int
        Slots are below ``2**table_bits``; at most `hash_length`, at most 31.
    tiles : float32 array of shape (n_threads, (n_columns + 1) * TILE_LANES), scratch
    codes : int32 array of shape (n_threads, n_tables * hash_length * TILE_LANES), scratch
    slots : int32 array of shape (n_tables, n_vectors), output
        Only the columns in `rows` are written.
    n_threads : int
    """
    cdef Py_ssize_t tile, n_tiles = (rows.shape[0] + LANES - 1) // LANES
    cdef int thread
    for tile in prange(n_tiles, nogil=True, num_threads=n_threads, schedule="static"):
        thread = threadid()
        _load_tile(vectors, last, shift, rows, tile * LANES, &tiles[thread, 0])
        _sign_codes(&tiles[thread, 0], projections, &codes[thread, 0])
        _write_slots(&codes[thread, 0], projections.shape[0], 1, table_bits, 0, False,
                     rows, tile * LANES, slots)


def hash_by_winner(const row_t[:, ::1] vectors, const float[::1] last, const float[::1] shift,
                   const int32_t[::1] rows, const int32_t[:, ::1] bins, int code_bits,
                   Py_ssize_t top, bint densify, uint64_t borrow_key, int table_bits,
                   float[:, ::1] tiles, int32_t[:, ::1] codes, int32_t[:, ::1] slots,
                   int n_threads):
    """WTA, DWTA or MinHash slots of ``[vectors[r] - shift ; last[r]]`` for every r in `rows`.

    Code f is the position in ``bins[f]`` of the largest coordinate, the first of equals.

    Parameters
    ----------
    vectors, last, shift, rows, tiles, codes, slots, n_threads
        As for `hash_by_sign`.
    bins : int32 array of shape (n_tables * hash_length, width)
        Distinct entries in [0, n_columns] per row.
    code_bits : int
        Enough for `width` positions; ``hash_length * code_bits`` is at most 63.
    top : int
        If positive, MinHash: hash the indicator of the `top` largest coordinates (the first of
        equals), and salt a borrowed code with the number of the bin that lent it, so that it can
        equal only a code borrowed from the same bin (Shrivastava & Li 2014, section 4).
    densify : bool
        A bin of zeros borrows the code of another bin, found by hashing (bin, attempt).
    borrow_key : int
    table_bits : int
        Slots are below ``2**table_bits``; at most ``hash_length * code_bits``, at most 31.
    """
    cdef Py_ssize_t tile, n_tiles = (rows.shape[0] + LANES - 1) // LANES
    cdef int thread
    for tile in prange(n_tiles, nogil=True, num_threads=n_threads, schedule="static"):
        thread = threadid()
        _load_tile(vectors, last, shift, rows, tile * LANES, &tiles[thread, 0])
        if top > 0:
            _indicate_top(&tiles[thread, 0], vectors.shape[1] + 1, <int32_t>top)
        _winner_codes(&tiles[thread, 0], bins, densify, &codes[thread, 0])
        _write_slots(&codes[thread, 0], bins.shape[0], code_bits, table_bits, borrow_key, top > 0,
                     rows, tile * LANES, slots)


cdef void _load_tile(const row_t[:, ::1] vectors, const float[::1] last, const float[::1] shift,
                     const int32_t[::1] rows, Py_ssize_t first, float* tile) noexcept nogil:
    """Transpose up to LANES augmented vectors; lanes without one are zero. No -0.0 gets in."""
    cdef Py_ssize_t lane, j, n_columns = vectors.shape[1]
    cdef Py_ssize_t n_lanes = min(<Py_ssize_t>LANES, rows.shape[0] - first)
    cdef int32_t row
    if n_lanes < LANES:
        memset(tile, 0, (n_columns + 1) * LANES * sizeof(float))
    for lane in range(n_lanes):
        row = rows[first + lane]
        for j in range(n_columns):
            tile[j * LANES + lane] = (as_float(vectors[row, j]) - shift[j]) + <float>0
        tile[n_columns * LANES + lane] = last[row] + <float>0


cdef void _sign_codes(const float* tile, const int32_t[:, ::1] projections,
                      int32_t* codes) noexcept nogil:
    cdef float[LANES] plus
    cdef float[LANES] minus
    cdef const int32_t* columns
    cdef Py_ssize_t f, lane
    for f in range(projections.shape[0]):
        columns = _sum_columns(tile, &projections[f, 0], plus)
        _sum_columns(tile, columns, minus)
        for lane in range(LANES):
            codes[f * LANES + lane] = plus[lane] > minus[lane]


cdef inline const int32_t* _sum_columns(const float* tile, const int32_t* columns,
                                        float* total) noexcept nogil:
    """Per lane, add up the coordinates before the next -1, one by one; return what follows it.

    (A loop whose end gcc could compute it would unroll and jam, and then not vectorise.)
    """
    cdef float[LANES] partial  # for the compiler to see that nothing else points there
    cdef const float* column
    cdef Py_ssize_t lane
    for lane in range(LANES):
        partial[lane] = 0
    while columns[0] >= 0:
        column = tile + <Py_ssize_t>columns[0] * LANES
        for lane in range(LANES):
            partial[lane] += column[lane]
        columns += 1
    for lane in range(LANES):
        total[lane] = partial[lane]
    return columns + 1


cdef void _winner_codes(const float* tile, const int32_t[:, ::1] bins, bint densify,
                        int32_t* codes) noexcept nogil:
    """Position of the first largest coordinate of each bin; -1 if densify and all are zero."""
    cdef float[LANES] largest
    cdef float[LANES] smallest
    cdef int32_t* winner
    cdef const float* column
    cdef Py_ssize_t f, lane
    cdef int32_t position, wins
    cdef float value
    for f in range(bins.shape[0]):
        winner = codes + f * LANES
        column = tile + <Py_ssize_t>bins[f, 0] * LANES
        for lane in range(LANES):
            winner[lane] = 0
            largest[lane] = smallest[lane] = column[lane]
        for position in range(1, <int32_t>bins.shape[1]):
            column = tile + <Py_ssize_t>bins[f, position] * LANES
            for lane in range(LANES):
                value = column[lane]
                wins = -<int32_t>(value > largest[lane])  # a mask: 0 or all bits
                winner[lane] = (position & wins) | (winner[lane] & ~wins)
                largest[lane] = max(largest[lane], value)
                smallest[lane] = min(smallest[lane], value)
        if densify:
            for lane in range(LANES):
                winner[lane] |= -<int32_t>((largest[lane] == 0) & (smallest[lane] == 0))


cdef inline int32_t _order(const float* value) noexcept nogil:
    """An integer that orders as the float does (and -0.0 below 0.0)."""
    cdef int32_t bits
    memcpy(&bits, value, sizeof(bits))
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


cdef void _indicate_top(float* tile, Py_ssize_t n, int32_t top) noexcept nogil:
    """Replace each lane by the 0/1 indicator of its `top` largest entries, the first of equals.

    The `top`-th largest is found by bisecting over the 32 bits of its order.
    """
    cdef int32_t[LANES] bar, trial, above
    cdef Py_ssize_t j, lane
    cdef int32_t bit, order, inside
    for lane in range(LANES):
        bar[lane] = -0x7FFFFFFF - 1
    for bit in range(31, -1, -1):
        for lane in range(LANES):  # in the first step 1 << 31 takes the bar from -2**31 to 0
            trial[lane] = bar[lane] ^ <int32_t>(<unsigned int>1 << bit)
            above[lane] = 0
        for j in range(n):
            for lane in range(LANES):
                above[lane] += _order(tile + j * LANES + lane) >= trial[lane]
        for lane in range(LANES):
            bar[lane] = trial[lane] if above[lane] >= top else bar[lane]
    for lane in range(LANES):
        above[lane] = 0
    for j in range(n):
        for lane in range(LANES):
            above[lane] += _order(tile + j * LANES + lane) > bar[lane]
    for j in range(n):  # above counts on: the larger ones first, then equals until it is `top`
        for lane in range(LANES):
            order = _order(tile + j * LANES + lane)
            inside = (order == bar[lane]) & (above[lane] < top)
            above[lane] += inside
            tile[j * LANES + lane] = <float>(inside | (order > bar[lane]))


cdef int32_t _borrow(const int32_t* codes, Py_ssize_t f, Py_ssize_t n_codes, Py_ssize_t lane,
                     uint64_t borrow_key, uint64_t* salt) noexcept nogil:
    """The code of the first bin with one, in the random order of bin f (universal hashing)."""
    cdef uint64_t key = rng_stream(borrow_key, f)
    cdef uint64_t lender = n_codes
    cdef int32_t code = 0
    cdef int attempt
    for attempt in range(MAX_BORROWS):
        lender = rng_below(rng_bits(key, attempt), n_codes)
        code = codes[lender * LANES + lane]
        if code >= 0:
            break
    else:
        lender, code = n_codes, 0
    salt[0] ^= rng_bits(key, MAX_BORROWS + lender)
    return code


cdef void _write_slots(const int32_t* codes, Py_ssize_t n_codes, int code_bits, int table_bits,
                       uint64_t borrow_key, bint salted, const int32_t[::1] rows,
                       Py_ssize_t first, int32_t[:, ::1] slots) noexcept nogil:
    """Concatenate the codes of each table; mix and cut what is longer than `table_bits`."""
    cdef Py_ssize_t table, lane, f, n_tables = slots.shape[0]
    cdef Py_ssize_t hash_length = n_codes // n_tables
    cdef bint fits = hash_length * code_bits <= table_bits
    cdef uint64_t joined, salt
    cdef int32_t code
    for table in range(n_tables):
        for lane in range(min(<Py_ssize_t>LANES, rows.shape[0] - first)):
            joined = salt = 0
            for f in range(table * hash_length, (table + 1) * hash_length):
                code = codes[f * LANES + lane]
                if code < 0:
                    code = _borrow(codes, f, n_codes, lane, borrow_key, &salt)
                joined = (joined << code_bits) | <uint64_t>code
            if salted:
                joined ^= salt
            joined = joined & ((<uint64_t>1 << table_bits) - 1) if fits \
                else rng_mix(joined) >> (64 - table_bits)
            slots[table, rows[first + lane]] = <int32_t>joined
