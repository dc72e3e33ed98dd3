"""`data.balance`: labels that are rare in the training rows count as much as frequent ones.

Whether that helps is a matter of the data. With 10 of 11 rows of one label, neither weights nor oversampling changed
macro-F1 on rows skewed alike by more than seeds do, and undersampling lowered it; on balanced rows it tended higher.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Literal

from ftkit.errors import some

Label = str | Sequence[str]
"""Of a row: its label, or several, or none of them."""
NONE = "no label"
_SHOWN = 12


def balanced_weights(values: Sequence[Label], labels: Sequence[str]) -> tuple[float, ...]:
    """Inverse-frequency weights: rows / (labels * rows with the label), as scikit-learn's `balanced`.

    Where a row may have several labels: rows without the label / rows with it, the weight of its positives; 1
    where no row has it, or each one.
    """
    counts = Counter(label for value in values for label in names(value))
    if values and not isinstance(values[0], str):
        return tuple(
            (len(values) - counts[name]) / counts[name] if 0 < counts[name] < len(values) else 1.0 for name in labels
        )
    return tuple(len(values) / (len(labels) * counts[name]) if counts[name] else 1.0 for name in labels)


def resampled(values: Sequence[Label], how: Literal["oversample", "undersample"], seed: int) -> list[int]:
    """Places of the rows to learn from, ascending: some of them several times, or not all.

    Oversampling repeats the rows of each label, all as often or once more, until it has as many as the most frequent
    one; undersampling leaves rows out until it has as few as the rarest. Where a row may have several labels, so much
    is brought nearer as rows allow: one that is repeated for a label brings its others, and one is left out only where
    all its labels have too many. Rows without a label are a label of their own.
    """
    kinds = [tuple(names(value)) or (NONE,) for value in values]
    take = _repeated if how == "oversample" else _thinned
    return sorted(take(kinds, Random(seed)))


def _repeated(kinds: Sequence[tuple[str, ...]], random: Random) -> list[int]:
    counts, taken = _counts(kinds), list(range(len(kinds)))
    most = max(counts.values(), default=0)
    for label in sorted(counts, key=lambda name: (counts[name], name)):
        own = [i for i, kind in enumerate(kinds) if label in kind]
        random.shuffle(own)
        at = 0
        while counts[label] < most:
            i = own[at % len(own)]
            taken.append(i)
            counts.update(kinds[i])
            at += 1
    return taken


def _thinned(kinds: Sequence[tuple[str, ...]], random: Random) -> list[int]:
    counts, out = _counts(kinds), set[int]()
    least = min(counts.values(), default=0)
    for label in sorted(counts, key=lambda name: (-counts[name], name)):
        own = [i for i, kind in enumerate(kinds) if label in kind and i not in out]
        random.shuffle(own)
        for i in own:
            if all(counts[name] > least for name in kinds[i]):
                out.add(i)
                counts.subtract(kinds[i])
    return [i for i in range(len(kinds)) if i not in out]


def told(values: Sequence[Label], how: Literal["oversample", "undersample"], seed: int) -> str:
    """The sentence about what a sampling does to the training rows."""
    places = resampled(values, how, seed)
    before, after = (
        _counts([tuple(names(values[i])) or (NONE,) for i in rows]) for rows in (range(len(values)), places)
    )
    moved = [f"{name} {count} -> {after[name]}" for name, count in before.most_common() if after[name] != count]
    listed = some(moved, _SHOWN)
    what = (
        f"an epoch goes over {len(places)} rows, {len(places) - len(values)} of them copies"
        if how == "oversample"
        else f"{len(values) - len(places)} of {len(values)} training rows are left out"
    )
    return f"data.balance={how}: {what}" + (f" ({listed})" if listed else "")


def _counts(kinds: Sequence[tuple[str, ...]]) -> Counter[str]:
    return Counter(label for kind in kinds for label in kind)


def names(value: Label) -> list[str]:
    """The labels of a row, however many it may have."""
    return [value] if isinstance(value, str) else list(value)
