"""
What hashing finds
==================

How many of the true best classes are among those that collide with a sample in hash tables?

Locality-sensitive hashing puts the weights of each class into ``n_tables`` hash tables. A sample's
hidden activation is hashed in the same way, and the classes that share a bucket with it are the
candidates: those whose weights point in a similar direction, if all goes well. Whether it does,
depends on the number of tables, on the bits of a hash (``hash_length``), and on ``center``.
"""

# %%
# A model and its best classes
# ----------------------------
#
# A small network learns which functions a Python function calls
# (:func:`~slidelearn.datasets.load_python_calls`). ``predict_topk`` finds the five best of all
# classes.

import numpy as np

from slidelearn import SlideClassifier
from slidelearn.datasets import load_python_calls

data = load_python_calls()
model = SlideClassifier((128,), ranker=None, max_iter=4, random_state=0, n_jobs=-1)
model.fit(data.X_train, data.Y_train)

X = data.X_test[:2000]
best, _ = model.predict_topk(X, k=5)
n_classes = len(model.classes_)

# %%
# Looking into the tables
# -----------------------
#
# For this question we open the machine: ``LSHIndex`` is what the estimator uses inside, and no
# part of the public interface. It takes the weights and biases of the output layer, and the
# activations of the hidden layer, which are easily computed from ``coefs_`` and ``intercepts_``.

import pandas as pd

from slidelearn._lsh import LSHIndex


def hidden(X):
    return np.maximum(X @ model.coefs_[0] + model.intercepts_[0], 0).astype(np.float32)


weights = np.ascontiguousarray(model.coefs_[1].T)
mean = hidden(data.X_train[:1000]).mean(axis=0)
queries = hidden(X)


def found(n_candidates=256, **parameters):
    """Share of the five best among the candidates; mean number of candidates."""
    index = LSHIndex(*weights.shape, seed=0, **parameters)
    index.build(weights, model.intercepts_[1], mean, n_threads=2)
    candidates, counts = index.query(queries, n_candidates=n_candidates, n_threads=2)
    # There are -1 among the candidates where fewer were found.
    hits = (best[:, :, None] == candidates[:, None, :]).any(axis=2)
    return hits.mean(), counts.mean()


rows = []
for center in (True, False):
    for hash_length in (4, 6, 8, 10, 12):
        for n_tables in (5, 10, 20, 50, 100, 200):
            recall, n = found(center=center, hash_length=hash_length, n_tables=n_tables)
            rows.append((center, hash_length, n_tables, recall, n))
table = pd.DataFrame(rows, columns=["center", "hash_length", "n_tables", "recall", "candidates"])
table.nlargest(5, "recall").round(3)

# %%
# Tables, bits, centre
# --------------------
#
# More tables find more. Few bits put unlike classes into one bucket, and buckets overflow; with
# many bits even like ones don't meet, and it takes more tables. ReLU activations are never
# negative and so all point in a similar direction; weights don't. Centring turns both to where
# they differ, without which long hashes find next to nothing. The dotted line is what as many
# random candidates would find.

import matplotlib.pyplot as plt

fig, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
colors = dict(zip(sorted(table["hash_length"].unique()), plt.cm.viridis([0, 0.25, 0.5, 0.7, 0.88]),
                  strict=True))
for ax, center in zip(axes, (True, False), strict=True):
    curves = table[table["center"] == center].pivot(index="n_tables", columns="hash_length",
                                                    values="recall")
    height = 0
    for hash_length, last in curves.iloc[-1].sort_values().items():
        color = colors[hash_length]
        ax.plot(curves[hash_length], marker="o", markersize=4, color=color)
        height = max(height + 0.018, last)  # so that no label lies on the one below
        ax.annotate(f"{hash_length} bits", (200, height), xytext=(6, 0), va="center", color=color,
                    textcoords="offset points", annotation_clip=False)
    ax.axhline(256 / n_classes, color="gray", linestyle=":")
    ax.set(xscale="log", ylim=(0, None), xlabel="hash tables",
           title="centred (the default)" if center else "plain (center=False)")
    ax.set_xticks([5, 10, 20, 50, 100, 200], [5, 10, 20, 50, 100, 200], minor=False)
    ax.minorticks_off()
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("share of the five best classes\namong 256 candidates")
axes[0].yaxis.set_major_formatter("{x:.0%}")

# %%
# How far one must look
# ---------------------
#
# Candidates are ranked by the number of their collisions. Twice as many find more, but not twice
# as much: the score of a class hangs on the length of its weights and on its bias as much as on
# the angle. So the exact search of ``predict_topk`` is the default, and hashing is for where no
# exact search is fast enough; :ref:`sphx_glr_auto_examples_plot_prediction_speed.py` measures
# both.

counts = [64, 128, 256, 512, 1024, 2048, 4096]
recall = [found(n, hash_length=8, n_tables=100)[0] for n in counts]

fig, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
ax.plot(counts, recall, marker="o", markersize=4)
ax.plot(counts, np.array(counts) / n_classes, color="gray", linestyle=":")
ax.annotate("hashing: 100 tables, 8 bits", (counts[3], recall[3]), xytext=(-8, 8), ha="right",
            textcoords="offset points", color="C0")
ax.annotate("random candidates", (counts[-2], counts[-2] / n_classes), xytext=(-8, 8), ha="right",
            textcoords="offset points", color="gray")
ax.set(xscale="log", ylim=(0, 1), xlabel=f"candidates scored, of {n_classes:,} classes",
       ylabel="share of the five best classes found")
ax.set_xticks(counts, counts)
ax.minorticks_off()
ax.yaxis.set_major_formatter("{x:.0%}")
ax.spines[["top", "right"]].set_visible(False)
plt.show()
