from __future__ import annotations

from typing import Any

import pytest

from ftkit.data.values import Refused, Values
from ftkit.settings import DataSpec
from ftkit.tasks._base import Column


def read(kind: str, value: Any, row: dict[str, Any] | None = None, **settings: Any) -> Any:
    return Values(DataSpec(**settings)).read(Column("x", kind), value, row or {})  # type: ignore[arg-type]


CONTEXT = {"context": "Oslo, Bergen and Oslo."}
SENTENCE = {"text": "Ada met Bob."}


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("text", " as it is ", " as it is "),
        ("text", "", ""),
        ("text", 3, "3"),
        ("text", 1.5, "1.5"),
        ("text", "[not, a list]", "[not, a list]"),
        ("label", 1, "1"),
        ("label", True, "true"),
        ("label", 1.0, "1.0"),
        ("label", " good ", "good"),
        ("labels", ["a", 2], ["a", "2"]),
        ("labels", "a, b,,a", ["a", "b"]),
        ("labels", '["a,b", "c"]', ["a,b", "c"]),
        ("labels", "['a,b', 'c']", ["a,b", "c"]),
        ("labels", "[]", []),
        ("labels", "", []),
        ("labels", [], []),
        ("number", "0.75", 0.75),
        ("number", 3, 3.0),
        ("tokens", ["a", 2], ["a", "2"]),
        ("tokens", '["a", "b"]', ["a", "b"]),
        ("tags", ["O", "B-PER"], ["O", "B-PER"]),
        ("references", "one", ["one"]),
        ("references", ["one", "two", " "], ["one", "two"]),
        ("references", '["one", "two"]', ["one", "two"]),
    ],
)
def test_canonical_values(kind: str, value: Any, expected: Any) -> None:
    assert read(kind, value) == expected


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("text", None, "is missing"),
        ("text", float("nan"), "is missing"),
        ("text", {"a": 1}, "is not text"),
        ("text", ["One.", "Two."], "is not text"),
        ("text", [], "is not text"),
        ("label", " ", "is empty"),
        ("label", ["a", "b"], "is not one label"),
        ("labels", None, "is missing"),
        ("labels", 3, "is not a list of labels"),
        ("labels", ["a", ""], "is empty"),
        ("labels", ["a", None], "has a label that is missing"),
        ("labels", [float("nan")], "has a label that is missing"),
        ("labels", "['a' 'b']", "is a list in no form that is read"),
        ("label", [None], "is missing"),
        ("number", "", "is not a number"),
        ("number", "1_000", "is not a number"),
        ("number", True, "is not a number"),
        ("number", 10**400, "is not a number"),
        ("number", float("nan"), "is not a finite number"),
        ("number", "-inf", "is not a finite number"),
        ("tokens", "no list", "is not a list of tokens"),
        ("tokens", ["a", None], "is not a list of tokens"),
        ("tags", [0, 3], "is not a list of tags"),
        ("tags", ["O", " "], "has an empty tag"),
        ("references", [], "is empty"),
        ("references", " ", "is empty"),
    ],
)
def test_refused_values(kind: str, value: Any, said: str) -> None:
    with pytest.raises(Refused) as caught:
        read(kind, value)
    assert caught.value.what == said


def test_only_a_column_of_texts_in_parts_takes_a_list_as_one_text() -> None:
    document = Column("document", "text", in_parts=True)
    assert Values(DataSpec()).read(document, ["One.", "Two."], {}) == "One. Two."
    with pytest.raises(Refused, match="is not text"):
        Values(DataSpec()).read(document, ["One.", None], {})


def test_labels_are_renamed_or_refused_with_a_guess() -> None:
    renames = {"labels": {"0": "negative", "1": "positive"}}
    assert [read("label", value, **renames) for value in (0, "1", "negative")] == ["negative", "positive", "negative"]
    assert read("labels", "0,1", **renames) == ["negative", "positive"]
    for settings in (renames, {"labels": ["negative", "positive"]}):
        with pytest.raises(Refused, match=r"'Postive' \(did you mean 'positive'\?\)"):
            read("label", "Postive", **settings)


def test_tags_and_entities_are_renamed_by_type() -> None:
    renames = {"labels": {"PERSON": "PER", "B-GPE": "B-LOC"}}
    assert read("tags", ["B-PERSON", "O", "B-GPE", "B-ORG"], **renames) == ["B-PER", "O", "B-LOC", "B-ORG"]
    assert read("entities", [[0, 3, "PERSON"]], SENTENCE, **renames) == [{"start": 0, "end": 3, "type": "PER"}]


def test_tags_go_with_tokens() -> None:
    with pytest.raises(Refused, match="1 tags for 2 tokens"):
        read("tags", ["O"], {"tokens": ["a", "b"]})


@pytest.mark.parametrize(
    "value",
    [
        [{"start": 8, "end": 11, "type": "PER"}, {"start": 0, "end": 3, "label": "PER", "text": "Ada"}],
        [[8, 11, "PER"], (0, 3, " PER ")],
        '[[0, 3, "PER"], [8, 11, "PER"]]',
    ],
)
def test_entities_are_sorted_and_alike(value: Any) -> None:
    expected = [{"start": 0, "end": 3, "type": "PER"}, {"start": 8, "end": 11, "type": "PER"}]
    assert read("entities", value, SENTENCE) == expected


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("Ada", "is not a list of entities"),
        ([[0, 3]], "has an entity of another form"),
        ([[0, 3, ""]], "has an entity of another form"),
        ([[0, True, "PER"]], "has an entity of another form"),
        ([{"start": "0", "end": 3, "type": "PER"}], "has an entity of another form"),
        ([[0, 13, "PER"]], "has an entity that is not inside its text"),
        ([[-1, 3, "PER"]], "has an entity that is not inside its text"),
        ([[3, 3, "PER"]], "has an entity that is not inside its text"),
        ([[0, 5, "PER"], [4, 7, "X"]], "has entities that overlap"),
        ([{"start": 1, "end": 4, "type": "PER", "text": "Ada"}], "has an entity that is not where it says"),
    ],
)
def test_refused_entities(value: Any, said: str) -> None:
    with pytest.raises(Refused) as caught:
        read("entities", value, SENTENCE)
    assert caught.value.what == said


@pytest.mark.parametrize(
    ("value", "texts", "starts"),
    [
        ({"text": ["Oslo", "Oslo"], "answer_start": [0, 17]}, ["Oslo", "Oslo"], [0, 17]),
        ({"text": "Bergen", "answer_start": 6}, ["Bergen"], [6]),
        ([{"text": "Oslo", "answer_start": 17}], ["Oslo"], [17]),
        ('{"text": ["Bergen"], "answer_start": [6]}', ["Bergen"], [6]),
        ({"text": ["Bergen"]}, ["Bergen"], [6]),
        ("Bergen", ["Bergen"], [6]),
        (["Bergen"], ["Bergen"], [6]),
        ("", [], []),
        ({"text": [], "answer_start": []}, [], []),
        ({"text": [""], "answer_start": [-1]}, [], []),
        ([], [], []),
    ],
)
def test_answers(value: Any, texts: list[str], starts: list[int]) -> None:
    assert read("answers", value, CONTEXT) == {"text": texts, "answer_start": starts}


def test_an_answer_that_looks_like_json_is_an_answer() -> None:
    assert read("answers", "[1]", {"context": "see [1]"}) == {"text": ["[1]"], "answer_start": [4]}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"text": ["Oslo"], "answer_start": [1]}, "'Oslo' is not at 1; it stands at 0 and 17"),
        ({"text": ["Oslo"], "answer_start": [-3]}, "it stands at 0 and 17"),
        ({"text": ["Paris"], "answer_start": [0]}, "'Paris'"),
        ("Paris", "'Paris'"),
        ({"text": ["Oslo"], "answer_start": [0, 1]}, "1 texts and 2 offsets"),
        ({"text": ["Oslo"], "answer_start": ["0"]}, "is not a set of answers"),
        (7, "is not a set of answers"),
    ],
)
def test_refused_answers(value: Any, said: str) -> None:
    with pytest.raises(Refused, match=said):
        read("answers", value, CONTEXT)


def test_a_plain_answer_that_stands_twice_is_counted() -> None:
    values = Values(DataSpec())
    column = Column("answers", "answers")
    assert values.read(column, "Oslo", CONTEXT)["answer_start"] == [0]
    values.read(column, "Bergen", CONTEXT)
    assert list(values.notes("a.csv")) == [
        "a.csv: 1 answer stands in the context more than once; the first place is taken"
    ]
