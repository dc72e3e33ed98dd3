"""Values as their columns' kinds want them: text, labels, numbers, tags, entities, answers, references."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeGuard

from ftkit.errors import brief, nearest
from ftkit.metrics.schemes import is_typed_tag

if TYPE_CHECKING:
    from ftkit.settings import DataSpec
    from ftkit.tasks._base import Column


class Refused(Exception):
    """Why a value can't be used: what all such values share, this one's own detail, and the way out."""

    def __init__(self, what: str, detail: str = "", hint: str = "", kind: str = "value") -> None:
        super().__init__(what, detail, hint, kind)
        self.what, self.detail, self.hint, self.kind = what, detail, hint, kind


_FILL = "fill in what is missing, or take the row out"


class Values:
    """Reads a value as its column's kind wants it; what was made up on the way is counted for `notes`."""

    def __init__(self, spec: DataSpec) -> None:
        self.renames = spec.renames
        self.allowed = spec.label_names or ()
        self.delimiter = spec.delimiter
        self.ambiguous = 0
        self.readers: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
            "text": lambda value, row: _text(value),
            "label": lambda value, row: self._label(value),
            "labels": lambda value, row: self._labels(value),
            "number": lambda value, row: _number(value),
            "tokens": lambda value, row: _texts(value, "is not a list of tokens"),
            "tags": self._tags,
            "entities": self._entities,
            "answers": self._answers,
            "references": lambda value, row: _references(value),
        }

    def read(self, column: Column, value: Any, row: dict[str, Any]) -> Any:
        """`value` in the form of `column.kind`; `row` holds the columns read before it. Raises Refused."""
        if value is None or (isinstance(value, float) and math.isnan(value) and column.kind != "number"):
            raise Refused("is missing", hint=_FILL, kind="missing")
        if column.in_parts and isinstance(value, list):
            return " ".join(_texts(value, "is not text"))
        return self.readers[column.kind](value, row)

    def notes(self, source: str) -> Iterator[str]:
        """What a person should know about the values that were read."""
        if self.ambiguous:
            what = "answer stands" if self.ambiguous == 1 else "answers stand"
            yield f"{source}: {self.ambiguous} {what} in the context more than once; the first place is taken"

    # ------------------------------------------------------------------ labels, tags and entities

    def _label(self, value: Any) -> str:
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if value is None or value != value:
            raise Refused("is missing", hint=_FILL, kind="missing")
        if isinstance(value, (list, dict)):
            raise Refused(
                "is not one label",
                brief(value),
                "several labels a row: task={name: classification, kind: multi}",
            )
        label = _text(value).strip()
        if not label:
            raise Refused("is empty", hint=_FILL, kind="empty")
        label = self.renames.get(label, label)
        if self.allowed and label not in self.allowed:
            hint = "data.labels lists the labels; as a mapping {found: wanted} it renames them"
            detail = f"{label!r}{meant(label, self.allowed)}"
            raise Refused("has a label that data.labels lacks", detail, hint, "unknown-label")
        return label

    def _labels(self, value: Any) -> list[str]:
        if isinstance(value, str) and _LIST_LIKE.fullmatch(value.strip()) and isinstance(parsed(value), str):
            raise Refused("is a list in no form that is read", brief(value), 'write it as JSON: ["a", "b"]')
        value = label_list(value, self.delimiter)
        if not isinstance(value, list):
            raise Refused(
                "is not a list of labels",
                brief(value),
                "a list, or a text with data.delimiter between labels",
            )
        if any(label is None or label != label for label in value):
            raise Refused("has a label that is missing", brief(value), _FILL, "missing")
        return list(dict.fromkeys(self._label(label) for label in value))

    def _tags(self, value: Any, row: dict[str, Any]) -> list[str]:
        tags = _texts(value, "is not a list of tags", numbers=False)
        if "tokens" in row and len(tags) != len(row["tokens"]):
            detail = f"{len(tags)} tags for {len(row['tokens'])} tokens"
            raise Refused("does not have a tag for each token", detail, "give each token one tag", "tag-count")
        return [self._tag(tag.strip()) for tag in tags]

    def _tag(self, tag: str) -> str:
        if not tag:
            raise Refused("has an empty tag", hint="a token outside all entities has the tag O", kind="tag")
        if tag in self.renames or not is_typed_tag(tag) or tag == "O":
            return self.renames.get(tag, tag)
        return f"{tag[:2]}{self.renames.get(tag[2:], tag[2:])}"

    def _entities(self, value: Any, row: dict[str, Any]) -> list[dict[str, Any]]:
        value = parsed(value) if isinstance(value, str) else value
        if not isinstance(value, list):
            raise Refused("is not a list of entities", brief(value), _ENTITY_HINT)
        entities = sorted(
            (self._entity(item, row) for item in value), key=lambda entity: (entity["start"], entity["end"])
        )
        for one, other in pairwise(entities):
            if other["start"] < one["end"]:
                places = f"{one['start']}-{one['end']} and {other['start']}-{other['end']}"
                hint = "keep one of entities that share characters"
                raise Refused("has entities that overlap", places, hint, "entity-overlap")
        return entities

    def _entity(self, item: Any, row: dict[str, Any]) -> dict[str, Any]:
        if isinstance(item, (list, tuple)) and len(item) == 3:
            item = dict(zip(("start", "end", "type"), item, strict=True))
        if not isinstance(item, dict):
            raise Refused("has an entity of another form", brief(item), _ENTITY_HINT)
        start, end = (item.get(name, item.get(f"{name}_offset")) for name in ("start", "end"))
        kind = item.get("type", item.get("label"))
        if not _is_int(start) or not _is_int(end) or not isinstance(kind, str) or not kind.strip():
            raise Refused("has an entity of another form", brief(item), _ENTITY_HINT)
        text = row.get("text")
        if not 0 <= start < end or (text is not None and end > len(text)):
            size = f" in a text of {len(text)} characters" if text is not None else ""
            raise Refused(
                "has an entity that is not inside its text", f"{start}-{end}{size}", _OFFSET_HINT, "entity-place"
            )
        if text is not None and isinstance(item.get("text"), str) and text[start:end] != item["text"]:
            detail = f"{start}-{end} is {text[start:end]!r}, not {item['text']!r}"
            raise Refused("has an entity that is not where it says", detail, _OFFSET_HINT, "entity-place")
        return {"start": start, "end": end, "type": self.renames.get(kind.strip(), kind.strip())}

    # ------------------------------------------------------------------ answers

    def _answers(self, value: Any, row: dict[str, Any]) -> dict[str, list[Any]]:
        placed = [self._place(text, start, row.get("context")) for text, start in answer_pairs(value) if text.strip()]
        return {"text": [text for text, _ in placed], "answer_start": [start for _, start in placed]}

    def _place(self, text: str, start: int | None, context: str | None) -> tuple[str, int]:
        """The answer with its place, looked up where it has none."""
        if context is None:
            return text, 0 if start is None else start
        if start is not None and start >= 0 and context.startswith(text, start):
            return text, start
        found = [at for at in range(len(context)) if context.startswith(text, at)] if text in context else []
        if not found:
            raise Refused(
                "has an answer that does not stand in its context", brief(text), _ANSWER_HINT, "answer-absent"
            )
        if start is not None:
            places = " and ".join(map(str, found[:3]))
            detail = f"{brief(text)} is not at {start}; it stands at {places}"
            raise Refused("has an answer that is not where answer_start says", detail, _OFFSET_HINT, "answer-place")
        self.ambiguous += len(found) > 1
        return text, found[0]


_OFFSET_HINT = "offsets count characters from 0, `end` excluded"
_ENTITY_HINT = 'an entity is {"start": 0, "end": 5, "type": "PER"}; ' + _OFFSET_HINT
_ANSWER_HINT = "an answer is a piece of its context, character for character"
_ANSWERS_HINT = 'answers are {"text": [...], "answer_start": [...]}, or the answer itself'


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def label_list(value: Any, delimiter: str) -> Any:
    """A text's labels, written as JSON or with a delimiter between them; a value of another kind as it is."""
    if not isinstance(value, str):
        return value
    plain = parsed(value)
    return plain if isinstance(plain, list) else [part for part in value.split(delimiter) if part.strip()]


def parsed(value: str) -> Any:
    """What a text in a CSV cell means as JSON; the text itself where it is none."""
    if not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return _as_python(value)


_LIST_LIKE = re.compile(r"\[\s*(['\"].*['\"]|nan|[\d\s.,-]+)\s*\]", re.DOTALL)
"""What a program writes of a list, and not `[bug], [editor]`."""


def _as_python(value: str) -> Any:
    """What pandas writes of a list in a cell; the text itself where it is none."""
    value = value.strip()
    try:
        tree = ast.parse(value, mode="eval")
        found, items = ast.literal_eval(tree), tree.body.elts  # type: ignore[attr-defined]
    except (ValueError, SyntaxError, MemoryError, RecursionError, AttributeError):
        return value
    texts = [ast.get_source_segment(value, item) or "" for item in items]
    pairs = zip(found, texts, strict=True)
    joined = any(isinstance(item, str) and text not in (repr(item), f'"{item}"') for item, text in pairs)
    return value if joined else found  # `['a' 'b']` is NumPy's, and would be one text


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        raise Refused("is not text", brief(value), "a list is no text: write its parts as one text")
    if isinstance(value, (dict, bytes)):
        raise Refused("is not text", brief(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _texts(value: Any, what: str, numbers: bool = True) -> list[str]:
    value = parsed(value) if isinstance(value, str) else value
    if not isinstance(value, list):
        raise Refused(what, brief(value), "in a CSV cell a list is written as JSON")
    wrong = next((item for item in value if not isinstance(item, (str, int, float) if numbers else str)), None)
    if wrong is not None or None in value:
        hint = "" if numbers else "write names; numbers are read where a data set on the Hub names them"
        raise Refused(what, f"it holds {brief(wrong)}", hint)
    return [_text(item) for item in value]


def _number(value: Any) -> float:
    try:
        if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
            raise ValueError
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise Refused(
            "is not a number", brief(value), "numbers are written as 3 or 0.75, with a decimal point"
        ) from None
    if not math.isfinite(number):
        raise Refused("is not a finite number", brief(value), "take the row out, or give a number")
    return number


def _references(value: Any) -> list[str]:
    value = parsed(value) if isinstance(value, str) else value
    texts = _texts(value, "is not a text or a list of texts") if isinstance(value, list) else [_text(value)]
    kept = [text for text in texts if text.strip()]
    if not kept:
        raise Refused("is empty", hint=_FILL, kind="empty")
    return kept


def answer_pairs(value: Any) -> Iterator[tuple[str, int | None]]:
    """Answer texts with their offsets, None where none is given."""
    plain = parsed(value) if isinstance(value, str) else value
    if isinstance(plain, dict):
        texts, starts = (
            part if isinstance(part, list) else [part] for part in map(plain.get, ("text", "answer_start"))
        )
        starts = starts if plain.get("answer_start") is not None else [None] * len(texts)
        if len(texts) != len(starts):
            raise Refused("is not a set of answers", f"{len(texts)} texts and {len(starts)} offsets", _ANSWERS_HINT)
        pairs = list(zip(texts, starts, strict=True))
    elif isinstance(plain, list) and all(isinstance(item, dict) for item in plain):
        pairs = [(item.get("text"), item.get("answer_start")) for item in plain]
    elif isinstance(plain, list) and not isinstance(value, str):
        pairs = [(item, None) for item in plain]
    else:
        pairs = [(value, None)]
    for text, start in pairs:
        if not isinstance(text, str) or not (start is None or _is_int(start)):
            raise Refused("is not a set of answers", brief(value), _ANSWERS_HINT)
        yield text, start


def meant(name: str, known: Any) -> str:
    near = nearest(name, known, 0.6)
    return f" (did you mean {near!r}?)" if near else ""
