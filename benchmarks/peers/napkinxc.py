"""napkinXC: probabilistic label trees. The model is written by the fit and read by prediction."""

from pathlib import Path

from ._adapter import best_of_lists, main, scratch, size_of


def run(task):
    from napkinxc.models import PLT

    settings = task.settings(optimizer="liblinear", loss="log", liblinear_c=10, arity=2,
                             max_leaves=100, ensemble=1)
    with scratch() as folder:
        path = Path(folder) / "model"
        model = PLT(str(path), seed=task.seed, threads=task.threads, verbose=0, **settings)
        with task.fit:
            model.fit(task.X, task.Y)
        with task.predict:
            model.load()
            labels = model.predict(task.X_test, top_k=task.k)
        task.answer(best_of_lists(labels), size_of(path))


if __name__ == "__main__":
    main(run, "napkinxc")
