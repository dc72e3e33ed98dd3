"""Labels that are slips of others, and labels that only look so: the first are merged by `--fix`."""

from __future__ import annotations

import pytest

from ftkit.checks.variants import nearest_label, slips


@pytest.mark.parametrize(
    ("meant", "name"),
    [
        ("LOCATION", "LOCATON"),
        ("card_arrival", "card_arival"),
        ("negative", "negatvie"),
        ("pos", "Pos"),
        ("very good", "very_good"),
        ("very good", " very  good "),
        ("PERSON", "PERSN"),
    ],
)
def test_a_slip_of_a_frequent_label_is_that_label(meant: str, name: str) -> None:
    assert slips({meant: 100, name: 3}) == {name: meant}
    assert nearest_label(name, [meant, "other"]) == meant


@pytest.mark.parametrize(
    "labels",
    [
        ("1", "-1"),
        ("A", "A-"),
        ("class A", "class B"),
        ("type I", "type II"),
        ("stage I", "stage IV"),
        ("hypertension", "hypotension"),
        ("grade 1", "grade 2"),
        ("neg", "pos"),
        ("good", "goad"),
        ("policy", "police"),
        ("parent", "patent"),
        ("upload", "unload"),
        ("attach", "attack"),
        ("classA", "classB"),
        ("stageI", "stageII"),
        ("answer:A", "answer:B"),
        ("option.a", "option.b"),
    ],
)
def test_labels_that_differ_by_little_and_mean_another_thing_stay(labels: tuple[str, str]) -> None:
    often, seldom = labels
    assert slips({often: 100, seldom: 5}) == slips({seldom: 100, often: 5}) == {}
    assert nearest_label(seldom, [often, "other"]) == seldom
