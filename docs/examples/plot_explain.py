"""
Why this label, and which labels are alike?
===========================================

Two looks into a trained model: the words behind a prediction, and the neighbourhood of a label.
"""

# %%
# A model of docstrings and the functions that the code below them calls.

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

from slidelearn import SlideClassifier
from slidelearn.datasets import load_python_calls

data = load_python_calls()
vectorizer = TfidfVectorizer(sublinear_tf=True, min_df=2)
slide = SlideClassifier((128,), random_state=0, n_jobs=-1)
model = make_pipeline(vectorizer, slide).fit(data.text_train, data.Y_train)
names = data.label_names

# %%
# Which words made it?
# --------------------
#
# Leave each word out and see how the score changes. Scores are log-odds, so a change by 0.7 means
# that the odds double. This asks the model as it is, rankers and calibration included, and works
# for any model. Here for the three labels that are predicted first.

text = "start a worker thread and wait until it has finished"

words = text.split()
without = [" ".join(words[:i] + words[i + 1:]) for i in range(len(words))]
best = slide.predict_topk(vectorizer.transform([text]), k=3)[0][0]
scores = model.decision_function([text, *without])[:, best]
influence = scores[0] - scores[1:]

fig, axes = plt.subplots(1, 3, figsize=(9.5, 3.8), layout="constrained", sharex=True, sharey=True)
for ax, label, score, change in zip(axes, names[best], scores[0], influence.T, strict=True):
    ax.barh(range(len(words)), change, color=np.where(change > 0, "C0", "C3"))
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_title(f"{label}, {expit(score):.0%}")
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
axes[0].set_yticks(range(len(words)), words)
axes[0].invert_yaxis()
_ = axes[1].set_xlabel("what the word adds to the log-odds of the label")

# %%
# Nearest labels
# --------------
#
# Labels that mean similar things get similar weights in the output layer.
# :meth:`~slidelearn.SlideClassifier.similar_labels` finds the nearest ones by cosine.

for column in np.flatnonzero(np.isin(names, ["lstsq", "sqrt", "sleep", "open", "isinstance"])):
    columns, cosines = slide.similar_labels(column, k=5)
    print(f"{names[column]:16}", ", ".join(f"{names[c]} {cosine:.2f}"
                                           for c, cosine in zip(columns, cosines, strict=True)))

# %%
# A map of labels
# ---------------
#
# The same weights, as a map: t-SNE puts labels with similar weights close to each other. Shown are
# the most frequent ones. Coordinates are replaced by their ranks, so that names have more room.

from scipy.stats import rankdata
from sklearn.manifold import TSNE

frequent = np.argsort(-np.bincount(data.Y_train.indices))[:90]
place = TSNE(metric="cosine", init="random", perplexity=8, random_state=0).fit_transform(
    slide.coefs_[-1].T[frequent])

fig, ax = plt.subplots(figsize=(9.5, 8), layout="constrained")
ranks = rankdata(place, axis=0)
ax.scatter(*ranks.T, s=6, color="0.7")
for (x, y), c in zip(ranks, frequent, strict=True):
    ax.annotate(names[c], (x, y), fontsize=9, ha="center", va="bottom")
ax.set(xticks=[], yticks=[])
ax.spines[:].set_visible(False)
plt.show()

# sphinx_gallery_thumbnail_number = 2
