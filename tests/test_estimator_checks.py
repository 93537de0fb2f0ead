"""scikit-learn's own checks, for settings that take every path through training."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from slidelearn import SlideClassifier

SETTINGS = [
    {},
    {"loss": "sigmoid", "solver": "adagrad"},
    {"loss": "softmax", "solver": "sgd", "learning_rate_init": 0.1, "hidden_layer_sizes": (32, 16)},
    # Sets of its own for each sample, so that hash tables are used even with few classes.
    {"sampling": "topk", "share_random": False, "n_random": 1, "n_tables": 8},
    {"sampling": "vanilla", "share_random": False, "n_random": 1, "n_tables": 8,
     "hash_function": "dwta", "hash_length": 2},
    {"dtype": "bfloat16"},
]
EQUIVALENCE = (
    "Removing or repeating samples changes how training data fall into batches, and with that "
    "every step of stochastic optimization, as in scikit-learn's SGDClassifier and MLPClassifier."
)
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": EQUIVALENCE,
    "check_sample_weight_equivalence_on_sparse_data": EQUIVALENCE,
}


@parametrize_with_checks(
    [SlideClassifier(random_state=0, **setting) for setting in SETTINGS],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_estimator(estimator, check):
    check(estimator)
