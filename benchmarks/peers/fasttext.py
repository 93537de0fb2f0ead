"""fastText, one-vs-all, on the features as words: it knows no feature values.

The text of the training part is written beforehand and read within the fit. With more than one
thread (HOGWILD) the seed doesn't determine the result.
"""

from pathlib import Path

from ._adapter import best_of_lists, main, scratch, size_of

TEXT = "fasttext.txt"
LABEL = "__label__"


def _texts(X):
    return [" ".join(f"w{j}" for j in row.indices) + "\n" for row in map(X.getrow,
                                                                        range(X.shape[0]))]


def export(folder, X, Y):
    with open(folder / TEXT, "w", encoding="ascii") as stream:
        for text, labels in zip(_texts(X), map(Y.getrow, range(Y.shape[0])), strict=True):
            stream.write("".join(f"{LABEL}{label} " for label in labels.indices) + text)


def run(task):
    import fasttext

    settings = task.settings(loss=task.variant, dim=100, epoch=25, lr=0.5)
    with task.fit:
        model = fasttext.train_supervised(
            str(task.data / TEXT), minCount=1, bucket=1, thread=task.threads, seed=task.seed,
            verbose=0, **settings)
    with task.convert:
        texts = _texts(task.X_test)
    with task.predict:
        # model.predict() fails with numpy 2; the binding below it does the same work.
        answers = [model.f.predict(text, task.k, 0.0, "strict") for text in texts]
        top = best_of_lists([[int(name[len(LABEL):]) for _, name in answer] for answer in answers])
    with scratch() as folder:
        path = Path(folder) / "model"
        model.save_model(str(path))
        task.answer(top, size_of(path))


if __name__ == "__main__":
    main(run, "fasttext", "fasttext-wheel")
