"""The base of all settings: a number is a finite number, whosever settings they are."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import Field, ValidationError

from ftkit.config import Section
from ftkit.plugins import explain_errors


class Options(Section):
    """Settings as a task or a method of one's own has them."""

    size: int = 1
    rate: float = Field(0.5, gt=0)
    most: int | None = None
    share: str | float = 0.1
    every: Literal["epoch"] | int = "epoch"
    each: tuple[int, ...] = ()
    weights: dict[str, float] = {}
    switch: bool = False
    both: bool | int = False
    switches: dict[str, bool] = {}
    free: Any = None
    raw: dict[str, Any] = {}


SWITCHES: dict[str, Any] = {
    "size": True,
    "rate": True,
    "most": False,
    "share": True,
    "every": True,
    "each": [1, True],
    "weights": {"a": True},
}
INFINITE: dict[str, Any] = {
    "size": float("inf"),
    "rate": float("nan"),
    "share": float("inf"),
    "each": [float("inf")],
    "weights": {"a": float("nan")},
}


@pytest.mark.parametrize("name", SWITCHES)
def test_true_is_no_number(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Options(**{name: SWITCHES[name]})
    assert f"{name}: can't be true or false" in explain_errors(caught.value, Options)[0]


@pytest.mark.parametrize("name", INFINITE)
def test_numbers_are_finite(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Options(**{name: INFINITE[name]})
    assert f"{name}: must be a finite number" in explain_errors(caught.value, Options)[0]


def test_text_that_means_infinity_is_no_number() -> None:
    for text in ("nan", "inf", "-Infinity"):
        with pytest.raises(ValidationError, match="finite"):
            Options(rate=text)  # type: ignore[arg-type]


def test_switches_stay_switches() -> None:
    settings: dict[str, Any] = {
        "switch": True,
        "both": True,
        "switches": {"a": False},
        "free": True,
        "raw": {"a": True, "b": float("inf")},
    }
    read = Options(**settings)
    assert {name: getattr(read, name) for name in settings} == settings


def test_numbers_stay_numbers() -> None:
    read = Options(size=2.0, rate=1, most=3, share="a.csv", every=5, each=[1, 2], weights={"a": 1})  # type: ignore[arg-type]
    assert (read.size, read.rate, read.most, read.share, read.every, read.each, read.weights) == (
        2,
        1.0,
        3,
        "a.csv",
        5,
        (1, 2),
        {"a": 1.0},
    )
