"""What was found in the data: one type for what columns, tasks and whole splits are checked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from ftkit.errors import some

SHOWN = 3
"""Places that are shown to a person as examples."""
MENTIONED = 12
"""Names that a sentence lists before the others are only counted."""


class Place(NamedTuple):
    """A row, and what stands there."""

    row: int
    """Its number in the source, from 1."""
    split: str = ""
    text: str = ""
    """What a person should see of it; where it is empty, the row's text is shown."""
    like: tuple[str, int] | None = None
    """Split and row that it repeats or contradicts."""
    at: str = ""
    """The file and line, where the split's rows are of several files."""
    like_at: str = ""
    """The file and line of what it is like, where that split's rows are of several files."""
    unit: str = "row"
    """What the number counts: `line`, `record`, `sentence`."""
    like_unit: str = "row"

    @property
    def like_where(self) -> str:
        """What it repeats or contradicts, as `train line 2`; '' where it does neither."""
        return self.like_at or (f"{self.like[0]} {self.like_unit} {self.like[1]}" if self.like else "")

    @property
    def where(self) -> str:
        """The place, as `test line 17`."""
        return self.at or f"{self.split} {self.unit} {self.row}".strip()


@dataclass(frozen=True)
class Finding:
    """Something about the data that a person should know."""

    kind: str
    """A short name, the same for all of its kind: `duplicate`."""
    level: Literal["error", "warning"]
    """Errors are what can't be read or can't be labelled."""
    what: str
    """What is so at each of the places, without their number."""
    places: tuple[Place, ...] = ()
    """All of them; none for what belongs to no row."""
    fix: str = ""
    """What a person can do."""
    of: int = 0
    """How many rows were looked at."""

    @property
    def count(self) -> int:
        """How many rows it is about."""
        return len({(place.split, place.row) for place in self.places})

    @property
    def share(self) -> float | None:
        """Of the rows looked at, those that it is about; None where it is about none."""
        return self.count / self.of if self.of and self.places else None

    @property
    def splits(self) -> dict[str, int]:
        """How many rows of each split it is about."""
        rows = dict.fromkeys((place.split, place.row) for place in self.places)
        names = dict.fromkeys(split for split, _ in rows)
        return {name: sum(split == name for split, _ in rows) for name in names}

    @property
    def _units(self) -> dict[str, str]:
        """By split, what its rows' numbers count."""
        likes = {place.like[0]: place.like_unit for place in self.places if place.like}
        return likes | {place.split: place.unit for place in self.places}

    def within(self, split: str, of: int) -> Finding:
        """The finding with the name of its split, whose `of` rows were looked at."""
        return replace(self, places=tuple(place._replace(split=split) for place in self.places), of=of)

    def renamed(self, names: Mapping[str, str]) -> Finding:
        """The finding with other names for its splits."""
        return replace(self, places=tuple(p._replace(split=names.get(p.split, p.split)) for p in self.places))

    def examples(self, most: int = SHOWN) -> list[Place]:
        """Some places, of different rows and texts as far as there are."""
        told = [place for place in self.places if place.text] or self.places
        found: dict[Any, Place] = {}
        for place in told:
            found.setdefault(place.text or place, place)
            if len(found) == most:
                break
        return list(found.values())

    def as_json(self, rows: bool = True) -> dict[str, Any]:
        """The finding as plain data; `rows` are all row numbers by split, and what each repeats."""
        found: dict[str, Any] = {
            "kind": self.kind,
            "level": self.level,
            "what": self.what,
            "fix": self.fix,
            "count": self.count,
            "share": self.share,
            "splits": self.splits,
            "units": self._units,
            "examples": [_plain(place) for place in self.examples()],
        }
        if rows:
            found["rows"] = {
                name: list(dict.fromkeys(place.row for place in self.places if place.split == name))
                for name in self.splits
            }
            found["places"] = [_plain(place) for place in self.places if place.text or place.like]
        return found

    def __str__(self) -> str:
        """One line: where, what, what to do."""
        where = ""
        if self.places:
            more = f" and {self.count - 1} more" if self.count > 1 else ""
            said = f" ({self.places[0].text})" if self.places[0].text else ""
            where = f"{self.places[0].where}{more}{said}: "
        return f"{where}{self.what}" + (f"; {self.fix}" if self.fix else "")


def _plain(place: Place) -> dict[str, Any]:
    plain = {"split": place.split, "row": place.row, "text": place.text} | ({"at": place.at} if place.at else {})
    if place.like is None:
        return plain
    like = {"split": place.like[0], "row": place.like[1]} | ({"at": place.like_at} if place.like_at else {})
    return {**plain, "like": like}


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """The findings with those of several splits that say the same as one, errors first."""
    found: dict[tuple[str, ...], Finding] = {}
    for finding in findings:
        key = (finding.level, finding.kind, finding.what, finding.fix)
        before = found.get(key)
        places = (*before.places, *finding.places) if before else finding.places
        found[key] = replace(finding, places=places, of=finding.of + (before.of if before else 0))
    return sorted(found.values(), key=lambda finding: finding.level)


def listed(names: Sequence[str], most: int = MENTIONED) -> str:
    """Names in quotation marks, of many the first."""
    return some([repr(name) for name in names], most)


class Numbering(NamedTuple):
    """What the numbers of a split's rows mean."""

    unit: str = "row"
    """What they count: `line`, `record`, `sentence`."""
    locate: Callable[[int], str] | None = None
    """Where rows stand, by their numbers, where they are of several files."""

    def at(self, number: int) -> str:
        """The file and line of a row, where they are of several files."""
        return self.locate(number) if self.locate else ""


def located(findings: Iterable[Finding], numbering: Mapping[str, Numbering]) -> list[Finding]:
    """The findings with what the number of each place counts, and its file and line where they are of several files."""
    return [replace(each, places=tuple(_located(place, numbering) for place in each.places)) for each in findings]


def _located(place: Place, numbering: Mapping[str, Numbering]) -> Place:
    if own := numbering.get(place.split):
        place = place._replace(unit=own.unit, at=own.at(place.row) or place.at)
    if place.like and (its := numbering.get(place.like[0])):
        place = place._replace(like_unit=its.unit, like_at=its.at(place.like[1]) or place.like_at)
    return place


def unusable(findings: Iterable[Finding]) -> set[int] | None:
    """The numbers of the rows of one split that errors name; None where one is of no row."""
    stops = list(errors(findings))
    return {place.row for each in stops for place in each.places} if all(each.places for each in stops) else None


def errors(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Those that stop."""
    return (finding for finding in findings if finding.level == "error")
