"""The page of a learning curve shows what was measured and what is expected, and nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

from ftkit.reporting.curve import page, write_curve

FOUND = {
    "metric": "accuracy",
    "split": "test",
    "level": 0.95,
    "test_rows": 50,
    "points": [
        {"rows": rows, "value": value, "each": [value - 0.01, value + 0.01]}
        for rows, value in ((20, 0.5), (40, 0.6), (80, 0.65), (160, 0.7))
    ],
    "expected": [{"rows": rows, "value": 0.5 + rows / 1000} for rows in range(20, 320, 20)],
    "gains": [{"rows": 1600, "value": 0.031, "low": 0.01, "high": 0.05}],
}


def test_points_and_gains_are_shown() -> None:
    shown = page(FOUND)
    assert shown.startswith("<!doctype html>")
    assert all(text in shown for text in ("0.65", "0.64, 0.66", "1,600", "+0.0310", "+0.0100 to +0.0500"))
    assert shown.count("<circle") == 4
    assert "http" not in shown.replace("http://www.w3.org", "")


def test_a_metric_of_one_s_own_is_escaped(tmp_path: Path) -> None:
    written = write_curve({**FOUND, "metric": "<b>"}, tmp_path / "curve.html").read_text()
    assert "&lt;b&gt;" in written and "<b>" not in written
