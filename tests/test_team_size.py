"""How many threads share a batch: found by trying, and without an effect on results."""

import numpy as np
import pytest
from conftest import assert_same_model, small

from slidelearn import _training
from slidelearn._threads import LONGEST_WAIT, TRIAL, TeamSize


def sizes(team, n_portions, seconds):
    """The teams of some portions, one of n threads taking ``seconds(n)``."""
    result = []
    for _ in range(n_portions):
        result.append(team.n)
        team.record(seconds(team.n))
    return np.array(result)


def test_one_thread_stays_one():
    assert (sizes(TeamSize(1), 300, lambda n: 1.0) == 1).all()


@pytest.mark.parametrize("most", [2, 3, 8])
def test_all_threads_while_they_pay(most):
    found = sizes(TeamSize(most), 1000, lambda n: 1.0 / n)
    assert found[0] == most
    assert 2 * TRIAL <= (found != most).sum() <= 5 * TRIAL  # trials, ever rarer


@pytest.mark.parametrize(("most", "best"), [(2, 1), (3, 1), (3, 2), (6, 3), (8, 2), (64, 4)])
def test_settles_on_the_fastest_team(most, best):
    found = sizes(TeamSize(most), 1000, lambda n: 1.0 / n if n <= best else 1.0 + 0.1 * n)
    assert (found[100:] == best).mean() > 0.95


def test_no_better_is_no_reason_to_change():
    found = sizes(TeamSize(4), 400, lambda n: 1.0)
    assert (found == 4).mean() > 0.95


def test_notices_that_the_machine_changed():
    team = TeamSize(2)
    assert (sizes(team, 2000, lambda n: 1.0 / n) == 2).mean() > 0.99
    crowded = sizes(team, 2000, lambda n: 1.0 if n == 1 else 1.5)
    assert (crowded[10:] == 1).mean() > 0.99
    free_again = sizes(team, 3000, lambda n: 1.0 / n)
    assert (free_again[LONGEST_WAIT + 10:] == 2).mean() > 0.99


def test_one_slow_portion_changes_nothing():
    team = TeamSize(2)
    expected = sizes(TeamSize(2), 120, lambda n: 1.0 / n)
    found = []
    for portion in range(120):
        found.append(team.n)
        team.record(5.0 if portion == 50 else 1.0 / team.n)
    np.testing.assert_array_equal(found, expected)


class Restless:
    """A team that changes with each portion."""

    def __init__(self, most):
        self.most, self.n, self.seconds = most, most, []

    def record(self, seconds):
        self.seconds.append(seconds)
        self.n = self.n % self.most + 1


@pytest.mark.parametrize("setting", [{}, {"sampling": "topk"}], ids=str)
def test_changing_teams_give_the_same_bits(monkeypatch, extreme, setting):
    X, Y = extreme[0][:600], extreme[1][:600]
    expected = small(batch_size=16, **setting).fit(X, Y)
    teams = []

    def make(most):
        teams.append(Restless(most))
        return teams[-1]

    monkeypatch.setattr(_training, "TeamSize", make)
    found = small(batch_size=16, n_jobs=3, **setting).fit(X, Y)
    assert len(teams[0].seconds) == expected.t_
    assert min(teams[0].seconds) > 0
    assert_same_model(found, expected)
