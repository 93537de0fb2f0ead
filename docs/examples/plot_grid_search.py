"""
Choosing parameters with GridSearchCV
=====================================

A grid search over a text pipeline with a sparse y, scored by ranking.

:class:`~sklearn.model_selection.GridSearchCV` takes a sparse indicator as it is. What it needs is
a score that fits: accuracy counts a sample as right if its whole label set is, which with
thousands of labels says little. :func:`~slidelearn.metrics.make_topk_scorer` makes scorers of
ranking metrics.
"""

# %%
# The search
# ----------
#
# The data: docstrings, and which functions the code below them calls; a part of it, to be quick.
# The grid has the two parameters that matter most often: the width of the hidden layer and the
# number of epochs. The learning rate falls to 0 over ``max_iter`` epochs, so more of them isn't
# only longer but another schedule.

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from slidelearn import SlideClassifier
from slidelearn.datasets import load_python_calls
from slidelearn.metrics import make_topk_scorer, ndcg_at_k, precision_at_k

data = load_python_calls()
rows = np.random.default_rng(0).choice(len(data.text_train), 4000, replace=False)
texts, Y = [data.text_train[i] for i in rows], data.Y_train[rows]

search = GridSearchCV(
    make_pipeline(TfidfVectorizer(sublinear_tf=True), SlideClassifier(random_state=0)),
    {"slideclassifier__hidden_layer_sizes": [(64,), (128,), (256,)],
     "slideclassifier__max_iter": [2, 4, 8]},
    scoring={"nDCG@5": make_topk_scorer(ndcg_at_k, k=5),
             "P@1": make_topk_scorer(precision_at_k, k=1)},
    refit="nDCG@5", cv=3, n_jobs=2,
)
search.fit(texts, Y)

# %%
# The result
# ----------
#
# ``cv_results_`` is a table. A cell is the mean of three folds.

import pandas as pd

results = pd.DataFrame(search.cv_results_)
results["width"] = [sizes[0] for sizes in results["param_slideclassifier__hidden_layer_sizes"]]
results["epochs"] = results["param_slideclassifier__max_iter"]
results.pivot(index="width", columns="epochs", values="mean_test_nDCG@5").astype(float).round(3)

# %%
# What is better may also cost more. Bars are the standard error over the folds, numbers the
# epochs.

import matplotlib.pyplot as plt

fig, ax = plt.subplots(figsize=(6.8, 4.2), layout="constrained")
for width, part in results.groupby("width"):
    x, y = part["mean_fit_time"], part["mean_test_nDCG@5"]
    error = part["std_test_nDCG@5"] / np.sqrt(3)
    bars = ax.errorbar(x, y, error, marker="o", markersize=5, capsize=2, elinewidth=1)
    color = bars[0].get_color()
    for seconds, score, epochs in zip(x, y, part["epochs"], strict=True):
        ax.annotate(epochs, (seconds, score), xytext=(4, -12), textcoords="offset points",
                    fontsize=9, color=color)
    ax.annotate(f"width {width}", (x.iloc[-1], y.iloc[-1]), xytext=(8, 0), va="center",
                textcoords="offset points", color=color, annotation_clip=False)
ax.set(xlabel="seconds of fit (mean of three folds)", ylabel="nDCG@5")
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# The best model
# --------------
#
# ``refit`` trains the best setting on all samples, and ``best_estimator_`` is that pipeline.
# Scorers and displays find the model inside of searches and pipelines.

scorer = make_topk_scorer(precision_at_k, k=1)
print(search.best_params_)
print(f"P@1 on functions of other files: {scorer(search, data.text_test, data.Y_test):.1%}")
