"""
Learning curves and active sets
===============================

What happens during training: loss, validation score, and how few classes a sample needs.

A dense network computes every output neuron for every sample. :class:`~slidelearn.SlideClassifier`
computes an *active set*: the labels of the sample and some other classes to tell them from. After
each epoch ``history_`` gets a row that says how it went.
"""

# %%
# One model
# ---------
#
# The data are generated, with few frequent and very many rare classes. With ``early_stopping`` a
# tenth of the samples is held out; they are scored after each epoch, and the best epoch is kept.
# :class:`~slidelearn.inspection.TrainingCurveDisplay` draws the loss and that score.

import matplotlib.pyplot as plt

from slidelearn import SlideClassifier
from slidelearn.datasets import make_extreme_classification
from slidelearn.inspection import TrainingCurveDisplay

X, Y = make_extreme_classification(10_000, 5_000, 5_000, noise=0.4, random_state=0)
model = SlideClassifier((128,), early_stopping=True, ranker=None, random_state=0, n_jobs=-1)
model.fit(X, Y)

fig, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
_ = TrainingCurveDisplay.from_estimator(model, name="default", ax=ax)

# %%
# ``history_`` is a dict of columns, which pandas takes as it is. "active_size" is the mean number
# of classes that were computed for a sample.

import pandas as pd

pd.DataFrame(model.history_)[
    ["epoch", "loss", "validation_score", "active_size", "samples_per_second"]].round(3)

# %%
# Three ways to choose the classes
# --------------------------------
#
# - Random classes, drawn once for a batch and shared by its samples: the default, as above. The
#   labels of the other samples in the batch join them.
# - All classes: the dense network.
# - Hashing, as in the SLIDE paper: for each sample the classes whose weights collide at least
#   twice with its hidden activation in the hash tables, and a few random ones.

models = {
    "random": model,
    "all": SlideClassifier(**{**model.get_params(), "sampling": "all"}).fit(X, Y),
    "hashing": SlideClassifier(**{**model.get_params(), "sampling": "threshold", "n_random": 50,
                                  "n_candidates": 1000, "share_random": False}).fit(X, Y),
}

# %%
# The loss isn't comparable: it is a sum over another active set in each model. The score is.
# Hashing starts with large sets, which shrink while the network learns to tell classes apart. On
# these data random classes give the best model, better than the dense network, too, at the same
# number of epochs.

fig, (left, middle, right) = plt.subplots(1, 3, figsize=(10, 3.8), layout="constrained")
end = {"textcoords": "offset points", "xytext": (5, 0), "va": "center", "annotation_clip": False}
for name, model in models.items():
    history = pd.DataFrame(model.history_)
    seconds = history["seconds"].cumsum()
    for ax, x, column in ((left, history["epoch"], "active_size"),
                          (middle, history["epoch"], "validation_score"),
                          (right, seconds, "validation_score")):
        (line,) = ax.plot(x, history[column], marker="o", markersize=4)
        ax.annotate(name, (x.iloc[-1], history[column].iloc[-1]), color=line.get_color(), **end)
left.set(yscale="log", xlabel="epoch", ylabel="classes computed for a sample")
middle.set(ylim=(0, None), xlabel="epoch", ylabel="nDCG@5 of held-out samples")
right.set(ylim=(0, None), xlim=(0, None), xlabel="seconds of training", yticklabels=[])
for ax in (left, middle, right):
    ax.spines[["top", "right"]].set_visible(False)
    ax.margins(x=0.02)
plt.show()

# sphinx_gallery_thumbnail_number = 2
