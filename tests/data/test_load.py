from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pytest

from ftkit.data.load import Splits, load, load_file
from ftkit.errors import DataError
from ftkit.settings import DataSpec
from ftkit.tasks._base import Column

LABELLED = [[Column("text", "text"), Column("label", "label")]]
TAGGED = [
    [Column("tokens", "tokens"), Column("tags", "tags")],
    [Column("text", "text"), Column("entities", "entities")],
]
ANSWERED = [[Column("question", "text"), Column("context", "text"), Column("answers", "answers")]]
SUMMARIES = [[Column("document", "text"), Column("summary", "references")]]


def jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def reviews(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"text": f"t{number}", "label": "ab"[number % 2], **more} for number in range(count)]


def sizes(splits: Splits) -> dict[str, int]:
    return {name: len(split) for name, split in splits.items()}


def test_shares_are_cut_test_first_by_class(tmp_path: Path) -> None:
    train = jsonl(tmp_path / "a.jsonl", reviews(100))
    splits = load(DataSpec(train=train, test=0.2), LABELLED, stratify="label")
    assert sizes(splits) == {"train": 72, "validation": 8, "test": 20}
    for _, split in splits.items():
        assert list(split["label"]).count("a") * 2 == len(split)
        assert list(split["row"]) == sorted(split["row"])
        assert split.column_names == ["text", "label", "row"]
    assert sorted(row for _, split in splits.items() for row in split["row"]) == list(range(1, 101))
    again = load(DataSpec(train=train, test=0.2), LABELLED, stratify="label")
    assert list(again.test["row"]) == list(splits.test["row"])


REPEATED: dict[str, tuple[list[list[Column]], Callable[[str], dict[str, Any]]]] = {
    "texts": (LABELLED, lambda text: {"text": text, "label": "a"}),
    "tokens": (TAGGED, lambda text: {"tokens": text.split(), "tags": ["O"] * len(text.split())}),
    "questions": (ANSWERED, lambda text: {"question": text, "context": "It is so.", "answers": ["so"]}),
    "documents": (SUMMARIES, lambda text: {"document": text, "summary": "none"}),
}


@pytest.mark.parametrize("kind", REPEATED)
def test_a_share_tears_no_rows_that_ask_the_same(tmp_path: Path, kind: str) -> None:
    shapes, row = REPEATED[kind]
    rows = [row(f"number{space}{number}") for space in (" ", "  ", " ") for number in range(40)]
    splits = load(DataSpec(train=jsonl(tmp_path / "a.jsonl", rows), validation=0.25, test=0.2), shapes)
    numbers = {name: {(row - 1) % 40 for row in split["row"]} for name, split in splits.items()}
    assert sum(map(len, numbers.values())) == 40
    assert sizes(splits) == {"train": 72, "validation": 24, "test": 24}


def test_rows_are_alike_in_all_that_they_ask_with(tmp_path: Path) -> None:
    rows = [{"question": q, "context": f"{c} is.", "answers": ["is"]} for q in ("Who?", "What?") for c in "abcdefghij"]
    splits = load(DataSpec(train=jsonl(tmp_path / "a.jsonl", rows), validation=0.25), ANSWERED)
    plain = load(DataSpec(train=jsonl(tmp_path / "b.jsonl", reviews(20)), validation=0.25), LABELLED)
    assert list(splits.validation["row"]) == list(plain.validation["row"])  # as where no two rows are alike


def test_empty_rows_are_like_no_other(tmp_path: Path) -> None:
    rows = [{"text": " " * (i % 3), "label": "ab"[i % 2]} for i in range(20)]
    splits = load(DataSpec(train=jsonl(tmp_path / "a.jsonl", rows), validation=0.25), LABELLED)
    plain = load(DataSpec(train=jsonl(tmp_path / "b.jsonl", reviews(20)), validation=0.25), LABELLED)
    assert list(splits.validation["row"]) == list(plain.validation["row"])


def test_groups_are_told_apart_white_space_aside(tmp_path: Path) -> None:
    rows = [{"text": f"t{i}", "label": "a", "who": f"w {i % 10}" + " " * (i // 10)} for i in range(40)]
    splits = load(DataSpec(train=jsonl(tmp_path / "a.jsonl", rows), validation=0.25, group="who"), LABELLED)
    sides = [{who.strip() for who in split["group"]} for _, split in splits.items()]
    assert not sides[0] & sides[1]


@pytest.mark.parametrize("validation", [None, 0])
def test_no_validation(tmp_path: Path, validation: float | None) -> None:
    train = jsonl(tmp_path / "a.jsonl", reviews(10))
    assert sizes(load(DataSpec(train=train, validation=validation), LABELLED)) == {"train": 10}


def test_files_for_all_three_without_a_header(tmp_path: Path) -> None:
    for name, count in (("train", 4), ("dev", 2), ("test", 3)):
        (tmp_path / f"{name}.tsv").write_text('a "fine" one\t1\n' * count)
    spec = DataSpec(
        train=str(tmp_path / "train.tsv"),
        validation=str(tmp_path / "dev.tsv"),
        test=str(tmp_path / "test.tsv"),
        columns={"text": 0, "label": 1},
        labels={"0": "negative", "1": "positive"},
    )
    splits = load(spec, LABELLED)
    assert sizes(splits) == {"train": 4, "validation": 2, "test": 3}
    assert splits.train[3] == {"text": 'a "fine" one', "label": "positive", "row": 4}


@pytest.mark.parametrize("header", ["Text\tlabel", "sentence\tlabel", "review\tSentiment"])
def test_a_header_in_a_file_that_is_mapped_by_number(tmp_path: Path, header: str) -> None:
    (tmp_path / "a.tsv").write_text(f"{header}\nfine\t1\n")
    rows, notes = load_file(str(tmp_path / "a.tsv"), DataSpec(columns={"text": 0, "label": 1}), LABELLED)
    assert rows[:] == {"text": ["fine"], "label": ["1"], "row": [2]}
    assert "is a header" in notes[0]


def test_rows_told_apart_by_their_own_column(tmp_path: Path) -> None:
    rows = [*reviews(6, split="Train"), *reviews(2, split="dev"), *reviews(3, split="TEST")]
    path = jsonl(tmp_path / "a.jsonl", rows)
    splits = load(DataSpec(train=path, validation=0.5), LABELLED)
    assert sizes(splits) == {"train": 6, "validation": 2, "test": 3}
    assert list(splits.test["row"]) == [9, 10, 11]
    assert "6 train, 2 validation, 3 test" in splits.notes[0]
    other = jsonl(tmp_path / "b.jsonl", reviews(5))
    splits = load(DataSpec(train=path, test=other), LABELLED)
    assert sizes(splits) == {"train": 6, "validation": 2, "test": 5}
    assert any("3 test rows of a.jsonl are not used" in note for note in splits.notes)


def test_a_split_column_that_lacks_validation_leaves_it_to_the_share(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [*reviews(10, part="train"), *reviews(2, part="test")])
    assert sizes(load(DataSpec(train=path, validation=0.2, split="part"), LABELLED)) == {
        "train": 8,
        "validation": 2,
        "test": 2,
    }


def test_a_split_column_with_other_values(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", reviews(4, split="banana"))
    splits = load(DataSpec(train=path, validation=None), LABELLED)
    assert sizes(splits) == {"train": 4}
    assert "names no splits" in splits.notes[0]
    mixed = jsonl(tmp_path / "b.jsonl", [*reviews(2, split="train"), *reviews(1, split="unlabelled")])
    with pytest.raises(DataError, match=r"b\.jsonl, line 3: column 'split' is 'unlabelled'"):
        load(DataSpec(train=mixed), LABELLED)
    with pytest.raises(DataError, match="no row is for training"):
        load(DataSpec(train=jsonl(tmp_path / "c.jsonl", reviews(2, split="test"))), LABELLED)


def test_told_apart_rows_without_answers_are_left_out(tmp_path: Path) -> None:
    rows = [*reviews(4, split="train"), {"text": "x", "label": None, "split": "test"}]
    splits = load(DataSpec(train=jsonl(tmp_path / "a.jsonl", rows), validation=None), LABELLED)
    assert sizes(splits) == {"train": 4}
    assert any("test rows have no answers" in note for note in splits.notes)
    rows[-1]["label"] = []
    splits = load(DataSpec(train=jsonl(tmp_path / "b.jsonl", rows), validation=None), LABELLED)
    assert sizes(splits) == {"train": 4} and any("test rows have no answers" in note for note in splits.notes)


def test_limit_is_for_training_rows_and_keeps_their_order(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", reviews(50))
    splits = load(DataSpec(train=path, validation=0.2, limit=7), LABELLED)
    assert sizes(splits) == {"train": 7, "validation": 10}
    assert list(splits.train["row"]) == sorted(splits.train["row"]) != list(range(1, 8))
    assert "7 of 40 training rows" in splits.notes[-1]


def test_groups_stay_on_one_side(tmp_path: Path) -> None:
    rows = [{**row, "title": f"page {number // 5}"} for number, row in enumerate(reviews(50))]
    path = jsonl(tmp_path / "a.jsonl", rows)
    for splits in (
        load(DataSpec(train=path, test=0.2), LABELLED, groups=("title",)),
        load(DataSpec(train=path, test=0.2, group="title"), LABELLED, stratify="label"),
    ):
        groups = [set(split["group"]) for _, split in splits.items()]
        assert sum(map(len, groups)) == 10 == len(set.union(*groups))
        assert sizes(splits) == {"train": 35, "validation": 5, "test": 10}
    assert sizes(load(DataSpec(train=path), LABELLED, groups=("absent",))) == {"train": 45, "validation": 5}
    with pytest.raises(DataError, match=r"data\.group=absent is none of its columns"):
        load(DataSpec(train=path, group="absent"), LABELLED)


def test_a_usual_group_is_found_under_the_name_that_the_file_has_for_it(tmp_path: Path) -> None:
    answers = {"text": ["page"], "answer_start": [0]}
    rows = [{"question": f"q{i}", "passage": f"page {i // 4}", "answers": answers} for i in range(40)]
    spec = DataSpec(train=jsonl(tmp_path / "a.jsonl", rows), test=0.2, columns={"context": "passage"})
    splits = load(spec, ANSWERED, groups=("context",))
    groups = [set(split["context"]) for _, split in splits.items()]
    assert sum(map(len, groups)) == 10 == len(set.union(*groups))


@pytest.mark.parametrize("untitled", [None, ""])
def test_a_usual_group_that_not_all_rows_have_leaves_it_to_the_next(tmp_path: Path, untitled: str | None) -> None:
    """Articles of files in SQuAD's form need no title."""
    rows = [{**row, "title": untitled, "page": str(number // 5)} for number, row in enumerate(reviews(50))]
    path = jsonl(tmp_path / "a.jsonl", rows)
    splits = load(DataSpec(train=path, test=0.2), LABELLED, groups=("title", "page"))
    assert sum(len(set(split["group"])) for _, split in splits.items()) == 10
    assert set(load_file(path, DataSpec(), LABELLED, groups=("title", "page"))[0]["group"]) == set(map(str, range(10)))


def test_a_group_that_is_named_goes_before_the_usual_one(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", reviews(4, title="page", author="Ada"))
    rows, _ = load_file(path, DataSpec(group="author"), LABELLED, groups=("title",))
    assert set(rows["group"]) == {"Ada"}
    assert set(load_file(path, DataSpec(), LABELLED, groups=("title",))[0]["group"]) == {"page"}


def test_tags_of_each_file_are_read_by_its_own_scheme(tmp_path: Path) -> None:
    bare = jsonl(tmp_path / "a.jsonl", [{"tokens": ["Ada", "ran", "Rome"], "tags": ["PER", "O", "LOC"]}] * 4)
    usual = jsonl(tmp_path / "b.jsonl", [{"tokens": ["Ada", "Bo", "ran"], "tags": ["B-PER", "B-PER", "O"]}] * 4)
    splits = load(DataSpec(train=bare, validation=None, test=usual), TAGGED)
    assert splits.train[0]["tags"] == ["I-PER", "O", "I-LOC"]
    assert splits.test[0]["tags"] == ["B-PER", "B-PER", "O"]


def test_another_seed_draws_other_rows(tmp_path: Path) -> None:
    path, drawn = jsonl(tmp_path / "a.jsonl", reviews(50)), []
    for seed in (1, 2):
        limited = load(DataSpec(train=path, validation=None, limit=7, seed=seed), LABELLED)
        shared = load(DataSpec(train=path, validation=0.2, seed=seed), LABELLED)
        drawn.append((list(limited.train["row"]), list(shared.validation["row"])))
    assert all(one != other for one, other in zip(*drawn, strict=True))


def test_every_split_has_the_shape_of_the_training_rows(tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text("EU B-ORG\nrejects O\n\nnews O\n")
    spans = jsonl(tmp_path / "test.jsonl", [{"text": "EU", "entities": []}])
    with pytest.raises(DataError, match=r"test\.jsonl: no column found for 'tokens' and 'tags'"):
        load(DataSpec(train=str(tmp_path / "train.conll"), validation=None, test=spans), TAGGED)


def test_faults_of_all_files_at_once(tmp_path: Path) -> None:
    train = jsonl(tmp_path / "a.jsonl", [*reviews(3), {"text": None, "label": "a"}])
    test = jsonl(tmp_path / "b.jsonl", [{"text": "x", "label": ""}])
    with pytest.raises(DataError) as caught:
        load(DataSpec(train=train, test=test), LABELLED)
    assert "a.jsonl, line 4" in str(caught.value)
    assert "b.jsonl, line 1" in str(caught.value)
    with pytest.raises(DataError) as caught:
        load(DataSpec(train=f"{tmp_path}/no.csv", validation=f"{tmp_path}/nor.csv"), LABELLED)
    assert "no.csv" in str(caught.value)
    assert "nor.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "data.train is not set"),
        ({"train": "sample:sentiment", "validation": 1.5}, "data.validation=1.5 is not a share"),
        ({"train": "sample:nothing"}, "no sample is called 'nothing'"),
        ({"train": "reviews.csv"}, "there is no file reviews.csv"),
        ({"train": "data/reviews.csv"}, "there is no file data/reviews.csv"),
    ],
)
def test_settings_that_can_not_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        load(DataSpec(**settings), LABELLED)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [("sentiment", LABELLED), ("topics", LABELLED), ("ner", TAGGED), ("qa", ANSWERED), ("summarization", SUMMARIES)],
)
def test_samples_load_whole(name: str, shapes: Any) -> None:
    splits = load(DataSpec(train=f"sample:{name}"), shapes)
    whole, _ = load_file(f"sample:{name}", DataSpec(), shapes)
    assert sum(sizes(splits).values()) == len(whole)
    assert set(sizes(splits)) == {"train", "validation", "test"}


def test_features_are_the_same_whatever_the_rows_hold(tmp_path: Path) -> None:
    text, whole = datasets.Value("string"), datasets.Value("int64")
    rows = [{"id": 1, "question": "q", "context": "c", "answers": "", "text": "t", "entities": []}]
    path = jsonl(tmp_path / "a.jsonl", rows)
    answered, _ = load_file(path, DataSpec(), ANSWERED)
    assert answered.features["answers"] == {"text": datasets.List(text), "answer_start": datasets.List(whole)}
    assert answered[0] == {
        "question": "q",
        "context": "c",
        "answers": {"text": [], "answer_start": []},
        "row": 1,
        "id": "1",
    }
    spans, _ = load_file(path, DataSpec(), TAGGED)
    assert spans.features["entities"] == datasets.List({"start": whole, "end": whole, "type": text})
    scored = [[Column("text", "text"), Column("label", "number")]]
    rated, _ = load_file(jsonl(tmp_path / "b.jsonl", [{"text": 5, "score": 3}]), DataSpec(), scored)
    assert rated.features == {"text": text, "label": datasets.Value("float64"), "row": whole}


def test_a_share_in_place_of_a_split_that_is_unreadable_is_shown_as_its_rows_stand(tmp_path: Path) -> None:
    rows = [{**row, "split": "train"} for row in reviews(20)]
    rows[0].update(split="test", label=None)
    spec = DataSpec(train=jsonl(tmp_path / "a.jsonl", rows), validation=None, test=0.3)
    splits = load(spec, LABELLED, strict=False)
    assert sizes(splits) == {"train": 13, "test": 6}
    for name, split in splits.items():
        assert [raw["text"] for raw in splits.raw[name]] == list(split["text"])


def test_rows_without_a_label_are_left_out_wherever_rows_are_read_with_labels(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [*reviews(4), {"text": "open", "label": []}, *reviews(2)])
    told = "a.jsonl: 1 row left out that have no label"
    splits = load(DataSpec(train=path, validation=None), LABELLED)
    rows, notes = load_file(path, DataSpec(), LABELLED)
    assert list(rows["row"]) == list(splits.train["row"]) == [1, 2, 3, 4, 6, 7]
    assert told in notes and told in splits.notes
    rows, _ = load_file(path, DataSpec(), LABELLED, targets=False)
    assert list(rows["row"]) == list(range(1, 8)) and "label" not in rows.column_names
    several = [[Column("text", "text"), Column("label", "labels")]]
    assert len(load_file(path, DataSpec(), several)[0]) == 7
    bare = jsonl(tmp_path / "b.jsonl", [{"text": "open", "label": []}])
    for read in (lambda: load_file(bare, DataSpec(), LABELLED), lambda: load(DataSpec(train=bare), LABELLED)):
        with pytest.raises(DataError, match=r"b\.jsonl: none of its rows has a label"):
            read()


def test_broken_lines_hide_nothing_else_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one", "label": "a"}\nno JSON\n{"text": "two", "label": "weather"}\n')
    spec = DataSpec(train=str(path), validation=None, labels=("a", "b"))
    with pytest.raises(DataError) as caught:
        load(spec, LABELLED)
    assert "line 2: not valid JSON" in str(caught.value) and "line 3: column 'label'" in str(caught.value)
    splits = load(spec, LABELLED, strict=False)
    assert list(splits.train["row"]) == [1] and [row.number for row in splits.unread["train"]] == [3]
    assert splits.unreadable is not None and [line for _, line, _ in splits.unreadable.faults] == [2]


def test_predicting_needs_no_answers(tmp_path: Path) -> None:
    spec = DataSpec(columns={"text": "review", "label": "stars"})
    rows, notes = load_file(jsonl(tmp_path / "a.jsonl", [{"text": "x"}]), spec, LABELLED, targets=False)
    assert rows.column_names == ["text", "row"]
    assert "'text' is read from the column of that name" in notes[0]
    with pytest.raises(DataError, match="no column 'stars'"):
        load_file(jsonl(tmp_path / "b.jsonl", [{"review": "x"}]), spec, LABELLED)


def test_reading_is_light_and_rings_no_one(tmp_path: Path) -> None:
    code = """
import sys, socket
def refuse(*args): raise AssertionError("a connection was tried")
import ftkit.data.load
assert not {"torch", "datasets", "pyarrow", "pandas", "transformers"} & set(sys.modules)
socket.socket.connect = refuse
from ftkit.settings import DataSpec
from ftkit.tasks._base import Column
splits = ftkit.data.load.load(DataSpec(train="sample:topics"), [[Column("text", "text"), Column("label", "label")]])
assert "torch" not in sys.modules
print(len(splits.train))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout == "294\n", done.stderr


def test_a_split_column_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", reviews(4, part="train"))
    with pytest.raises(DataError, match=r"data\.split=fold is none of its columns\n.*part"):
        load(DataSpec(train=path, split="fold"), LABELLED)


def test_names_and_numbers_of_columns_are_not_mixed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("review,stars\ngood,1\nbad,0\n")
    spec = DataSpec(train=str(tmp_path / "a.csv"), columns={"text": "review", "label": 1})
    with pytest.raises(DataError, match="mixes names and numbers"):
        load(spec, LABELLED)


@pytest.mark.parametrize("given", [0.5, 0])
def test_a_share_that_the_rows_own_split_leaves_no_use_for_is_told(tmp_path: Path, given: float) -> None:
    rows = [{**row, "split": ["train", "test"][number % 2]} for number, row in enumerate(reviews(20))]
    path = jsonl(tmp_path / "a.jsonl", rows)
    told = [note for note in load(DataSpec(train=path, test=given), LABELLED).notes if "is not used" in note]
    assert len(told) == 1 and f"data.test={given} is not used" in told[0]
    assert not any("is not used" in note for note in load(DataSpec(train=path), LABELLED).notes)
