from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ftkit.errors import RunError
from ftkit.metrics import tally
from ftkit.metrics.classification import multi_label_tally, regression_tally
from ftkit.metrics.evidence import Evidence, fingerprints
from ftkit.metrics.spans import entity_tally

TALLIES = {
    "labels": multi_label_tally([["ü", "b"], []], [["b"], ["ü"]], ["b", "ü"]),
    "entities": entity_tally([[("PER", 0, 2)], []], [[("PER", 0, 2)], [("LOC", 1, 2)]]),
    "means": tally.means({"f1": [0.5, 1.0], "has_answer_f1": [None, 1.0]}),
    "moments": regression_tally([1.0, 2.0, 4.0], [1.0, 3.0, 3.0]),
}


@pytest.mark.parametrize("name", TALLIES)
@pytest.mark.parametrize("groups", [None, (0, 1, 1)])
def test_what_is_saved_is_read_again(tmp_path: Path, name: str, groups: tuple[int, ...] | None) -> None:
    kept = Evidence(TALLIES[name], groups, np.array([1, 2**64 - 1], dtype=np.uint64))
    kept.save(tmp_path / "test.npz")
    read = Evidence.load(tmp_path / "test.npz")
    assert type(read.tally) is type(kept.tally)
    assert read.tally.scores() == kept.tally.scores() and read.tally.by_label() == kept.tally.by_label()
    assert read.groups == groups and (read.rows == kept.rows).all()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"nothing of the kind"])
def test_a_torn_file_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "test.npz"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"test\.npz can't be read"):
        Evidence.load(path)


def test_fingerprints_tell_contents_apart_and_nothing_else() -> None:
    rows = [{"row": 1, "text": "a", "label": "x"}, {"row": 2, "text": "a", "label": "y"}, {"text": "ab", "label": ""}]
    found = fingerprints(rows)
    assert len(set(found.tolist())) == 3
    assert fingerprints([{"label": "x", "text": "a", "row": 9, "group": "g", "id": "7"}])[0] == found[0]
