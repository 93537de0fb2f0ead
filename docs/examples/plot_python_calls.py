"""
From a docstring to function calls
==================================

A text classifier from end to end: raw text in, ranked labels with probabilities out.

The task: read the name, the arguments and the docstring of a function, and say which functions its
body will call. :func:`~slidelearn.datasets.load_python_calls` makes this data set from the Python
sources on this machine. A sample has several labels, and there are thousands of them, most of them
rare: extreme classification.
"""

# %%
# The data
# --------
#
# The texts are plain strings. The labels are a sparse indicator: one row for each function, one
# column for each label. Functions of the test part are from files that the training part doesn't
# have.

from slidelearn.datasets import load_python_calls

data = load_python_calls()
Y_train, Y_test = data.Y_train, data.Y_test
print(data.text_train[2000])
print(f"\n{Y_train.shape[0]:,} functions to learn from, {Y_train.shape[1]:,} labels, "
      f"{Y_train.nnz / Y_train.shape[0]:.1f} labels a function")

# %%
# The model
# ---------
#
# A scikit-learn pipeline. :class:`~slidelearn.SlideClassifier` takes the CSR matrix that
# :class:`~sklearn.feature_extraction.text.TfidfVectorizer` makes, and the sparse indicator as it
# is. Neither is ever made dense.

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from slidelearn import SlideClassifier

model = make_pipeline(
    TfidfVectorizer(sublinear_tf=True, min_df=2),
    SlideClassifier(random_state=0, n_jobs=-1),
)
model.fit(data.text_train, Y_train)

# %%
# How good is it?
# ---------------
#
# With thousands of labels the question is which ones come first. Precision at k is the share of
# the k best that are right. :class:`~slidelearn.inspection.PrecisionAtKDisplay` looks through the
# pipeline. The dashed line is what you get without reading: the most frequent labels, for every
# function.

import matplotlib.pyplot as plt
import numpy as np

from slidelearn.inspection import PrecisionAtKDisplay

most_frequent = np.argsort(-np.bincount(Y_train.indices))[:10]
same_for_all = np.tile(most_frequent, (Y_test.shape[0], 1))

fig, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
PrecisionAtKDisplay.from_estimator(model, data.text_test, Y_test, k=10, ax=ax)
PrecisionAtKDisplay.from_predictions(Y_test, same_for_all, ax=ax, color="gray", linestyle="--")
for line, text in zip(ax.lines, ["SlideClassifier", "the most frequent labels"], strict=True):
    ax.annotate(text, line.get_xydata()[3], xytext=(6, 6), textcoords="offset points",
                color=line.get_color())
ax.get_legend().remove()
ax.set(ylim=(0, None), ylabel="precision at k", xlabel="k: labels predicted for each function",
       title="Functions in files that the model hasn't seen")
ax.spines[["top", "right"]].set_visible(False)

# %%
# Predictions
# -----------
#
# ``predict_topk`` gives the best labels and their scores, best first. A pipeline has no such
# method, so we call its steps. For an indicator y the scores are calibrated log-odds:
# :func:`scipy.special.expit` makes probabilities of them.

from scipy.special import expit

vectorizer, slide = model
names = data.label_names


def predict(texts, k=6):
    """Labels and probabilities of the k best, each of shape (n_texts, k)."""
    labels, scores = slide.predict_topk(vectorizer.transform(texts), k=k)
    return labels, expit(scores)


mine = "load table\npath delimiter\nRead a text file line by line and split each line into numbers."
for label, probability in zip(*(part[0] for part in predict([mine])), strict=True):
    print(f"{probability:4.0%}  {names[label]}")

# %%
# Now for four functions of the test part, drawn at random among those with a docstring of some
# length. A full bar is a function that is really called. Probabilities are calibrated on samples
# that ``fit`` holds out. These are from the same files as the others, so on new files, as here,
# the model is somewhat too sure;
# :class:`~slidelearn.inspection.MultilabelCalibrationDisplay` shows by how much.

import textwrap

# A text: name, arguments, docstring, path; the docstring may have many lines.
docstrings = [" ".join(" ".join(text.split("\n")[2:-1]).split()) for text in data.text_test]
telling = [i for i, text in enumerate(docstrings) if 80 < len(text) < 160]
picked = np.random.default_rng(7).choice(telling, 4, replace=False)
labels, probabilities = predict([data.text_test[i] for i in picked])

fig, axes = plt.subplots(2, 2, figsize=(9, 6.4), layout="constrained", sharex=True)
for ax, i, row, probability in zip(axes.flat, picked, labels, probabilities, strict=True):
    called = Y_test[i].toarray().ravel()[row] > 0
    bars = ax.barh(names[row], probability, color=np.where(called, "C0", "white"), edgecolor="C0")
    ax.bar_label(bars, fmt="{:.0%}", padding=3)
    ax.invert_yaxis()
    title = textwrap.fill(docstrings[i], 52, max_lines=2, placeholder=" ...")
    ax.set_title(f"{data.name_test[i].rpartition(':')[2]}\n{title}", fontsize=9, loc="left")
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
fig.supxlabel("probability that the function calls it (full: it does)", fontsize=10)
axes[0, 0].xaxis.set_major_formatter("{x:.0%}")
axes[0, 0].set_xlim(0, 1.05)
plt.show()

# sphinx_gallery_thumbnail_number = 2
