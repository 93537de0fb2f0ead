"""TensorFlow: the baseline of the SLIDE paper, with a full softmax or a sampled one; Adam.

Sampled: `tf.nn.sampled_softmax_loss` with its log-uniform candidates, one term for each label of
a row, the classes renumbered by frequency as it wants them.
"""

import os

import numpy as np

from ._adapter import coordinates, main, network_settings, rate_at, targets, train_network


def run(task):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    settings = network_settings(task, n_sampled=500)
    tf.config.threading.set_intra_op_parallelism_threads(task.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.random.set_seed(task.seed)
    width, n_classes = settings["width"], task.Y.shape[1]
    counts = np.bincount(task.Y.indices, minlength=n_classes)
    by_frequency = np.argsort(-counts, kind="stable")
    with task.convert:
        task.Y = task.Y[:, by_frequency].tocsr()
    prior = np.log((counts[by_frequency] + 0.5) / (counts.sum() + 0.5 * n_classes))

    with task.fit:
        first = tf.Variable(tf.random.normal((task.X.shape[1], width),
                                             stddev=settings["input_scale"]))
        bias = tf.Variable(tf.zeros(width))
        bound = width**-0.5
        output = tf.Variable(tf.random.uniform((n_classes, width), -bound, bound))
        output_bias = tf.Variable(prior.astype(np.float32))
        variables = [first, bias, output, output_bias]
        optimizer = tf.keras.optimizers.Adam(settings["rate"])
        optimizer.build(variables)

    def hidden(rows, columns, values, n_rows):
        scaled = tf.gather(first, columns) * values[:, None]
        return tf.nn.relu(tf.math.unsorted_segment_sum(scaled, rows, n_rows) + bias)

    def loss_of(activations, label_rows, labels, shares):
        if task.variant == "sampled":
            losses = tf.nn.sampled_softmax_loss(
                output, output_bias, labels[:, None], tf.gather(activations, label_rows),
                min(settings["n_sampled"], n_classes), n_classes)
        else:
            logits = tf.matmul(activations, output, transpose_b=True) + output_bias
            place = tf.stack([label_rows, labels], axis=1)
            losses = -tf.gather_nd(tf.nn.log_softmax(logits), place)
        return tf.reduce_sum(losses * shares) / tf.cast(tf.shape(activations)[0], tf.float32)

    ids, values = tf.TensorSpec([None], tf.int64), tf.TensorSpec([None], tf.float32)
    rows_of_X = [ids, ids, values, tf.TensorSpec([], tf.int64)]

    @tf.function(input_signature=[*rows_of_X, ids, ids, values])
    def step(rows, columns, data, n_rows, label_rows, labels, shares):
        with tf.GradientTape() as tape:
            activations = tf.nn.dropout(hidden(rows, columns, data, n_rows), settings["dropout"])
            loss = loss_of(activations, label_rows, labels, shares)
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    @tf.function(input_signature=rows_of_X)
    def best(rows, columns, data, n_rows):
        logits = tf.matmul(hidden(rows, columns, data, n_rows), output, transpose_b=True)
        return tf.math.top_k(logits + output_bias, task.k).indices

    def train_batch(X, Y, done):
        optimizer.learning_rate.assign(rate_at(settings, done))
        step(*coordinates(X), X.data, np.int64(X.shape[0]), *coordinates(Y), targets(Y).data)

    def top(X):
        return by_frequency[best(*coordinates(X), X.data, np.int64(X.shape[0])).numpy()]

    labels = train_network(task, settings, train_batch, top)
    task.answer(labels, sum(variable.numpy().nbytes for variable in variables))


if __name__ == "__main__":
    main(run, "tensorflow", "tensorflow-cpu")
