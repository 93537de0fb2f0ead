"""The dense softmax layer of `dense.py`: numpy and BLAS.

Its Adam adds an epsilon of 1e-8 to the root before that is corrected for its bias (Kingma & Ba
2015, end of section 2); slidelearn adds 3e-5 to the corrected root, as algorithm 1 there does.
"""

import math

import numpy as np
from dense import DenseSoftmax
from threadpoolctl import threadpool_limits

from ._adapter import best_of_scores, main, network_settings, rate_at, targets, train_network


def run(task):
    settings = network_settings(task)  # it has no dropout, and an initialisation of its own
    with threadpool_limits(task.threads, user_api="blas"):
        with task.fit:
            model = DenseSoftmax(task.X.shape[1], task.Y.shape[1], settings["rate"], math.inf,
                                 seed=task.seed, width=settings["width"])

        def train_batch(X, Y, done):
            model.rate = rate_at(settings, done)
            model.train_batch(X, targets(Y))

        best = train_network(task, settings, train_batch,
                             lambda X: best_of_scores(model.scores(X), task.k))
    task.answer(best, sum(np.asarray(p).nbytes for p in model.parameters))


if __name__ == "__main__":
    main(run, "numpy")
