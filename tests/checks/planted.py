"""Clean rows of each task, and the same rows with defects of every kind planted in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from ftkit.inspection import Inspection, inspect
from ftkit.recipe import Recipe, parse_recipe
from tests.runs import write_rows

Rows = dict[str, list[dict[str, Any]]]
_WORDS = (
    "harbour lantern gravel orchard kettle meadow ribbon saddle copper walnut thimble barrel candle feather "
    "bridge garden pebble window ladder basket anchor cradle mirror needle pillow spoon tunnel velvet wagon "
    "willow barley clover donkey falcon goblet hammer island jacket kernel magnet napkin oyster parcel quiver "
    "rocket sickle turnip"
)
WORDS = _WORDS.split()
LABELS = ("arts", "sport", "world news")
SIZES = {"train": 60, "validation": 24, "test": 24}


def sentence(random: Random, size: int = 12) -> str:
    return " ".join(random.choices(WORDS, k=size)).capitalize() + "."


def classification(random: Random, number: int) -> dict[str, Any]:
    return {"text": sentence(random), "label": LABELS[number % 3]}


def tokens(random: Random, number: int) -> dict[str, Any]:
    words = random.choices(WORDS, k=12)
    tags = ["O"] * 12
    tags[2:4], tags[7:8] = ["B-PER", "I-PER"], [f"B-{('LOC', 'ORG')[number % 2]}"]
    return {"tokens": words, "tags": tags}


def entities(random: Random, number: int) -> dict[str, Any]:
    text = sentence(random)
    end = text.index(" ")
    place = text.index(" ", end + 1) + 1
    found = [{"start": 0, "end": end, "type": "PER"}, {"start": place, "end": text.index(" ", place), "type": "LOC"}]
    return {"text": text, "entities": found}


def qa(random: Random, number: int) -> dict[str, Any]:
    context = f"{sentence(random, 20)} Item{number}x lies there. {sentence(random, 15)}"
    answer = {"text": [f"Item{number}x"], "answer_start": [context.index(f"Item{number}x")]}
    return {"question": f"What of {sentence(random, 8)}?", "context": context, "answers": answer}


def summarization(random: Random, number: int) -> dict[str, Any]:
    document = " ".join(sentence(random) for _ in range(3))
    return {"document": document, "summary": [sentence(random, 8)]}


class Defect(NamedTuple):
    """What is done to a row of a split, and the kind that it must be found as."""

    kind: str
    split: str
    change: Callable[[dict[str, Any], Rows], dict[str, Any]]


def put(**values: Any) -> Callable[[dict[str, Any], Rows], dict[str, Any]]:
    return lambda row, rows: {**row, **values}


def written(text: str) -> Callable[[dict[str, Any], Rows], dict[str, Any]]:
    """The row with something before its text."""
    return lambda row, rows: {**row, "text": f"{text} {row['text']}"}


def again(split: str, index: int, **values: Any) -> Callable[[dict[str, Any], Rows], dict[str, Any]]:
    """Another row instead, with some values changed."""
    return lambda row, rows: {**rows[split][index], **values}


def nearly(split: str, index: int) -> Callable[[dict[str, Any], Rows], dict[str, Any]]:
    """Another row's text with a word more."""
    return lambda row, rows: {**rows[split][index], "text": f"{rows[split][index]['text']} Indeed."}


def tagged(*tags: str) -> Callable[[dict[str, Any], Rows], dict[str, Any]]:
    """The row with its first tags replaced."""
    return lambda row, rows: {**row, "tags": [*tags, *row["tags"][len(tags) :]]}


def moved(by: int) -> Callable[[dict[str, Any], Rows], dict[str, Any]]:
    def change(row: dict[str, Any], rows: Rows) -> dict[str, Any]:
        start = row["answers"]["answer_start"][0] + by
        return {**row, "answers": {**row["answers"], "answer_start": [start]}}

    return change


def twice(row: dict[str, Any], rows: Rows) -> dict[str, Any]:
    """The answer stands in two places, and neither is the one that is said."""
    context = f"{row['context']} {row['answers']['text'][0]} again."
    return {**row, "context": context, "answers": {**row["answers"], "answer_start": [0]}}


def copied(row: dict[str, Any], rows: Rows) -> dict[str, Any]:
    return {**row, "summary": [row["document"]]}


def longer(row: dict[str, Any], rows: Rows) -> dict[str, Any]:
    return {**row, "summary": [" ".join(WORDS)]}


def control(row: dict[str, Any], rows: Rows) -> dict[str, Any]:
    """A control character before all that is counted."""
    return {**row, "context": f"\x07{row['context']}"} | {
        "answers": {**row["answers"], "answer_start": [row["answers"]["answer_start"][0] + 1]}
    }


OVERLAP = [{"start": 0, "end": 6, "type": "PER"}, {"start": 3, "end": 9, "type": "LOC"}]
DEFECTS: dict[str, tuple[Callable[[Random, int], dict[str, Any]], dict[str, Any], list[Defect]]] = {
    "classification": (
        classification,
        {"name": "classification", "max_length": 128},
        [
            Defect("missing", "train", put(label=None)),
            Defect("missing", "train", put(text=None)),
            Defect("empty", "train", put(label=" ")),
            Defect("empty", "validation", put(text=" \n")),
            Defect("value", "train", put(label={"name": "arts"})),
            Defect("label-variant", "train", put(label="Arts")),
            Defect("label-variant", "train", put(label="world_news")),
            Defect("label-variant", "train", put(label="sprot")),
            Defect("unknown-label", "test", put(label="weather")),
            Defect("unknown-label", "validation", put(label="SPORT")),
            Defect("duplicate", "train", again("train", 0)),
            Defect("duplicate", "test", again("test", 0)),
            Defect("near-duplicate", "train", nearly("train", 1)),
            Defect("conflict", "train", again("train", 2, label="sport")),
            Defect("leak", "test", again("train", 3)),
            Defect("leak", "validation", again("train", 4)),
            Defect("near-leak", "test", nearly("train", 5)),
            Defect("symbols", "train", put(text="-- ** // ?! ## ++ a")),
            Defect("markup", "train", written("<br />")),
            Defect("markup", "test", written("&quot;")),
            Defect("control", "train", written("bell\x07")),
            Defect("mojibake", "train", written("cafÃ© crÃ¨me")),
            Defect("replacement", "validation", written("caf\ufffd")),
            Defect("script", "train", put(text="항구에 오래된 등불이 하나 켜져 있다")),
            Defect("personal", "train", written("ask anna.berg@example.org")),
            Defect("personal", "train", written("call +49 30 1234 5678")),
            Defect("personal", "test", written("card 4111 1111 1111 1111")),
            Defect("too-long", "train", put(text=" ".join(WORDS * 4))),
        ],
    ),
    "ner tokens": (
        tokens,
        {"name": "ner"},
        [
            Defect("tag", "train", tagged("PERSON")),
            Defect("tag-count", "train", put(tags=["O"])),
            Defect("tag", "test", tagged("")),
            Defect("tag-scheme", "train", tagged("I-LOC", "O")),
            Defect("tag-scheme", "validation", tagged("B-PER", "I-LOC", "O")),
            Defect("label-variant", "train", tagged("B-Per", "O")),
            Defect("unknown-label", "test", tagged("B-DATE", "O")),
            Defect("empty", "train", put(tokens=[], tags=[])),
            Defect("conflict", "train", again("train", 1, tags=["O"] * 12)),
            Defect("duplicate", "train", again("train", 2)),
            Defect("leak", "test", again("train", 3)),
            Defect("control", "train", lambda row, rows: {**row, "tokens": ["a\x01", *row["tokens"][1:]]}),
        ],
    ),
    "ner entities": (
        entities,
        {"name": "ner"},
        [
            Defect("entity-overlap", "train", put(entities=OVERLAP)),
            Defect("entity-place", "train", put(entities=[{"start": 0, "end": 999, "type": "PER"}])),
            Defect("entity-place", "test", put(entities=[{"start": 0, "end": 3, "type": "PER", "text": "Zoë"}])),
            Defect("entity-edge", "train", put(entities=[{"start": 0, "end": 2, "type": "PER"}])),
            Defect("value", "train", put(entities="PER")),
        ],
    ),
    "qa": (
        qa,
        {"name": "qa"},
        [
            Defect("answer-place", "train", moved(-2)),
            Defect("answer-place", "test", twice),
            Defect("answer-absent", "train", put(answers={"text": ["nowhere"], "answer_start": [0]})),
            Defect("value", "train", put(answers={"text": ["a", "b"], "answer_start": [0]})),
            Defect("missing", "train", put(context=None)),
            Defect("empty", "train", put(question="")),
            Defect("duplicate", "train", again("train", 0)),
            Defect("leak", "validation", again("train", 1)),
            Defect("control", "train", control),
        ],
    ),
    "summarization": (
        summarization,
        {"name": "summarization", "target_length": 100},
        [
            Defect("summary-copy", "train", copied),
            Defect("summary-long", "test", longer),
            Defect("empty", "train", put(summary=[" "])),
            Defect("empty", "train", put(document="")),
            Defect("too-long", "train", put(summary=[" ".join(WORDS * 2)])),
        ],
    ),
}
"""Name -> what makes a clean row, the task, and the defects."""


def clean(name: str) -> Rows:
    random = Random(name)
    make = DEFECTS[name][0]
    return {split: [make(random, number) for number in range(size)] for split, size in SIZES.items()}


def spoiled(name: str) -> tuple[Rows, list[tuple[str, str, int]]]:
    """The rows with each defect in a row of its own, from the tenth on; and (kind, split, row) of each."""
    rows, truth = clean(name), []
    before = clean(name)
    for at, defect in enumerate(DEFECTS[name][2]):
        index = 10 + sum(other.split == defect.split for other in DEFECTS[name][2][:at])
        rows[defect.split][index] = defect.change(rows[defect.split][index], before)
        truth.append((defect.kind, defect.split, index + 1))
    return rows, truth


def recipe(folder: Path, checkpoint: Path, name: str, rows: Rows) -> Recipe:
    """A recipe for rows that are written into the folder."""
    files = {split: str(write_rows(folder / f"{split}.jsonl", part)) for split, part in rows.items()}
    return parse_recipe({"task": DEFECTS[name][1], "model": {"checkpoint": str(checkpoint)}, "data": files}, name)


def found_in(found: Inspection) -> set[tuple[str, str, int]]:
    """(kind, split, row) of everything that was found."""
    return {(finding.kind, place.split, place.row) for finding in found.findings for place in finding.places}


def inspected(folder: Path, checkpoint: Path, name: str, rows: Rows) -> Inspection:
    return inspect(recipe(folder, checkpoint, name, rows))
