"""Plain oracles of the training and prediction kernels: numpy, float64, one row at a time.

Results are exact where a kernel copies, counts, sorts or draws; otherwise they are what the kernel
approximates in float32. The random numbers are those of `reference_lsh`.
"""

import numpy as np

from tests.reference_lsh import rng_below, rng_bits, rng_stream

# Leaf functions


def log1p_exp(z):
    with np.errstate(invalid="ignore"):
        return np.logaddexp(0, np.asarray(z, np.float64))


def sigmoid(z):
    return np.exp(-np.logaddexp(0, -np.asarray(z, np.float64)))


def widen(bits):
    """bfloat16 to float32."""
    return (np.asarray(bits, np.uint16).astype(np.uint32) << 16).view(np.float32)


def narrow(values, up):
    """float32 to bfloat16, rounded up where the half that falls away is at least 2**16 - `up`."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    rounded = (bits.astype(np.uint64) + up >> 16).astype(np.uint16)
    return np.where(np.isnan(values), (bits >> 16 | 0x40).astype(np.uint16), rounded)


def nearest(values):
    """float32 to the nearest bfloat16, ties to even."""
    odd = np.asarray(values, np.float32).view(np.uint32) >> 16 & 1
    return narrow(values, odd + 0x7FFF)


def random_words(key, n):
    """32 random bits for each of n lanes."""
    x = np.arange(n, dtype=np.uint32) * np.uint32(0x9E3779B9) + np.uint32(key & 0xFFFFFFFF)
    x = (x ^ x >> 16) * np.uint32(0x7FEB352D) + np.uint32(key >> 32)
    x = (x ^ x >> 15) * np.uint32(0x846CA68B)
    return x ^ x >> 16


def rounding_bits(key, n):
    """The 16 random bits with which w, m and v of each column are rounded, (3, n)."""
    ring = random_words(key, (n + 1) // 2).astype(np.uint64) * (2**32 + 1)  # the 32 bits twice
    pairs = np.array([[ring, ring >> 16], [ring >> 8, ring >> 24], [ring >> 16, ring]]) & 0xFFFF
    return pairs.transpose(0, 2, 1).reshape(3, -1)[:, :n]


# Which of w, m and v a solver reads and writes.
KEPT = {"sgd": (0,), "adagrad": (0, 1), "adam": (0, 1, 2), "rmsprop": (0, 2)}


class Optimizer:
    """A step of sgd, adagrad or adam as their papers have it, in float64.

    `step` changes `w`, `m` and `v` in place; adagrad's sum of squares is `m`. rmsprop is adam with
    a `beta_1` of 0.
    """

    def __init__(self, solver, learning_rate, t, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
        self.solver = solver
        self.rate = learning_rate
        self.t = t
        self.betas = beta_1, beta_2
        self.epsilon = epsilon

    def step(self, g, w, m, v):
        g = np.asarray(g, np.float64)
        if self.solver == "sgd":
            w -= self.rate * g
        elif self.solver == "adagrad":
            m += g**2
            w -= self.rate * g / (np.sqrt(m) + self.epsilon)
        else:
            beta_1, beta_2 = self.betas
            beta_1 = 0 if self.solver == "rmsprop" else beta_1
            m[...] = beta_1 * m + (1 - beta_1) * g
            v[...] = beta_2 * v + (1 - beta_2) * g**2
            mean, square = m / (1 - beta_1**self.t), v / (1 - beta_2**self.t)
            w -= self.rate * mean / (np.sqrt(square) + self.epsilon)


# Grouping


def group_by_column(indptr, indices, rows):
    """Columns in order of first occurrence; of each, [(place in rows, place in indices), ...]."""
    groups = {}
    for b, row in enumerate(rows):
        for p in range(indptr[row], indptr[row + 1]):
            groups.setdefault(int(indices[p]), []).append((b, p))
    return groups


# Sparse and dense products


def combine_rows(indptr, indices, data, rows, weights, start):
    out = np.tile(np.asarray(start, np.float64), (len(rows), 1))
    for i, row in enumerate(rows):
        for p in range(indptr[row], indptr[row + 1]):
            out[i] += np.float64(data[p]) * weights[indices[p]].astype(np.float64)
    return out


def pair_logits(indptr, indices, hidden, weights, bias):
    sample = np.repeat(np.arange(len(hidden)), np.diff(indptr))
    products = hidden[sample].astype(np.float64) * weights[indices]
    return products.sum(axis=1) + bias[indices]


def dropout_mask(key, n, width, dropout):
    """True where an activation stays."""
    threshold = int(dropout * 65536 + 0.5)
    keep = np.empty((n, width), bool)
    for i in range(n):
        stream = rng_stream(key, i)
        for j in range(width):
            keep[i, j] = (rng_bits(stream, j // 4) >> 16 * (j % 4) & 0xFFFF) >= threshold
    return keep


def relu_dropout(hidden, key, dropout):
    keep = dropout_mask(key, *hidden.shape, dropout)
    return np.where(keep, np.maximum(hidden, 0), 0) / (1 - dropout)


def chain(start, a, b):
    """One rounded product and one rounded sum after the other: a logit at the scalar level."""
    z = np.float32(start)
    for x, y in zip(a, b, strict=True):
        z = np.float32(x * y) + z
    return z


def quantised_block_logits(hidden, block, bias):
    """In float32 and integers, as the kernel: the same bits."""
    one = np.float32(1)

    def encode(rows):
        scale = np.abs(rows).max(axis=1, initial=0) / np.float32(127)
        inverse = one / np.maximum(scale, np.finfo(np.float32).tiny)
        return np.rint(rows * inverse[:, None]).astype(np.int64), scale

    (h, h_scale), (w, w_scale) = encode(hidden), encode(block)
    return bias + h_scale[:, None] * w_scale * (h @ w.T).astype(np.float32)


# Linear rankers


def group_pairs(indptr, labels, rows, shortlist):
    """Of each class [(row, sign), ...]: 1 for rows that have it, -1 for those on whose shortlist it
    only is."""
    pairs = {}
    for row, listed in zip(rows, shortlist, strict=True):
        own = set(labels[indptr[row]:indptr[row + 1]].tolist())
        for c in own | set(listed.tolist()):
            pairs.setdefault(c, []).append((int(row), 1 if c in own else -1))
    return pairs


def penalise(X, coef, intercept, penalty, max_loss, rows, classes, logits):
    """Dense X and weights; one rounded product and sum after the other, in the order of features
    that both have."""
    scores = logits.copy()
    for i, j in np.ndindex(classes.shape):
        c = classes[i, j]
        if 0 <= c < len(intercept):
            x, w = X[rows[i]], coef[c]
            both = np.flatnonzero((x != 0) & (w != 0))
            loss = min(max(np.float32(1) - chain(intercept[c], w[both], x[both]), np.float32(0)),
                       np.float32(max_loss))
            scores[i, j] -= np.float32(penalty) * loss
    return scores


# Losses: (summed loss, gradient) of one sample over its active set. `label_weight` is the factor
# of each active class's term where it is a label.


def sigmoid_loss(logits, is_label, weight, label_weight=1.0):
    factor = weight * np.where(is_label, label_weight, 1.0)
    signed = np.where(is_label, -logits, logits)
    return factor @ log1p_exp(signed), factor * (sigmoid(logits) - is_label)


def sparsify(gradient, least, key):
    """What is smaller than `least` becomes that or 0, at random; float32, as the kernel's."""
    fraction = (random_words(key, len(gradient)) >> 9).astype(np.float32) / np.float32(2**23)
    kept = np.abs(gradient) > least * fraction
    return np.where(kept, np.copysign(np.maximum(np.abs(gradient), least), gradient), 0)


def softmax_loss(logits, is_label, weight, label_weight=1.0):
    if not is_label.any():
        return 0.0, np.zeros(len(logits))
    target = is_label * label_weight / is_label.sum()
    log_probability = logits - np.logaddexp.reduce(logits)
    gradient = target.sum() * np.exp(log_probability) - target
    return -weight * (target @ log_probability), weight * gradient


LOSSES = {"sigmoid": sigmoid_loss, "softmax": softmax_loss}


# Sampling


def collect_labels(indptr, labels, rows):
    return list(dict.fromkeys(
        int(c) for row in rows for c in labels[indptr[row]:indptr[row + 1]]
    ))


def fill(found, taken, n, stream, n_classes):
    """Append uniform draws to `found`, none of them in it or in `taken`, until it has n."""
    found, counter = list(found), 0
    while len(found) < n:
        c = rng_below(rng_bits(stream, counter), n_classes)
        counter += 1
        if c not in found and c not in taken:
            found.append(c)
    return found


def draw_shared(found, key, n_random, n_classes):
    return fill(found, (), len(found) + n_random, key, n_classes)


def own_active_set(labels, shared, candidates, key, i, floor, n_classes):
    """The own part of the active set of sample i."""
    own = list(dict.fromkeys(int(c) for c in [*labels, *candidates] if c not in shared))
    return fill(own, shared, floor, rng_stream(key, i), n_classes)


# Top k


def topk(scores, k):
    """Places of the k best of each row, best first, the first of equals; NaN is worst."""
    scores = np.where(np.isnan(scores), -np.inf, scores)
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


# The whole network


class Network:
    """Layers as `slidelearn._network` has them, in float64."""

    def __init__(self, network):
        self.weights = [layer.weights.astype(np.float64) for layer in network.layers]
        self.bias = [layer.bias.astype(np.float64) for layer in network.layers]

    @property
    def parameters(self):
        return [*self.weights, *self.bias]

    def forward(self, X, masks, dropout):
        """Activations of the input and of every hidden layer; of X, (n, n_features), dense."""
        activations = [np.asarray(X, np.float64)]
        for weights, bias, keep in zip(self.weights[:-1], self.bias[:-1], masks, strict=True):
            hidden = np.maximum(activations[-1] @ weights + bias, 0)
            activations.append(np.where(keep, hidden, 0) / (1 - dropout))
        return activations

    def loss(self, kind, X, labels, weight, active, masks, dropout, shift=0.0):
        """Mean over the batch.

        Parameters
        ----------
        labels, active : lists of the classes of each sample; labels lie in the active set
        shift : subtracted from the logits of all classes, (n_classes,) or a scalar
        """
        hidden = self.forward(X, masks, dropout)[-1]
        logits = hidden @ self.weights[-1].T + self.bias[-1] - shift
        total = 0.0
        for z, mine, some, factor in zip(logits, labels, active, weight, strict=True):
            total += LOSSES[kind](z[some], np.isin(some, mine), factor)[0]
        return total / len(X)

    def gradients(self, kind, X, labels, weight, active, masks, dropout, shift=0.0):
        """Derivatives of `loss` by all `parameters`, by back-propagation."""
        activations = self.forward(X, masks, dropout)
        logits = activations[-1] @ self.weights[-1].T + self.bias[-1] - shift
        delta = np.zeros_like(logits)
        for i, (mine, some) in enumerate(zip(labels, active, strict=True)):
            delta[i, some] = LOSSES[kind](logits[i, some], np.isin(some, mine), weight[i])[1]
        delta /= len(X)
        by_weights, by_bias = [delta.T @ activations[-1]], [delta.sum(axis=0)]
        delta = delta @ self.weights[-1]
        for depth in range(len(self.weights) - 2, -1, -1):
            delta = np.where(activations[depth + 1] > 0, delta, 0) / (1 - dropout)
            by_weights.insert(0, activations[depth].T @ delta)
            by_bias.insert(0, delta.sum(axis=0))
            delta = delta @ self.weights[depth].T
        return [*by_weights, *by_bias]
