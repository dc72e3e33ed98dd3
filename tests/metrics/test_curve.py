"""The learning curve: fitted to known ones, and intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import least_squares

from ftkit.metrics import curve

SIZES = [50, 100, 200, 400, 800]


def errors(floor: float, scale: float, power: float) -> np.ndarray:
    return np.array([floor + scale * size**-power for size in SIZES])


@given(st.floats(0.01, 0.4), st.floats(0.3, 3), st.floats(0.2, 1.2))
def test_a_true_curve_is_found_where_it_was_measured_and_beyond(floor: float, scale: float, power: float) -> None:
    found = curve.fit(SIZES, errors(floor, scale, power))
    for size in (*SIZES, 1600):
        assert found.error(size) == pytest.approx(floor + scale * size**-power, rel=0.05)


@given(st.lists(st.floats(0.02, 0.9), min_size=5, max_size=5))
def test_no_worse_than_a_general_solver(values: list[float]) -> None:
    """Of relative least squares under the same bounds, begun from where the fit ended."""
    found = curve.fit(SIZES, np.array(values))

    def residuals(parts: np.ndarray) -> np.ndarray:
        return (parts[0] + parts[1] * np.array(SIZES, dtype=float) ** -parts[2]) / np.array(values) - 1

    ours = np.array([found.floor, found.scale, found.power])
    better = least_squares(residuals, np.maximum(ours, 1e-9), bounds=([0, 0, 0.05], [np.inf, np.inf, 2.0]))
    assert (residuals(ours) ** 2).sum() <= 2 * better.cost + 0.02 * len(SIZES)


@given(st.lists(st.floats(0.001, 1), min_size=5, max_size=5))
def test_more_rows_never_cost_anything(values: list[float]) -> None:
    found = curve.fit(SIZES, np.array(values))
    assert found.floor >= 0 and found.scale >= 0
    assert found.error(1600) <= found.error(800) + 1e-12


def test_many_draws_are_fitted_as_each_alone() -> None:
    rows = np.random.default_rng(0).uniform(0.1, 0.5, (7, 5))
    together = curve.fit(SIZES, rows)
    for i, row in enumerate(rows):
        alone = curve.fit(SIZES, row)
        assert [together.floor[i], together.scale[i], together.power[i]] == pytest.approx(list(alone))


def test_equal_trainings_have_no_spread_but_that_of_rows() -> None:
    sizes = [10, 10, 20, 20]
    found = np.array([0.4, 0.4, 0.3, 0.3])
    draws = np.repeat(found[:, None], 5, axis=1)
    order, means, drawn = curve.drawn_errors(sizes, found, draws, seed=1)
    assert order == [10, 20] and means == pytest.approx([0.4, 0.3])
    assert drawn == pytest.approx(np.repeat([[0.4, 0.3]], 5, axis=0))


def test_the_true_gain_lies_in_its_interval_as_often_as_promised() -> None:
    """Curves drawn with noise of trainings and of test rows: 95 % intervals hold the true gain in most cases."""
    random = np.random.default_rng(7)
    held, trials, repeats, test_rows = 0, 120, 3, 1000
    true = curve.Curve(np.array(0.1), np.array(1.5), np.array(0.5))
    for trial in range(trials):
        sizes = [size for size in SIZES for _ in range(repeats)]
        means = np.array([true.error(size) for size in sizes])
        one = means * (1 + 0.04 * random.standard_normal(len(sizes)))
        wrong = random.random((test_rows,))[None, :] < one[:, None]
        found = wrong.mean(1)
        again = random.integers(0, test_rows, (200, test_rows))
        draws = np.stack([row[again].mean(1) for row in wrong])
        order, average, drawn = curve.drawn_errors(sizes, found, draws, seed=trial)
        (gain,) = curve.gains(curve.fit(order, average), curve.fit(order, drawn), 800, [800], 0.95)
        held += gain.low <= true.error(800) - true.error(1600) <= gain.high
    assert held / trials >= 0.9


def test_a_mean_of_more_trainings_is_surer() -> None:
    errors = np.random.default_rng(0).normal(1.0, 0.1, 2000)
    _, _, drawn = curve.drawn_errors([50] * 400 + [100] * 1600, errors, np.ones((2000, 20_000)), 0)
    assert drawn.std(0) == pytest.approx([0.1 / 20, 0.1 / 40], rel=0.1)


def test_a_gain_lies_in_its_interval() -> None:
    drawn = curve.Curve(np.zeros(9), np.full(9, 0.5), np.full(9, 0.5))
    (gain,) = curve.gains(curve.Curve(np.array(0.0), np.array(1.0), np.array(0.5)), drawn, 100, [100], 0.95)
    assert gain.low < gain.value == gain.high
