"""brat's standoff annotations."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.data.formats._base import apart
from ftkit.data.load import load, load_file
from ftkit.data.read import read
from ftkit.errors import DataError
from ftkit.settings import DataSpec
from ftkit.tasks._base import Column
from tests.data.formats.test_texts import folder

SPANS = [[Column("tokens", "tokens"), Column("tags", "tags")], [Column("text", "text"), Column("entities", "entities")]]


def entities(root: Path) -> list[list[tuple[int, int, str]]]:
    rows = read(root, header=True).rows
    return [[(e["start"], e["end"], e["type"]) for e in row["entities"]] for row in rows]


def test_documents_and_their_entities(tmp_path: Path) -> None:
    files = {
        "one.txt": "Ada Rowe\r\nsailed to Mull ☕ twice.\r\n",
        "one.ann": "T2\tPLACE 20 24\tMull\nT1\tPER 0 8\tAda Rowe\nR1\tIn Arg1:T1 Arg2:T2\n#1\tNote T1\tsure\n",
        "two.txt": "NA",
        "two.ann": "",
    }
    table = read(folder(tmp_path / "notes", dict(files)), header=True)
    assert [(row["id"], row["text"]) for row in table.rows] == [("one", files["one.txt"]), ("two", "NA")]
    assert entities(tmp_path / "notes") == [[(0, 8, "PER"), (20, 24, "PLACE")], []]
    assert table.where(1) == "notes/two.txt"
    assert table.notes == ("notes: 2 lines with relations, events, attributes and notes not read",)


def test_entities_of_several_parts_and_in_each_other_are_named(tmp_path: Path) -> None:
    text = "North and South Mull University\nHospital"
    lines = [
        "T1\tPLACE 0 5;16 20\tNorth Mull",
        "T2\tORG 10 40\tSouth Mull University Hospital",
        "T3\tPLACE 10 20\tSouth Mull",
        "T4\tORG 21 31;32 40\tUniversity Hospital",
    ]
    root = folder(tmp_path / "n", {"a.txt": text, "a.ann": "\n".join(lines)})
    assert entities(root) == [[(10, 40, "ORG")]]
    notes = read(root, header=True).notes
    assert "n: 1 entity left out that consist of several parts (a.ann T1)" in notes
    assert "n: 2 entities left out that share characters with longer ones (a.ann T3, a.ann T4)" in notes


def test_a_line_break_inside_an_entity_is_no_gap(tmp_path: Path) -> None:
    root = folder(tmp_path / "n", {"a.txt": "South\nMull", "a.ann": "T1\tPLACE 0 5;6 10\tSouth Mull\n"})
    assert entities(root) == [[(0, 10, "PLACE")]]


def test_all_that_can_not_be_is_said_at_once(tmp_path: Path) -> None:
    files = {
        "a.txt": "Ada sailed",
        "a.ann": "T1\tPER 0 5\tAda\nT2\tPER zero 3\tAda\nT3\tPER 0 3\tAda\n",
        "b.ann": "T1\tPER 0 3\tAda\n",
        "c.txt": "nothing here",
    }
    with pytest.raises(DataError) as caught:
        read(folder(tmp_path / "n", dict(files)), header=True)
    for said in ("a.ann, line 1: T1 is 'Ada s'", "a.ann, line 2: 'T2", "b.txt can't be read", "n: 3 problems"):
        assert said in str(caught.value)
    (tmp_path / "n" / "b.ann").unlink()
    (tmp_path / "n" / "a.ann").write_text("")
    assert read(tmp_path / "n", header=True).notes == ("n: 1 text left out that no .ann lies beside (c.txt)",)


def test_folders_of_splits(tmp_path: Path) -> None:
    files = {f"{split}/a.{ending}": "" for split in ("train", "dev") for ending in ("txt", "ann")}
    root = folder(tmp_path / "n", {name: "Ada" if name.endswith("txt") else "T1\tPER 0 3\tAda" for name in files})
    splits = load(DataSpec(train=str(root)), SPANS)
    assert {name: split["id"][:] for name, split in splits.items()} == {"train": ["train/a"], "validation": ["dev/a"]}
    rows, _ = load_file(str(root / "dev"), DataSpec(), SPANS)
    assert rows["entities"][0] == [{"start": 0, "end": 3, "type": "PER"}]


spans = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 8)).map(lambda span: {"start": span[0], "end": sum(span)}), max_size=9
)


@given(spans)
def test_of_spans_that_share_characters_the_longest_stays(found: list[dict[str, int]]) -> None:
    kept, others = apart(found)
    assert sorted(map(str, [*kept, *others])) == sorted(map(str, found))
    assert all(one["end"] <= other["start"] for one, other in pairwise(kept))
    for other in others:
        assert any(
            one["start"] < other["end"]
            and other["start"] < one["end"]
            and one["end"] - one["start"] >= other["end"] - other["start"]
            for one in kept
        )
