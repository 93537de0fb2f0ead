"""Linear rankers, one per class: trained by dual coordinate descent, and their scores.

A ranker reads the features of X themselves, not the hidden layer, and is stored sparse.
"""

from cython.parallel cimport parallel, prange, threadid
from libc.math cimport INFINITY, fabs
from libc.stdint cimport int8_t, int32_t, int64_t, uint64_t

from ._simd cimport prefetch

cdef extern from "rng.h" nogil:
    uint64_t rng_bits(uint64_t key, uint64_t counter)
    uint64_t rng_below(uint64_t bits, uint64_t n)
    uint64_t rng_stream(uint64_t key, uint64_t index)

cdef enum:
    SEARCH_COST = 8  # of finding one feature among a ranker's, in multiply-adds
    AT_ONCE = 64  # features
    AHEAD = 2  # samples whose features are asked for before they are read


cdef struct problem_t:  # what the rankers of all classes share
    const int64_t* indptr
    const int32_t* indices
    const float* data
    const double* squared_norm  # of a sample, that of the bias feature included
    const double* softness  # 1 / (2 C) of a sample, to be multiplied by its class's
    double bias_feature
    double tolerance
    int max_iter


cdef packed struct sample_t:  # of a class, side by side; see `SAMPLE` in _ranker.py
    int64_t begin, end  # of its features
    double sign, softness, divisor
    double alpha  # its dual variable


cdef void _collect(const problem_t* p, double class_softness, const int32_t* rows,
                   const int8_t* sign, Py_ssize_t n, sample_t* samples) noexcept nogil:
    # Begin with no sample having moved.
    cdef Py_ssize_t s
    cdef sample_t* one
    for s in range(n):
        one = samples + s
        one.begin, one.end = p.indptr[rows[s]], p.indptr[rows[s] + 1]
        one.sign, one.alpha = sign[s], 0
        one.softness = class_softness * p.softness[rows[s]]
        one.divisor = p.squared_norm[rows[s]] + one.softness


cdef inline double _dot(const problem_t* p, const sample_t* one, const float* w) noexcept nogil:
    # Four sums side by side, which don't wait for each other.
    cdef double a = 0, b = 0, c = 0, d = 0
    cdef int64_t q = one.begin
    while q + 4 <= one.end:
        a += <double>p.data[q] * w[p.indices[q]]
        b += <double>p.data[q + 1] * w[p.indices[q + 1]]
        c += <double>p.data[q + 2] * w[p.indices[q + 2]]
        d += <double>p.data[q + 3] * w[p.indices[q + 3]]
        q += 4
    while q < one.end:
        a += <double>p.data[q] * w[p.indices[q]]
        q += 1
    return (a + b) + (c + d)


cdef inline void _ask_for(const problem_t* p, const sample_t* one) noexcept nogil:
    prefetch(p.indices + one.begin, (one.end - one.begin) * sizeof(int32_t))
    prefetch(p.data + one.begin, (one.end - one.begin) * sizeof(float))


cdef inline void _add(const problem_t* p, const sample_t* one, double step,
                      float* w) noexcept nogil:
    cdef int64_t q
    for q in range(one.begin, one.end):
        w[p.indices[q]] = <float>(w[p.indices[q]] + step * p.data[q])


cdef double _descend(const problem_t* p, sample_t* samples, Py_ssize_t n, uint64_t key,
                     int32_t* order, float* w) noexcept nogil:
    # Dual coordinate descent with shrinking for the L2-loss SVM (Hsieh et al. 2008, algorithm 3).
    # Leaves the weights in w and returns the intercept.
    cdef Py_ssize_t s, j, n_active = n
    cdef double gradient, projected, old, step, bias = 0
    cdef double bound = INFINITY, highest, lowest
    cdef uint64_t counter = 0
    cdef int _sweep
    cdef sample_t* one
    for s in range(n):
        order[s] = <int32_t>s
    for _sweep in range(p.max_iter):
        highest = -INFINITY
        lowest = INFINITY
        for s in range(n_active - 1):
            j = s + rng_below(rng_bits(key, counter), n_active - s)
            counter += 1
            order[s], order[j] = order[j], order[s]
        s = 0
        while s < n_active:
            one = samples + order[s]
            if s + AHEAD < n_active:
                _ask_for(p, samples + order[s + AHEAD])
            gradient = (one.sign * (_dot(p, one, w) + bias * p.bias_feature) - 1
                        + one.softness * one.alpha)
            if one.alpha == 0 and gradient > bound:  # won't move for a while: shrink
                n_active -= 1
                order[s], order[n_active] = order[n_active], order[s]
                continue
            s += 1
            projected = gradient if one.alpha > 0 or gradient < 0 else 0
            highest = max(highest, projected)
            lowest = min(lowest, projected)
            if projected == 0:
                continue
            old = one.alpha
            one.alpha = max(old - gradient / one.divisor, 0)
            step = (one.alpha - old) * one.sign
            _add(p, one, step, w)
            bias += step * p.bias_feature
        if highest - lowest <= p.tolerance:
            if n_active == n:
                break
            n_active = n
            bound = INFINITY
        else:
            bound = highest if highest > 0 else INFINITY
    return bias * p.bias_feature


cdef Py_ssize_t _harvest(const problem_t* p, const sample_t* samples, Py_ssize_t n,
                         float threshold, float* w, int32_t* indices, float* data) noexcept nogil:
    # Move the weights above the threshold from w to (indices, data), leaving w zero.
    cdef Py_ssize_t s, found = 0
    cdef int64_t q
    cdef int32_t f
    for s in range(n):
        for q in range(samples[s].begin, samples[s].end):
            f = p.indices[q]
            if fabs(w[f]) > threshold:
                indices[found] = f
                data[found] = w[f]
                found += 1
            w[f] = 0
    return found


def group_pairs(
    const int64_t[::1] indptr,
    const int32_t[::1] indices,
    const int64_t[::1] rows,
    const int32_t[:, ::1] shortlist,
    int64_t[::1] seen,
    int64_t[::1] starts,
    int32_t[::1] pair_rows,
    int8_t[::1] pair_sign,
):
    """The samples of each class: those with the label, and those that have it on their shortlist.

    Parameters
    ----------
    indptr, indices : CSR structure of the labels
    rows : (n,), rows of the labels
    shortlist : (n, m), classes, possibly repeated
    seen : scratch, (n_classes,) of -1
    starts : output, (n_classes + 1,), where each class's samples start
    pair_rows, pair_sign : output, room for all labels and the shortlist: the samples of each class
        in the order of `rows`, and 1 for a label, -1 for a class on the shortlist only
    """
    cdef Py_ssize_t c, n_classes = seen.shape[0], total = 0
    cdef const int32_t* labels = &indices[0] if indices.shape[0] > 0 else NULL
    starts[:] = 0
    if pair_rows.shape[0] == 0 or n_classes == 0:
        return
    with nogil:
        _visit_pairs(&indptr[0], labels, rows, shortlist, 0, &seen[0], &starts[1], NULL, NULL)
        for c in range(n_classes):  # starts[c + 1] becomes the place that is filled next
            total += starts[c + 1]
            starts[c + 1] = total - starts[c + 1]
        _visit_pairs(&indptr[0], labels, rows, shortlist, rows.shape[0], &seen[0], &starts[1],
                     &pair_rows[0], &pair_sign[0])


cdef void _visit_pairs(
    const int64_t* indptr, const int32_t* labels, const int64_t[::1] rows,
    const int32_t[:, ::1] shortlist, Py_ssize_t first_mark, int64_t* seen, int64_t* place,
    int32_t* pair_rows, int8_t* pair_sign,
) noexcept nogil:
    # Count the pairs of each class in `place`, or write those of each class from its `place` on.
    cdef Py_ssize_t i, j, mark
    cdef int32_t row
    for i in range(rows.shape[0]):
        row = <int32_t>rows[i]
        mark = first_mark + i
        for j in range(indptr[row], indptr[row + 1]):
            _add_pair(labels[j], row, 1, mark, seen, place, pair_rows, pair_sign)
        for j in range(shortlist.shape[1]):
            _add_pair(shortlist[i, j], row, -1, mark, seen, place, pair_rows, pair_sign)


cdef inline void _add_pair(int32_t c, int32_t row, int8_t sign, Py_ssize_t mark, int64_t* seen,
                           int64_t* place, int32_t* pair_rows, int8_t* pair_sign) noexcept nogil:
    if seen[c] == mark:  # this row and class are paired already
        return
    seen[c] = mark
    if pair_rows != NULL:
        pair_rows[place[c]] = row
        pair_sign[place[c]] = sign
    place[c] += 1


def train_rankers(
    const int64_t[::1] indptr,
    const int32_t[::1] indices,
    const float[::1] data,
    const double[::1] squared_norm,
    const double[::1] softness,
    const double[::1] class_softness,
    double bias_feature,
    const int64_t[::1] pair_starts,
    const int32_t[::1] pair_rows,
    const int8_t[::1] pair_sign,
    Py_ssize_t first,
    const int64_t[::1] room,
    double tolerance,
    int max_iter,
    double threshold,
    uint64_t key,
    sample_t[:, ::1] samples,
    int32_t[:, ::1] order,
    float[:, ::1] scratch,
    int64_t[::1] counts,
    int32_t[::1] out_indices,
    float[::1] out_data,
    float[::1] intercept,
    int n_threads,
):
    """Train the rankers of classes first, ..., first + len(counts) - 1.

    Parameters
    ----------
    indptr, indices, data : CSR arrays of X
    squared_norm, softness : (n_samples,) squared length with the bias feature, and 1 / (2 C), to be
        multiplied by that of the class
    class_softness : (n_classes,)
    pair_starts, pair_rows, pair_sign : the samples of each class; 1 if it has the class, else -1
    room : (n_trained + 1,) where the weights of each class start in the output
    tolerance, max_iter : stop when projected gradients differ by less, or after so many sweeps
    threshold : weights of at most this size are dropped
    key : of random numbers
    samples, order : scratch, (n_threads, most samples of a class)
    scratch : (n_threads, n_features) of zeros, left as zeros
    counts, out_indices, out_data, intercept : output

    Owner: class.
    """
    cdef Py_ssize_t c, start, n
    cdef int thread = 0
    cdef problem_t p
    if first + counts.shape[0] + 1 > pair_starts.shape[0] or len(pair_rows) == 0:
        counts[:] = 0
        intercept[:] = 0
        return
    p.indptr = &indptr[0]
    p.indices = &indices[0] if indices.shape[0] > 0 else NULL
    p.data = &data[0] if data.shape[0] > 0 else NULL
    p.squared_norm = &squared_norm[0]
    p.softness = &softness[0]
    p.bias_feature = bias_feature
    p.tolerance = tolerance
    p.max_iter = max_iter
    with nogil, parallel(num_threads=n_threads):
        thread = threadid()
        for c in prange(counts.shape[0], schedule="dynamic", chunksize=1):
            start = pair_starts[first + c]
            n = pair_starts[first + c + 1] - start
            counts[c] = 0
            intercept[c] = 0
            if n > 0 and scratch.shape[1] > 0 and out_indices.shape[0] > 0:
                _collect(&p, class_softness[first + c], &pair_rows[start], &pair_sign[start], n,
                         &samples[thread, 0])
                intercept[c] = <float>_descend(
                    &p, &samples[thread, 0], n, rng_stream(key, first + c), &order[thread, 0],
                    &scratch[thread, 0])
                if room[c] < room[c + 1]:
                    counts[c] = _harvest(&p, &samples[thread, 0], n, <float>threshold,
                                         &scratch[thread, 0], &out_indices[room[c]],
                                         &out_data[room[c]])


cdef float _sparse_response(float response, const int32_t* indices, const float* data,
                            Py_ssize_t n, const int32_t* features, const float* weights,
                            int32_t m) noexcept nogil:
    # response + the inner product of two sparse vectors, both ascending, n being far less than m:
    # the terms of the dense sum that aren't zero, in its order. Searches side by side don't wait
    # for each other.
    cdef int32_t low[AT_ONCE]
    cdef int32_t left, half
    cdef Py_ssize_t start = 0, size, q
    while start < n:
        size = min(<Py_ssize_t>AT_ONCE, n - start)
        for q in range(size):
            low[q] = 0
        left = m
        while left > 1:  # the last feature that isn't greater, if any, is at low
            half = left // 2
            for q in range(size):
                low[q] += half if features[low[q] + half] <= indices[start + q] else 0
            left -= half
        for q in range(size):
            if features[low[q]] == indices[start + q]:
                response = response + weights[low[q]] * data[start + q]
        start += size
    return response


cdef inline float _hinge(float response, float max_loss) noexcept nogil:
    # The loss were the class true.
    cdef float loss = 1 - response
    if not loss <= max_loss:  # NaN, too
        return max_loss
    return max(loss, <float>0.0)


def penalise(
    const int64_t[::1] indptr,
    const int32_t[::1] indices,
    const float[::1] data,
    const int64_t[::1] rows,
    const int64_t[::1] class_indptr,
    const int32_t[::1] features,
    const float[::1] weights,
    const float[::1] intercept,
    float penalty,
    float max_loss,
    const int32_t[:, ::1] classes,
    float[:, ::1] dense,
    float[:, ::1] logits,
    int n_threads,
):
    """Take `penalty` times the ranker's hinge loss, were the class true, from logits, in place.

    `classes`, (n_rows, m): numbers that are no class are passed over. The loss is at most
    `max_loss`. `dense`, (n_threads, n_features), holds zeros and is left so. The ranker's weights
    are CSR by class, ascending as X's columns are; where a class has many more of them than the
    sample has features, the few that matter are searched for. Owner: sample.
    """
    cdef Py_ssize_t i, j, n_classes = intercept.shape[0]
    cdef int64_t q
    cdef Py_ssize_t n, m
    cdef int32_t c
    cdef float response
    cdef float* x = NULL
    if dense.shape[1] == 0:
        return
    with nogil, parallel(num_threads=n_threads):
        x = &dense[threadid(), 0]
        for i in prange(rows.shape[0], schedule="dynamic", chunksize=16):
            n = indptr[rows[i] + 1] - indptr[rows[i]]
            for q in range(indptr[rows[i]], indptr[rows[i] + 1]):
                x[indices[q]] = data[q]
            for j in range(classes.shape[1]):
                c = classes[i, j]
                if c < 0 or c >= n_classes:
                    continue
                response = intercept[c]
                m = class_indptr[c + 1] - class_indptr[c]
                if m > SEARCH_COST * n:
                    if n > 0:
                        response = _sparse_response(
                            response, &indices[indptr[rows[i]]], &data[indptr[rows[i]]], n,
                            &features[class_indptr[c]], &weights[class_indptr[c]], <int32_t>m)
                else:
                    for q in range(class_indptr[c], class_indptr[c + 1]):
                        response = response + weights[q] * x[features[q]]
                logits[i, j] = logits[i, j] - penalty * _hinge(response, max_loss)
            for q in range(indptr[rows[i]], indptr[rows[i] + 1]):
                x[indices[q]] = 0


def penalise_by_class(
    const int64_t[::1] indptr,
    const int32_t[::1] indices,
    const float[::1] data,
    const int64_t[::1] rows,
    const int64_t[::1] class_indptr,
    const int32_t[::1] features,
    const float[::1] weights,
    const float[::1] intercept,
    float penalty,
    float max_loss,
    const int32_t[::1] classes,
    const int64_t[::1] starts,
    const int32_t[::1] samples,
    const int64_t[::1] positions,
    float[:, ::1] dense,
    float[:, ::1] logits,
    int n_threads,
):
    """As `penalise`, the same bits, for pairs of a sample and a class that are grouped by class.

    `classes`, `starts`, `samples` and `positions`: a batch of `_grouping.group_by_column` of the
    pairs; its samples are places in `rows`, its positions places in `logits`. The weights of a
    class are spread out for all its samples, or searched for where these have few features. Owner:
    class.
    """
    cdef Py_ssize_t g
    cdef int64_t p, q, row, first, last, n_features
    cdef int32_t c
    cdef bint spread
    cdef float response
    cdef float* w = NULL
    cdef float* z = NULL
    if dense.shape[1] == 0 or positions.shape[0] == 0:
        return
    z = &logits[0, 0]
    with nogil, parallel(num_threads=n_threads):
        w = &dense[threadid(), 0]
        for g in prange(classes.shape[0], schedule="dynamic", chunksize=8):
            c = classes[g]
            first = class_indptr[c]
            last = class_indptr[c + 1]
            n_features = 0
            for p in range(starts[g], starts[g + 1]):
                row = rows[samples[p]]
                n_features = n_features + indptr[row + 1] - indptr[row]
            spread = last - first <= SEARCH_COST * n_features
            if spread:
                for q in range(first, last):
                    w[features[q]] = weights[q]
            for p in range(starts[g], starts[g + 1]):
                row = rows[samples[p]]
                response = intercept[c]
                if spread:
                    for q in range(indptr[row], indptr[row + 1]):
                        response = response + data[q] * w[indices[q]]
                elif indptr[row] < indptr[row + 1]:
                    response = _sparse_response(
                        response, &indices[indptr[row]], &data[indptr[row]],
                        indptr[row + 1] - indptr[row], &features[first], &weights[first],
                        <int32_t>(last - first))
                z[positions[p]] = z[positions[p]] - penalty * _hinge(response, max_loss)
            if spread:
                for q in range(first, last):
                    w[features[q]] = 0
