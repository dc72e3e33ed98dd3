from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
    count = len(TALLIES[name])
    groups = groups and groups[:count]
    kept = Evidence(TALLIES[name], groups, np.array([1, 2**64 - 1, 0][:count], dtype=np.uint64))
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


def wrong(tmp_path: Path, name: str = "labels", **arrays: Any) -> Path:
    """Evidence of two rows with some of its arrays replaced; None leaves one out."""
    path = tmp_path / "test.npz"
    Evidence(TALLIES[name], (0,) * len(TALLIES[name]), np.zeros(len(TALLIES[name]), dtype=np.uint64)).save(path)
    with np.load(path) as file:
        whole = {**file, **arrays}
    np.savez(path, **{key: value for key, value in whole.items() if value is not None})
    return path


def detail(**more: Any) -> Any:
    return np.array(json.dumps({"names": ["b", "ü"], "kind": "labels", "of": "multi", **more}))


@pytest.mark.parametrize(
    "arrays",
    [
        {"indices": np.array([10**6] * 7)},
        {"indices": np.array([-1] * 7)},
        {"indices": np.arange(7.0)},
        {"indptr": np.array([0, 99, 7])},
        {"indptr": np.array([0, 7])},
        {"shape": np.array([2, 11])},
        {"shape": np.array([2, 8, 1])},
        {"shape": np.array([2.0, 8.0])},
        {"data": np.array(["a"] * 7)},
        {"data": np.array([1.0, 1, 1, 1, 1, 1, np.nan])},
        {"data": np.array([1.0, 1, 1, 1, 1, 1, np.inf])},
        {"data": np.ones(7, dtype=complex)},
        {"data": None},
        {"rows": np.zeros(3, dtype=np.uint64)},
        {"rows": np.zeros((2, 1), dtype=np.uint64)},
        {"rows": np.zeros(2)},
        {"groups": np.zeros(3, dtype=np.int64)},
        {"groups": np.array([0, -1])},
        {"groups": np.array([0, 10**12])},
        {"groups": np.array([0.0, 1.0])},
        {"groups": np.array(0)},
        {"detail": np.array("[]")},
        {"detail": np.array("[" * 100_000)},
        {"detail": np.array("{")},
        {"detail": detail(kind="other")},
        {"detail": detail(of="other")},
        {"detail": detail(kind="means", of=None)},
        {"detail": detail(kind="moments", of=None)},
        {"detail": detail(names=["b"])},
        {"detail": detail(names=["b", "b"])},
        {"detail": detail(names=["b", 1])},
        {"detail": detail(names="bü")},
    ],
)
def test_what_does_not_belong_together_is_a_sentence(tmp_path: Path, arrays: dict[str, Any]) -> None:
    assert len(TALLIES["labels"].rows.data) == 7  # so that the arrays are wrong in what they mean to be wrong in
    with pytest.raises(RunError, match=r"test\.npz can't be read: .") as caught:
        Evidence.load(wrong(tmp_path, **arrays))
    assert "scores the run again" in caught.value.hint


def test_numbers_that_are_not_of_a_regression_are_a_sentence(tmp_path: Path) -> None:
    Evidence.load(wrong(tmp_path, "moments"))
    with pytest.raises(RunError, match="can't be read"):
        Evidence.load(wrong(tmp_path, "moments", shape=np.array([3, 15])))


def test_a_file_with_a_byte_changed_is_read_or_a_sentence(tmp_path: Path) -> None:
    path = wrong(tmp_path)
    Evidence(TALLIES["labels"], None, np.zeros(2, dtype=np.uint64)).save(path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            Evidence.load(path)
        except RunError as error:
            assert "can't be read" in error.message
    path.with_suffix("").mkdir()
    with pytest.raises(RunError, match="can't be read"):
        Evidence.load(path.with_suffix(""))


def test_fingerprints_tell_contents_apart_and_nothing_else() -> None:
    rows = [{"row": 1, "text": "a", "label": "x"}, {"row": 2, "text": "a", "label": "y"}, {"text": "ab", "label": ""}]
    found = fingerprints(rows)
    assert len(set(found.tolist())) == 3
    assert fingerprints([{"label": "x", "text": "a", "row": 9, "group": "g", "id": "7"}])[0] == found[0]
