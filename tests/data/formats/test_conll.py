"""CoNLL columns in any order, and tags of any scheme."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from ftkit.data.columns import find
from ftkit.data.load import load, load_file
from ftkit.data.read import read
from ftkit.errors import DataError
from ftkit.settings import DataSpec
from ftkit.tasks._base import Column
from tests.metrics.test_schemes import SCHEMES, TOUCHING, spell

TAGGED = [[Column("tokens", "tokens"), Column("tags", "tags")]]
WORDS = "Ada Ines Bram Leith was Isle of Mull ."


def conll(path: Path, *columns: str, times: int = 2) -> Path:
    lines = [" ".join(parts) for parts in zip(*(column.split() for column in columns), strict=True)]
    path.write_text("\n".join([*lines, "", ""]) * times, encoding="utf-8")
    return path


def homes(path: Path) -> dict[str, str]:
    return find(read(path, header=False, tokens=True), TAGGED, {}).homes


COLUMNS = {
    "number": "1 2 3 4 5 6 7 8 9",
    "word": WORDS,
    "part of speech": "NNP NNP NNP NNP VBD NNP IN NNP .",
    "chunk": "B-NP I-NP B-NP B-NP B-VP B-NP B-PP B-NP O",
    "tag": "B-PER I-PER B-PER B-LOC O B-LOC I-LOC I-LOC O",
}


@pytest.mark.parametrize("order", list(permutations(COLUMNS))[::7])
def test_columns_in_any_order(tmp_path: Path, order: tuple[str, ...]) -> None:
    path = conll(tmp_path / "a.conll", *(COLUMNS[name] for name in order))
    found = homes(path)
    assert found == {"tokens": str(order.index("word")), "tags": str(order.index("tag"))}


def test_entities_in_entities_are_the_outer_ones(tmp_path: Path) -> None:
    inner = "O O O O O O O B-LOC O"
    assert homes(conll(tmp_path / "a.conll", COLUMNS["tag"], inner, WORDS)) == {"tokens": "2", "tags": "0"}
    assert homes(conll(tmp_path / "a.conll", WORDS, inner, COLUMNS["tag"])) == {"tokens": "0", "tags": "2"}


def test_bare_types_are_tags_where_nothing_else_is(tmp_path: Path) -> None:
    bare = "PER PER PER LOC O LOC LOC LOC O"
    often = conll(tmp_path / "a.conll", bare + " O O O O", WORDS + " He saw it .")
    assert homes(often) == {"tokens": "1", "tags": "0"}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_gives_the_same_tags_and_is_said(tmp_path: Path, scheme: str) -> None:
    plain = scheme in ("IO", "bare types")
    truth = [("PER", 0, 3), *TOUCHING[2:]] if plain else TOUCHING
    path = conll(tmp_path / "a.conll", WORDS + " He saw it .", " ".join([*spell(truth, 9, scheme), *"OOOO"]))
    splits = load(DataSpec(train=str(path), validation=None, test=str(path)), TAGGED)
    said = [note for note in splits.notes if "tags are read as" in note]
    assert len(said) == 1
    assert said[0].startswith(f"a.conll: tags are read as {scheme} (")
    rows, notes = load_file(str(path), DataSpec(), TAGGED)
    assert said[0] in notes
    assert rows["tags"][:] == splits.train["tags"][:]


def test_hashes_before_bare_types_are_tokens(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("# a remark of words\n#oslo PLACE\n#is O\nO O\nMull PLACE\n", encoding="utf-8")
    table = read(tmp_path / "a.conll", header=False)
    assert table.rows == [{"0": ["#oslo", "#is", "O", "Mull"], "1": ["PLACE", "O", "O", "PLACE"]}]


def test_texts_that_say_missing_are_tokens(tmp_path: Path) -> None:
    path = conll(tmp_path / "a.conll", "NA null None nan", "B-NA O B-null O")
    rows, _ = load_file(str(path), DataSpec(), TAGGED)
    assert rows[0]["tokens"] == ["NA", "null", "None", "nan"]
    assert rows[0]["tags"] == ["B-NA", "O", "B-null", "O"]


def test_no_column_of_tags(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column found for 'tags'"):
        homes(conll(tmp_path / "a.conll", WORDS, COLUMNS["part of speech"]))
