"""Charts: what is more stands higher or further right, intervals have both ends, long lines are thinned."""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree

import pytest

from ftkit.reporting import charts
from ftkit.reporting.charts import Axis, Line, axis


def drawn(svg: Any, kind: str, name: str) -> list[dict[str, str]]:
    """Attributes of the elements of a kind that have a class."""
    found = ElementTree.fromstring(str(svg)).iter(kind)
    return [dict(each.attrib) for each in found if name in each.get("class", "").split()]


def test_a_line_rises_with_its_values_and_goes_right_with_its_steps() -> None:
    first, last = drawn(charts.lines("t", "d", [Line("run", [(1, 0.5), (9, 0.7)], 0, True)]), "circle", "dot")
    assert float(first["cx"]) < float(last["cx"])
    assert float(first["cy"]) > float(last["cy"]), "down is more in SVG"


def test_an_interval_is_drawn_from_its_low_to_its_high_end() -> None:
    svg = charts.interval({"value": 0.5, "low": 0.2, "high": 0.7, "each": [0.4]}, Axis(0, 1), reference=0.9)
    assert [(bar["x1"], bar["x2"]) for bar in drawn(svg, "line", "bar")] == [("20.0%", "70.0%")]
    assert [dot["cx"] for dot in drawn(svg, "circle", "dot")] == ["50.0%"]
    assert [dot["cx"] for dot in drawn(svg, "circle", "each")] == ["40.0%"]
    assert [line["x1"] for line in drawn(svg, "line", "reference")] == ["90.0%"]
    assert not drawn(charts.interval({"value": 0.5}, Axis(0, 1)), "line", "bar")


def test_confidence_lies_across_and_accuracy_up_and_more_answers_are_a_larger_dot() -> None:
    rows = [{"n": 1, "confidence": 0.9, "accuracy": 0.25}, {"n": 9, "confidence": 0.4, "accuracy": 0.5}]
    sure, unsure = drawn(charts.reliability("t", "d", [("before", rows)]), "circle", "dot")
    (ideal,) = drawn(charts.reliability("t", "d", []), "line", "ideal")
    left, right, bottom, top = (float(ideal[name]) for name in ("x1", "x2", "y1", "y2"))
    assert left < right and bottom > top
    assert float(sure["cx"]) == pytest.approx(left + 0.9 * (right - left), abs=0.01)
    assert float(sure["cy"]) == pytest.approx(bottom + 0.25 * (top - bottom), abs=0.01)
    assert float(sure["r"]) < float(unsure["r"])


def test_endless_lines_are_thinned_to_means_and_what_is_not_finite_is_left_out() -> None:
    points = [(float(i), float(i % 2)) for i in range(2400)]
    kept = charts._thinned([*points, (2400.0, math.nan), (2401.0, math.inf)])
    assert len(kept) == charts._MOST_POINTS
    assert kept[0] == (4.5, 0.5)
    assert charts._thinned(points[:5]) == points[:5]


def test_an_axis_has_room_but_none_beyond_what_there_can_be() -> None:
    assert axis([0.98, 1.0], 0.0, 1.0).high == 1.0
    assert axis([0.0, 0.02], 0.0, 1.0).low == 0.0
    free = axis([2.0, 4.0])
    assert free.low < 2 and free.high > 4
    assert axis([3.0]).low < 3 < axis([3.0]).high


@pytest.mark.parametrize("ends", [(0.0, 1.0), (0.13, 0.91), (-3.0, 8.0), (2e-6, 3e-5)])
def test_ticks_lie_inside(ends: tuple[float, float]) -> None:
    found = Axis(*ends).ticks()
    assert 2 <= len(found) <= 6
    slack = 1e-9 * (ends[1] - ends[0])
    assert all(ends[0] - slack <= tick <= ends[1] + slack for tick in found)
