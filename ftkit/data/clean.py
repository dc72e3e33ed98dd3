"""`data.clean`: what is done to texts before anything reads them, with the place of every character kept.

A step names the parts of a text that it exchanges; the text as it comes out and where its characters came from follow
from that. So entities and answers move with their text, and a prediction's places are told in the text as it was given.

Markup is found by a grammar of its own: Beautiful Soup tells no places, and it and `html.parser` both take
placeholders such as `<user>` for tags and glue the words of two paragraphs together.
"""

from __future__ import annotations

import html
import json
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import regex

from ftkit.edits import Edit
from ftkit.errors import DataError, brief, first, problems

GIVEN = "as_given"
"""The column that keeps a row as it was, as JSON, where cleaning changed it; None where it did not."""
_SHOWN = 10


class Aligned(NamedTuple):
    """A cleaned text; of each character where that which it was made of begins and ends in the text as given."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    def moved(self, start: int, end: int) -> tuple[int, int] | None:
        """Where a part of the given text is in this one; None where nothing of it is left."""
        first, last = bisect_right(self.ends, start), bisect_left(self.starts, end)
        return (first, last) if first < last else None

    def given(self, start: int, end: int) -> tuple[int, int]:
        """Where a part of this text was in the given one; of an empty part, the place before which it stands."""
        if start < end:
            return self.starts[start], self.ends[end - 1]
        place = self.starts[start] if start < len(self.starts) else (self.ends or [0])[-1]
        return place, place


def clean(text: str, steps: Sequence[str]) -> str:
    """The text after all steps, in their order."""
    for step in steps:
        text = _applied(text, list(STEPS[step](text)))
    return text


def aligned(text: str, steps: Sequence[str]) -> Aligned:
    """The text after all steps, and where its characters came from."""
    starts, ends = list(range(len(text))), list(range(1, len(text) + 1))
    for step in steps:
        edits = list(STEPS[step](text))
        starts = _flat(_exchanged(starts, edits, [[starts[edit.start]] * len(edit.text) for edit in edits]))
        ends = _flat(_exchanged(ends, edits, [[ends[edit.end - 1]] * len(edit.text) for edit in edits]))
        text = _applied(text, edits)
    return Aligned(text, starts, ends)


def _applied(text: str, edits: Sequence[Edit]) -> str:
    return "".join(_exchanged(text, edits, [edit.text for edit in edits])) if edits else text


T = TypeVar("T", str, list[int])


def _exchanged(values: T, edits: Sequence[Edit], new: Sequence[T]) -> list[T]:
    """The parts of a text or a list, with those of the edits exchanged for new ones."""
    parts: list[T] = []
    at = 0
    for edit, part in zip(edits, new, strict=True):
        parts += [values[at : edit.start], part]
        at = edit.end
    parts.append(values[at:])
    return parts


def _flat(parts: Sequence[list[int]]) -> list[int]:
    return [value for part in parts for value in part]


# ---------------------------------------------------------------------- the steps


def _composed(form: Any) -> Callable[[str], Iterator[Edit]]:
    """Unicode's normal form, piece by piece: a piece is a run of characters that change together."""

    def step(text: str) -> Iterator[Edit]:
        if unicodedata.is_normalized(form, text):
            return
        for run in _NOT_ASCII.finditer(text):
            for start, end in _pieces(run, form):
                made = unicodedata.normalize(form, text[start:end])
                if made != text[start:end]:
                    yield Edit(start, end, made)

    return step


_NOT_ASCII = re.compile(r"[\x00-\x7f]?[^\x00-\x7f]+")
"""With the character before it, which a mark may belong to."""
_GRAPHEME = regex.compile(r"\X")


def _pieces(run: re.Match[str], form: Any) -> Iterator[tuple[int, int]]:
    """Where graphemes lie, those together that come out otherwise together than each alone."""
    text, begin = run.group(), run.start()
    start = end = 0
    for grapheme in _GRAPHEME.finditer(text):
        before, this = text[start:end], grapheme.group()
        joined, alone = (unicodedata.normalize(form, before + this), unicodedata.normalize(form, this))
        if end and joined == unicodedata.normalize(form, before) + alone:
            yield begin + start, begin + end
            start = end
        end = grapheme.end()
    yield begin + start, begin + end


def _whitespace(text: str) -> Iterator[Edit]:
    """Each run of white space is one space, and none is left at the edges."""
    for run in re.finditer(r"\s+", text):
        space = "" if run.start() == 0 or run.end() == len(text) else " "
        if run.group() != space:
            yield Edit(*run.span(), space)


_CAPITAL = regex.compile(r"\p{Changes_When_Lowercased}")


def _lowercase(text: str) -> Iterator[Edit]:
    """As `str.lower` does; a capital may become two characters, and a sigma at a word's end is its own."""
    lowered, more = text.lower(), 0
    for capital in _CAPITAL.finditer(text):
        size, at = len(capital.group().lower()), capital.start()
        if (small := lowered[at + more : at + more + size]) != capital.group():
            yield Edit(at, at + 1, small)
        more += size - 1


# The elements of the HTML standard and those that it has given up; what else stands in angle brackets is text.
_BLOCKS = frozenset(
    "address article aside blockquote body br caption center dd details dialog dir div dl dt fieldset figcaption"  # noqa: SIM905
    " figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html legend li main menu nav noframes"
    " noscript ol optgroup option p pre search section select summary table tbody td textarea tfoot th thead title"
    " tr ul".split()
)
_INLINE = frozenset(
    "a abbr acronym applet area audio b base basefont bdi bdo big blink button canvas cite code col colgroup data"  # noqa: SIM905
    " datalist del dfn em embed font i iframe img input ins kbd label link map mark marquee meta meter nobr object"
    " output param picture progress q rp rt ruby s samp script slot small source span strike strong style sub sup"
    " svg template time track tt u var video wbr".split()
)
_UNSEEN = frozenset({"script", "style"})
"""Elements whose content no reader sees."""
_MARKUP = re.compile(
    r"<!--|<[!?][a-z][^<>]*+>"
    r"|<(?P<end>/)?(?P<name>[a-z][a-z0-9]*+)"
    r"(?:\s++[a-z_:@][\w:.@-]*+(?:\s*+=\s*+(?:\"[^\"<]*+\"|'[^'<]*+'|[^\s\"'<>=`]++))?+)*+\s*+/?+>"
    r"|&(?:#[0-9]{1,7}+|#x[0-9a-f]{1,6}+|[a-z][a-z0-9]{1,31}+);",
    re.IGNORECASE,
)


def _html(text: str) -> Iterator[Edit]:
    """Tags, comments, scripts and styles out (a line's end for what stands on lines of its own), entities as text."""
    at, missing = 0, set[str]()
    while match := _MARKUP.search(text, at):
        at, found = match.end(), match.group()
        if found.startswith("&"):
            if (meant := html.unescape(found)) != found:
                yield Edit(*match.span(), meant)
            continue
        name = (match["name"] or "").lower()
        closing = "-->" if found == "<!--" else f"</{name}" if name in _UNSEEN and not match["end"] else ""
        end = _closed(text, closing, at, missing) if closing else at
        if (found == "<!--" and end is None) or (name and name not in _BLOCKS | _INLINE):
            continue  # text that looks like markup
        at = end or at
        yield Edit(match.start(), at, "\n" if name in _BLOCKS else "")


def _closed(text: str, closing: str, at: int, missing: set[str]) -> int | None:
    """The place behind what closes a comment or an element; None where nothing does, which is looked for but once."""
    found = None if closing in missing else re.compile(re.escape(closing), re.IGNORECASE).search(text, at)
    if found is None:
        missing.add(closing)
        return None
    end = found.end() if closing == "-->" else text.find(">", found.end()) + 1
    return end or len(text)


STEPS: dict[str, Callable[[str], Iterator[Edit]]] = {
    "nfc": _composed("NFC"),
    "nfkc": _composed("NFKC"),
    "whitespace": _whitespace,
    "html": _html,
    "lowercase": _lowercase,
}
"""Step -> what it exchanges, in order; no two parts overlap, and none is empty."""


# ---------------------------------------------------------------------- rows

Row = dict[str, Any]


def cleaned(
    rows: Iterable[Row],
    inputs: Sequence[str],
    steps: Sequence[str],
    source: str,
    named: Callable[[int], str] = "row {}".format,
) -> Iterator[Row]:
    """Canonical rows with the texts in the columns `inputs` cleaned, and entities and answers moved with them.

    `GIVEN` keeps what cleaning changed. Raises DataError at the end, with all targets of which nothing is left; `named`
    gives the place of a row by its number.
    """
    lost = []
    for number, row in enumerate(rows, 1):
        texts = {name: _clean_value(row[name], steps) for name in inputs if row.get(name) is not None}
        if all(row[name] == value for name, value in texts.items()):
            yield {**row, GIVEN: None}
            continue
        try:
            targets = _moved_targets(row, texts, steps)
        except _Lost as error:
            lost.append(f"{named(row.get('row', number))}: {error}")
            continue
        yield {**row, **texts, **targets, GIVEN: json.dumps({"row": _content(row), "steps": list(steps)})}
    if lost:
        raise problems(DataError, f"{source}: data.clean", first(lost, _SHOWN), _LOST_HINT)


_LOST_HINT = "take these rows out, or leave the step that does it out of data.clean"


class _Lost(Exception):
    """Why a target can't be moved."""


def _content(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in ("row", "id", "group")}


def _clean_value(value: Any, steps: Sequence[str]) -> Any:
    """A cleaned text; of tokens each, but for those of which nothing would be left: tags count them."""
    return clean(value, steps) if isinstance(value, str) else [clean(token, steps) or token for token in value]


def _moved_targets(row: Row, texts: Mapping[str, Any], steps: Sequence[str]) -> Row:
    moved: Row = {}
    if row.get("entities") and row.get("text") != texts.get("text"):
        moved["entities"] = _entities(row["entities"], row["text"], aligned(row["text"], steps))
    if row.get("answers") and row.get("context") != texts.get("context"):
        moved["answers"] = _answers(row["answers"], aligned(row["context"], steps))
    return moved


def _entities(entities: Sequence[Row], text: str, made: Aligned) -> list[Row]:
    found: list[Row] = []
    for entity in entities:
        place = made.moved(entity["start"], entity["end"])
        if place is None:
            raise _Lost(f"nothing is left of the entity {brief(text[entity['start'] : entity['end']])}")
        if found and place[0] < found[-1]["end"]:
            raise _Lost(f"two entities become one character: {brief(made.text[place[0] : place[1]])}")
        found.append({**entity, "start": place[0], "end": place[1]})
    return found


def _answers(answers: Row, made: Aligned) -> Row:
    texts, starts = [], []
    for text, start in zip(answers["text"], answers["answer_start"], strict=True):
        place = made.moved(start, start + len(text))
        if place is None:
            raise _Lost(f"nothing is left of the answer {brief(text)}")
        texts.append(made.text[place[0] : place[1]])
        starts.append(place[0])
    return {"text": texts, "answer_start": starts}


def changed(rows: Iterable[Row], steps: Sequence[str]) -> str:
    """The sentence about how many rows cleaning changed."""
    counts = Counter(row[GIVEN] is not None for row in rows)
    return f"data.clean ({', '.join(steps)}) changed {counts[True]} of {counts.total()} rows"


# ---------------------------------------------------------------------- places in the text as it was given


def with_reading(kept: str, unify: Callable[[dict[str, list[Any]]], dict[str, list[Any]]]) -> str:
    """What `GIVEN` keeps, and the row in the form that a task's methods would have read without cleaning."""
    held = json.loads(kept)
    read = unify({name: [value] for name, value in held["row"].items()})
    return json.dumps({**held, "read": {name: values[0] for name, values in read.items()}})


def given_places(kept: str, column: str) -> tuple[str, Aligned]:
    """A text as `GIVEN` keeps it, and its alignment with the cleaned one; of a row of tokens their text."""
    held = json.loads(kept)
    row, steps = held["row"], held["steps"]
    if isinstance(row.get(column), str):
        return row[column], aligned(row[column], steps)
    text, starts, ends = [], list[int](), list[int]()
    place = 0
    for token in row["tokens"]:
        made = aligned(token, steps)
        if not made.text:
            made = aligned(token, ())
        text.append(made.text)
        starts += [place + start for start in made.starts] + [place + len(token)]
        ends += [place + end for end in made.ends] + [place + len(token) + 1]
        place += len(token) + 1
    return " ".join(row["tokens"]), Aligned(" ".join(text), starts[:-1], ends[:-1])
