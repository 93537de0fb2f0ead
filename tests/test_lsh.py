"""LSHIndex and RebuildSchedule: what they promise to training and prediction."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slidelearn import _lsh
from slidelearn._lsh import LSHIndex, RebuildSchedule
from tests import reference_lsh as reference

FAMILIES = ("simhash", "wta", "dwta", "minhash")
STRATEGIES = ("vanilla", "topk", "threshold")
every_family = pytest.mark.parametrize("family", FAMILIES)


def frozen(array):
    array.flags.writeable = False
    return array


def make_layer(n_rows=300, n_columns=20, n_samples=50, seed=0):
    rng = np.random.default_rng(seed)
    weights = frozen(rng.standard_normal((n_rows, n_columns), dtype=np.float32))
    bias = frozen(rng.standard_normal(n_rows, dtype=np.float32))
    hidden = rng.standard_normal((n_samples, n_columns), dtype=np.float32)
    return weights, bias, frozen(np.maximum(hidden, 0))


def make_index(weights, **parameters):
    defaults = {"hash_length": 3, "n_tables": 12, "seed": 5, "bucket_size": 20}
    return LSHIndex(*weights.shape, **(defaults | parameters))


def arrays(index):
    return index.slots, index.indptr, index.ids


def shifted_biases(index, weights, bias):
    return index._shifted_biases(weights, bias, np.arange(index.n_rows, dtype=np.int32), 1)


def assert_same_tables(a, b):
    for one, other in zip(arrays(a), arrays(b), strict=True):
        np.testing.assert_array_equal(one, other)


def oracle_slots(index, vectors, last, shift):
    """What index hashes vectors to, by the oracles."""
    slots = []
    for vector, end in zip(vectors, last, strict=True):
        row = reference.augmented(vector, end, shift)
        functions = index._hash
        if index.hash_function == "simhash":
            codes = reference.sign_codes(row, functions.projections)
            salts = [0] * len(codes)
        else:
            codes, salts = reference.winner_codes(
                row, functions.bins, functions.top, functions.densify, functions.borrow_key
            )
        slots.append(reference.table_slots(codes, salts, index.n_tables, functions.code_bits,
                                           index.table_bits))
    return np.array(slots, dtype=np.int32).reshape(-1, index.n_tables).T


@every_family
@settings(max_examples=10, deadline=None)
@given(n_rows=st.sampled_from([1, 2, 8, 17, 65]), n_columns=st.sampled_from([1, 2, 7, 8, 16, 33]),
       center=st.booleans(), insertion=st.sampled_from(_lsh.INSERTIONS),
       seed=st.integers(0, 2**64 - 1))
def test_index_equals_oracle(family, n_rows, n_columns, center, insertion, seed):
    weights, bias, hidden = make_layer(n_rows, n_columns, 5)
    index = make_index(weights, hash_function=family, center=center, insertion=insertion,
                       seed=seed, bucket_size=4)
    index.build(weights, bias, hidden.mean(axis=0))
    last = bias
    if center:
        np.testing.assert_allclose(index.row_mean, weights.mean(axis=0), atol=1e-6)
        np.testing.assert_array_equal(index.query_mean, hidden.mean(axis=0))
        last = bias + weights.astype(float) @ index.query_mean.astype(float)
        assert index.bias_mean == pytest.approx(last.mean(), abs=1e-6)
        last = shifted_biases(index, weights, bias) - index.bias_mean
    slots = oracle_slots(index, weights, last.astype(np.float32), index.row_mean)
    np.testing.assert_array_equal(index.slots, slots)
    for table in range(index.n_tables):
        key = reference.rng_stream(reference.rng_stream(seed, _lsh.RESERVOIRS), table)
        indptr, ids = reference.build_table(slots[table].tolist(), 2**index.table_bits, 4,
                                            insertion == "reservoir", key)
        np.testing.assert_array_equal(index.indptr[table], indptr)
        np.testing.assert_array_equal(index.ids[table], ids)

    queries = oracle_slots(index, hidden, np.ones(len(hidden)), index.query_mean)
    np.testing.assert_array_equal(index.hash(hidden), queries)
    ids, counts = index.query(hidden, n_candidates=10)
    for found, n, sample in zip(ids, counts, queries.T, strict=True):
        wanted = reference.most_collisions(index.indptr, index.ids, sample, 1, 10)
        assert found[:n].tolist() == wanted
        assert (found[n:] == -1).all()


@pytest.mark.parametrize("center", [True, False])
def test_inner_products_keep_the_order_of_logits(center):
    weights, bias, hidden = make_layer()
    index = make_index(weights, center=center).build(weights, bias, hidden.mean(axis=0))
    last = bias
    if center:
        last = shifted_biases(index, weights, bias) - index.bias_mean
    rows = np.column_stack([weights - index.row_mean, last])
    queries = np.column_stack([hidden - index.query_mean, np.ones(len(hidden))])
    difference = queries @ rows.T - (hidden @ weights.T + bias)
    assert np.ptp(difference, axis=1).max() < 1e-5


@every_family
def test_any_number_of_threads_makes_the_same_bits(family):
    weights, bias, hidden = make_layer()
    keys = np.arange(50)
    made = []
    for n_threads in (1, 2, 4, 8):
        index = make_index(weights, hash_function=family, insertion="reservoir")
        index.build(weights, bias, hidden.mean(axis=0), n_threads=n_threads)
        index.update(weights[::-1].copy(), bias, range(0, 300, 2), n_threads=n_threads)
        found = [index.query(hidden, strategy=strategy, n_candidates=30, min_collisions=2,
                             sample_keys=keys, n_threads=n_threads) for strategy in STRATEGIES]
        made.append((index, found))
    for index, found in made[1:]:
        assert_same_tables(index, made[0][0])
        np.testing.assert_equal(found, made[0][1])


@every_family
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_candidates_do_not_depend_on_the_batch(family, strategy):
    weights, bias, hidden = make_layer(n_samples=70)
    index = make_index(weights, hash_function=family).build(weights, bias, hidden.mean(axis=0))
    keys = np.arange(70, dtype=np.uint64) * 12345

    def query(part):
        return index.query(hidden[part], strategy=strategy, n_candidates=25, min_collisions=2,
                           sample_keys=keys[part])

    whole = query(slice(None))
    order = np.random.default_rng(1).permutation(70)
    for a, b in zip(query(order), whole, strict=True):
        np.testing.assert_array_equal(a, b[order])
    for size in (1, 7, 33):
        parts = [query(slice(start, start + size)) for start in range(0, 70, size)]
        for a, b in zip(zip(*parts, strict=True), whole, strict=True):
            np.testing.assert_array_equal(np.concatenate(a), b)


@every_family
@pytest.mark.parametrize("center", [True, False])
def test_small_chunks_make_the_same_tables_and_candidates(family, center, monkeypatch):
    weights, bias, hidden = make_layer()
    made = []
    for chunk in (2**27, 1):
        monkeypatch.setattr(_lsh, "CHUNK_STEPS", chunk)
        monkeypatch.setattr(_lsh, "CHUNK_SAMPLES", chunk)
        index = make_index(weights, hash_function=family, center=center, insertion="reservoir")
        index.build(weights, bias, hidden.mean(axis=0))
        found = [index.query(hidden, strategy=strategy, n_candidates=30, min_collisions=2,
                             sample_keys=np.arange(50)) for strategy in STRATEGIES]
        made.append((index, found))
    assert_same_tables(made[0][0], made[1][0])
    np.testing.assert_equal(made[0][1], made[1][1])


@every_family
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("insertion", _lsh.INSERTIONS)
def test_update_equals_hashing_all_rows(family, center, insertion):
    weights, bias, hidden = make_layer()
    index = make_index(weights, hash_function=family, center=center, insertion=insertion)
    index.build(weights, bias, hidden.mean(axis=0))
    before = index.slots.copy()

    rng = np.random.default_rng(1)
    changed = rng.choice(300, 40)
    moved, shifted = weights.copy(), bias.copy()
    moved[changed] += rng.standard_normal((40, 20), dtype=np.float32)
    shifted[changed] += 1
    full = copy.deepcopy(index).update(moved, shifted, np.arange(300))
    assert_same_tables(index.update(moved, shifted, changed), full)
    kept = np.setdiff1d(np.arange(300), changed)
    np.testing.assert_array_equal(index.slots[:, kept], before[:, kept])
    assert (index.slots != before).any()
    assert_same_tables(index.update(moved, shifted, []), full)


@every_family
def test_redraw_makes_fresh_functions(family):
    weights, bias, hidden = make_layer()
    index = make_index(weights, hash_function=family).build(weights, bias)
    before = index.slots
    index.redraw(6)
    with pytest.raises(ValueError, match="call build"):
        index.query(hidden, n_candidates=5)
    index.build(weights, bias)
    assert (index.slots != before).mean() > 0.3
    assert_same_tables(index, make_index(weights, hash_function=family, seed=6)
                       .build(weights, bias))


def test_adopted_tables_are_only_read():
    weights, bias, hidden = make_layer()
    index = make_index(weights).build(weights, bias, hidden.mean(axis=0))
    other = make_index(weights).build(bias[:, None] * weights, bias).adopt(index.tables)
    np.testing.assert_equal(other.query(hidden, n_candidates=9),
                            index.query(hidden, n_candidates=9))
    before = copy.deepcopy(index)
    with pytest.raises(ValueError, match="adopted: call build first"):
        other.update(weights, bias, [3])
    other.build(2 * weights, bias).update(weights, bias, range(300))
    assert_same_tables(index, before)


def test_interrupted_builds_leave_nothing_to_query(monkeypatch):
    weights, bias, hidden = make_layer()
    index = make_index(weights).build(weights, bias)
    with monkeypatch.context() as patch:
        patch.setattr(_lsh._tables, "build_tables", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            index.update(weights, bias, [3])
    with pytest.raises(ValueError, match="call build"):
        index.query(hidden, n_candidates=5)
    assert_same_tables(index.build(weights, bias), make_index(weights).build(weights, bias))


def test_tables_stay_as_small_as_the_rows_allow():
    assert LSHIndex(10**6, 8, hash_function="dwta", n_tables=1, seed=0).table_bits == 18
    assert LSHIndex(10**6, 8, hash_length=50, n_tables=1, seed=0).table_bits == 21
    assert LSHIndex(10**8, 8, hash_length=50, n_tables=1, seed=0).table_bits == 22
    assert LSHIndex(3, 8, hash_length=50, n_tables=1, seed=0).table_bits == 8


@every_family
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_samples_and_no_candidates(family, strategy):
    weights, bias, hidden = make_layer()
    index = make_index(weights, hash_function=family).build(weights, bias)
    ids, counts = index.query(hidden[:0], strategy=strategy, n_candidates=5, sample_keys=[])
    assert ids.shape == (0, 5)
    assert counts.shape == (0,)
    ids, counts = index.query(hidden, strategy=strategy, n_candidates=0, sample_keys=range(50))
    assert ids.shape == (50, 0)
    assert not counts.any()


@pytest.mark.parametrize(("parameters", "message"), [
    ({"hash_function": "md5"}, "hash_function"),
    ({"insertion": "lifo"}, "insertion"),
    ({"n_tables": 0}, "n_tables"),
    ({"n_tables": True}, "n_tables"),
    ({"bucket_size": 2.0}, "bucket_size"),
    ({"seed": -1}, "seed"),
    ({"seed": 2**64}, "seed"),
    ({"hash_length": 64}, "63 bits|hash_length <= 63"),
    ({"hash_length": 22, "hash_function": "dwta"}, "hash_length <= 21"),
])
def test_bad_parameters_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        LSHIndex(**({"n_rows": 9, "n_columns": 9, "seed": 0} | parameters))


def test_bad_arrays_are_refused():
    weights, bias, hidden = make_layer()
    index = make_index(weights)
    with pytest.raises(ValueError, match="call build"):
        index.update(weights, bias, [1])
    for wrong in (weights[1:], weights.astype(float), np.asfortranarray(weights), weights.tolist()):
        with pytest.raises(ValueError, match="C-contiguous array of float32 or bfloat16"):
            index.build(wrong, bias)
    with pytest.raises(ValueError, match="bias has shape"):
        index.build(weights, bias[1:])
    with pytest.raises(ValueError, match="query_mean has shape"):
        index.build(weights, bias, [1.0])
    index.build(weights, bias)
    for rows in ([-1], [300]):
        with pytest.raises(ValueError, match="must lie in"):
            index.update(weights, bias, rows)
    with pytest.raises(ValueError, match="row numbers"):
        index.update(weights, bias, [0.5])
    with pytest.raises(ValueError, match="hidden has shape"):
        index.query(hidden[:, 1:], n_candidates=3)
    with pytest.raises(ValueError, match="needs sample_keys"):
        index.query(hidden, strategy="vanilla", n_candidates=3)
    with pytest.raises(ValueError, match="sample_keys has shape"):
        index.query(hidden, strategy="vanilla", n_candidates=3, sample_keys=[1])
    with pytest.raises(ValueError, match="strategy"):
        index.query(hidden, strategy="best", n_candidates=3)
    with pytest.raises(ValueError, match="min_collisions"):
        index.query(hidden, strategy="threshold", n_candidates=3, min_collisions=0)
    _, counts = index.query(hidden, strategy="threshold", n_candidates=3, min_collisions=99)
    assert not counts.any()


# Does it find anything?


def relu_clusters(n_rows=3000, n_columns=64, n_samples=500):
    """Positive activations near 300 centres, and the weights of classes that want one centre each.

    Units are active to very different degrees, as those of a trained ReLU layer are.
    """
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((300, n_columns))
    hidden = centres[rng.integers(0, 300, n_samples)] + 0.3 * rng.standard_normal(
        (n_samples, n_columns)
    )
    weights = centres[rng.integers(0, 300, n_rows)] + 0.5 * rng.standard_normal(
        (n_rows, n_columns)
    )
    hidden = np.maximum(hidden + 3 * rng.random(n_columns), 0).astype(np.float32)
    bias = 0.1 * rng.standard_normal(n_rows)
    return weights.astype(np.float32), bias.astype(np.float32), hidden


def best_found(family, center, n_seeds=5):
    """Per sample, in which share of the indices the best row is among 100 candidates."""
    weights, bias, hidden = relu_clusters()
    best = (hidden @ weights.T + bias).argmax(axis=1)
    found = np.zeros(len(hidden))
    for seed in range(n_seeds):
        index = LSHIndex(*weights.shape, hash_function=family, n_tables=30, center=center,
                         seed=seed, hash_length=7 if family == "simhash" else 3)
        index.build(weights, bias, hidden.mean(axis=0))
        ids, counts = index.query(hidden, n_candidates=100)
        assert counts.max() <= 100
        found += (ids == best[:, None]).any(axis=1) / n_seeds
    return found


@every_family
def test_candidates_hold_the_best_row(family):
    """Random sets of 100 out of 3000 rows would in 3.3% of the cases."""
    assert best_found(family, True).mean() > 0.5


@every_family
def test_centring_helps_activations_of_one_orthant(family):
    """By more than five standard errors."""
    gain = best_found(family, True) - best_found(family, False)
    assert gain.mean() > 5 * gain.std() / np.sqrt(len(gain))


# RebuildSchedule


def events(schedule, n_steps):
    return [(step, what) for step in range(1, n_steps + 1) if (what := schedule.due(step))]


def test_gaps_grow_by_the_factor():
    due = [step for step, _ in events(RebuildSchedule(50, growth=2.0), 2000)]
    assert due == [50, 100, 200, 400, 800, 1600]
    due = [step for step, _ in events(RebuildSchedule(3, growth=1.0), 20)]
    assert due == [3, 6, 9, 12, 15, 18]


def test_every_so_many_rebuilds_functions_are_redrawn():
    what = [what for _, what in events(RebuildSchedule(1, growth=1.0, redraw_every=3), 7)]
    assert what == ["update", "update", "redraw", "update", "update", "redraw", "update"]
    assert {what for _, what in events(RebuildSchedule(1, growth=1.0), 50)} == {"update"}


def test_gaps_stay_finite():
    schedule = RebuildSchedule(1, growth=1e300)
    assert [step for step, _ in events(schedule, 10)] == [1, 2]
    assert schedule.next_step < 2**62


@pytest.mark.parametrize("parameters", [
    {"first_gap": 0}, {"growth": 0.9}, {"growth": np.inf}, {"growth": np.nan},
    {"growth": "2"}, {"redraw_every": -1},
])
def test_bad_schedules_are_refused(parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        RebuildSchedule(**parameters)
