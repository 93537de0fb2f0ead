"""slidelearn itself: `SlideClassifier` with default parameters, or those given by ``--set``."""

import pickle

from ._adapter import main


def run(task):
    from slidelearn import SlideClassifier

    model = SlideClassifier(random_state=task.seed, n_jobs=task.threads)
    task.settings(**model.get_params())
    model.set_params(**task.options)

    def epoch_end(number, model, row):
        task.fit.__exit__()
        task.checkpoint(lambda: model.predict_topk(task.X_test, k=task.k)[0])
        task.fit.__enter__()

    with task.fit:
        model.fit(task.X, task.Y, monitor=epoch_end)
    with task.predict:
        top, _ = model.predict_topk(task.X_test, k=task.k)
    task.result["epochs"] = model.n_iter_
    task.answer(top, len(pickle.dumps(model)))


if __name__ == "__main__":
    main(run, "slidelearn")
