"""Named entities: text, words, tags and offsets turn into one another and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from ftkit.tasks._base import Weighting
from ftkit.tasks.ner import NamedEntities, _tagged
from tests.tiny import SENTENCES, tiny, tiny_tokenizer

TASK = NamedEntities(NamedEntities.Options())
TOKENIZER = tiny_tokenizer("bert")
LABELS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
WORDS = st.lists(
    st.sampled_from(["Anna", "x", "north-west", "ünï", "(", "42", "O'Hara", "a_b", "東京"]), min_size=1, max_size=40
)


@st.composite
def tagged(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Words with BIO tags that spell entities."""
    words = draw(WORDS)
    tags = ["O"] * len(words)
    i = 0
    while i < len(words):
        length = draw(st.integers(0, 3))
        kind = draw(st.sampled_from(["LOC", "PER"]))
        for k in range(i, min(i + length, len(words))):
            tags[k] = ("B-" if k == i else "I-") + kind
        i += max(1, length)
    return words, tags


def one(row: dict[str, Any]) -> dict[str, Any]:
    return {name: values[0] for name, values in TASK.unify({name: [value] for name, value in row.items()}).items()}


@given(tagged())
def test_words_and_tags_turn_into_a_text_with_places_and_back(case: tuple[list[str], list[str]]) -> None:
    words, tags = case
    row = one({"tokens": words, "tags": tags})
    assert [row["text"][start:end] for start, end in row["spans"]] == words
    assert row["tags"] == tags
    again = [entity["type"] for entity in row["entities"]]
    assert again == [tag[2:] for tag in tags if tag.startswith("B-")]


@given(st.text(alphabet="ab .,'-\n\u00e9\u4e1c5_", max_size=60), st.data())
def test_entities_on_the_edges_of_words_come_back_from_the_tags(text: str, data: st.DataObject) -> None:
    words = one({"text": text})["spans"]
    entities, i = [], 0
    while i < len(words):
        length = data.draw(st.integers(0, 3))
        last = min(i + length, len(words)) - 1
        if length:
            kind = data.draw(st.sampled_from(["LOC", "PER"]))
            entities.append({"start": words[i][0], "end": words[last][1], "type": kind})
        i += max(1, length)
    row = one({"text": text, "entities": entities})
    assert [row["text"][start:end] for start, end in row["spans"]] == row["tokens"]
    assert "".join(row["tokens"]) == "".join(text.split())
    places = one({"tokens": row["tokens"], "tags": row["tags"]})
    starts = {start: i for i, (start, _) in enumerate(places["spans"])}
    ends = {end: i for i, (_, end) in enumerate(places["spans"])}
    back = [
        {"start": words[starts[e["start"]]][0], "end": words[ends[e["end"]]][1], "type": e["type"]}
        for e in places["entities"]
    ]
    assert back == entities


def gold(rows: dict[str, Any], noise: float = 0.0) -> list[dict[str, np.ndarray]]:
    """Logits that say each label of the encoded rows, with the other places saying something random."""
    random = np.random.default_rng(0)
    outputs = []
    for labels in rows["labels"]:
        logits = random.normal(0, 1, (len(labels), len(LABELS))) * noise
        for place, label in enumerate(labels):
            if label != -100:
                logits[place, label] = 20
        outputs.append({"logits": logits.astype(np.float32)})
    return outputs


@settings(max_examples=60, deadline=None)
@given(st.lists(tagged(), min_size=1, max_size=4), st.integers(9, 30), st.integers(0, 12))
def test_right_logits_give_the_right_entities_over_all_windows(
    cases: list[tuple[list[str], list[str]]], max_length: int, stride: int
) -> None:
    task = NamedEntities(NamedEntities.Options(max_length=max_length, stride=stride))
    batch = task.unify({"tokens": [words for words, _ in cases], "tags": [tags for _, tags in cases]})
    encoded = task.encode(batch, TOKENIZER, LABELS)
    examples = [{name: values[i] for name, values in batch.items()} for i in range(len(cases))]
    found = task.decode(gold(encoded, noise=1), encoded, examples, TOKENIZER, LABELS)
    for answer, example in zip(found, examples, strict=True):
        assert [{k: e[k] for k in ("start", "end", "type")} for e in answer["entities"]] == example["entities"]
        assert all(example["text"][e["start"] : e["end"]] == e["text"] for e in answer["entities"])
    assert task.score(found, {"entities": batch["entities"]})["f1"]["value"] in (1.0, 0.0)


def test_long_sentences_are_read_in_windows_where_a_word_has_most_around_it() -> None:
    task = NamedEntities(NamedEntities.Options(max_length=16, stride=6))
    batch = task.unify({"text": [SENTENCES]})
    encoded = task.encode(batch, TOKENIZER, LABELS)
    assert len(encoded["input_ids"]) > 20
    assert set(encoded["example"]) == {0}
    words = [word for window in encoded["words"] for word in window if word is not None]
    assert set(words) == set(range(len(batch["tokens"][0]))) and len(words) > len(set(words))
    edge = [{"logits": np.zeros((len(window), len(LABELS)), np.float32)} for window in encoded["words"]]
    for output, window in zip(edge, encoded["words"], strict=True):
        output["logits"][:, 0] = 1
        for place in (1, len(window) - 2):
            if window[place] is not None and 0 < (window[place] or 0) < len(batch["tokens"][0]) - 1:
                output["logits"][place, 1] = 9
    examples = [{name: values[0] for name, values in batch.items()}]
    assert task.decode(edge, encoded, examples, TOKENIZER, LABELS) == [{"entities": []}]


def test_labels_hold_both_prefixes_of_each_type() -> None:
    rows = Dataset.from_dict(
        {"entities": [[{"start": 0, "end": 1, "type": "PER"}], [{"start": 0, "end": 1, "type": "LOC"}]]}
    )
    assert TASK.labels(rows) == LABELS
    assert TASK.labels(rows, ["PER", "LOC"]) == ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
    assert TASK.labels(rows, ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]) == LABELS


def test_types_that_the_settings_lack_are_errors_of_the_training_rows_too() -> None:
    rows = Dataset.from_dict(TASK.unify({"row": [7], "tokens": [["Leeds"]], "tags": [["B-LOC"]]}))
    (issue,) = TASK.check(rows, TASK.labels(rows, ["PER"]))
    assert issue.level == "error" and "'LOC'" in issue.what and issue.places[0].row == 7


def test_tags_of_no_scheme_are_refused_with_all_their_rows() -> None:
    batch = {"row": [1, 2, 3], "tokens": [["a"]] * 3, "tags": [["PERSON"], ["B-PER"], ["X-PER"]]}
    (issue,) = TASK.refused(batch)
    assert [(place.row, place.text) for place in issue.places] == [(1, "'PERSON'"), (3, "'X-PER'")]


def test_unknown_types_are_errors_and_ends_inside_words_are_counted() -> None:
    rows = TASK.unify(
        {"row": [1, 2], "text": ["Anna works", "in Leeds"],
         "entities": [[{"start": 0, "end": 3, "type": "PER"}], [{"start": 3, "end": 8, "type": "ORG"}]]}
    )  # fmt: skip
    issues = list(TASK.check(Dataset.from_dict(rows), LABELS))
    assert [(issue.level, issue.places[0].row) for issue in issues] == [("error", 2), ("warning", 1)]
    assert "begins or ends inside a word" in issues[1].what and issues[1].places[0].text == "'Ann' at 0-3"


def test_loss_over_its_size_is_the_models_own_loss() -> None:
    batch = TASK.unify(
        {"text": SENTENCES.splitlines()[9:13], "entities": [[{"start": 0, "end": 5, "type": "PER"}]] * 4}
    )
    encoded = TASK.encode(batch, TOKENIZER, LABELS)
    tensors = TASK.collate(
        [{n: encoded[n][i] for n in ("input_ids", "attention_mask", "labels")} for i in range(4)], TOKENIZER
    )
    model = tiny("bert", "TOKEN_CLS", labels=5, vocab_size=len(TOKENIZER))
    with torch.no_grad():
        ours = TASK.loss(TASK.forward(model, tensors), tensors, Weighting()) / TASK.loss_size(tensors, Weighting())
        assert ours.item() == pytest.approx(model(**tensors).loss.item(), rel=1e-6)
    assert (tensors["labels"] != -100).sum() == sum(len(words) for words in batch["tokens"])


def sure(likely: list[tuple[str, float]]) -> tuple[Any, Any]:
    """Outputs and encoding of one window, with a word for each (label, its probability)."""
    logits = np.zeros((len(likely) + 2, len(LABELS)))
    for place, (label, p) in enumerate(likely, 1):
        logits[place] = np.log((1 - p) / (len(LABELS) - 1))
        logits[place, LABELS.index(label)] = np.log(p)
    return [{"logits": logits}], {"example": [0], "words": [[None, *range(len(likely)), None]]}


LIKELY = [("B-PER", 0.9), ("I-PER", 0.6), ("B-LOC", 0.5), ("O", 0.99), ("O", 0.7)]
ANNA = {
    "text": "Anna Schmidt Leeds works daily",
    "entities": [{"start": 0, "end": 12, "type": "PER"}, {"start": 25, "end": 30, "type": "LOC"}],
}


def test_an_entitys_score_is_the_mean_over_its_own_words() -> None:
    outputs, encoded = sure(LIKELY)
    (answer,) = TASK.decode(outputs, encoded, [one(ANNA)], TOKENIZER, LABELS)
    assert [(e["type"], e["text"]) for e in answer["entities"]] == [("PER", "Anna Schmidt"), ("LOC", "Leeds")]
    assert [e["score"] for e in answer["entities"]] == pytest.approx([0.75, 0.5])
    assert answer.keys() == {"entities"}


def test_temperature_divides_the_logits_and_changes_no_entity() -> None:
    outputs, encoded = sure(LIKELY)
    task = NamedEntities(NamedEntities.Options(temperature=2.0))
    (answer,) = task.decode(outputs, encoded, [one(ANNA)], TOKENIZER, LABELS)
    assert [(e["type"], e["text"]) for e in answer["entities"]] == [("PER", "Anna Schmidt"), ("LOC", "Leeds")]
    roots = [(np.sqrt(p), np.sqrt((1 - p) / 4)) for _, p in LIKELY]
    mild = [right / (right + 4 * wrong) for right, wrong in roots]
    assert [e["score"] for e in answer["entities"]] == pytest.approx([(mild[0] + mild[1]) / 2, mild[2]])


def test_unsure_entity_is_withheld_and_scored_all_the_same() -> None:
    outputs, encoded = sure(LIKELY)
    task, row = NamedEntities(NamedEntities.Options(abstain=0.6)), one(ANNA)
    found = task.decode(outputs, encoded, [row], TOKENIZER, LABELS)
    assert [e["text"] for e in found[0]["entities"]] == ["Anna Schmidt"]
    assert [e["text"] for e in found[0]["withheld"]] == ["Leeds"]
    usual, examples = TASK.decode(outputs, encoded, [row], TOKENIZER, LABELS), {n: [v] for n, v in row.items()}
    assert task.score(found, examples) == TASK.score(usual, examples)
    assert task.answers(found, examples) == TASK.answers(usual, examples)
    assert task.render(row, found[0]) == "[Anna Schmidt](PER) Leeds works daily"


def test_words_of_entities_are_decisions_and_entities_answers() -> None:
    outputs, encoded = sure(LIKELY)
    found = TASK.decisions(outputs, encoded, [one(ANNA)], LABELS)
    assert [LABELS[i] for i in found.logits.argmax(-1)] == ["B-PER", "I-PER", "B-LOC"]
    assert found.answer.tolist() == [0, 0, 1]
    assert found.right.tolist() == [True, True, False]
    assert found.answers()[0] == pytest.approx([0.75, 0.5])
    assert found.truth is None


def test_row_without_words_has_no_decisions() -> None:
    row = one({"text": " ", "entities": []})
    found = TASK.decisions([{"logits": np.zeros((2, 5))}], {"example": [0], "words": [[None, None]]}, [row], LABELS)
    assert found.logits.shape == (0, 5)


def test_marks_and_confidence_are_of_all_entities_withheld_ones_too() -> None:
    row = one(ANNA)
    found = {"type": "PER", "start": 0, "end": 12, "score": 0.7}
    withheld = {"type": "LOC", "start": 13, "end": 18, "score": 0.8}
    marks = TASK.marks(row, {"entities": [found], "withheld": [withheld]})
    assert marks == ("text", [("PER", 0, 12), ("LOC", 25, 30)], [("PER", 0, 12), ("LOC", 13, 18)])
    assert TASK.confidence({"entities": [found], "withheld": [withheld]}) == 0.8
    assert TASK.confidence({"entities": []}) is None
    assert TASK.confidence({"entities": [{"type": "PER", "start": 0, "end": 12}]}) is None


def test_contrasts_are_of_words_whose_tag_is_wrong() -> None:
    row = one({"tokens": ["Anna", "Schmidt", "Leeds", "works", "daily"], "tags": ["B-PER", "O", "B-PER", "O", "O"]})
    outputs, encoded = sure(LIKELY)
    found = TASK.contrasts(row, encoded, outputs[0], LABELS, "", "")
    number = LABELS.index
    assert found == [((2, number("I-PER")), (2, number("O"))), ((3, number("B-LOC")), (3, number("B-PER")))]
    unknown = {**row, "tags": ["B-ORG"] * 5}
    assert TASK.contrasts(unknown, encoded, outputs[0], LABELS, "", "") == []


def test_places_of_tokens_are_their_words_in_the_first_window() -> None:
    task, row = NamedEntities(NamedEntities.Options(max_length=10, stride=2)), one(ANNA)
    encoded = task.encode({"tokens": [row["tokens"]]}, TOKENIZER, LABELS)
    (places,) = task.token_places(row, encoded, TOKENIZER) or ()
    assert len(places) == len(encoded["input_ids"][0])
    assert places[0] is places[-1] is None
    words = encoded["words"][0]
    assert all(place == ("text", w, *row["spans"][w]) for place, w in zip(places, words, strict=True) if w is not None)
    otherwise = {"input_ids": [encoded["input_ids"][0][::-1]]}
    assert task.token_places(row, otherwise, TOKENIZER) is None


def test_marks_belong_to_the_letters_that_they_stand_with() -> None:
    """Devanagari, pointed Hebrew, Thai, a decomposed accent: words, as files of tokens have them."""
    words = ["दिल्ली", "में", "है", "שָׁלוֹם", "น้ำ", "می\u200cروم", "cafe\u0301", "don", "'", "t", "x_1", "."]
    assert TASK.unify({"text": [" ".join(words)]})["tokens"] == [words]


def test_types_are_known_by_whatever_tag_the_model_has_for_them() -> None:
    """Where entities begin with I-, a type may have no B-."""
    rows = Dataset.from_dict(TASK.unify({"row": [7], "tokens": [["Anna", "Leeds"]], "tags": [["B-PER", "B-LOC"]]}))
    assert not list(TASK.check(rows, ("O", "B-LOC", "I-PER")))
    assert not list(TASK.check(rows, ("O", "S-LOC", "U-PER")))
    (found,) = TASK.check(rows, ("O", "I-PER"))
    assert "type 'LOC'" in found.what


@pytest.mark.parametrize("text", ["met Jean\u00adPierre today", "met Ali\u200e Khan today", "met New\u200bYork today"])
def test_words_that_the_tokenizer_drops_do_not_split_an_entity(text: str) -> None:
    entity = {"start": 4, "end": text.index(" today"), "type": "PER"}
    row = one({"text": text, "entities": [entity]})
    encoded = TASK.encode({name: [value] for name, value in row.items()}, TOKENIZER, LABELS)
    (answer,) = TASK.decode(gold(encoded), encoded, [row], TOKENIZER, LABELS)
    assert [{name: e[name] for name in entity} for e in answer["entities"]] == [entity]
    found = TASK.decisions(gold(encoded), encoded, [row], LABELS)
    assert len(found.logits) == len(found.answer) == 2 and found.right.all()


def said(**tags: str) -> dict[int, np.ndarray]:
    return {int(word[1:]): np.eye(len(LABELS))[LABELS.index(tag.replace("_", "-"))] for word, tag in tags.items()}


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        (said(w0="B_PER", w2="I_PER"), [("PER", 0, 3)]),
        (said(w0="O", w2="I_PER"), [("PER", 2, 3)]),
        (said(w0="B_LOC", w2="I_PER"), [("LOC", 0, 1), ("PER", 2, 3)]),
        (said(w0="B_PER", w2="B_PER"), [("PER", 0, 1), ("PER", 2, 3)]),
    ],
)
def test_a_word_that_was_not_read_is_in_what_goes_on_behind_it_alone(tags: Any, found: Any) -> None:
    assert [tuple(entity) for entity in _tagged(tags, 3, LABELS)] == found
