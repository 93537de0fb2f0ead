"""scikit-learn: one linear classifier a class (SGD, log loss), and the dense MLPClassifier.

Both work at sizes where an extreme classifier isn't needed; above them the adapter refuses.
"""

import pickle
import warnings

import numpy as np

from ._adapter import NETWORK, Refused, auto_batch_size, best_of_scores, main, pieces

MOST_VISITS = 2e10  # nonzeros x classes of one pass of OneVsRest: some minutes
MOST_MEMORY = 4 * 2**30  # of dense parameters or targets
MOST_WORK = 2e13  # multiply-adds of MLPClassifier: some ten minutes


def _refuse_above(limit, value, what):
    if value > limit:
        raise Refused(f"{what}: {value:.1e}, more than {limit:.0e}")


def _top(score, X, n_classes, k):
    size = max(1, 2**25 // n_classes)
    return np.concatenate([best_of_scores(score(X[piece]), k)
                           for piece in pieces(X.shape[0], size)])


def one_vs_rest(task):
    import joblib
    from sklearn.linear_model import SGDClassifier
    from sklearn.multiclass import OneVsRestClassifier

    settings = task.settings(alpha=1e-6, max_iter=20)
    _refuse_above(MOST_VISITS, task.X.nnz * task.Y.shape[1], "feature visits a pass")
    _refuse_above(MOST_MEMORY, 8 * task.X.shape[1] * task.Y.shape[1], "bytes of coefficients")
    # Threads: processes would have to copy X, and SGD releases the lock.
    single = SGDClassifier(loss="log_loss", random_state=task.seed, **settings)
    model = OneVsRestClassifier(single, n_jobs=task.threads)
    with joblib.parallel_config("threading"):
        with task.fit:
            model.fit(task.X, task.Y)
        with task.predict:
            top = _top(model.decision_function, task.X_test, task.Y.shape[1], task.k)
    return model, top


def mlp(task):
    from sklearn.neural_network import MLPClassifier

    settings = task.settings(
        hidden_layer_sizes=[NETWORK["width"]], batch_size=auto_batch_size(task),
        max_iter=NETWORK["epochs"], learning_rate_init=NETWORK["rate"])
    n, n_classes = task.Y.shape
    _refuse_above(MOST_MEMORY, 8 * n * n_classes, "bytes of dense targets")
    work = 3 * n * n_classes * sum(settings["hidden_layer_sizes"]) * settings["max_iter"]
    _refuse_above(MOST_WORK, work, "multiply-adds")
    model = MLPClassifier(random_state=task.seed, **settings)
    with task.convert:
        dense = task.Y.toarray().astype(np.int64)  # narrow integers get their columns mixed up
    with task.fit:
        model.fit(task.X, dense)
    with task.predict:
        top = _top(model.predict_proba, task.X_test, n_classes, task.k)
    return model, top


def run(task):
    warnings.filterwarnings("ignore", message="Label not .* is present")
    warnings.filterwarnings("ignore", message=".*Maximum number of iteration")
    warnings.filterwarnings("ignore", message=".*Maximum iterations")
    model, top = {"sgd": one_vs_rest, "mlp": mlp}[task.variant](task)
    task.answer(top, len(pickle.dumps(model)))


if __name__ == "__main__":
    main(run, "sklearn", "scikit-learn")
