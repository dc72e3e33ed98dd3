"""Charts as SVG inside the page: lines over steps, reliability, and dots with bars in table cells.

Colours are the page's (classes, not values), so that they follow its dark mode. All text is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from markupsafe import Markup, escape

WIDTH, HEIGHT = 360, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 34
_MOST_POINTS = 240
"""Points that a line keeps."""
_STYLES = 6
"""Colours with dashes that page.css has."""


class Line(NamedTuple):
    """A line over steps; `style` numbers its colour and dashes."""

    name: str
    points: Sequence[tuple[float, float]]
    style: int = 0
    dots: bool = False


class Axis(NamedTuple):
    """The values from one end to the other."""

    low: float
    high: float

    def share(self, value: float) -> float:
        """Where a value lies, 0 to 1."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def ticks(self, most: int = 5) -> list[float]:
        """Round values inside the axis."""
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


def axis(values: Iterable[float], least: float | None = None, most: float | None = None) -> Axis:
    """An axis with a little room around the values, within `least` and `most`."""
    found = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(found), max(found)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 0.5
    low, high = low - room, high + room
    low = low if least is None else max(least, low)
    high = high if most is None else min(most, high)
    return Axis(low, high) if high > low else Axis(low - 0.5, low + 0.5)


def element(name: str, *inside: Any, **attributes: Any) -> Markup:
    """An SVG element; underscores of attributes' names stand for hyphens, a last one is left out."""
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"' for key, value in attributes.items()
    )
    return Markup(f"<{name}{pairs}>") + Markup("").join(inside) + Markup(f"</{name}>")


def _text(value: Any) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def number(value: float) -> str:
    """A tick's or a cell's value, short."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.4g}"
    return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")


def lines(title: str, description: str, found: Sequence[Line], across: str = "step") -> Markup:
    """Lines over steps with axes; one point alone is a dot."""
    kept = [line._replace(points=_thinned(line.points)) for line in found if line.points]
    x_axis = Axis(0.0, max([1.0, *(x for line in kept for x, _ in line.points)]))
    y_axis = axis(y for line in kept for _, y in line.points)
    drawn = [_grid(x_axis, y_axis, across)]
    for line in kept:
        at = [(_x(x_axis, x), _y(y_axis, y)) for x, y in line.points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in at)
        drawn.append(element("path", d=path, class_=f"line {_style(line.style)}"))
        if line.dots or len(at) == 1:
            drawn += [element("circle", cx=x, cy=y, r=2.5, class_=f"dot {_style(line.style)}") for x, y in at]
    return _svg(title, description, *drawn)


def _style(number: int) -> str:
    return f"s{number % _STYLES}"


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `_MOST_POINTS` points, each the mean of those that it stands for."""
    finite = [point for point in points if math.isfinite(point[1])]
    size = math.ceil(len(finite) / _MOST_POINTS) or 1
    parts = [finite[i : i + size] for i in range(0, len(finite), size)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def _x(axis: Axis, value: float) -> float:
    return LEFT + axis.share(value) * (WIDTH - LEFT - RIGHT)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - axis.share(value) * (HEIGHT - TOP - BOTTOM)


def _grid(x_axis: Axis, y_axis: Axis, across: str) -> Markup:
    parts = []
    for value in y_axis.ticks():
        y = _y(y_axis, value)
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(element("text", escape(number(value)), x=LEFT - 6, y=y + 3.5, text_anchor="end"))
    for value in x_axis.ticks(4):
        x = _x(x_axis, value)
        anchor = "end" if x > WIDTH - RIGHT - 12 else "middle"
        parts.append(element("text", escape(number(value)), x=x, y=HEIGHT - BOTTOM + 14, text_anchor=anchor))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(element("text", escape(across), x=middle, y=HEIGHT - 5, text_anchor="middle", class_="name"))
    return Markup("").join(parts)


def _svg(title: str, description: str, *drawn: Markup) -> Markup:
    return element(
        "svg",
        element("title", escape(title)),
        element("desc", escape(description)),
        *drawn,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        class_="chart",
    )


def reliability(title: str, description: str, found: Sequence[tuple[str, Sequence[Any]]]) -> Markup:
    """How often answers of a confidence are right, beside what they should be; a dot is larger for more answers.

    found: (name, rows of {"n", "confidence", "accuracy"}) for each line.
    """
    whole = Axis(0.0, 1.0)
    drawn = [_grid(whole, whole, "confidence")]
    ends = {"x1": _x(whole, 0), "y1": _y(whole, 0), "x2": _x(whole, 1), "y2": _y(whole, 1)}
    drawn.append(element("line", **ends, class_="ideal"))
    most = max((row["n"] for _, rows in found for row in rows), default=1) or 1
    for style, (_, rows) in enumerate(found):
        at = [(_x(whole, r["confidence"]), _y(whole, r["accuracy"]), r["n"]) for r in rows if r["n"]]
        if at:
            path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in at)
            drawn.append(element("path", d=path, class_=f"line {_style(style)}"))
        drawn += [
            element("circle", cx=x, cy=y, r=2 + 5 * math.sqrt(n / most), class_=f"dot {_style(style)}")
            for x, y, n in at
        ]
    return _svg(title, description, *drawn)


def interval(score: Any, scale: Axis, style: int = 0, reference: float | None = None) -> Markup:
    """A dot at a value, a bar over its interval, dots at `each` of its parts; a thin line at the reference."""
    value = score["value"]
    low, high = score.get("low", value), score.get("high", value)
    said = f"{number(value)}" + (f", from {number(low)} to {number(high)}" if "low" in score else "")
    drawn = [element("title", escape(said)), element("line", x1="0%", x2="100%", y1=9, y2=9, class_="rail")]
    if reference is not None:
        x = f"{100 * scale.share(reference):.1f}%"
        drawn.append(element("line", x1=x, x2=x, y1=1, y2=17, class_="reference"))
    if "low" in score:
        ends = {"x1": f"{100 * scale.share(low):.1f}%", "x2": f"{100 * scale.share(high):.1f}%"}
        drawn.append(element("line", **ends, y1=9, y2=9, class_=f"bar {_style(style)}"))
    for each in score.get("each", ()):
        drawn.append(element("circle", cx=f"{100 * scale.share(each):.1f}%", cy=9, r=2.5, class_="each"))
    drawn.append(element("circle", cx=f"{100 * scale.share(value):.1f}%", cy=9, r=4, class_=f"dot {_style(style)}"))
    return element("svg", *drawn, class_="interval", role="img", height=18)
