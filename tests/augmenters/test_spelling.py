"""Mistakes are in an order of their own, and no word that stands for another."""

from __future__ import annotations

from random import Random

from ftkit.augmenters.spelling import Spelling


def test_mistakes_have_an_order_and_are_no_other_words() -> None:
    known = Spelling(Spelling.Options())._tool.model.dict
    assert len(known) > 5000
    assert all(mistakes == sorted(mistakes) for mistakes in known.values())
    assert "like" not in known["luck"]


def test_a_word_is_misspelled_as_people_do() -> None:
    tool = Spelling(Spelling.Options())
    assert tool.able("beautiful") and not tool.able("beautifull") and not tool.able("xyzzy")
    assert {tool.changed("luck", Random(seed)) for seed in range(30)} == {"lucke", "luke", "luch"}
