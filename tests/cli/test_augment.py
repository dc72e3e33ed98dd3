"""`ftkit augment`: variants shown, counted, written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import ftkit, stands
from tests.runs import read_jsonl, rows, write_rows
from tests.wordnet import only, write_wordnet

BY = ("--set", "augment.by=[swap, keyboard]")


@pytest.fixture
def ner(tmp_path: Path) -> Path:
    data = write_rows(tmp_path / "rows.jsonl", rows("ner", "train", 12))
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "task: ner\nmodel: {checkpoint: none}\n"
        f"data: {{train: {data.name}, validation: 0}}\naugment: {{by: [swap, keyboard]}}\n"
    )
    return recipe


def test_variants_are_shown_with_what_changed_and_what_stays(ner: Path) -> None:
    done = ftkit("augment", ner, "--show", "2")
    assert done.code == 0
    first, second = done.out.split("\n\n")[:2]
    title, column, before, after = first.splitlines()
    assert title.startswith("row ") and title.endswith(", swap") and column == "  text"
    assert before.startswith("    - ") and "[" in before and "[" in after
    assert second.splitlines()[0].endswith(", keyboard")
    assert "{" in done.out
    assert "variants of 12 training rows (" in done.out.splitlines()[-1]


def test_one_json_object(ner: Path) -> None:
    done = ftkit("augment", ner, "--json", "--show", "3")
    found = json.loads(done.out)
    assert found["variants"] == sum(found["by"].values()) and found["rows"] == 12
    assert len(found["pairs"]) == 3
    assert {"by", "original", "variant"} == found["pairs"][0].keys()


def test_a_file_has_originals_and_variants_and_is_read_again(ner: Path, tmp_path: Path) -> None:
    done = ftkit("augment", ner, "--to", tmp_path / "new" / "all.jsonl", "--json")
    found, written = json.loads(done.out), read_jsonl(tmp_path / "new" / "all.jsonl")
    assert done.code == 0 and found["written"] == len(written) == 12 + found["variants"] and found["pairs"] == []
    assert sum(row["augmenter"] is None for row in written) == 12
    for row in written:
        for entity in row["entities"]:
            assert row["text"][entity["start"] : entity["end"]].istitle()
    groups = {row["row"]: row["group"] for row in written}
    assert len(set(groups.values())) == 12
    again = ftkit(
        "augment", ner, "--set", f"data.train={tmp_path}/new/all.jsonl", "--set", "data.group=group", "--json"
    )
    assert json.loads(again.out)["rows"] == len(written)


def test_cleaned_rows_are_varied_and_written_as_they_are_clean(ner: Path, tmp_path: Path) -> None:
    spaced = [{"text": f"We  saw the   old house {n}", "entities": []} for n in range(8)]
    spaced[0] = {"text": "We  saw   Ada", "entities": [{"start": 10, "end": 13, "type": "PER"}]}
    write_rows(tmp_path / "rows.jsonl", spaced)
    done = ftkit("augment", ner, "--to", tmp_path / "all.jsonl", "--set", "data.clean=[whitespace]")
    assert done.code == 0, done.err
    written = read_jsonl(tmp_path / "all.jsonl")
    assert len(written) > 8 and all("  " not in row["text"] and "as_given" not in row for row in written)
    assert {row["text"][e["start"] : e["end"]] for row in written for e in row["entities"]} == {"Ada"}


def test_a_file_is_written_whole_or_not_at_all(ner: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    before = stands(tmp_path)
    done = ftkit("augment", ner, "--to", tmp_path / "mine.yaml" / "all.jsonl")
    assert done.code == 3 and "can't be written" in done.err
    done = ftkit("augment", ner, "--to", tmp_path / "folder")
    assert done.code == 3 and "is a folder" in done.err
    assert stands(tmp_path) == before


def test_the_file_that_is_read_is_not_written_over(ner: Path, tmp_path: Path) -> None:
    done = ftkit("augment", ner, "--to", tmp_path / "rows.jsonl")
    assert done.code == 3 and "is the file that is read" in done.err
    assert len(read_jsonl(tmp_path / "rows.jsonl")) == 12


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (["augment.by=[]"], "augment.by: the recipe names no augmenter"),
        (["augment.by=[swop]"], "augment.by: there is no augmenter called 'swop'\n  did you mean swap?"),
        (["augment.by=[{name: swap, strength: 2}]"], "augment.by: swap.strength: must be less than or equal to 1"),
        (["augment.share=0"], "augment.share: must be greater than 0"),
        (["augment.by=[contextual]"], "augment.by: contextual.checkpoint: must be set"),
        (["augment.by=[antonym]"], "antonym makes a text say the opposite"),
        (["augment.by=3"], "augment.by"),
        (["augment.by=[[swap]]"], "augment.by"),
    ],
    ids=str,
)
def test_what_cant_be_is_said_in_a_sentence(ner: Path, settings: list[str], said: str) -> None:
    done = ftkit("augment", ner, *(part for setting in settings for part in ("--set", setting)))
    assert done.code == 3
    assert " ".join(said.split()) in " ".join(done.err.replace("; did", " did").split())


def test_several_wrong_augmenters_are_told_at_once(ner: Path) -> None:
    done = ftkit("augment", ner, "--set", "augment.by=[swop, {name: split, least: 1}]")
    assert "swop" in done.err and "least" in done.err


def test_synonyms_without_wordnet_tell_where_to_get_it(ner: Path, tmp_path: Path) -> None:
    with only(None, tmp_path / "cache"):
        done = ftkit("augment", ner, "--set", "augment.by=[synonym, insert]")
    assert done.code == 3
    assert done.err.count("apt-get install") == 1 and done.err.count("ftkit augment --get-wordnet") == 1


def test_antonyms_show_both_labels(tmp_path: Path) -> None:
    data = write_rows(
        tmp_path / "rows.jsonl",
        [{"text": f"{word} house, which we {verb}", "label": label} for word, verb, label in POLAR],
    )
    with only(write_wordnet(tmp_path / "wordnet"), tmp_path / "cache"):
        done = ftkit(
            *("augment", "sentiment/full", "--set", f"data.train={data}", "--set", "data.validation=0"),
            *("--set", "augment.by=antonym"),
        )
    assert done.code == 0
    assert "antonym: positive -> negative" in done.out and "[good] house, which we [love]" in done.out
    assert "[bad] house, which we [hate]" in done.out
    assert "2 of them with the opposite label" in done.out


POLAR = [("good", "love", "positive"), ("small", "hate", "negative"), ("old", "own", "negative")]


def test_colours_only_on_a_terminal() -> None:
    from ftkit.cli.augment import marked

    parts = [("a ", ""), ("good", "changed"), (" in ", ""), ("Paris", "kept")]
    assert marked(parts, colour=False) == "a [good] in {Paris}"
    assert marked(parts, colour=True) == "a \x1b[1;33mgood\x1b[0m in \x1b[4mParis\x1b[0m"
