from __future__ import annotations

from typing import Any

import pytest

from ftkit.data.columns import canonical, empty_inputs, find, is_empty
from ftkit.data.read import Table
from ftkit.errors import DataError
from ftkit.settings import DataSpec
from ftkit.tasks._base import Column

LABELLED = [[Column("text", "text"), Column("text_pair", "text", required=False), Column("label", "label")]]
TAGGED = [
    [Column("tokens", "tokens"), Column("tags", "tags")],
    [Column("text", "text"), Column("entities", "entities")],
]


def table(*rows: dict[str, Any], unit: str = "line") -> Table:
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    return Table("a.csv", columns, list(rows), list(range(2, len(rows) + 2)), unit)


def homes(found_in: Table, shapes: Any = LABELLED, columns: Any = None, **options: bool) -> dict[str, str]:
    return find(found_in, shapes, columns or {}, **options).homes


def test_same_name_in_any_case_goes_before_well_known_names() -> None:
    assert homes(table({"sentence": "x", "Text": "y", "LABEL": "z"})) == {"text": "Text", "label": "LABEL"}


def test_the_very_name_goes_before_the_same_in_another_case() -> None:
    assert homes(table({"Label": "annotator", "text": "x", "label": "z"})) == {"text": "text", "label": "label"}


def test_well_known_names_are_said_in_a_note() -> None:
    found = find(table({"premise": "x", "hypothesis": "y", "target": "z"}), LABELLED, {})
    assert found.homes == {"text": "premise", "text_pair": "hypothesis", "label": "target"}
    assert any("data.columns.label" in note for note in found.notes)


def test_a_column_is_never_read_twice() -> None:
    shape = [[Column("document", "text"), Column("summary", "references")]]
    assert homes(table({"text": "x", "target": "y"}), shape, {"summary": "text", "document": "target"}) == {
        "summary": "text",
        "document": "target",
    }
    with pytest.raises(DataError, match="no column found for 'document'"):
        homes(table({"text": "x"}), shape, {"summary": "text"})


def test_the_first_shape_that_fits() -> None:
    assert homes(table({"text": "x", "entities": []}), TAGGED) == {"text": "text", "entities": "entities"}
    both = table({"text": "x", "entities": [], "words": [], "ner_tags": []})
    assert homes(both, TAGGED) == {"tokens": "words", "tags": "ner_tags"}
    assert homes(both, TAGGED, {"entities": "entities"}) == {"text": "text", "entities": "entities"}


def test_conll_columns_are_guessed_by_their_values() -> None:
    rows = [{"0": ["EU", "a"], "1": ["B-NP", "O"], "2": ["B-ORG", "O"], "3": ["0", "0"]}]
    assert homes(table(*rows, unit="sentence"), TAGGED) == {"tokens": "0", "tags": "2"}
    assert homes(table(*rows, unit="sentence"), TAGGED, {"tokens": 0, "tags": 1}) == {"tokens": "0", "tags": "1"}
    with pytest.raises(DataError, match="no column found for 'tags'"):
        homes(table({"0": ["a"], "1": ["x"]}, unit="sentence"), TAGGED)


def test_all_faults_of_a_mapping_at_once() -> None:
    with pytest.raises(DataError) as caught:
        homes(table({"review": "x", "stars": "y"}), columns={"txt": "review", "text": "reviw", "label": "star"})
    for said in (
        "no 'txt'",
        "did you mean 'text'",
        "did you mean 'review'",
        "did you mean 'stars'",
        "its columns: 'rev",
    ):
        assert said in str(caught.value)


def test_no_header_shows_the_first_row_and_the_way_out() -> None:
    with pytest.raises(DataError) as caught:
        homes(table({"a stirring , funny and finally transporting film": "x", "1": "0"}))
    for said in ("'a stirring , funny", "looks like a row", "data.columns={text: 0, label: 1}"):
        assert said in str(caught.value)


def test_answers_may_be_absent_when_predicting() -> None:
    assert homes(table({"text": "x"}), columns={"label": "category"}, targets=False) == {"text": "text"}
    assert homes(table({"text": "x"}), TAGGED, targets=False) == {"text": "text"}
    with pytest.raises(DataError):
        homes(table({"label": "x"}), targets=False)


def test_canonical_names_stand_in_for_mapped_ones_in_new_data() -> None:
    new = table({"text": "x", "label": "y"})
    assert homes(new, columns={"text": "review"}, lenient=True) == {"text": "text", "label": "label"}
    assert homes(new, columns={"text": 0, "label": 1}) == {"text": "text", "label": "label"}
    with pytest.raises(DataError, match="no column 'review'"):
        homes(new, columns={"text": "review"})


def rows_of(source: Table, shapes: Any = LABELLED, **options: Any) -> Any:
    return canonical(source, find(source, shapes, {}, targets=options.get("targets", True)), DataSpec(), **options)


def test_canonical_rows_carry_number_id_and_group() -> None:
    examples = rows_of(table({"text": "x", "label": 1, "ID": 7, "by": "ann", "more": 0}), group="by")
    assert examples.rows == [{"text": "x", "label": "1", "row": 2, "id": "7", "group": "ann"}]


def test_every_fault_with_its_row_ten_of_a_kind() -> None:
    faulty = [{"text": "x", "label": " "} for _ in range(12)] + [{"text": None, "label": "a"}]
    with pytest.raises(DataError) as caught:
        rows_of(table(*faulty))
    said = str(caught.value)
    assert "a.csv: 13 values can't be used" in said
    assert "a.csv, line 11: column 'label' is empty" in said
    assert "a.csv, line 12:" not in said
    assert "and 2 more: column 'label' is empty" in said
    assert "a.csv, line 14: column 'text' is missing" in said


def test_one_fault_is_one_sentence() -> None:
    with pytest.raises(DataError, match=r"^a\.csv, line 3: column 'label' is empty\n"):
        rows_of(table({"text": "x", "label": "a"}, {"text": "y", "label": ""}))


def test_empty_texts_are_kept_and_counted() -> None:
    source = table({"text": "", "label": "a"}, {"text": "x", "label": "a"}, {"text": " \n", "label": "b"})
    examples = rows_of(source)
    assert len(examples.rows) == 3
    assert list(empty_inputs(source, examples.rows, examples.shape)) == [
        "a.csv: 2 rows have an empty 'text' (line 2, 4)"
    ]


def test_answers_that_not_all_rows_have_are_left_out_when_predicting() -> None:
    examples = rows_of(table({"text": "x", "label": "a"}, {"text": "y", "label": ""}), targets=False)
    assert [column.name for column in examples.shape] == ["text"]
    assert any("'label' is left out" in note for note in examples.notes)
    with pytest.raises(DataError, match="'text' is missing"):
        rows_of(table({"text": None, "label": ""}), targets=False)


def test_one_column_is_never_two() -> None:
    pair = table({"said": "x", "label": "a"})
    with pytest.raises(DataError, match="column 'said' can't be 'text' and 'text_pair' at once"):
        homes(pair, columns={"text": "said", "text_pair": "said"})
    with pytest.raises(DataError, match="no column found for 'label'"):
        homes(pair, columns={"text": "label"})


@pytest.mark.parametrize("value", ["", " \t\n", "\u200b", "\ufeff \u2060", "\x00\u00ad", "\u2028\u2029", [], None])
def test_what_can_not_be_seen_is_empty(value: object) -> None:
    assert is_empty(value)


@pytest.mark.parametrize("value", ["a", " . ", "\u200ba", "\u2764\ufe0f", "\ue000", "\u0301", ["a"], [""], 1])
def test_what_can_be_seen_is_not_empty(value: object) -> None:
    assert not is_empty(value)
