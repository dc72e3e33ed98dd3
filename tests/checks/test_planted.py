"""What is planted is found, by kind and row, and nothing is found where nothing was planted."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftkit import plugins
from ftkit.checks._base import Check, Data
from ftkit.checks.conflicts import Conflicts
from ftkit.checks.duplicates import Duplicates
from ftkit.checks.leaks import Leaks
from ftkit.checks.scripts import Scripts
from ftkit.tasks._base import Column
from tests.checks.planted import DEFECTS, clean, found_in, inspected, spoiled
from tests.runs import Lab


def test_there_are_enough_of_them() -> None:
    assert sum(len(defects) for _, _, defects in DEFECTS.values()) >= 40


@pytest.mark.parametrize("name", DEFECTS)
def test_clean_rows_have_no_findings(lab: Lab, tmp_path: Path, name: str) -> None:
    found = inspected(tmp_path, lab.checkpoint("bert"), name, clean(name))
    assert found.findings == ()


@pytest.mark.parametrize("name", DEFECTS)
def test_every_defect_is_found_by_kind_and_row(lab: Lab, tmp_path: Path, name: str) -> None:
    rows, truth = spoiled(name)
    found = found_in(inspected(tmp_path, lab.checkpoint("bert"), name, rows))
    assert set(truth) - found == set()
    planted = {(split, row) for _, split, row in truth}
    strange = {place for place in found if place[1:] not in planted and place[0] not in ("conflict", "near-duplicate")}
    assert strange == set()


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_findings_name_the_same_rows_in_whatever_order_they_stand(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    rows, _ = spoiled("classification")
    mixed = {split: Random(seed).sample(part, len(part)) for split, part in rows.items()}
    folder = tmp_path_factory.mktemp("mixed")
    told = []
    for each in (rows, mixed):
        found = found_in(inspected(folder, lab.checkpoint("bert"), "classification", each))
        told.append(sorted((kind, split, str(each[split][row - 1])) for kind, split, row in found))
    assert told[0] == told[1]


@pytest.mark.parametrize("name", plugins.names("check"))
def test_every_check_says_what_it_finds(name: str) -> None:
    check = plugins.find("check", name, Check)
    assert check.summary and check.__doc__ and check.find.__doc__


SHAPE = (Column("text", "text"), Column("label", "label"))


def test_the_order_of_labels_is_no_difference() -> None:
    shape = (Column("text", "text"), Column("labels", "labels"))
    data = Data(shape, {"train": {"text": ["a b"] * 2, "labels": [["x", "y"], ["y", "x"]], "row": [1, 2]}})
    assert not list(Conflicts().find(data))
    assert len(list(Duplicates().find(data))) == 1


def test_a_leak_names_the_first_place() -> None:
    row = {"text": ["a b"], "label": ["x"], "row": [1]}
    twice = {"text": ["a b"] * 2, "label": ["x"] * 2, "row": [1, 2]}
    (finding,) = Leaks().find(Data(SHAPE, {"train": twice, "validation": row, "test": row}))
    assert [place.like for place in finding.places] == [("train", 1)] * 2


def test_one_row_of_twenty_is_few() -> None:
    rows = {
        "text": ["harbour"] * 19 + ["\u0433\u0430\u0432\u0430\u043d\u044c"],
        "label": ["x"] * 20,
        "row": list(range(1, 21)),
    }
    (finding,) = Scripts().find(Data(SHAPE, {"train": rows}))
    assert [place.row for place in finding.places] == [20]
