"""
Precision against speed of prediction
=====================================

Exact search or hashing? Here both are measured, on one model with very many classes.

``predict_topk`` is exact by default. ``method="lsh"`` scores only the classes that collide with a
sample in hash tables. The figures below are measured while this page is built, so they depend on
the machine; those of a larger test, on real data, stand in the user guide.
"""

# %%
# A model
# -------
#
# 60,000 classes, generated data. The linear rankers are left out (``ranker=None``): they cost the
# same whichever way the network's classes are found.

import slidelearn
from slidelearn import SlideClassifier
from slidelearn.datasets import make_extreme_classification

X, Y = make_extreme_classification(38_000, 20_000, 60_000, noise=0.4, label_exponent=0.9,
                                   random_state=0)
n = 30_000
model = SlideClassifier((128,), ranker=None, max_iter=4, random_state=0, n_jobs=2)
model.fit(X[:n], Y[:n])
X_test, Y_test = X[n:], Y[n:]
print("instruction set in use:", slidelearn.simd_info()["level"])

# %%
# Measuring
# ---------
#
# Precision at 1, and samples a second, the best of three runs. Hash tables are built before. The
# exact search needs no preparation, but where the processor has AVX-512 VNNI or AMX it makes 8-bit
# codes of the output layer once some thousand samples were predicted, and then rules most classes
# out without scoring them. Fresh copies of the model show the search without codes.

import copy
from time import perf_counter

import pandas as pd

from slidelearn.metrics import precision_at_k

X_test, Y_test = X_test[:3000], Y_test[:3000]


def measure(models, **options):
    """Precision at 1 and samples a second."""
    seconds = []
    for model in models:
        start = perf_counter()
        labels, _ = model.predict_topk(X_test, k=5, **options)
        seconds.append(perf_counter() - start)
    return precision_at_k(Y_test, labels, k=1), len(labels) / min(seconds)


results = [("exact, first call", 0, *measure([copy.deepcopy(model) for _ in range(3)]))]
for _ in range(3):
    model.predict_topk(X_test)
results.append(("exact, later calls", 0, *measure([model] * 3)))
for hash_length in (8, 11):
    for n_tables in (5, 10, 20, 50, 100):
        model.set_params(hash_length=hash_length, n_tables=n_tables)
        model.predict_topk(X_test[:10], method="lsh")
        results.append((f"hashing, {hash_length} bits", n_tables,
                        *measure([model] * 3, method="lsh")))
table = pd.DataFrame(results, columns=["search", "tables", "precision at 1", "samples a second"])
table.round({"precision at 1": 3, "samples a second": -1})

# %%
# Up and right is better. Hashing has a point for each number of tables, the smallest for 5 and the
# largest for 100.

import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator

fig, ax = plt.subplots(figsize=(7, 4.4), layout="constrained")
for (name, part), color, end in zip(table.groupby("search", sort=False), ["C0", "C0", "C1", "C2"],
                                    [-1, -1, -1, 0], strict=True):
    x, y = part["samples a second"], part["precision at 1"]
    ax.plot(x, y, color=color, alpha=0.4)
    ax.scatter(x, y, s=60 if len(part) == 1 else [12, 25, 40, 65, 95], color=color)
    ax.annotate(name, (x.iloc[end], y.iloc[end]), xytext=(0, -20 if end == 0 else 12), ha="center",
                textcoords="offset points", color=color)
ax.set(xscale="log", ylim=(0, 1), xlabel="samples predicted a second (2 threads)",
       ylabel="precision at 1")
ax.xaxis.set_major_locator(LogLocator(subs=[1, 2, 5]))
ax.xaxis.set_major_formatter("{x:,.0f}")
ax.minorticks_off()
ax.margins(x=0.15)
ax.spines[["top", "right"]].set_visible(False)
plt.show()
