from __future__ import annotations

from typing import Any

from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from ftkit.baselines.gazetteer import Gazetteer
from ftkit.tasks.ner import NamedEntities

TASK = NamedEntities(NamedEntities.Options())
Marked = tuple[str, str]
"""Tokens and tags, with spaces between."""


def dataset(rows: list[Marked]) -> Dataset:
    return Dataset.from_dict(TASK.unify({"tokens": [t.split() for t, _ in rows], "tags": [g.split() for _, g in rows]}))


def fitted(*rows: Marked) -> Gazetteer:
    baseline, train = Gazetteer(), dataset(list(rows))
    baseline.fit(train, TASK, ())
    return baseline


def found(baseline: Gazetteer, text: str) -> list[tuple[str, str]]:
    (answer,) = baseline.predict(dataset([(text, " ".join("O" for _ in text.split()))]))
    return [(entity["text"], entity["type"]) for entity in answer["entities"]]


def test_longest_name_wins_from_left_to_right() -> None:
    baseline = fitted(("New York", "B-LOC I-LOC"), ("New York Times", "B-ORG I-ORG I-ORG"), ("York", "B-LOC"))
    text = "The New York Times left New York for York"
    assert found(baseline, text) == [("New York Times", "ORG"), ("New York", "LOC"), ("York", "LOC")]


def test_name_inside_a_longer_one_counts_for_nothing() -> None:
    baseline = fitted(("York", "B-LOC"), ("New York", "B-LOC I-LOC"), ("New York", "B-LOC I-LOC"))
    (answer,) = baseline.predict(dataset([("York", "O")]))
    assert [(entity["type"], entity["score"]) for entity in answer["entities"]] == [("LOC", 1.0)]


def test_case_is_minded() -> None:
    baseline = fitted(("Rose sleeps", "B-PER O"))
    assert found(baseline, "Rose and rose") == [("Rose", "PER")]


def test_name_that_is_mostly_none_goes() -> None:
    once, twice = ("Rose", "B-PER"), ("Rose rose and Rose", "O O O O")
    assert found(fitted(once, twice), "Rose") == []
    assert found(fitted(once, once, once, twice), "Rose") == [("Rose", "PER")]
    assert found(fitted(once, ("Rose", "O")), "Rose") == []


def test_most_frequent_type_is_given_with_its_share() -> None:
    baseline = fitted(("Bath", "B-LOC"), ("Bath", "B-ORG"), ("Bath", "B-LOC"), ("Bath", "O"))
    (answer,) = baseline.predict(dataset([("in Bath", "O O")]))
    assert answer == {"entities": [{"type": "LOC", "text": "Bath", "start": 3, "end": 7, "score": 0.5}]}


def test_equally_frequent_types_do_not_depend_on_the_order() -> None:
    rows = [("Bath", "B-LOC"), ("Bath", "B-ORG")]
    assert found(fitted(*rows), "Bath") == found(fitted(*reversed(rows)), "Bath")


def test_other_script() -> None:
    assert found(fitted(("我 住 北 京", "O O B-LOC I-LOC")), "去 北 京 吧") == [("北 京", "LOC")]


TOKENS = st.sampled_from(["Ada", "Bath", "of", "the", "New"])
TAGS = st.sampled_from(["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
ROWS = st.lists(st.lists(st.tuples(TOKENS, TAGS), max_size=8), min_size=1, max_size=6)


@given(ROWS, ROWS)
def test_entities_are_names_of_the_training_rows_in_order_and_apart(train: Any, test: Any) -> None:
    known, asked = (
        dataset([(" ".join(t for t, _ in row), " ".join(g for _, g in row)) for row in r]) for r in (train, test)
    )
    baseline = Gazetteer()
    baseline.fit(known, TASK, ())
    names = {
        (row["text"][entity["start"] : entity["end"]], entity["type"]) for row in known for entity in row["entities"]
    }
    for row, answer in zip(asked, baseline.predict(asked), strict=True):
        place = 0
        for entity in answer["entities"]:
            assert place <= entity["start"] < entity["end"]
            place = entity["end"]
            assert entity["text"] == row["text"][entity["start"] : entity["end"]]
            assert (entity["text"], entity["type"]) in names
            assert 0 < entity["score"] <= 1


@given(st.lists(st.lists(st.sampled_from(["B-PER", "O"]), min_size=1, max_size=8), min_size=1, max_size=5))
def test_names_that_never_mean_else_are_all_found(tags: list[list[str]]) -> None:
    rows = [
        (" ".join(f"N{i}x{j}" for j in range(len(row))), " ".join(row)) for i, row in enumerate(tags)
    ]  # no token twice
    baseline, train = fitted(*rows), dataset(rows)
    assert TASK.tally(baseline.predict(train), train).scores()["f1"]["value"] == float(
        any("B-PER" in row for row in tags)
    )
