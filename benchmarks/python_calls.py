"""From a docstring to the functions that the code calls: the main job, on data that you have.

    python benchmarks/python_calls.py [--n-jobs 2] [--seed 0]

Reads the Python sources of this installation (`slidelearn.datasets.load_python_calls`), trains a
`SlideClassifier` with default parameters, and prints precision at 1, 3 and 5 on files that it
hasn't seen, with some predictions. Nothing is downloaded.
"""

import argparse
import textwrap
import time

import numpy as np

from slidelearn import SlideClassifier
from slidelearn.datasets import load_python_calls
from slidelearn.metrics import precision_at_k


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n-jobs", type=int, default=-1, help="threads (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", type=int, default=8, help="predictions to show")
    options = parser.parse_args()

    print("Reading the Python sources of this installation ...", flush=True)
    data = load_python_calls()
    X, Y = data.X_train, data.Y_train
    print(f"{X.shape[0]:,} functions to learn from, {data.X_test.shape[0]:,} to test on; "
          f"{X.shape[1]:,} words, {Y.shape[1]:,} labels, {Y.nnz / Y.shape[0]:.1f} a function.")

    model = SlideClassifier(random_state=options.seed, n_jobs=options.n_jobs, verbose=1)
    start = time.perf_counter()
    model.fit(X, Y)
    fitted = time.perf_counter()
    labels, scores = model.predict_topk(data.X_test, k=5)
    predicted = time.perf_counter()
    print(f"\nfit: {fitted - start:.1f} s; top 5 of {len(labels):,} functions: "
          f"{predicted - fitted:.2f} s")
    for k in (1, 3, 5):
        print(f"P@{k} {100 * precision_at_k(data.Y_test, labels, k):.1f} %")
    show_examples(data, labels, scores, options.examples, options.seed)


def summary(text):
    """First paragraph of the docstring within a sample's text (name, arguments, docstring, path,
    each on a line or more)."""
    docstring = "\n".join(text.split("\n")[2:-1])
    return " ".join(docstring.partition("\n\n")[0].split())


def show_examples(data, labels, scores, n, seed):
    """Print predictions for some functions with a docstring; * marks the calls that it makes."""
    names = np.asarray(data.label_names)
    summaries = [summary(text) for text in data.text_test]
    telling = [i for i, text in enumerate(summaries) if len(text) > 60]
    picked = np.random.default_rng(seed).choice(telling, min(n, len(telling)), replace=False)
    print("\nWhat would this function call? (* = it does)")
    for i in picked:
        truth = data.Y_test.indices[data.Y_test.indptr[i]:data.Y_test.indptr[i + 1]]
        print(f"\n  {data.name_test[i]}")
        print(textwrap.fill(f"“{summaries[i]}”", 92, initial_indent="    ",
                            subsequent_indent="    ", max_lines=2, placeholder=" …"))
        guesses = (f"{names[label]}{'*' if label in truth else ''} {1 / (1 + np.exp(-score)):.0%}"
                   for label, score in zip(labels[i], scores[i], strict=True))
        print("    -> " + ", ".join(guesses))


if __name__ == "__main__":
    main()
