"""What a typed user sees: checked by `mypy --strict` against the installed wheel, never run.

pytest doesn't collect this file. A type that `assert_type` doesn't find fails, as does an ignored
error that isn't one any more.
"""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

from slidelearn import SlideClassifier, simd_info
from slidelearn.datasets import make_extreme_classification
from slidelearn.inspection import PrecisionAtKDisplay
from slidelearn.metrics import make_topk_scorer, ndcg_at_k, precision_at_k

X, Y = make_extreme_classification(100, 50, 20, random_state=0)
model = SlideClassifier((32, 16), loss="sigmoid", class_weight={1: 2.0}, random_state=0)
assert_type(model.fit(X, Y), SlideClassifier)
assert_type(model.partial_fit(X, Y, sample_weight=np.ones(100)), SlideClassifier)

labels, scores = model.predict_topk(X, k=3, method="lsh")
assert_type(labels, NDArray[Any])
assert_type(scores, NDArray[np.float64])
assert_type(model.similar_labels(3), tuple[NDArray[Any], NDArray[np.float64]])
assert_type(model.predict_proba(X), NDArray[np.float64])
assert_type(model.decision_function(X), NDArray[np.float64])
assert_type(model.score(X, Y), float)
assert_type(model.coefs_, tuple[NDArray[np.float32], ...])
assert_type(SlideClassifier.load("model.safetensors", mmap_mode=None), SlideClassifier)
assert_type(model.history_, dict[str, list[float]])
assert_type(model.loss_, float)
assert_type(precision_at_k(Y, labels, k=3), float)
assert_type(PrecisionAtKDisplay.from_predictions(Y, labels), PrecisionAtKDisplay)
assert_type(make_topk_scorer(ndcg_at_k, k=5)(model, X, Y), float)
assert_type(simd_info()["level"], str)


def monitor(number: int, estimator: SlideClassifier, row: dict[str, float]) -> bool:
    return row["seconds"] > 60


class Sub(SlideClassifier):
    pass


assert_type(Sub().fit(X, Y, monitor=monitor), Sub)

SlideClassifier(loss="hinge")  # type: ignore[arg-type]
SlideClassifier(hidden_layer_size=(32,))  # type: ignore[call-arg]
model.predict_topk(X, method="exakt")  # type: ignore[arg-type]
model.fit(X, Y, monitor=3)  # type: ignore[arg-type]
