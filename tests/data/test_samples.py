from __future__ import annotations

import json

import pytest

from ftkit.data.samples import names, sample
from ftkit.errors import DataError


def test_each_sample_ships_three_splits() -> None:
    assert set(names()) >= {"sentiment", "topics", "ner", "qa", "summarization"}
    for name in names():
        rows = [json.loads(line) for line in sample(name).read_text("utf-8").splitlines()]
        assert {row["split"] for row in rows} == {"train", "validation", "test"}


def test_an_unknown_sample_is_guessed() -> None:
    with pytest.raises(DataError, match="did you mean sample:sentiment"):
        sample("sentment")
    with pytest.raises(DataError, match=r"samples: .*topics"):
        sample("../errors")
