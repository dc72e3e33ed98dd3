"""A person's text in the page: cut where it is endless, what can't be seen made visible, marks and weights put in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from ftkit.errors import LONGEST, visible


class Piece(NamedTuple):
    """A run of characters that are marked and weighed alike."""

    text: str
    marks: tuple[str, ...]
    """Kinds of the marks that hold it, without repetition."""
    weight: float
    """-1 (against the answer) to 1 (for it)."""
    notes: tuple[str, ...]
    """What the marks that end here are called."""


def pieces(part: Mapping[str, Any], marked: bool, weighed: bool) -> list[Piece]:
    """A text of an analysis in runs, with its marks or its words' weights."""
    text = str(part["text"])[:LONGEST]
    marks = part.get("marks", []) if marked else []
    weights = part.get("weights", []) if weighed else []
    edges = {0, len(text), *(m[e] for m in marks for e in ("start", "end")), *(e for w in weights for e in w[:2])}
    inside = sorted(edge for edge in edges if 0 <= edge <= len(text))
    return [_piece(text, begin, end, marks, weights) for begin, end in pairwise(inside)]


def _piece(text: str, begin: int, end: int, marks: Sequence[Any], weights: Sequence[Any]) -> Piece:
    holding = [mark for mark in marks if mark["start"] <= begin and end <= mark["end"]]
    weight = sum(w for start, stop, w in weights if start <= begin and end <= stop)
    notes = tuple(note for mark in holding if mark["end"] == end for note in _note(mark))
    kinds = tuple(dict.fromkeys(str(mark["kind"]) for mark in holding))
    return Piece(visible(text[begin:end]), kinds, max(-1.0, min(1.0, float(weight))), notes)


def _note(mark: Mapping[str, Any]) -> Iterator[str]:
    label = visible(mark.get("label", ""), 80)
    if mark["kind"] == "right":
        yield label
    elif mark["kind"] == "missed":
        yield f"{label} missed".strip()
    elif "truth" in mark:
        yield f"{label}, truly {visible(mark['truth'], 80)}"
    else:
        yield f"{label} answered".strip()
