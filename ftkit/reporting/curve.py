"""The page of a learning curve: what was measured, the line through it, and what more rows are expected to buy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from ftkit.files import replacing
from ftkit.metrics import percent
from ftkit.reporting.charts import Line, element, lines, number

_STYLE = Path(__file__).parent / "page.css"


def write_curve(found: dict[str, Any], path: Path) -> Path:
    """Write the page of what `data curve --json` prints, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(page(found), encoding="utf-8")
    return path


def page(found: dict[str, Any]) -> str:
    """The page, which opens offline."""
    metric, split = found["metric"], found["split"]
    title = f"{metric} on {found['test_rows']} {split} rows, by training rows"
    measured = [(point["rows"], point["value"]) for point in found["points"]]
    fitted = [(point["rows"], point["value"]) for point in found["expected"]]
    chart = lines(
        title,
        "; ".join(f"{rows} rows: {number(value)}" for rows, value in measured),
        [Line("fitted", fitted, 0), Line("measured", measured, 1, dots=True)],
        across="training rows",
    )
    points = [[f"{p['rows']:,}", number(p["value"]), ", ".join(map(number, p["each"]))] for p in found["points"]]
    gains = [
        [f"{gain['rows']:,}", f"{gain['value']:+.4f}", f"{gain['low']:+.4f} to {gain['high']:+.4f}"]
        for gain in found["gains"]
    ]
    inside = Markup("").join(
        [
            element("h1", escape(title)),
            element("figure", chart),
            _table(["training rows", metric, "each seed's"], points),
            element("h2", "What more rows are expected to buy"),
            _table(["more rows", metric, f"{percent(found['level'])} interval"], gains),
        ]
    )
    head = Markup('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">')
    style = element("style", Markup(_STYLE.read_text(encoding="utf-8")))
    body = element("body", element("main", inside))
    return f"<!doctype html>\n{element('html', element('head', head, element('title', escape(title)), style), body)}"


def _table(header: list[str], rows: list[list[str]]) -> Markup:
    head = element("tr", *(element("th", escape(cell)) for cell in header))
    body = [element("tr", *(element("td", escape(cell)) for cell in row)) for row in rows]
    return element("table", element("thead", head), element("tbody", *body))
