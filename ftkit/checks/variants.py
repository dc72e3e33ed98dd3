"""Labels that are other labels, written otherwise."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from ftkit.checks._base import FIXES, Check, Data, names_in
from ftkit.findings import Finding

_RARE = 10
"""A slip has at most one row for so many of the label that is meant."""
_SHORTEST = 4
"""Letters of the shortest word that a slip is told in."""
_ALIKE = 5
"""Letters that a slip has in common with what is meant, where one is lacking or too many."""
_REPLACED = 7
"""The same where one is another: `upload` and `unload` are two words."""


class Variants(Check):
    """Labels that differ from a more frequent one in case or spaces only, or are rare and spelled almost as it is."""

    summary = "labels that are slips of other labels"

    def find(self, data: Data) -> Iterator[Finding]:
        """A finding for each such label, with all its rows."""
        if not data.has_names:
            return
        counts: Counter[str] = Counter()
        for split in data.splits:
            counts.update(data.counts(split))
        for name, meant in slips(counts).items():
            places = tuple(
                data.place(split, index)
                for column in data.kinds("label", "labels", "tags", "entities")
                for split, columns in data.splits.items()
                for index, value in enumerate(columns[column.name])
                if name in names_in(value, column)
            )
            what = f"label {name!r} seems to be {meant!r}, which has {counts[meant]:,} rows"
            yield Finding(
                "label-variant",
                "warning",
                what,
                places,
                f"write {meant!r}, or rename it in data.labels" + FIXES,
            )


def slips(counts: Mapping[str, int]) -> dict[str, str]:
    """Label -> the more frequent one that is meant."""
    names = sorted(counts, key=lambda name: (-counts[name], name))
    plain: dict[str, str] = {}
    found: dict[str, str] = {}
    for name in names:
        meant = plain.setdefault(_plain(name), name)
        if meant == name:
            meant = nearest_label(name, [other for other in plain.values() if counts[other] >= _RARE * counts[name]])
        if meant != name:
            found[name] = found.get(meant, meant)
            plain[_plain(name)] = found[name]
    return found


def _plain(name: str) -> str:
    return re.sub(r"(?<=[^\W_])[\s_-]+(?=[^\W_])", " ", name).strip().casefold()


def nearest_label(name: str, known: Iterable[str]) -> str:
    """The known label that is the same but for case and spaces, or spelled almost alike; else `name` itself."""
    own, known = _plain(name), list(known)
    same = [other for other in known if _plain(other) == own]
    if same or len(own) < _SHORTEST:
        return same[0] if len(same) == 1 else name
    for other in known:
        if _is_slip(own, _plain(other)):
            return other
    return name


def _is_slip(name: str, other: str) -> bool:
    """Whether a single slip of the hand makes one of the other, in a word that is long enough to tell."""
    if name[0] != other[0] or _digits(name) != _digits(other):
        return False
    words = list(zip(name.split(), other.split(), strict=False))
    if len(name.split()) == len(other.split()) and any(a != b and min(len(a), len(b)) < _SHORTEST for a, b in words):
        return False  # `class a` and `class b`, `type i` and `type ii`
    before = _common(name, other)
    after = _common(name[before:][::-1], other[before:][::-1])
    own, theirs = name[before : len(name) - after], other[before : len(other) - after]
    if len(own) == len(theirs) == 2 and own == theirs[::-1]:
        return True  # two neighbouring letters have changed places
    if max(len(own), len(theirs)) > 1 or (not after and ((own and theirs) or own + theirs in "ivx")):
        return False  # `groupA` and `groupB`, `stageI` and `stageII`, `police` and `policy`
    return before + after >= (_REPLACED if own and theirs else _ALIKE)


def _common(one: str, other: str) -> int:
    """How many letters two texts begin with alike."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _digits(name: str) -> list[str]:
    return re.findall(r"\d", name)
