"""Which rows a share takes: seeded, in file order, stratified by label, with groups and equal texts kept whole.

Only `random.Random` with a text seed, on sorted or file-ordered lists, is used: the same rows and seed give
the same split on every machine.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from ftkit.errors import DataError, counted

SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What people call their splits."""

SPLIT_NAMES = ("train", "validation", "test")
"""In the order in which rows are learned from, chosen by, and scored at the end."""
Cut = tuple[list[int], list[int]]


def split_named(name: object) -> str | None:
    """The split that people call by this name."""
    return SPLITS.get(str(name).strip().casefold())


def cut(
    size: int,
    share: float,
    *,
    name: str,
    seed: int,
    labels: Sequence[str] | None = None,
    groups: Sequence[Hashable | None] | None = None,
    alike: Sequence[Hashable | None] | None = None,
) -> Cut:
    """Indices of the rows that stay and of those that `share` takes, both ascending.

    labels: each class gives its share, to within a row, and keeps a row; one with a single row gives it only
    where all others are too small to give any. groups: rows of equal value stay together (None is in no
    group); the share of rows is then met as nearly as the groups allow. alike: where there are no groups, rows of
    equal value (None is like no other) stay together, and count as one row with the label of the first.
    name: the split's name, for messages and so that each split is drawn anew. Raises DataError where a side
    would be empty or the share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise DataError(f"data.{name}={share:g} is not a share of the rows", "give a file, or a share between 0 and 1")
    random = Random(f"{seed}/{name}")
    if groups is not None:
        held = _grouped(size, share, name, random, labels, groups)
    else:
        distinct = Distinct.of(alike or [None] * size)
        own = [labels[index] if labels else "" for index in distinct.firsts]
        held = distinct.rows(_stratified(share, name, random, own, "row" if len(own) == size else "different row"))
    taken = set(held)
    return [index for index in range(size) if index not in taken], sorted(held)


def draw(size: int, count: int, *, seed: int, labels: Sequence[str] | None = None) -> list[int]:
    """`count` of `size` indices at random, ascending; all of them where there are no more.

    labels: each class gives its share, to within a row, and a row at least where `count` allows one for each; a draw
    of fewer rows with the same seed then lies in that of more.
    """
    random = Random(f"{seed}/limit")
    if labels is None:
        return sorted(random.sample(range(size), min(count, size)))
    return sorted(_interleaved(random.sample(range(size), size), labels)[:count])


def draw_each(labels: Sequence[str], count: int, *, seed: int) -> list[int]:
    """Indices of `count` rows of each label at random, or of all that it has, ascending."""
    members: dict[str, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        members[label].append(index)
    random = Random(f"{seed}/each")
    return sorted(
        i for label in sorted(members) for i in random.sample(members[label], min(count, len(members[label])))
    )


def _interleaved(order: Sequence[int], labels: Sequence[str]) -> list[int]:
    """The rows in an order of which each beginning has every class in its share: first one of each, as they come."""
    sizes, seen = Counter(labels), Counter[str]()
    placed = []
    for place, index in enumerate(order):
        label = labels[index]
        placed.append((seen[label] / sizes[label], place, index))
        seen[label] += 1
    return [index for _, _, index in sorted(placed)]


# ---------------------------------------------------------------------- rows one by one


def _stratified(share: float, name: str, random: Random, labels: Sequence[str], kind: str) -> list[int]:
    size = len(labels)
    wanted = int(share * size + 0.5)
    if not 0 < wanted < size:
        side = "leaves none to train on" if wanted else "takes none"
        hint = f"give a file, another share, or more {kind}s"
        raise DataError(f"data.{name}={share:g} of {counted(size, kind)} {side}", hint)
    members: dict[str, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        members[label].append(index)
    quotas = _quotas({label: len(rows) for label, rows in members.items()}, share, random)
    if not any(quotas.values()):
        return random.sample([rows[0] for rows in members.values() if len(rows) == 1], wanted)
    return [index for label in sorted(members) for index in random.sample(members[label], quotas[label])]


def _quotas(sizes: dict[str, int], share: float, random: Random) -> dict[str, int]:
    """How many rows each class gives: its share rounded down, then one each by the largest remainders.

    Each class keeps a row, so that one with a single row gives none.
    """
    quotas = {label: min(int(share * size), size - 1) for label, size in sizes.items()}
    lack = int(share * sum(size for size in sizes.values() if size > 1) + 0.5) - sum(quotas.values())
    order = random.sample(sorted(sizes), len(sizes))
    order.sort(key=lambda label: share * sizes[label] - int(share * sizes[label]), reverse=True)
    for label in [label for label in order if quotas[label] < sizes[label] - 1][:lack]:
        quotas[label] += 1
    return quotas


# ---------------------------------------------------------------------- rows that belong together


@dataclass(frozen=True)
class Distinct:
    """Rows of which some are like others."""

    numbers: tuple[int, ...]
    """A number for each row, the same for those that are alike."""
    firsts: tuple[int, ...]
    """By number, the first row that has it."""

    @classmethod
    def of(cls, alike: Sequence[Hashable | None]) -> Distinct:
        """Rows of equal value are alike (None is like no other)."""
        numbers = numbered(alike)
        found: list[int] = []
        for index, number in enumerate(numbers):
            if number == len(found):
                found.append(index)
        return cls(numbers, tuple(found))

    def rows(self, chosen: Iterable[int]) -> list[int]:
        """All rows that have one of the numbers, ascending."""
        wanted = set(chosen)
        return [index for index, number in enumerate(self.numbers) if number in wanted]


def numbered(groups: Sequence[Hashable | None]) -> tuple[int, ...]:
    """A number for each row, the same for rows of one group; None is in no group."""
    numbers: dict[Hashable, int] = {}
    keys = (("alone", i) if group is None else ("group", group) for i, group in enumerate(groups))
    return tuple(numbers.setdefault(key, len(numbers)) for key in keys)


def _grouped(
    size: int,
    share: float,
    name: str,
    random: Random,
    labels: Sequence[str] | None,
    groups: Sequence[Hashable | None],
) -> list[int]:
    """Rows of the groups that bring the held rows of each class nearer to its share, in random order."""
    members: dict[int, list[int]] = defaultdict(list)
    for index, group in enumerate(numbered(groups)):
        members[group].append(index)
    if len(members) < 2:
        raise DataError(
            f"data.{name}={share:g} can't be cut: all rows are of one group",
            "set data.group to another column",
        )
    parts = random.sample(list(members.values()), len(members))
    counts = [Counter(labels[index] if labels else "" for index in part) for part in parts]
    totals = sum(counts, Counter())
    held: Counter[str] = Counter()
    chosen: list[int] = []
    for number, count in enumerate(counts):
        after = held + count
        nearer = _gap(after, totals, share) < _gap(held, totals, share)
        if nearer and after.total() < size and not _empties(after, totals):
            held, chosen = after, [*chosen, number]
    if not chosen:
        chosen = [min(range(len(parts)), key=lambda number: _gap(counts[number], totals, share))]
    return [index for number in chosen for index in parts[number]]


def _gap(held: Counter[str], totals: Counter[str], share: float) -> float:
    return sum(abs(held[label] - share * total) for label, total in totals.items())


def _empties(held: Counter[str], totals: Counter[str]) -> bool:
    """Whether a class that has two rows or more would keep none."""
    return any(count == totals[label] > 1 for label, count in held.items())
