"""A repaired copy has no errors and none of what is repaired; what differs from the rows before is in its list."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftkit.data.load import load, load_file
from ftkit.errors import DataError
from ftkit.inspection import inspect
from ftkit.mending import Meant, mend
from ftkit.metrics import spans
from ftkit.metrics.schemes import Scheme
from ftkit.plugins import resolve
from ftkit.recipe import Recipe, changed, load_recipe, parse_recipe
from ftkit.repair import write_repaired
from ftkit.settings import DataSpec
from ftkit.tasks._base import Column, Task
from tests.checks.planted import DEFECTS, Rows, clean, inspected, sentence, spoiled
from tests.checks.planted import recipe as planted_recipe
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


FORMS: dict[str, Callable[[int, int], Any]] = {
    "own": lambda start, end: {"start": start, "end": end, "type": "PER"},
    "doccano": lambda start, end: {"id": 7, "start_offset": start, "end_offset": end, "label": "PER"},
    "mixed": lambda start, end: {"start": start, "end_offset": end, "label": " PER "},
    "triples": lambda start, end: [start, end, "PER"],
}


@pytest.mark.parametrize("form", FORMS)
def test_entities_move_with_their_text_in_whatever_form_they_are_written(lab: Lab, tmp_path: Path, form: str) -> None:
    rows = clean("ner entities")
    rows["train"][3] = {"text": "Old \x07 friends met Ana Berg.", "entities": [FORMS[form](18, 26)]}
    rows["train"][4] = {"text": "Ana Berg met old \x07 friends.", "entities": [FORMS[form](0, 8)]}
    copy = repaired(lab, tmp_path, "ner entities", rows)
    assert copy["train"][3] == {
        "text": "Old  friends met Ana Berg.",
        "entities": [{"start": 17, "end": 25, "type": "PER"}],
    }
    assert copy["train"][4]["entities"] == rows["train"][4]["entities"]
    changes = read_jsonl(tmp_path / "copy" / "changes.jsonl")
    assert [(change["row"], change["column"]) for change in changes] == [(4, "text"), (4, "entities"), (5, "text")]


def test_types_without_letters_are_tags(lab: Lab, tmp_path: Path) -> None:
    rows = clean("ner tokens")
    rows = {
        split: [{**row, "tags": [tag.removeprefix("B-").removeprefix("I-") for tag in row["tags"]]} for row in part]
        for split, part in rows.items()
    }
    assert repaired(lab, tmp_path, "ner tokens", rows) == rows


def test_entities_of_a_row_that_cannot_be_read_move_with_their_text(lab: Lab) -> None:
    shape = (Column("text", "text"), Column("entities", "entities"))
    row = {"text": "a \x07 b", "entities": json.dumps([{"start_offset": 4, "end_offset": 5, "label": "X"}, "Y"])}
    changes = list(mend(row, shape[0], shape, Meant(DataSpec(), {}), None))
    moved = [{"start_offset": 3, "end_offset": 4, "label": "X"}, "Y"]
    assert [after for _, after, _ in changes] == ["a  b", moved]


def test_a_renamed_label_keeps_the_source_s_name(lab: Lab, tmp_path: Path) -> None:
    rows = clean("classification")
    rows["train"][0]["label"] = "Sport"
    for row in (row for part in rows.values() for row in part if row["label"] == "world news"):
        row["label"] = "trade"
    recipe = planted_recipe(tmp_path, lab.checkpoint("bert"), "classification", rows)
    swapped = {"arts": "sport", "sport": "arts", "trade": "trade"}
    write_repaired(inspect(changed(recipe, [f"data.labels={json.dumps(swapped)}"])), tmp_path / "copy")
    (change,) = read_jsonl(tmp_path / "copy" / "changes.jsonl")
    assert (change["before"], change["after"]) == ("Sport", "arts")


def test_a_label_that_became_another_is_listed_no_more(lab: Lab, tmp_path: Path) -> None:
    rows = clean("classification")
    rows["train"][0]["label"] = "Sport"
    recipe = planted_recipe(tmp_path, lab.checkpoint("bert"), "classification", rows)
    recipe = changed(recipe, ["data.labels=[arts, Sport, sport, world news, never]"])
    write_repaired(inspect(recipe), tmp_path / "copy")
    copy = load_recipe(tmp_path / "copy" / "recipe.yaml")
    assert copy.data.labels == ("arts", "sport", "world news", "never")


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
    spelled = scheme.spell(found, len(tags))
    assert spans.entities(spelled) == found
    assert scheme.breaks(spelled) == []


def test_a_copy_is_never_written_over_anything(lab: Lab, tmp_path: Path) -> None:
    found = inspected(tmp_path, lab.checkpoint("bert"), "qa", clean("qa"))
    (tmp_path / "copy").mkdir()
    with pytest.raises(DataError, match="exists already"):
        write_repaired(found, tmp_path / "copy")
    assert list((tmp_path / "copy").iterdir()) == []


@pytest.mark.parametrize("value", [{"tags": ["?"] * 12}, {"tags": "O"}, {"tokens": [], "tags": []}])
def test_no_copy_is_written_of_nothing_to_train_on(lab: Lab, tmp_path: Path, value: dict[str, Any]) -> None:
    rows = clean("ner tokens")
    rows["train"] = [{**row, **value} for row in rows["train"]]
    found = inspected(tmp_path, lab.checkpoint("bert"), "ner tokens", rows)
    with pytest.raises(DataError, match=r"nothing is left to train on \(.*60 rows"):
        write_repaired(found, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_rows_that_can_all_be_repaired_are(lab: Lab, tmp_path: Path) -> None:
    rows = clean("qa")
    for row in rows["train"]:
        row["answers"] = {**row["answers"], "answer_start": [row["answers"]["answer_start"][0] + 1]}
    assert len(repaired(lab, tmp_path, "qa", rows)["train"]) == 60


def test_an_emptied_split_is_said(lab: Lab, tmp_path: Path) -> None:
    rows = clean("classification")
    rows["validation"] = rows["test"]
    told = write_repaired(inspected(tmp_path, lab.checkpoint("bert"), "classification", rows), tmp_path / "copy")
    assert "24 rows left out; no validation row is left, so training keeps the last epoch's model" in told


def test_entities_of_the_type_o_are_left_out_and_hide_nothing(lab: Lab, tmp_path: Path) -> None:
    rows = clean("ner entities")
    rows["train"][4]["entities"][0]["type"] = "O"
    rows["train"][7]["entities"][0]["end"] -= 1
    found = inspected(tmp_path, lab.checkpoint("bert"), "ner entities", rows)
    told = {finding.kind: [place.row for place in finding.places] for finding in found.findings}
    assert told["type-o"] == [5] and told["entity-edge"] == [8]
    assert len(repaired(lab, tmp_path, "ner entities", rows)["train"]) == 59


def test_rows_that_keep_to_the_scheme_of_most_stay_as_they_are(lab: Lab, tmp_path: Path) -> None:
    rows = clean("ner tokens")
    for row in rows["train"][:5]:
        row["tags"] = ["S-PER", *["O"] * 10, "S-LOC"]
    copy = repaired(lab, tmp_path, "ner tokens", rows)
    assert copy["train"][5:] == rows["train"][5:]
    assert copy["train"][0]["tags"] == ["B-PER", *["O"] * 10, "B-LOC"]


def test_a_file_of_bare_types_is_not_emptied(lab: Lab, tmp_path: Path) -> None:
    blocks = (f"Anna{number} PER\nSmith{number} PER\nlives O" for number in range(30))
    (tmp_path / "names.conll").write_text("\n\n".join(blocks) + "\n")
    data = {"train": str(tmp_path / "names.conll"), "columns": {"tokens": "0", "tags": "1"}}
    model = {"checkpoint": str(lab.checkpoint("bert"))}
    found = inspect(parse_recipe({"task": "ner", "model": model, "data": data}, "names"))
    assert "0 values repaired, 0 rows left out" in write_repaired(found, tmp_path / "copy")


# ---------------------------------------------------------------------- the copy's recipe


def tables(folder: Path, encoding: str) -> list[Path]:
    """Two tables with columns of other names, a split of their own, groups and texts that need an encoding."""
    random, files = Random("tables"), []
    for name in ("a", "b"):
        rows = ["Wording,Kind,fold,author"]
        for number in range(30):
            fold = ("train", "train", "train", "dev", "test")[number % 5]
            kind = ("arts", "sport", "Sport")[2 if number == 5 else number % 2]
            rows.append(f"Café <b>{sentence(random)}</b>,{kind},{fold},writer {number % 4}")
        files.append(folder / f"{name}.csv")
        files[-1].write_text("\n".join(rows) + "\n", encoding=encoding)
    return files


COLUMNS = {"columns": {"text": "Wording", "label": "Kind"}}


@pytest.mark.parametrize(
    "settings",
    [
        {"encoding": "cp1252"},
        {"split": "fold"},
        {"validation": 0.2, "test": 0.2, "group": "author"},
        {"clean": ["html", "lowercase"], "limit": 20},
        {"labels": {"arts": "culture", "sport": "games"}},
    ],
    ids=lambda settings: "+".join(settings),
)
def test_the_copy_s_recipe_reads_the_copy(lab: Lab, tmp_path: Path, settings: dict[str, Any]) -> None:
    files = tables(tmp_path, settings.get("encoding", "utf-8"))
    data = {"train": [str(file) for file in files], **COLUMNS, **settings}
    model = {"checkpoint": str(lab.checkpoint("bert"))}
    found = inspect(parse_recipe({"task": "classification", "model": model, "data": data}, "tables"))
    write_repaired(found, tmp_path / "copy")
    changes = read_jsonl(tmp_path / "copy" / "changes.jsonl")
    assert {change["at"] for change in changes} == {"a.csv, line 7", "b.csv, line 7"}
    before, after = (rows_of(recipe) for recipe in (found.recipe, load_recipe(tmp_path / "copy" / "recipe.yaml")))
    for each in before.values():
        each["label"] = [label.lower() for label in each["label"]]
    assert after == before
    assert any("Café" in text or "café" in text for text in after["train"]["text"])


def test_texts_without_labels_are_read_as_before(lab: Lab, tmp_path: Path) -> None:
    more = [tmp_path / f"{place}.csv" for place in ("harbour", "orchard")]
    for file in more:
        file.write_text(f"Wording\nCafé of the {file.stem}\n", encoding="cp1252")
    data = {
        "train": [str(file) for file in tables(tmp_path, "cp1252")],
        "unlabeled": [str(file) for file in more],
        "encoding": "cp1252",
        "clean": ["lowercase"],
        **COLUMNS,
    }
    model = {"checkpoint": str(lab.checkpoint("bert"))}
    found = inspect(parse_recipe({"task": "classification", "model": model, "data": data}, "tables"))
    write_repaired(found, tmp_path / "copy")
    copy = load_recipe(tmp_path / "copy" / "recipe.yaml")
    task = resolve("task", copy.task, Task)
    read, _ = load_file(copy.data.sources("unlabeled"), copy.data, task.shapes(), targets=False)
    assert read["text"][:] == ["café of the harbour", "café of the orchard"]


def rows_of(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """What training reads of a recipe's splits, row numbers and the order of rows aside."""
    task = resolve("task", recipe.task, Task)
    spec = recipe.data.model_copy(update={"limit": None})
    loaded = load(spec, task.shapes(), stratify=task.stratify(), groups=task.groups, strict=False)
    found = {}
    for name, split in loaded.items():
        rows = sorted(
            zip(split["text"][:], split["label"][:], split.to_dict().get("group", split["text"]), strict=True)
        )
        found[name] = dict(zip(("text", "label", "group"), map(list, zip(*rows, strict=True)), strict=True))
    return found
