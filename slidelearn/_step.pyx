"""One batch of training: the phases of SLIDE in the order in which data flows through them.

Each phase is a kernel in which every row of the output has one owner, so that results don't depend
on the number of threads. A batch is read, scored, and only then written. This is compiled as the
kernels take some ten microseconds each: of a batch's time, Python between them took a fifth.
"""

from time import perf_counter

import numpy as np

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport isfinite
from libc.stdint cimport int8_t, int32_t, int64_t, uint16_t, uint64_t

from ._kernels._dense cimport block_logits as logits_of_floats
from ._kernels._dense cimport (
    gather_rows, matmul, relu_dropout, relu_dropout_backward, update_bias, update_block,
)
from ._kernels._loss cimport sigmoid_loss, softmax_loss
from ._kernels._quantised cimport block_logits as logits_of_bytes
from ._kernels._rows cimport (
    add_rows, combine_rows, combine_slices, pair_logits, update_entries, update_rows, update_slices,
)
from ._kernels._sampling cimport assign_slots, clear_slots
from ._kernels._simd cimport Optimizer, rng_stream, row_t
from ._kernels._sparse_block cimport multiply_pairs, sparsify, update_pairs

from . import _memory
from ._grouping import group_batches
from ._kernels import _dense, _simd
from ._memory import code_scratch

PHASES = ("forward", "sampling", "scores", "loss", "backward", "output_step", "input_step")

cdef enum:
    FORWARD, SAMPLING, SCORES, LOSS, BACKWARD, OUTPUT_STEP, INPUT_STEP, N_PHASES


cdef Py_ssize_t in_lines(Py_ssize_t n):
    """Room for n numbers of 4 bytes, an odd number of cache lines: rows that begin with one, and
    don't compete for places in caches."""
    return n // 32 * 32 + 48


cdef class PhaseClock:
    """Wall seconds of the phases of training, added up over batches."""

    cdef double spent[N_PHASES]
    cdef double last

    def __cinit__(self):
        for phase in range(N_PHASES):
            self.spent[phase] = 0
        self.start()

    @property
    def seconds(self):
        """dict of str to float, one entry for each of `PHASES`"""
        return dict(zip(PHASES, self.spent, strict=True))

    cpdef void start(self) except *:
        self.last = perf_counter()

    def lap(self, str phase):
        """Everything since the last look at the clock belongs to `phase`."""
        self.add(PHASES.index(phase))

    cdef void add(self, int phase) except *:
        cdef double now = perf_counter()
        self.spent[phase] += now - self.last
        self.last = now


cdef class LayerViews:
    """A `Layer` as kernels see it, and a hidden layer's activations of a batch."""

    cdef readonly object arrays  # the layer itself
    cdef float[:, ::1] weights, weights_m, weights_v
    cdef uint16_t[:, ::1] weights16, weights16_m, weights16_v  # instead, of a layer in bfloat16
    cdef float[::1] bias, bias_m, bias_v
    cdef float[:, ::1] activations
    cdef bint is_narrow

    def __init__(self, layer, activations):
        self.is_narrow = layer.weights.dtype == np.uint16
        if self.is_narrow:
            self.weights16, self.weights16_m = layer.weights, layer.weights_m
            self.weights16_v = layer.weights_v
        else:
            self.weights, self.weights_m, self.weights_v = (layer.weights, layer.weights_m,
                                                            layer.weights_v)
        self.bias, self.bias_m, self.bias_v = layer.bias, layer.bias_m, layer.bias_v
        self.arrays, self.activations = layer, activations


cdef class BatchStep:
    """What a network learns from one batch after another.

    Parameters
    ----------
    network : Network, with optimizer state; it is changed in place
    slices : Slices of the input layer, which are changed instead of it, or None
    X : CSR of shape (n_samples, n_features)
    labels : CSR of shape (n_samples, n_classes)
        Its data are the weights of the labels' terms in the loss.
    log_inclusion : ndarray of shape (n_classes,), float32
    sampler : ActiveSetSampler
    loss : {"sigmoid", "softmax"}
    dropout : float
    batch_size : int, samples of a batch at most
    max_density : float
        Share of the pairs of a sample and a shared class up to which they are worked on as a
        sparse matrix.
    n_threads : int, at most

    Attributes
    ----------
    clock : PhaseClock
    n_active : int
        Classes computed so far, summed over samples.
    density : float
        Share of those pairs that `sparsify` left of the last batch; 0 where it wasn't asked.
    counts, places : ndarrays, these pairs; see `_sparse_block`
    own_classes : tuple of two ndarrays, see `ActiveSetSampler.draw_own`, of the last batch
    """

    # What stays
    cdef readonly PhaseClock clock
    cdef readonly object counts, places
    cdef readonly long long n_active
    cdef readonly double density
    cdef readonly tuple own_classes
    cdef object sampler, hidden_array
    cdef tuple no_own_classes
    cdef list hidden_layers
    cdef LayerViews input, output
    cdef bint is_sliced, is_sigmoid, draws_own, hashes
    cdef float[:, :, ::1] slices, slices_m, slices_v
    cdef double dropout, max_density
    cdef const int64_t[::1] indptr, label_indptr
    cdef const int32_t[::1] indices, label_indices
    cdef int32_t[::1] slot
    cdef const float[::1] data, label_weights, log_inclusion, nothing
    # Scratch
    cdef Py_ssize_t room  # copies of rows of the output layer
    cdef float[:, ::1] panels, gradient, hidden_gradient, blocks, pair_values, scales
    cdef float[:, ::1] logits
    cdef float[::1] biases, factors, no_own_z
    cdef double[::1] losses
    cdef int8_t[:, :, ::1] tiles, codes
    cdef int64_t[::1] pair_counts
    cdef int64_t[:, ::1] heads
    cdef int32_t[:, ::1] pair_places, starts
    cdef int32_t[::1] samples
    # The present batch
    cdef int n_threads
    cdef const int64_t[::1] rows, own_indptr
    cdef const float[::1] scale, least, block_bias
    cdef const int32_t[::1] shared, own
    cdef float[:, ::1] hidden, z, first_gradient
    cdef const float[:, ::1] block
    cdef float[::1] own_z

    def __init__(self, network, slices, X, labels, log_inclusion, sampler, *, str loss,
                 double dropout, Py_ssize_t batch_size, double max_density, int n_threads):
        self.hidden_layers = []
        for layer in (network.input, *network.middle):
            self.hidden_array = _memory.empty((batch_size, len(layer.bias)))
            self.hidden_layers.append(LayerViews(layer, self.hidden_array))
        self.input, self.output = self.hidden_layers[0], LayerViews(network.output, None)
        self.is_sliced = slices is not None
        if self.is_sliced:
            self.slices, self.slices_m, self.slices_v = (slices.weights, slices.weights_m,
                                                         slices.weights_v)
        self.indptr, self.indices, self.data = X.indptr, X.indices, X.data
        self.label_indptr, self.label_indices = labels.indptr, labels.indices
        self.label_weights, self.log_inclusion = labels.data, log_inclusion
        self.sampler, self.slot = sampler, sampler.slot
        self.draws_own, self.hashes = sampler.plan.draws_own, sampler.plan.hashes
        self.no_own_classes = np.zeros(batch_size + 1, np.int64), np.empty(0, np.int32)
        self.is_sigmoid, self.dropout, self.max_density = loss == "sigmoid", dropout, max_density
        self.clock, self.n_active, self.density = PhaseClock(), 0, 0.0
        self.nothing = np.empty(0, np.float32)
        self.no_own_z = np.empty(0, np.float32)
        width = self.hidden_array.shape[1]
        widest = max(layer.weights.shape[1] for layer in network.layers)
        self.panels = _memory.empty((n_threads, width * _dense.PANEL_WIDTH))
        self.tiles, self.scales, self.codes = code_scratch(batch_size, width, n_threads)
        self.gradient = _memory.empty((n_threads, _dense.TILE_ROWS * (widest + 1)))
        self.hidden_gradient = _memory.empty((batch_size, width))
        self.logits = _memory.empty((batch_size, 0))
        self.losses = np.empty(batch_size)
        self.counts = self.pair_counts = np.empty(batch_size, np.int64)
        self.heads = np.empty((n_threads, batch_size), np.int64)
        self._make_room(0)

    def _make_room(self, Py_ssize_t n_shared):
        """Scratch for copies of so many shared classes, and for pairs that `sparsify` leaves."""
        batch_size, n_threads = self.heads.shape[1], self.heads.shape[0]
        self.room = n_shared + n_shared // 4
        self.blocks = _memory.empty((self.room, self.hidden_gradient.shape[1]))
        self.biases = np.empty(self.room, np.float32)
        self.places = self.pair_places = _memory.empty((batch_size, in_lines(self.room)), np.int32)
        self.pair_values = _memory.empty((batch_size, in_lines(self.room)))
        n_pairs = int(self.max_density * batch_size * self.room)
        self.samples, self.factors = np.empty(n_pairs, np.int32), np.empty(n_pairs, np.float32)
        self.starts = np.empty((n_threads, 2 * self.room + 1), np.int32)

    def run(self, batch, long long step, Optimizer optimizer, uint64_t dropout_key,
            uint64_t gradient_key, float coarseness, bint sparse, bint from_bytes,
            int n_threads):
        """Do all phases of a batch.

        Parameters
        ----------
        batch : Batch
        step : int, its number
        optimizer : Optimizer
        dropout_key, gradient_key : int, from which the random numbers of this step follow
        coarseness : float, factor of the batch's `least`
        sparse : bool, whether few gradients of shared classes may stand for all
        from_bytes : bool, whether scores of shared classes may come from bytes
        n_threads : int

        Returns
        -------
        loss : float
            Summed over the batch. Where it isn't finite, the network wasn't changed.
        """
        cdef double loss
        cdef LayerViews output = self.output
        self.rows, self.scale, self.shared = batch.rows, batch.scale, batch.shared
        self.n_threads = n_threads
        self.clock.start()
        self._forward(dropout_key)
        self._lap(FORWARD)
        assign_slots(self.shared, self.slot)
        self.own_classes = self.no_own_classes
        if self.draws_own and self.shared.shape[0] < self.slot.shape[0]:
            hidden = self.hidden_array[:self.rows.shape[0]]
            self.own_classes = self.sampler.draw_own(batch.rows, hidden, step)
        self.own_indptr, self.own = self.own_classes
        self._lap(SAMPLING)
        self.least = coarseness * batch.least if sparse else self.nothing
        if output.is_narrow:
            loss = _output_layer(self, optimizer, from_bytes, gradient_key, output.weights16,
                                 output.weights16_m, output.weights16_v)
        else:
            loss = _output_layer(self, optimizer, from_bytes, gradient_key, output.weights,
                                 output.weights_m, output.weights_v)
        if not isfinite(loss):
            return loss
        clear_slots(self.shared, self.slot)
        if self.hashes:
            self.sampler.note_step(batch.shared, self.own_classes[1])
        self._lap(OUTPUT_STEP)
        self._update_middle(optimizer)
        self._lap(BACKWARD)
        columns, starts, samples, positions = batch.features
        self._update_input(optimizer, columns, starts, samples, positions)
        self._lap(INPUT_STEP)
        self.n_active += self.rows.shape[0] * self.shared.shape[0] + self.own.shape[0]
        return loss

    cdef void _lap(self, int phase) except *:
        PyErr_CheckSignals()  # Ctrl-C needn't wait for a long batch
        self.clock.add(phase)

    cdef void _forward(self, uint64_t key) except *:
        """Activations of all hidden layers, after ReLU and dropout."""
        cdef LayerViews below, layer = self.input
        cdef Py_ssize_t depth, n = self.rows.shape[0]
        self.hidden = layer.activations[:n]
        if self.is_sliced:
            combine_slices(self.indptr, self.indices, self.data, self.rows, self.slices, layer.bias,
                           self.hidden, self.n_threads)
        else:
            combine_rows(self.indptr, self.indices, self.data, self.rows, layer.weights, layer.bias,
                         self.hidden, self.n_threads)
        relu_dropout(self.hidden, rng_stream(key, 0), self.dropout, self.n_threads)
        for depth in range(1, len(self.hidden_layers)):
            below, layer = layer, self.hidden_layers[depth]
            self.hidden = layer.activations[:n]
            matmul(below.activations[:n], layer.weights, layer.bias, self.hidden, self.n_threads)
            relu_dropout(self.hidden, rng_stream(key, depth), self.dropout, self.n_threads)

    cdef double _loss(self):
        """Replace logits by gradients; return the summed loss."""
        cdef double mean
        if self.is_sigmoid:
            mean = sigmoid_loss(self.label_indptr, self.label_indices, self.label_weights,
                                self.rows, self.slot, self.scale, self.shared.shape[0], self.z,
                                self.own_indptr, self.own_z, self.losses, self.n_threads)
        else:
            mean = softmax_loss(self.label_indptr, self.label_indices, self.label_weights,
                                self.rows, self.slot, self.scale, self.shared.shape[0], self.z,
                                self.own_indptr, self.own_z, self.losses, self.n_threads)
        return mean * self.rows.shape[0]

    cdef bint _sparsify(self, uint64_t key):
        """Whether few pairs of a sample and a shared class stand for all: not without sampling,
        nor where more than `max_density` of them would be left."""
        cdef Py_ssize_t left, n_shared = self.shared.shape[0], n = self.rows.shape[0]
        self.density = 0
        if self.least.shape[0] == 0 or n * n_shared == 0:
            return False
        left = sparsify(self.z, n_shared, self.least, key, self.pair_counts, self.pair_places,
                        self.pair_values, self.n_threads)
        self.density = left / <double>(n * n_shared)
        return self.density <= self.max_density

    def _update_middle(self, Optimizer optimizer):
        """Step the middle layers, last one first; leaves the gradient of the first layer."""
        cdef LayerViews below, layer
        cdef Py_ssize_t depth, n = self.rows.shape[0]
        cdef const float[:, ::1] transposed
        cdef float[:, ::1] passed, gradient = self.hidden_gradient[:n]
        for depth in range(len(self.hidden_layers) - 1, 0, -1):
            layer, below = self.hidden_layers[depth], self.hidden_layers[depth - 1]
            relu_dropout_backward(layer.activations[:n], self.dropout, gradient, self.n_threads)
            passed = np.empty((n, layer.weights.shape[0]), np.float32)
            arrays = layer.arrays
            transposed = np.ascontiguousarray(arrays.weights.T)
            matmul(gradient, transposed, self.nothing, passed, self.n_threads)
            change = np.empty_like(arrays.weights)
            matmul(below.activations[:n].T, gradient, self.nothing, change, self.n_threads)
            _simd.step(optimizer, change.reshape(-1), arrays.weights.reshape(-1),
                       arrays.weights_m.reshape(-1), arrays.weights_v.reshape(-1))
            update_bias(gradient, optimizer, layer.bias, layer.bias_m, layer.bias_v,
                        self.gradient)
            gradient = passed
        self.first_gradient = gradient

    cdef void _update_input(
        self, Optimizer optimizer, const int32_t[::1] columns, const int64_t[::1] starts,
        const int32_t[::1] samples, const int64_t[::1] positions,
    ) except *:
        """Step the rows of the batch's features; see `group_by_column`."""
        cdef LayerViews layer = self.input
        relu_dropout_backward(layer.activations[:self.rows.shape[0]], self.dropout,
                              self.first_gradient, self.n_threads)
        if self.is_sliced:
            update_slices(columns, starts, samples, positions, self.data, self.first_gradient,
                          optimizer, self.slices, self.slices_m, self.slices_v, self.gradient,
                          self.n_threads)
        else:
            update_rows(columns, starts, samples, positions, self.data, self.first_gradient,
                        optimizer, layer.weights, layer.weights_m, layer.weights_v, self.gradient,
                        self.n_threads)
        update_bias(self.first_gradient, optimizer, layer.bias, layer.bias_m, layer.bias_v,
                    self.gradient)


# The output layer, whose rows are float32 or bfloat16

cdef double _output_layer(
    BatchStep s, Optimizer optimizer, bint from_bytes, uint64_t key, row_t[:, ::1] weights,
    row_t[:, ::1] weights_m, row_t[:, ::1] weights_v,
) except? -1:
    """From activations to the step of the active classes; returns the summed loss."""
    cdef bint few
    cdef double loss
    _score(s, from_bytes, weights)
    s._lap(SCORES)
    loss = s._loss()
    if not isfinite(loss):
        return loss
    few = s._sparsify(key)
    s._lap(LOSS)
    _hidden_gradient(s, few, weights)
    s._lap(BACKWARD)
    _update_output(s, few, optimizer, weights, weights_m, weights_v)
    return loss


cdef void _score(BatchStep s, bint from_bytes, row_t[:, ::1] weights) except *:
    """Logits of the shared classes, and of those of single samples.

    The bias has the log of the class's inclusion probability subtracted (log-Q correction,
    Bengio & Senecal 2008, section 3), so that what is learnt are logits of the full problem.
    A batch that has all classes needs no correction.
    """
    cdef Py_ssize_t n = s.rows.shape[0], n_shared = s.shared.shape[0]
    cdef bint is_all = n_shared == weights.shape[0], is_copied = True
    if row_t is float:
        if is_all:
            s.block, s.block_bias, is_copied = weights, s.output.bias, False
    if is_copied:
        if n_shared > s.room:
            s._make_room(n_shared)
        s.block, s.block_bias = s.blocks[:n_shared], s.biases[:n_shared]
        gather_rows(weights, s.output.bias, s.nothing if is_all else s.log_inclusion, s.shared,
                    s.blocks[:n_shared], s.biases[:n_shared], s.n_threads)
    if n_shared > s.logits.shape[1]:
        s.logits = _memory.empty((s.logits.shape[0], in_lines(n_shared + n_shared // 4)))
    s.z = s.logits[:n]
    if from_bytes:
        logits_of_bytes(s.hidden, s.block, s.block_bias, s.z, s.tiles, s.scales, s.codes,
                        s.n_threads)
    else:
        logits_of_floats(s.hidden, s.block, s.block_bias, s.z, s.panels, s.n_threads)
    s.own_z = s.no_own_z
    if s.own.shape[0] > 0:
        s.own_z = np.empty(s.own.shape[0], np.float32)
        pair_logits(s.own_indptr, s.own, s.hidden, weights, s.output.bias, s.own_z, s.n_threads)


cdef void _hidden_gradient(BatchStep s, bint few, row_t[:, ::1] weights) except *:
    cdef float[:, ::1] gradient = s.hidden_gradient[:s.rows.shape[0]]
    if few:
        multiply_pairs(s.pair_counts, s.pair_places, s.pair_values, s.block, gradient,
                       s.n_threads)
    else:
        matmul(s.z[:, :s.shared.shape[0]], s.block, s.nothing, gradient, s.n_threads)
    if s.own.shape[0] > 0:
        add_rows(s.own_indptr, s.own, s.own_z, weights, gradient, s.n_threads)


cdef void _update_output(
    BatchStep s, bint few, Optimizer optimizer, row_t[:, ::1] weights, row_t[:, ::1] weights_m,
    row_t[:, ::1] weights_v,
) except *:
    cdef LayerViews layer = s.output
    cdef const float[:, :] delta = s.z[:, :s.shared.shape[0]]
    cdef const int32_t[::1] columns, samples
    cdef const int64_t[::1] starts, positions
    if few:
        update_pairs(s.pair_counts, s.pair_places, s.pair_values, s.hidden, s.shared, optimizer,
                     weights, weights_m, weights_v, layer.bias, layer.bias_m, layer.bias_v,
                     s.gradient, s.samples, s.factors, s.heads, s.starts, s.n_threads)
    else:
        update_block(delta, s.hidden, s.shared, optimizer, weights, weights_m, weights_v,
                     layer.bias, layer.bias_m, layer.bias_v, s.gradient, s.n_threads)
    if s.own.shape[0] == 0:
        return
    n = s.rows.shape[0]
    (columns, starts, samples, positions), = group_batches(
        *s.own_classes, np.arange(n), n, s.sampler.own_slot)
    update_rows(columns, starts, samples, positions, s.own_z, s.hidden, optimizer, weights,
                weights_m, weights_v, s.gradient, s.n_threads)
    update_entries(columns, starts, positions, s.own_z, optimizer, layer.bias, layer.bias_m,
                   layer.bias_v, s.n_threads)
