"""
Tail labels and propensities
============================

Most labels are rare. How good are predictions for them, and what can be done about it?

Plain precision hardly notices rare labels: a model that never predicts them loses little. Two
things show them: a plot by label frequency, and metrics weighted by *propensity*.
"""

# %%
# A long tail
# -----------
#
# The data: docstrings, and the functions called by the code below them. Few labels are everywhere,
# and most have a handful of samples. When labels come from people or logs, the rare ones are also
# those that are most often forgotten; :func:`~slidelearn.metrics.label_propensities` estimates how
# likely a fitting label is to be given at all, from its frequency alone.

import matplotlib.pyplot as plt
import numpy as np

from slidelearn.datasets import load_python_calls
from slidelearn.metrics import label_propensities

data = load_python_calls()
X, Y = data.X_train[::2], data.Y_train[::2]  # half of them, to be quick
counts = np.bincount(Y.indices, minlength=Y.shape[1])
propensities = label_propensities(Y)
order = np.argsort(-counts)[:np.count_nonzero(counts)]

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
left.loglog(np.arange(1, len(order) + 1), counts[order])
for rank in (1, 30, 1000):
    label = order[rank - 1]
    left.plot(rank, counts[label], "o", color="C0", markersize=4)
    left.annotate(f"{data.label_names[label]} ({counts[label]:,})", (rank, counts[label]),
                  xytext=(6, 4), textcoords="offset points")
left.set(xlabel="rank of the label", ylabel="training samples")
right.semilogx(counts[order], propensities[order])
right.set(xlabel="training samples", ylabel="propensity of the label", ylim=(0, 1))
for ax in (left, right):
    ax.spines[["top", "right"]].set_visible(False)

# %%
# Three models
# ------------
#
# The network alone; with linear rankers, which is the default; and with
# ``class_weight="propensity"``, too, which gives a rare label that is there more weight in the
# loss.

import pandas as pd

from slidelearn import SlideClassifier
from slidelearn.metrics import precision_at_k, propensity_scored_precision_at_k

models = {
    "network alone": SlideClassifier((128,), ranker=None, random_state=0, n_jobs=-1),
    "with rankers": SlideClassifier((128,), random_state=0, n_jobs=-1),
    "and propensity weights": SlideClassifier((128,), class_weight="propensity", random_state=0,
                                              n_jobs=-1),
}
predicted, scores = {}, {}
for name, model in models.items():
    top = model.fit(X, Y).predict_topk(data.X_test, k=5)[0]
    predicted[name] = top
    scores[name] = {f"P@{k}": precision_at_k(data.Y_test, top, k) for k in (1, 5)} | {
        f"PSP@{k}": propensity_scored_precision_at_k(data.Y_test, top, propensities, k)
        for k in (1, 5)}

# %%
# PSP is precision with each hit divided by its label's propensity, relative to the best possible:
# a rare label found counts more.

(100 * pd.DataFrame(scores).T).round(1)

# %%
# From the tail to the head
# -------------------------
#
# :class:`~slidelearn.inspection.LabelFrequencyDisplay` puts labels into bins by their training
# samples. Recall is the share of a bin's true labels that are among the five best. Linear rankers
# find more of the rare labels, propensity weights still more, and both pay with the most frequent
# ones: only five labels can be among the five best.

from slidelearn.inspection import LabelFrequencyDisplay

fig, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
for name, top in predicted.items():
    LabelFrequencyDisplay.from_predictions(data.Y_test, top, y_train=Y, metric="recall",
                                           name=name, ax=ax)
ax.set(ylabel="recall among the five best", ylim=(0, None))
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# sphinx_gallery_thumbnail_number = 2
