"""Losses over an active set: from logits to the gradient with respect to them.

A sample's active set has a dense part, the classes that the whole batch shares, and a sparse
part, its own. Both kernels overwrite logits by gradients. Owner: sample.
"""

from cython.parallel cimport prange
from libc.math cimport log
from libc.stdint cimport int32_t, int64_t

from ._simd cimport active_leaf, leaf_t, prefetch, prefetch_csr

cdef enum:
    LABELS_AHEAD = 4  # samples before which their labels' weights and slots are asked for


cdef inline void _ask_for_labels(
    const int64_t[::1] indptr, const int32_t[::1] labels, const float[::1] label_weight,
    const int64_t[::1] rows, const int32_t[::1] slot, Py_ssize_t i,
) noexcept nogil:
    # What samples soon after the i-th read of arrays whose order isn't that of the batch.
    cdef Py_ssize_t p, begin, end, later = i + LABELS_AHEAD
    prefetch_csr(&indptr[0], &labels[0] if labels.shape[0] > 0 else NULL, &rows[0], i,
                 rows.shape[0])
    if later < rows.shape[0]:
        begin, end = indptr[rows[later]], indptr[rows[later] + 1]
        if begin < end:
            prefetch(&label_weight[begin], (end - begin) * sizeof(float))
        for p in range(begin, end):
            prefetch(&slot[labels[p]], sizeof(int32_t))


cdef inline float* _target(float* shared, float* own, const int32_t* slot, int32_t label,
                           Py_ssize_t place) noexcept nogil:
    # Where the logit of a true label stands: in the shared part if the class has a slot there,
    # otherwise at the head of the sample's own part, in the order of the labels.
    return shared + slot[label] if slot[label] >= 0 else own + place


cdef double _sum(Py_ssize_t n, const double[::1] loss) noexcept nogil:
    cdef Py_ssize_t i
    cdef double total = 0
    for i in range(n):
        total += loss[i]
    return total


cpdef double sigmoid_loss(
    const int64_t[::1] label_indptr,
    const int32_t[::1] labels,
    const float[::1] label_weight,
    const int64_t[::1] rows,
    const int32_t[::1] slot,
    const float[::1] sample_weight,
    Py_ssize_t n_shared,
    float[:, ::1] shared,
    const int64_t[::1] own_indptr,
    float[::1] own,
    double[::1] loss,
    int n_threads,
) noexcept:
    """Binary cross-entropy, one-vs-rest over the active set.

    Parameters
    ----------
    label_indptr, labels : CSR structure of the true labels, without repetitions
    label_weight : (nnz,) factor of each true label's term of the loss
    rows : (n_batch,) rows of that structure
    slot : (n_classes,) place of a class in the shared part, -1 if it has none
    sample_weight : (n_batch,) factor of each sample's gradient and loss
    shared : (n_batch, at least n_shared), logits in, gradients out
    own_indptr, own : CSR structure and logits of the samples' own parts; gradients out
    loss : output, (n_batch,)

    Returns
    -------
    total : float, the sum of `loss`
    """
    cdef Py_ssize_t i, p, place, n_own
    cdef float* z
    cdef float* y
    cdef float* target
    cdef float weight, opposite
    cdef const leaf_t* leaf = active_leaf()
    for i in prange(rows.shape[0], nogil=True, num_threads=n_threads, schedule="static"):
        _ask_for_labels(label_indptr, labels, label_weight, rows, slot, i)
        z = &shared[i, 0] if n_shared > 0 else NULL
        n_own = own_indptr[i + 1] - own_indptr[i]
        y = &own[own_indptr[i]] if n_own > 0 else NULL
        weight = sample_weight[i]
        loss[i] = 0
        place = 0
        for p in range(label_indptr[rows[i]], label_indptr[rows[i] + 1]):
            target = _target(z, y, &slot[0], labels[p], place)
            loss[i] -= target[0]
            if label_weight[p] != 1:
                opposite = -target[0]
                loss[i] += (label_weight[p] - 1) * leaf.sigmoid_sum(1, &opposite)
            if slot[labels[p]] < 0:
                place = place + 1
        loss[i] += leaf.sigmoid_sum(n_shared, z) + leaf.sigmoid_sum(n_own, y)
        loss[i] *= weight
        place = 0
        for p in range(label_indptr[rows[i]], label_indptr[rows[i] + 1]):
            target = _target(z, y, &slot[0], labels[p], place)
            target[0] = label_weight[p] * (target[0] - 1)
            if slot[labels[p]] < 0:
                place = place + 1
        leaf.scaled(n_shared, weight, z, z)
        leaf.scaled(n_own, weight, y, y)
    return _sum(rows.shape[0], loss)


cpdef double softmax_loss(
    const int64_t[::1] label_indptr,
    const int32_t[::1] labels,
    const float[::1] label_weight,
    const int64_t[::1] rows,
    const int32_t[::1] slot,
    const float[::1] sample_weight,
    Py_ssize_t n_shared,
    float[:, ::1] shared,
    const int64_t[::1] own_indptr,
    float[::1] own,
    double[::1] loss,
    int n_threads,
) noexcept:
    """Cross-entropy of the softmax over the active set, the target spread evenly over the labels.

    Chen et al., SLIDE (arXiv:1903.03129), section 3.1. A label's share of the target is multiplied
    by its weight. A sample without labels has loss 0.
    Parameters and result as in `sigmoid_loss`.
    """
    cdef Py_ssize_t i, p, place, n_own, n_labels
    cdef float* z
    cdef float* y
    cdef float weight, share, top, factor
    cdef double total, mass
    cdef const leaf_t* leaf = active_leaf()
    for i in prange(rows.shape[0], nogil=True, num_threads=n_threads, schedule="static"):
        _ask_for_labels(label_indptr, labels, label_weight, rows, slot, i)
        z = &shared[i, 0] if n_shared > 0 else NULL
        n_own = own_indptr[i + 1] - own_indptr[i]
        y = &own[own_indptr[i]] if n_own > 0 else NULL
        n_labels = label_indptr[rows[i] + 1] - label_indptr[rows[i]]
        weight = sample_weight[i] if n_labels > 0 else 0
        share = <float>(1.0 / n_labels) if n_labels > 0 else 0
        loss[i] = 0
        mass = 0
        place = 0
        for p in range(label_indptr[rows[i]], label_indptr[rows[i] + 1]):
            loss[i] -= label_weight[p] * share * _target(z, y, &slot[0], labels[p], place)[0]
            mass = mass + label_weight[p]
            if slot[labels[p]] < 0:
                place = place + 1
        mass = mass / n_labels if n_labels > 0 else 0
        top = max(leaf.maximum(n_shared, z), leaf.maximum(n_own, y))
        total = leaf.exp_sum(n_shared, top, z) + leaf.exp_sum(n_own, top, y)
        factor = <float>(weight * mass / total)
        loss[i] = weight * (loss[i] + mass * top + mass * log(total)) if n_labels > 0 else 0
        leaf.scaled(n_shared, factor, z, z)
        leaf.scaled(n_own, factor, y, y)
        place = 0
        for p in range(label_indptr[rows[i]], label_indptr[rows[i] + 1]):
            _target(z, y, &slot[0], labels[p], place)[0] -= weight * share * label_weight[p]
            if slot[labels[p]] < 0:
                place = place + 1
    return _sum(rows.shape[0], loss)
