"""
A stream larger than memory
===========================

Training on a file that is never loaded as a whole, and what memory that takes.

:func:`~slidelearn.datasets.iter_xmc_file` reads a file in the text format of the Extreme
Classification Repository a part at a time, and ``partial_fit`` trains on each part. The file here
is small, so that this page builds quickly; memory doesn't depend on that.
"""

# %%
# A file
# ------
#
# Generated data with 8,000 classes. What you have may come from anywhere that yields pairs of X
# and Y: a database, a queue, a compressed file.

import os
import tempfile

from slidelearn.datasets import dump_xmc_file, iter_xmc_file, make_extreme_classification

X, Y = make_extreme_classification(24_000, 10_000, 8_000, noise=0.4, label_exponent=0.9,
                                   random_state=0)
folder = tempfile.TemporaryDirectory()
path = os.path.join(folder.name, "train.txt")
dump_xmc_file(X, Y, path)
del X, Y
print(f"{os.path.getsize(path) / 1e6:.0f} MB")

# %%
# Predict, then learn
# -------------------
#
# Each part is new to the model, so it is first a test and then a lesson. The learning rate is
# constant in ``partial_fit``; the batch size is given, as "auto" would go by the size of a part.

from slidelearn import SlideClassifier
from slidelearn.metrics import precision_at_k


def new_model():
    return SlideClassifier((128,), batch_size=128, learning_rate_init=0.005, dropout=0.2,
                           random_state=0, n_jobs=-1)


model, seen, precision = new_model(), [], []
for X, Y in iter_xmc_file(path, chunk_size=1000):
    if seen:
        precision.append(precision_at_k(Y, model.predict_topk(X, k=1)[0], k=1))
    seen.append((seen[-1] if seen else 0) + X.shape[0])
    model.partial_fit(X, Y)

# %%
# Memory
# ------
#
# Peak memory, measured by ``tracemalloc``, which counts numpy's arrays, too: one pass in parts of
# different size, and one epoch on the loaded file. Both include the model and the optimizer's
# memory.

import tracemalloc

from slidelearn.datasets import load_xmc_file


def peak(function, *arguments):
    """Megabytes that a call needs at most."""
    tracemalloc.start()
    function(*arguments)
    megabytes = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return megabytes


def stream(chunk_size):
    model = new_model()
    for X, Y in iter_xmc_file(path, chunk_size=chunk_size):
        model.partial_fit(X, Y)


def load():
    new_model().set_params(max_iter=1).fit(*load_xmc_file(path))


memory = {f"parts of {n:,}": peak(stream, n) for n in (500, 2000)}
memory["whole file"] = peak(load)
folder.cleanup()

import matplotlib.pyplot as plt

fig, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained",
                                  width_ratios=[1.3, 1])
left.plot(seen[:-1], precision, marker="o", markersize=4)
left.set(xlabel="samples seen", ylabel="precision at 1 of the next 1,000", ylim=(0, None))
left.xaxis.set_major_formatter("{x:,.0f}")
bars = right.barh(list(memory), list(memory.values()), color=["C0", "C0", "0.6"])
right.bar_label(bars, fmt="{:.0f} MB", padding=4)
right.invert_yaxis()
right.set(xticks=[], title="peak memory")
right.margins(x=0.2)
right.tick_params(axis="y", length=0)
right.spines[["top", "right", "bottom"]].set_visible(False)
left.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# Better still
# ------------
#
# More passes make a better model. ``slidelearn train --stream`` does this on the command line:
# several passes, with a learning rate that falls to 0.
