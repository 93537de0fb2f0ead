"""PECOS XR-Linear with its documented defaults, PIFA label embeddings and k-means trees.

Rows are normalised first, as its manual asks.
"""

import numpy as np

from ._adapter import best_of_sparse, main, scratch, size_of


def _normalised(X):
    norms = np.sqrt(np.asarray(X.multiply(X).sum(axis=1)).ravel())
    norms[norms == 0] = 1
    X = X.copy()
    X.data /= np.repeat(norms, np.diff(X.indptr)).astype(np.float32)
    return X


def run(task):
    from pecos.xmc import Indexer, LabelEmbeddingFactory
    from pecos.xmc.xlinear.model import XLinearModel

    settings = task.settings(nr_splits=16, max_leaf_size=100, negative_sampling_scheme="tfn",
                             Cp=1.0, Cn=1.0, threshold=0.1, beam_size=10)
    with task.convert:
        X, X_test = _normalised(task.X), _normalised(task.X_test)
    with task.fit:
        embedding = LabelEmbeddingFactory.create(task.Y, X, method="pifa")
        clusters = Indexer.gen(embedding, indexer_type="hierarchicalkmeans", seed=task.seed,
                               nr_splits=settings["nr_splits"], threads=task.threads,
                               max_leaf_size=settings["max_leaf_size"])
        model = XLinearModel.train(
            X, task.Y, C=clusters, threads=task.threads, Cp=settings["Cp"], Cn=settings["Cn"],
            negative_sampling_scheme=settings["negative_sampling_scheme"],
            threshold=settings["threshold"])
    with task.predict:
        scores = model.predict(X_test, beam_size=settings["beam_size"], only_topk=task.k,
                               post_processor="l3-hinge", threads=task.threads)
        top = best_of_sparse(scores)
    with scratch() as folder:
        model.save(folder)
        task.answer(top, size_of(folder))


if __name__ == "__main__":
    main(run, "pecos", "libpecos")
