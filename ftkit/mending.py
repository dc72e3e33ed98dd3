"""How a value is repaired: labels to the one that is meant, answers to their place, tags to their scheme."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ftkit.checks.encoding import CONTROL
from ftkit.checks.variants import nearest_label
from ftkit.data.values import Refused, answer_pairs, label_list, parsed
from ftkit.metrics import spans
from ftkit.metrics.schemes import BARE, Scheme, is_tag
from ftkit.settings import DataSpec
from ftkit.tasks._base import Column

Change = tuple[str, Any, str]
"""Column, its value from now on, and why."""
_BREAKS = re.compile("[\x0b\x0c\x1c-\x1f\x85\u2028\u2029]")
"""Control characters that stand between words."""
_LOOSE_TAG = re.compile(r"([bilesuBILESU])[-_ ]?(\S+)")


class Meant:
    """What a label that stands in the data should be."""

    def __init__(self, spec: DataSpec, slips: Mapping[str, str]) -> None:
        self.renames = spec.renames
        self.known = spec.label_names or ()
        self.slips = slips
        self.delimiter = spec.delimiter

    def label(self, written: str) -> str:
        """The label as it should be written; as it is where nothing is known to be wrong with it."""
        name = self.renames.get(written, written)
        if self.known and name not in self.known:
            name = nearest_label(name, self.known)
        name = self.slips.get(name, name)
        if name == self.renames.get(written, written):
            return written
        return next((raw for raw, known in self.renames.items() if known == name), name)


def mend(
    row: Mapping[str, Any], column: Column, shape: Sequence[Column], meant: Meant, scheme: Scheme | None
) -> Iterator[Change]:
    """What is to be changed of a row in a column: first the values of its own kind, then characters that are none.

    The values are in the form of their kinds, labels under the names that the source gives them; of a row that can't
    be read they are as they stand. Nothing is told where nothing changes.
    """
    if row.get(column.name) is not None:
        changes = _changes(row, column, shape, meant, scheme)
        yield from ((name, after, why) for name, after, why in changes if after != row[name])


def _changes(
    row: Mapping[str, Any], column: Column, shape: Sequence[Column], meant: Meant, scheme: Scheme | None
) -> Iterator[Change]:
    value = row[column.name]
    if column.kind in ("label", "labels", "entities"):
        yield column.name, _LABELS[column.kind](value, meant), "a label that was meant to be another"
    elif column.kind == "tags":
        yield from _tags(value, column, meant, scheme)
    elif column.kind == "answers":
        yield column.name, _moved(value, row.get("context")), "an answer that stands elsewhere in its context"
    elif column.is_input or column.kind == "references":
        yield from _without_control(value, column, row, shape)


# ---------------------------------------------------------------------- labels and tags


def _label(value: Any, meant: Meant) -> Any:
    if not isinstance(value, str):
        return value
    after = meant.label(value.strip())
    return value if after == value.strip() else after


def _labels(value: Any, meant: Meant) -> Any:
    names = label_list(value, meant.delimiter)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return value
    after = [meant.label(name.strip()) for name in names]
    return value if after == [name.strip() for name in names] else list(dict.fromkeys(after))


def _entities(value: Any, meant: Meant) -> Any:
    items = parsed(value) if isinstance(value, str) else value
    if not isinstance(items, list):
        return value
    after = [_entity(item, meant) for item in items]
    return value if after == items else after


def _entity(item: Any, meant: Meant) -> Any:
    if isinstance(item, Mapping):
        name = "type" if "type" in item else "label"
        return {**item, name: meant.label(item[name].strip())} if isinstance(item.get(name), str) else item
    if isinstance(item, (list, tuple)) and len(item) == 3 and isinstance(item[2], str):
        return [*item[:2], meant.label(item[2].strip())]
    return item


_LABELS = {"label": _label, "labels": _labels, "entities": _entities}


def _tags(value: Any, column: Column, meant: Meant, scheme: Scheme | None) -> Iterator[Change]:
    tags = parsed(value) if isinstance(value, str) else value
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags) or scheme is None:
        return
    if scheme.name == BARE:
        bare = ["O" if tag in ("o", "0", "O") else meant.label(tag) for tag in map(str.strip, tags)]
        if bare != tags:
            yield column.name, bare, "a label that was meant to be another"
        return
    spelled = [_tag(tag.strip()) for tag in tags]
    if not all(map(is_tag, spelled)):
        return
    named = [tag if tag == "O" else f"{tag[:2]}{meant.label(tag[2:])}" if tag[1:2] == "-" else tag for tag in spelled]
    after = scheme.spell(spans.entities(named), len(named)) if scheme.breaks(named) else named
    if after != [tag.strip() for tag in tags]:
        yield (
            column.name,
            after,
            f"tags that were not as {scheme.name} has them, or of a type that was meant to be another",
        )


def _tag(tag: str) -> str:
    """A tag as the schemes write it, where it can be told: `b-per` is `B-per`, `o` and `0` are `O`."""
    if is_tag(tag):
        return tag
    if tag in ("o", "0"):
        return "O"
    found = _LOOSE_TAG.fullmatch(tag)
    return f"{found[1].upper()}-{found[2]}" if found and tag[1:2] in "-_ " else tag


# ---------------------------------------------------------------------- places


def _moved(value: Any, context: Any) -> Any:
    """The answers, those that are not where they should be moved there, if there is one such place."""
    if not isinstance(context, str):
        return value
    try:
        pairs = list(answer_pairs(value))
    except Refused:
        return value
    after = [(text, _place(text, start, context)) for text, start in pairs]
    if after == pairs:
        return value
    return {"text": [text for text, _ in after], "answer_start": [start for _, start in after]}


def _place(text: str, start: int | None, context: str) -> int | None:
    if start is None or not text.strip() or (start >= 0 and context.startswith(text, start)):
        return start
    first = context.find(text)
    return first if first >= 0 and context.find(text, first + 1) < 0 else start


def _without_control(value: Any, column: Column, raw: Mapping[str, Any], shape: Sequence[Column]) -> Iterator[Change]:
    """Texts less their control characters; what counts characters of them is counted anew."""
    why = "control characters"
    if column.kind == "tokens":
        yield from _tokens(value, column, raw, shape)
        return
    if isinstance(value, list):
        after = [_cleaned(text) if isinstance(text, str) else text for text in value]
        if after != value:
            yield column.name, after, why
        return
    if not isinstance(value, str) or (after_text := _cleaned(value)) == value:
        return
    yield column.name, after_text, why
    for other in shape:
        behind = raw.get(other.name)
        if other.kind == "entities" and column.name == "text" and behind is not None:
            yield other.name, _entities_behind(behind, value), f"{why} of the text were counted"
        if other.kind == "answers" and column.name == "context" and behind is not None:
            yield other.name, _answers_behind(behind, value), f"{why} of the context were counted"


def _cleaned(text: str) -> str:
    return CONTROL.sub("", _BREAKS.sub(" ", text))


def _entities_behind(value: Any, text: str) -> Any:
    items = parsed(value) if isinstance(value, str) else value
    if not isinstance(items, list):
        return value
    return [_entity_behind(item, text) for item in items]


def _entity_behind(item: Any, text: str) -> Any:
    if isinstance(item, Mapping):
        places = [name if name in item else f"{name}_offset" for name in ("start", "end")]  # Doccano's
        if not all(isinstance(item.get(place), int) for place in places):
            return item
        own = {"text": _cleaned(item["text"])} if isinstance(item.get("text"), str) else {}
        return {**item, **own, **{place: _count(text, item[place]) for place in places}}
    if isinstance(item, (list, tuple)) and len(item) == 3 and all(isinstance(end, int) for end in item[:2]):
        return [_count(text, item[0]), _count(text, item[1]), item[2]]
    return item


def _answers_behind(value: Any, context: str) -> Any:
    try:
        pairs = list(answer_pairs(value))
    except Refused:
        return value
    starts = [None if start is None else _count(context, start) for _, start in pairs]
    return {"text": [_cleaned(text) for text, _ in pairs], "answer_start": None if None in starts else starts}


def _count(text: str, place: int) -> int:
    """Where a place of the text is once its control characters are out."""
    return len(_cleaned(text[: max(0, place)]))


def _tokens(value: Any, column: Column, raw: Mapping[str, Any], shape: Sequence[Column]) -> Iterator[Change]:
    """Tokens less their control characters; one that nothing is left of goes, with its tag."""
    tokens = parsed(value) if isinstance(value, str) else value
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        return
    after = [_cleaned(token) for token in tokens]
    if after == tokens:
        return
    kept = [i for i, token in enumerate(after) if token.strip() or not tokens[i].strip()]
    yield column.name, [after[i] for i in kept], "control characters"
    for other in shape:
        tags = raw.get(other.name)
        tags = parsed(tags) if isinstance(tags, str) else tags
        if other.kind == "tags" and isinstance(tags, list) and len(tags) == len(tokens) and len(kept) < len(tokens):
            yield other.name, [tags[i] for i in kept], "a token of control characters alone"
