"""Named entities: a text or its words in; entities with their place in the text out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import regex
from pydantic import Field

from ftkit.data.typed import column
from ftkit.edits import Edited, places
from ftkit.edits import Place as Part
from ftkit.errors import DataError
from ftkit.findings import Finding, Place
from ftkit.metrics import spans
from ftkit.metrics.calibration import Decisions, softmax
from ftkit.metrics.schemes import is_tag
from ftkit.tasks._base import (
    Batch,
    Column,
    Contrast,
    Example,
    Labels,
    Marks,
    Output,
    Prediction,
    Span,
    Task,
    TokenPlace,
)
from ftkit.tasks._tensors import IGNORED
from ftkit.tasks._truncation import never_empty

if TYPE_CHECKING:
    from datasets import Dataset

    from ftkit.metrics.tally import Tally

_WORD = regex.compile(r"[\p{L}\p{N}\p{M}_\u200c\u200d]+|[^\p{L}\p{N}\p{M}_\u200c\u200d\s\x1c-\x1f]")
_TAG_HINT = "tags are O, or B-TYPE and I-TYPE (BILOU and BIOES too)"
_LEAVE_OUT = "train on rows that have it, or leave these rows out"


class NamedEntities(Task):
    """Tags words with BIO, and reads entities off the tags.

    What other tasks call `truncate` is always `window` here: long texts are read in windows, and nothing is cut.
    Data with character spans is cut into words (runs of letters and digits, and single other signs); data with
    tags keeps its own tokens. Scores count entities, by their place and type, as seqeval and conlleval do.
    """

    summary = "find names in a text: persons, places, whatever the data marks"
    columns = (Column("tokens", "tokens"), Column("tags", "tags"))
    alternatives = ((Column("text", "text"), Column("entities", "entities")),)
    auto_class = "AutoModelForTokenClassification"
    peft_type = "TOKEN_CLS"
    best_metric = "f1"
    splits_words = True
    per_token = True
    groups = ("document",)
    places_in = "text"
    baselines = ("gazetteer",)
    augments = ("tokens", "text")

    class Options(Task.Options):
        max_length: int = Field(256, gt=8)
        """Longest window in tokens; longer sentences are read in overlapping windows."""
        stride: int = Field(64, ge=0)
        """Tokens that neighbouring windows of one sentence share; at most half a window."""
        temperature: float = Field(1.0, ge=0.01, le=100)
        """Divides the logits before they become probabilities; fitted on the validation rows by training."""
        abstain: float = Field(0.0, ge=0, lt=1)
        """Entities with a lower probability are withheld."""

    # ------------------------------------------------------------------ what the data is

    def unify(self, batch: Batch) -> Batch:
        """Rows with `text`, `tokens`, `spans` (of each token in the text) and, where known, `entities` and `tags`."""
        rows = [self._row(batch, i) for i in range(len(next(iter(batch.values()))))]
        kept = {name: values for name, values in batch.items() if name in ("row", "id", "group")}
        return {**kept, **{name: [row[name] for row in rows] for name in rows[0]}} if rows else kept

    def _row(self, batch: Batch, i: int) -> dict[str, Any]:
        if "tokens" not in batch:
            text = batch["text"][i]
            words = [list(match.span()) for match in _WORD.finditer(text)]
            row = {"text": text, "tokens": [text[start:end] for start, end in words], "spans": words}
            if "entities" in batch:
                row |= {"entities": batch["entities"][i], "tags": _tags(batch["entities"][i], words)}
            return row
        tokens = batch["tokens"][i]
        words = [list(place) for place in places(tokens)]
        row = {"text": " ".join(tokens), "tokens": tokens, "spans": words}
        if "tags" in batch:
            found = spans.entities(batch["tags"][i])
            entities = [{"start": words[a][0], "end": words[b - 1][1], "type": kind} for kind, a, b in found]
            row |= {"entities": entities, "tags": spans.tags(found, len(tokens))}
        return row

    def labels(self, train: Dataset, wanted: Sequence[str] | None = None) -> Labels:
        """`O`, then B- and I- of each type, the types sorted (or as `wanted` lists them)."""
        types = {entity["type"] for entities in column(train, "entities") for entity in entities}
        listed = [re.sub(r"^[BI]-", "", name) for name in wanted if name != "O"] if wanted else sorted(types)
        kinds = list(dict.fromkeys(listed))
        if not kinds:
            raise DataError("the training rows mark no entity at all", "is the right column mapped in data.columns?")
        return ("O", *(f"{prefix}-{kind}" for kind in kinds for prefix in "BI"))

    def refused(self, batch: Batch) -> Iterator[Finding]:
        """Tags that are none of BIO, BIOES or BILOU, and entities of the type `O`."""
        bad = [
            Place(row, text=repr(tag))
            for tags, row in zip(batch.get("tags", ()), batch["row"], strict=False)
            for tag in dict.fromkeys(tags)
            if not is_tag(tag)
        ]
        if bad:
            yield Finding("tag", "error", "a tag is none of BIO, BIOES or BILOU", tuple(bad), _TAG_HINT)
        if outside := tuple(_of_type_o(batch)):
            what = "an entity has the type 'O', which is the tag of words outside entities"
            yield Finding("type-o", "error", what, outside, "rename the type, or take the entity out")

    def check(self, split: Dataset, labels: Labels) -> Iterator[Finding]:
        """Types that the model does not know, and entities that no run of words covers exactly."""
        known = list(dict.fromkeys(label.partition("-")[2] for label in labels if label != "O"))
        unknown: dict[str, list[Place]] = {}
        uncovered = []
        for entities, text, words, row in zip(
            *(column(split, name) for name in ("entities", "text", "spans", "row")), strict=True
        ):
            starts, ends = {start for start, _ in words}, {end for _, end in words}
            for entity in entities:
                named = text[entity["start"] : entity["end"]]
                if entity["type"] not in known:
                    unknown.setdefault(entity["type"], []).append(Place(row, text=f"{named!r} is {entity['type']}"))
                if entity["start"] not in starts or entity["end"] not in ends:
                    uncovered.append(Place(row, text=f"{named!r} at {entity['start']}-{entity['end']}"))
        for kind, at in unknown.items():
            what = f"type {kind!r} is none of those that were trained: {', '.join(known)}"
            yield Finding("unknown-label", "error", what, tuple(at), _LEAVE_OUT)
        if uncovered:
            what = "an entity begins or ends inside a word; it can't be found exactly"
            yield Finding("entity-edge", "warning", what, tuple(uncovered), "move their ends to the edges of words")

    # ------------------------------------------------------------------ how rows are varied

    def kept_parts(self, example: Example) -> dict[str, list[Part]]:
        """The entities."""
        if "tokens" not in example:
            return {"text": [(entity["start"], entity["end"]) for entity in example["entities"]]}
        words = places(example["tokens"])
        found = spans.entities(example["tags"])
        return {"tokens": [(words[first][0], words[last - 1][1]) for _, first, last in found]}

    def edited(self, example: Example, texts: Mapping[str, Edited]) -> dict[str, Any]:
        """Entities move along, or tags: in BIO, as a word that goes may have stood between two entities."""
        if "tokens" in texts:
            found = spans.entities(example["tags"])
            tags = spans.tags(found, len(example["tokens"]))
            tokens, tags = _edited_tokens(example["tokens"], tags, texts["tokens"])
            return {**example, "tokens": tokens, "tags": tags}
        entities = [
            {**entity, **dict(zip(("start", "end"), texts["text"].kept(entity["start"], entity["end"]), strict=True))}
            for entity in example["entities"]
        ]
        return {**example, "text": texts["text"].text, "entities": entities}

    # ------------------------------------------------------------------ how rows become tensors

    def encode(self, batch: Batch, tokenizer: Any, labels: Labels) -> Any:
        """Windows over each row's words; the first piece of a word carries its tag, the others none."""
        stride = min(self.options.stride, self.options.max_length // 2)
        encoded = tokenizer(
            batch["tokens"],
            is_split_into_words=True,
            truncation=True,
            max_length=self.options.max_length,
            stride=stride,
            return_overflowing_tokens=True,
        )
        example = encoded.pop("overflow_to_sample_mapping", None) or list(range(len(batch["tokens"])))
        never_empty(encoded, tokenizer)
        pieces = [encoded.word_ids(i) or [None] for i in range(len(example))]
        words = [
            _first_pieces(
                pieces[i], _word_before(pieces[i - 1], stride) if i and example[i - 1] == example[i] else None
            )
            for i in range(len(example))
        ]
        rows = {**encoded, "example": example, "words": words}
        if "tags" in batch:
            number = {name: index for index, name in enumerate(labels)}
            tags = [[number[tag] for tag in row] for row in batch["tags"]]
            rows["labels"] = [
                [IGNORED if word is None else tags[i][word] for word in window]
                for i, window in zip(example, words, strict=True)
            ]
        return rows

    # ------------------------------------------------------------------ how outputs become answers

    def decode(
        self,
        outputs: Sequence[Output],
        encoded: Batch,
        examples: Sequence[Example],
        tokenizer: Any,
        labels: Labels,
    ) -> list[Prediction]:
        """{"entities": [{"type", "text", "start", "end", "score"}]}; a word is read where its window shows most.

        Entities whose probability lies below `abstain` stand under "withheld" instead, where there are some.
        """
        found = self._words(outputs, encoded, len(examples))
        return [self._answer(logits, example, labels) for logits, example in zip(found, examples, strict=True)]

    def _words(self, outputs: Sequence[Output], encoded: Batch, count: int) -> list[dict[int, np.ndarray]]:
        """Word number -> its logits, for each of `count` examples."""
        best: list[dict[int, tuple[int, np.ndarray]]] = [{} for _ in range(count)]
        for output, i, words in zip(outputs, encoded["example"], encoded["words"], strict=True):
            for place, word in enumerate(words):
                context = min(place, len(words) - 1 - place)
                if word is not None and context > best[i].get(word, (-1, None))[0]:
                    best[i][word] = (context, output["logits"][place])
        return [{word: logits for word, (_, logits) in found.items()} for found in best]

    def _answer(self, logits: dict[int, np.ndarray], example: Example, labels: Labels) -> Prediction:
        kept: list[dict[str, Any]] = []
        withheld: list[dict[str, Any]] = []
        for kind, first, last in _tagged(logits, len(example["tokens"]), labels):
            start, end = _place(example, first, last)
            values = np.stack([logits[word] for word in range(first, last) if word in logits])
            score = float(softmax(values, self.options.temperature).max(-1).mean())
            text = example["text"][start:end]
            entity = {"type": kind, "text": text, "start": start, "end": end, "score": score}
            (withheld if score < self.options.abstain else kept).append(entity)
        return {"entities": kept, **({"withheld": withheld} if withheld else {})}

    def calibrates(self) -> bool:
        """Always."""
        return True

    def decisions(
        self, outputs: Sequence[Output], encoded: Batch, examples: Sequence[Example], labels: Labels
    ) -> Decisions:
        """One for each word of the entities found, which are the answers."""
        values: list[np.ndarray] = [np.empty((0, len(labels)), dtype=np.float32)]
        sizes, right = [], []
        for logits, example in zip(self._words(outputs, encoded, len(examples)), examples, strict=True):
            true = {_span(entity) for entity in example["entities"]}
            for kind, first, last in _tagged(logits, len(example["tokens"]), labels):
                own = [logits[word][None] for word in range(first, last) if word in logits]
                values += own
                sizes.append(len(own))
                right.append((kind, *_place(example, first, last)) in true)
        answer = np.repeat(np.arange(len(sizes)), sizes)
        return Decisions(np.concatenate(values), answer, np.array(right, dtype=bool)[answer])

    def tally(self, predictions: Sequence[Prediction], examples: Any) -> Tally:
        """Of precision, recall and F1 of entities."""
        predicted, truth = self._places(predictions, examples)
        return spans.entity_tally(truth, predicted)

    def _places(self, predictions: Sequence[Prediction], examples: Any) -> tuple[list[Any], list[Any]]:
        found = ([all_entities(prediction) for prediction in predictions], examples["entities"])
        predicted, truth = ([[_span(entity) for entity in row] for row in rows] for rows in found)
        return predicted, truth

    def answers(self, predictions: Sequence[Prediction], examples: Any) -> tuple[list[Any], list[Any]]:
        """BIO tags of each row's words, as seqeval takes them; of withheld entities too."""
        places = list(examples["spans"])
        found = ([all_entities(prediction) for prediction in predictions], examples["entities"])
        predicted, truth = ([_tags(e, words) for e, words in zip(rows, places, strict=True)] for rows in found)
        return predicted, truth

    def placed(self, prediction: Prediction, place: Callable[[int, int], tuple[str, int, int]]) -> Prediction:
        """Each entity, withheld ones too."""

        def moved(entity: Prediction) -> Prediction:
            text, start, end = place(entity["start"], entity["end"])
            return {**entity, "text": text, "start": start, "end": end}

        return {name: [moved(entity) for entity in entities] for name, entities in prediction.items()}

    def render(self, example: Example, prediction: Prediction) -> str:
        """The text with each entity marked: [Odette Marlin](PER)."""
        text, place, parts = example["text"], 0, []
        for entity in prediction["entities"]:
            parts += [text[place : entity["start"]], f"[{entity['text']}]({entity['type']})"]
            place = entity["end"]
        return "".join([*parts, text[place:]])

    # ------------------------------------------------------------------ where the model goes wrong

    def texts(self, example: Example) -> dict[str, str]:
        """The text that `unify` gives each row."""
        return {"text": example["text"]}

    def marks(self, example: Example, prediction: Prediction) -> Marks:
        """Entities, withheld ones too."""
        return Marks("text", [_span(e) for e in example["entities"]], [_span(e) for e in all_entities(prediction)])

    def confidence(self, prediction: Prediction) -> float | None:
        """The highest of its entities' probabilities."""
        return max((float(e["score"]) for e in all_entities(prediction) if "score" in e), default=None)

    def token_places(self, example: Example, encoded: Batch, tokenizer: Any) -> list[list[TokenPlace]] | None:
        """Where each token's word stands, of the first window."""
        again = tokenizer(
            example["tokens"], is_split_into_words=True, truncation=True, max_length=self.options.max_length
        )
        if again["input_ids"] != encoded["input_ids"][0]:  # a subclass encodes otherwise
            return None
        return [[None if word is None else ("text", word, *example["spans"][word]) for word in again.word_ids()]]

    def contrasts(
        self, example: Example, encoded: Batch, output: Output, labels: Labels, said: str, true: str
    ) -> list[Contrast]:
        """The tags of all words of the first window that are tagged otherwise than they should be."""
        number = {name: index for index, name in enumerate(labels)}
        answered = output["logits"].argmax(-1).tolist()
        firsts = [(place, word) for place, word in enumerate(encoded["words"][0]) if word is not None]
        pairs = [(p, answered[p], number[example["tags"][w]]) for p, w in firsts if example["tags"][w] in number]
        return [((place, tag), (place, right)) for place, tag, right in pairs if tag != right]

    def rival(
        self, example: Example, outputs: Sequence[Output], encoded: Batch, labels: Labels
    ) -> tuple[Example, str, str] | None:
        """The entities found in the first window, and that there are none."""
        return {**example, "tags": ["O"] * len(example["tokens"])}, "entities", "no entities"


def _of_type_o(batch: Batch) -> Iterator[Place]:
    """The rows with an entity of the type `O`, as tags or by its place."""
    for tags, row in zip(batch.get("tags", ()), batch["row"], strict=False):
        if tag := next((tag for tag in tags if tag[1:] == "-O" and is_tag(tag)), None):
            yield Place(row, text=repr(tag))
    for entities, row in zip(batch.get("entities", ()), batch["row"], strict=False):
        if entity := next((entity for entity in entities if entity["type"] == "O"), None):
            yield Place(row, text=f"{entity['start']}-{entity['end']} is 'O'")


def all_entities(prediction: Prediction) -> list[dict[str, Any]]:
    """The entities found, those that were withheld among them."""
    return [*prediction["entities"], *prediction.get("withheld", ())]


def _span(entity: Example) -> Span:
    return entity["type"], entity["start"], entity["end"]


def _place(example: Example, first: int, last: int) -> tuple[int, int]:
    """Where the words from `first` to before `last` begin and end in the text."""
    return example["spans"][first][0], example["spans"][last - 1][1]


def _tagged(logits: dict[int, np.ndarray], size: int, labels: Labels) -> list[spans.Entity]:
    """The entities that the likeliest tags of a sentence's words spell.

    A word without logits (one that the tokenizer drops, or that was cut off) is in the entity that goes on behind it.
    """
    tags, read = ["O"] * size, sorted(logits)
    for word in read:
        tags[word] = labels[int(logits[word].argmax())]
    for before, behind in pairwise(read):
        if tags[behind].startswith("I-") and tags[before][2:] == tags[behind][2:]:
            tags[before + 1 : behind] = [tags[behind]] * (behind - before - 1)
    return spans.entities(tags)


def _first_pieces(word_ids: Sequence[int | None], before: int | None) -> list[int | None]:
    """Word number at the first piece of each word, None at all other pieces; `before` is the word before the window."""
    first: list[int | None] = []
    for word in word_ids:
        first.append(None if word == before else word)
        before = before if word is None else word
    return first


def _word_before(word_ids: Sequence[int | None], stride: int) -> int | None:
    """The word of the last piece of a window that the next window, which shares `stride` pieces, does not repeat."""
    words = [word for word in word_ids if word is not None]
    return words[-stride - 1] if len(words) > stride else None


def _tags(entities: Sequence[Example], words: Sequence[Sequence[int]]) -> list[str]:
    """BIO tags of words at `words` (start, end) from entities at character places: a word that overlaps is inside."""
    tags = ["O"] * len(words)
    for entity in entities:
        inside = [i for i, (start, end) in enumerate(words) if start < entity["end"] and end > entity["start"]]
        for i in inside:
            tags[i] = ("B-" if i == inside[0] else "I-") + entity["type"]
    return tags


def _edited_tokens(tokens: Sequence[str], tags: Sequence[str], edited: Edited) -> tuple[list[str], list[str]]:
    """The tokens and tags of an edited text of tokens; what an edit touches is outside of entities."""
    words = places(tokens)
    new_tokens: list[str] = []
    new_tags: list[str] = []
    done = 0
    for edit in edited.edits:
        touched = [i for i, (start, end) in enumerate(words) if start < edit.end and end > edit.start]
        if any(tags[i] != "O" for i in touched):
            raise ValueError(f"{edit} touches an entity")
        new = edit.text.split() if len(touched) == 1 else _WORD.findall(edit.text)
        new_tokens += [*tokens[done : touched[0]], *new]
        new_tags += [*tags[done : touched[0]], *["O"] * len(new)]
        done = touched[-1] + 1
    return [*new_tokens, *tokens[done:]], [*new_tags, *tags[done:]]
