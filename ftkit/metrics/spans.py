"""Entities from tags and back, and scores over whole entities (Tjong Kim Sang and De Meulder 2003).

An entity is right when its type, its start and its end are all right.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ftkit.metrics import Scores, tally
from ftkit.metrics.schemes import is_tag, letter
from ftkit.metrics.tally import LabelTally

Entity = tuple[str, int, int]
"""Type, first token, and the token after the last one (or characters: the scores only compare)."""

_OUTSIDE = ("O", "")


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities that a sentence's tags spell, in order, in any of the schemes of `metrics/schemes`.

    Like conlleval, and seqeval by default: an `I-` that nothing of its type leads up to starts an entity. A
    tag with no type (`B`) has type `_`. Raises ValueError for what is no such tag.
    """
    found: list[Entity] = []
    start, before = 0, _OUTSIDE
    for position, now in enumerate([*map(_split, tags), _OUTSIDE]):
        begins = _begins(before, now)
        if before[0] != "O" and (begins or now[0] == "O"):
            found.append((before[1], start, position))
        if begins:
            start = position
        before = now
    return found


def tags(entities: Iterable[Entity], length: int) -> list[str]:
    """The BIO tags of a sentence of `length` tokens.

    Raises ValueError for entities that overlap, are empty or lie outside the sentence.
    """
    spelled = ["O"] * length
    for kind, start, end in entities:
        if not 0 <= start < end <= length:
            raise ValueError(f"{kind} from {start} to {end} does not fit {length} tokens")
        if any(tag != "O" for tag in spelled[start:end]):
            raise ValueError(f"{kind} from {start} to {end} overlaps another entity")
        spelled[start:end] = [f"B-{kind}"] + [f"I-{kind}"] * (end - start - 1)
    return spelled


def entity_tally(truth: Sequence[Collection[Entity]], predicted: Sequence[Collection[Entity]]) -> LabelTally:
    """What each row adds to `entity_scores`; its labels are the types that occur on either side, sorted."""
    types = sorted({_type(entity) for row in (*truth, *predicted) for entity in row})
    return tally.labels(truth, predicted, types, "entities", _type)


def entity_scores(truth: Sequence[Collection[Entity]], predicted: Sequence[Collection[Entity]]) -> Scores:
    """Micro `precision`, `recall` and `f1` over entities, and mean F1 over types (`macro_f1`, `weighted_f1`).

    The macro mean takes the types that occur in the truth or the predictions; `n` counts the true entities.
    """
    return entity_tally(truth, predicted).scores()


def _type(entity: Entity) -> str:
    return entity[0]


def _split(tag: str) -> tuple[str, str]:
    """(letter, type), the letters as those of BIOES."""
    if not is_tag(tag):
        raise ValueError(f"{tag!r} is no BIO, BIOES or BILOU tag")
    _, _, kind = tag.partition("-")
    return letter(tag), "" if tag == "O" else kind or "_"


def _begins(before: tuple[str, str], now: tuple[str, str]) -> bool:
    if now[0] == "O":
        return False
    return now[0] in "BS" or before[0] in "OES" or before[1] != now[1]
