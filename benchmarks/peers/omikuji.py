"""omikuji (Rust): the partitioned label trees Parabel and Bonsai. It takes no seed.

It reads text files only, which the fit includes (in Rust); writing them doesn't count. Prediction
has a call for one row and no other. Parameters are those of its command line; Bonsai's are the
README's.
"""

import numpy as np

from ._adapter import best_of_lists, main, pieces, scratch, size_of

TEXT = "omikuji.txt"
VARIANTS = {"parabel": {}, "bonsai": {"cluster_balanced": False, "cluster_k": 100, "max_depth": 3}}


def export(folder, X, Y):
    """Write the training part, without rows that have no features: they make the file illegal."""
    from slidelearn.datasets import dump_xmc_file

    rows = np.flatnonzero(np.diff(X.indptr))
    dump_xmc_file(X[rows], Y[rows], folder / TEXT)


def run(task):
    import omikuji

    settings = task.settings(**VARIANTS[task.variant], n_trees=3, linear_c=1.0)
    hyper = omikuji.Model.default_hyper_param()
    for name, value in settings.items():
        setattr(hyper, name, value)
    with task.fit:
        model = omikuji.Model.train_on_data(str(task.data / TEXT), hyper, n_threads=task.threads)
    with scratch() as folder:  # densifying is no part of what is saved
        model.save(folder)
        size = size_of(folder)
    with task.predict:
        model.init_prediction_thread_pool(task.threads)
        model.densify_weights(0.1)
    labels, X = [], task.X_test
    for piece in pieces(X.shape[0], 1000):
        with task.convert:
            rows = [list(zip(row.indices.tolist(), row.data.tolist(), strict=True))
                    for row in map(X.getrow, range(piece.start, piece.stop))]
        with task.predict:
            labels += [[label for label, _ in model.predict(row, beam_size=10, top_k=task.k)]
                       for row in rows]
    task.answer(best_of_lists(labels), size)


if __name__ == "__main__":
    main(run, "omikuji")
