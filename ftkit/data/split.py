"""Which rows a share takes: seeded, in file order, stratified by label, with groups and equal texts kept whole.

Only `random.Random` with a text seed, on sorted or file-ordered lists, is used: the same rows and seed give
the same split on every machine.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from random import Random

from ftkit.alike import folded
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
    group); the share of rows is then met as nearly as the groups allow. alike: rows that are of no group and of equal
    value (None is like no other) stay together too, where the share can be met nearly so. name: the split's name, for
    messages and so that each split is drawn anew. Raises DataError where a side would be empty or the share is not
    between 0 and 1.
    """
    if not 0 < share < 1:
        raise DataError(f"data.{name}={share:g} is not a share of the rows", "give a file, or a share between 0 and 1")
    units, classes = joined(groups, alike), labels or [""] * size
    held = _nearest(units, share, Random(f"{seed}/{name}"), classes, must=groups is not None) if units else []
    if not held and groups is not None:
        raise DataError(
            f"data.{name}={share:g} can't be cut: all rows are of one group", "set data.group to another column"
        )
    held = held or _stratified(size, share, name, Random(f"{seed}/{name}"), classes)
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


def _stratified(size: int, share: float, name: str, random: Random, labels: Sequence[str]) -> list[int]:
    wanted = int(share * size + 0.5)
    if not 0 < wanted < size:
        side = "leaves none to train on" if wanted else "takes none"
        hint = "give a file, another share, or more rows"
        raise DataError(f"data.{name}={share:g} of {counted(size, 'row')} {side}", hint)
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


def joined(groups: Sequence[Hashable | None] | None, alike: Sequence[Hashable | None] | None) -> tuple[int, ...] | None:
    """A number for each row, the same for those of one group, white space aside, and for those of none that are alike.

    None where there are no groups and no row is like another.
    """
    if groups is None:
        numbers = numbered(alike or ())
        return numbers if len(set(numbers)) < len(numbers) else None
    return numbered([_unit(*pair) for pair in zip(groups, alike or [None] * len(groups), strict=True)])


def _unit(group: Hashable | None, alike: Hashable | None) -> Hashable | None:
    if group is None:
        return None if alike is None else ("alike", alike)
    return "group", folded([group]) if isinstance(group, str) else group


def numbered(groups: Sequence[Hashable | None]) -> tuple[int, ...]:
    """A number for each row, the same for rows of one group; None is in no group."""
    numbers: dict[Hashable, int] = {}
    keys = (("alone", i) if group is None else ("group", group) for i, group in enumerate(groups))
    return tuple(numbers.setdefault(key, len(numbers)) for key in keys)


def _nearest(units: Sequence[int], share: float, random: Random, labels: Sequence[str], must: bool) -> list[int]:
    """Rows of the units that bring the held rows of each class nearer to its share, in random order.

    A class that has two rows or more keeps one. Where no unit brings it nearer, the one that is least off, if it `must`
    be one and there are others, or none.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for index, unit in enumerate(units):
        members[unit].append(index)
    parts = random.sample(list(members.values()), len(members))
    counts = [Counter(labels[index] for index in part) for part in parts]
    wanted = {label: share * total for label, total in Counter(labels).items()}
    left, held = Counter(labels), Counter[str]()
    chosen: list[int] = []

    def off(count: Counter[str]) -> float:
        """How much farther from the shares the held rows are with these rows, too."""
        return sum(abs(held[k] + n - wanted[k]) - abs(held[k] - wanted[k]) for k, n in count.items())

    def empties(count: Counter[str]) -> bool:
        return any(n == left[k] and n + held[k] > 1 for k, n in count.items()) or count.total() == left.total()

    for number, count in enumerate(counts):
        if off(count) < 0 and not empties(count):
            held.update(count)
            left.subtract(count)
            chosen.append(number)
    if not chosen and must and len(parts) > 1:
        chosen = [min(range(len(parts)), key=lambda number: off(counts[number]))]
    return [index for number in chosen for index in parts[number]]
