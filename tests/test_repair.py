"""A repaired copy has no errors and none of what is repaired; what differs from the rows before is in its list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftkit.errors import DataError
from ftkit.inspection import inspect
from ftkit.mending import spell
from ftkit.metrics import spans
from ftkit.metrics.schemes import Scheme
from ftkit.recipe import load_recipe
from ftkit.repair import write_repaired
from tests.checks.planted import DEFECTS, Rows, clean, inspected, spoiled
from tests.runs import Lab, read_jsonl

REPAIRED = {"label-variant", "duplicate", "leak", "empty", "missing", "answer-place", "tag-scheme", "control", "tag"}


def repaired(lab: Lab, folder: Path, name: str, rows: Rows) -> Rows:
    """The copy's rows, after everything that must hold of it was checked."""
    found = inspected(folder, lab.checkpoint("bert"), name, rows)
    write_repaired(found, folder / "copy")
    again = inspect(load_recipe(folder / "copy" / "recipe.yaml"))
    assert again.errors == []
    assert {finding.kind for finding in again.findings} & REPAIRED == set()
    copy = {split: read_jsonl(folder / "copy" / f"{split}.jsonl") for split in again.rows}
    assert copy == replayed(rows, read_jsonl(folder / "copy" / "changes.jsonl"))
    return copy


def replayed(rows: Rows, changes: list[dict[str, Any]]) -> Rows:
    """The rows before with the listed changes made, each to what it says stood there."""
    left = {(split, number): row for split, part in rows.items() for number, row in enumerate(part, 1)}
    for change in changes:
        place = change["split"], change["row"]
        assert change["why"]
        if change["column"] is None:
            assert left.pop(place) == change["before"]
        else:
            assert left[place][change["column"]] == change["before"] != change["after"]
            left[place] = {**left[place], change["column"]: change["after"]}
    return {split: [row for (own, _), row in left.items() if own == split] for split in rows}


@pytest.mark.parametrize("name", DEFECTS)
def test_planted_defects_are_repaired_or_left_out(lab: Lab, tmp_path: Path, name: str) -> None:
    rows, _ = spoiled(name)
    repaired(lab, tmp_path, name, rows)


@pytest.mark.parametrize("name", DEFECTS)
def test_clean_rows_are_copied_as_they_are(lab: Lab, tmp_path: Path, name: str) -> None:
    rows = clean(name)
    assert repaired(lab, tmp_path, name, rows) == rows
    assert read_jsonl(tmp_path / "copy" / "changes.jsonl") == []


def test_values_are_repaired_to_what_is_meant(lab: Lab, tmp_path: Path) -> None:
    repaired(lab, tmp_path / "a", "classification", spoiled("classification")[0])
    repaired(lab, tmp_path / "b", "ner tokens", spoiled("ner tokens")[0])
    repaired(lab, tmp_path / "c", "qa", spoiled("qa")[0])
    changes = [change for part in "abc" for change in read_jsonl(tmp_path / part / "copy" / "changes.jsonl")]
    labels = {change["before"]: change["after"] for change in changes if change["column"] == "label"}
    assert labels == {"Arts": "arts", "world_news": "world news", "sprot": "sport", "SPORT": "sport"}
    tags = [change["after"][:3] for change in changes if change["column"] == "tags"]
    assert ["B-LOC", "O", "B-PER"] in tags and ["B-PER", "B-LOC", "O"] in tags and ["B-PER", "O", "B-PER"] in tags
    (moved,) = [c for c in changes if c["column"] == "answers" and "elsewhere" in c["why"]]
    assert moved["after"]["answer_start"][0] == moved["before"]["answer_start"][0] + 2


TEXTS = st.lists(st.sampled_from(["red", "blue\x07", "green", "gold\x85", "tin", "jade"]), max_size=3).map(" ".join)
ROW = st.fixed_dictionaries(
    {"text": st.none() | TEXTS, "label": st.sampled_from(["arts", "sport", "Arts", " arts", "", None, "weather", 7])}
)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(train=st.lists(ROW, max_size=25), validation=st.lists(ROW, max_size=8), test=st.lists(ROW, max_size=8))
def test_any_rows(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, train: list[Any], validation: list[Any], test: list[Any]
) -> None:
    base = clean("classification")
    rows = {"train": base["train"][:30] + train, "validation": base["validation"][:9] + validation}
    rows["test"] = base["test"][:9] + test
    repaired(lab, tmp_path_factory.mktemp("any"), "classification", rows)


LETTER = st.sampled_from(["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "I-Per", "b-per", "o", "X", "0"])


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(train=st.lists(st.lists(LETTER, min_size=1, max_size=6), max_size=12))
def test_any_tags(lab: Lab, tmp_path_factory: pytest.TempPathFactory, train: list[list[str]]) -> None:
    rows = clean("ner tokens")
    rows["train"] += [{"tokens": [f"w{i}" for i in range(len(tags))], "tags": tags} for tags in train]
    repaired(lab, tmp_path_factory.mktemp("tags"), "ner tokens", rows)


SCHEMES = st.sampled_from(["IOB1", "IOB2", "IOE1", "IOE2", "BIOES", "BILOU", "BMEWO"]).map(Scheme)


@given(st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), max_size=9), SCHEMES)
def test_spelled_entities_are_read_again_and_break_nothing(tags: list[str], scheme: Scheme) -> None:
    found = spans.entities(tags)
    spelled = spell(found, len(tags), scheme)
    assert spans.entities(spelled) == found
    assert scheme.breaks(spelled) == []


def test_a_copy_is_never_written_over_anything(lab: Lab, tmp_path: Path) -> None:
    found = inspected(tmp_path, lab.checkpoint("bert"), "qa", clean("qa"))
    (tmp_path / "copy").mkdir()
    with pytest.raises(DataError, match="exists already"):
        write_repaired(found, tmp_path / "copy")
    assert list((tmp_path / "copy").iterdir()) == []
