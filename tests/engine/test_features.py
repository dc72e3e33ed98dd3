"""The store of frozen outputs: what goes in comes out, in this process and the next, and no more than fits."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ftkit.engine import features
from ftkit.engine.features import KEY, FeatureStore
from tests.faults.harness import Marking, cut, flip

MOST = 1 << 30
WIDTH = 8


def key(number: int) -> bytes:
    return number.to_bytes(KEY, "big")


def row(number: int, tokens: int = 3, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.full((tokens, WIDTH), float(number), dtype=dtype)


def store(folder: Path, name: str = "a", most: int = MOST, dtype: torch.dtype = torch.float32) -> FeatureStore:
    return FeatureStore.open(folder, name, WIDTH, dtype, most)


def small_segments(monkeypatch: pytest.MonkeyPatch, tokens: int) -> int:
    size = tokens * WIDTH * 4
    monkeypatch.setattr(features, "_SEGMENT", size)
    return size


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=30), segment=st.integers(2, 12))
def test_rows_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], segment: int
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        small_segments(monkeypatch, segment)
        folder = tmp_path_factory.mktemp("stores")
        first = store(folder)
        for number, tokens in enumerate(lengths):
            first.put(key(number), row(number, tokens))
        numbers = list(range(len(lengths)))[::-1]
        first.flush()
        for held in (first, store(folder)):
            found = held.get([key(number) for number in numbers])
            assert all(torch.equal(f, row(n, lengths[n])) for f, n in zip(found, numbers, strict=True))


def test_a_row_is_kept_once_and_an_unknown_one_is_missed(tmp_path: Path) -> None:
    held = store(tmp_path)
    held.put(key(1), row(1))
    held.put(key(1), row(2))
    assert torch.equal(held.get([key(1)])[0], row(1))
    assert key(2) not in held
    with pytest.raises(KeyError):
        held.get([key(2)])


def test_what_is_not_flushed_is_not_read_by_others(tmp_path: Path) -> None:
    writer, reader = store(tmp_path), store(tmp_path)
    writer.put(key(1), row(1))
    reader.refresh()
    assert key(1) not in reader
    writer.flush()
    reader.refresh()
    assert torch.equal(reader.get([key(1)])[0], row(1))


def test_two_that_write_at_once_keep_both(tmp_path: Path) -> None:
    one, other = store(tmp_path), store(tmp_path)
    one.put(key(1), row(1))
    other.put(key(2), row(2))
    one.put(key(3), row(3))
    for writer in (one, other):
        writer.flush()
    later = store(tmp_path)
    assert [int(found[0, 0]) for found in later.get([key(1), key(2), key(3)])] == [1, 2, 3]


def test_bf16_rows_stay_bf16(tmp_path: Path) -> None:
    held = store(tmp_path, dtype=torch.bfloat16)
    held.put(key(1), torch.full((2, WIDTH), 1.001))
    (found,) = held.get([key(1)])
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, torch.full((2, WIDTH), 1.001).bfloat16())


def test_a_store_opened_without_gradients_is_written_to_with_them(tmp_path: Path) -> None:
    with torch.inference_mode():
        held = store(tmp_path)
        held.put(key(1), row(1))
    held.put(key(2), row(2))
    assert [int(found[0, 0]) for found in held.get([key(1), key(2)])] == [1, 2]


def test_no_more_is_kept_than_was_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = small_segments(monkeypatch, tokens=600)
    most = 2 * size + size // 2
    held = store(tmp_path, most=most)
    for number in range(9):
        held.put(key(number), row(number, 300))
    assert held.full
    assert [number for number in range(9) if key(number) in held] == [0, 1, 2, 3]
    assert sum(path.stat().st_size for path in held.folder.iterdir()) <= most


def test_a_full_disk_ends_the_keeping_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    held = store(tmp_path)
    monkeypatch.setattr(os, "posix_fallocate", no_space)
    held.put(key(1), row(1))
    assert held.full
    assert key(1) not in held
    assert not list(held.folder.glob("*.rows"))


def test_the_store_unused_for_longest_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = small_segments(monkeypatch, tokens=1000)
    for age, name in ((300, "old"), (200, "newer"), (100, "newest")):
        held = store(tmp_path, name)
        held.put(key(1), row(1, 1000))
        held.close()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    store(tmp_path, "mine", most=5 * size)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "newer", "newest"]


def test_abandoned_segments_are_removed_and_fresh_ones_left(tmp_path: Path) -> None:
    held = store(tmp_path)
    old, fresh = held.folder / "old.rows", held.folder / "fresh.rows"
    for path in (old, fresh):
        path.write_bytes(bytes(64))
    os.utime(old, (time.time() - 2 * features._ABANDONED,) * 2)
    store(tmp_path)
    assert not old.exists()
    assert fresh.exists()


def test_a_store_in_use_is_never_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = small_segments(monkeypatch, tokens=1000)
    one = store(tmp_path, "one", most=4 * size)
    one.put(key(1), row(1, 1000))
    other = store(tmp_path, "other", most=size)
    one.flush()
    assert key(1) in store(tmp_path, "one", most=4 * size)
    one.close()
    other.close()


def test_a_store_that_was_removed_ends_the_keeping_and_nothing_else(tmp_path: Path) -> None:
    held = store(tmp_path)
    held.put(key(1), row(1))
    shutil.rmtree(held.folder)
    held.flush()
    assert held.full
    assert torch.equal(held.get([key(1)])[0], row(1))


@pytest.mark.parametrize("torn", ["index", "rows"])
def test_a_torn_segment_is_left_out(tmp_path: Path, torn: str) -> None:
    held = store(tmp_path)
    held.put(key(1), row(1))
    held.close()
    (path,) = held.folder.glob("*.npz" if torn == "index" else "*.rows")
    path.write_bytes(path.read_bytes()[:20])
    later = store(tmp_path)
    assert key(1) not in later
    later.put(key(1), row(2))
    assert torch.equal(later.get([key(1)])[0], row(2))


def test_a_segment_takes_no_more_of_the_disk_than_its_rows(tmp_path: Path) -> None:
    held = store(tmp_path)
    held.put(key(1), row(1))
    held.close()
    assert sum(path.stat().st_size for path in held.folder.glob("*.rows")) == 3 * WIDTH * 4


def test_where_the_system_has_no_call_for_it_the_room_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    held = store(tmp_path)
    held.put(key(1), row(1))
    (path,) = held.folder.glob("*.rows")
    assert path.stat().st_blocks * 512 >= features._SEGMENT
    assert torch.equal(held.get([key(1)])[0], row(1))


def test_a_store_that_is_only_read_counts_as_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = small_segments(monkeypatch, tokens=1000)
    for age, name in ((300, "used"), (200, "idle")):
        held = store(tmp_path, name)
        held.put(key(1), row(1, 1000))
        held.close()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    store(tmp_path, "used").close()
    store(tmp_path, "mine", most=3 * size).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "used"]


def test_an_index_appears_whole_and_behind_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events, sync, save = [], os.fsync, np.savez
    held = store(tmp_path)

    def saving(file: Any, **arrays: Any) -> None:
        events.append("index")
        assert not list(held.folder.glob("*.npz"))
        save(file, **arrays)

    monkeypatch.setattr(os, "fsync", lambda file: (events.append("rows"), sync(file)))
    monkeypatch.setattr(np, "savez", saving)
    held.put(key(1), row(1))
    held.flush()
    assert events[:2] == ["rows", "index"]
    assert list(held.folder.glob("*.npz"))


def test_what_was_written_here_is_not_mapped_again(tmp_path: Path) -> None:
    held = store(tmp_path)
    held.put(key(1), row(1))
    held.flush()
    segments = len(held._segments)
    held.refresh()
    assert len(held._segments) == segments


# ---------------------------------------------------------------------- damage


def written(folder: Path, count: int = 5) -> Path:
    """A store with one closed segment; its folder."""
    held = store(folder)
    for number in range(count):
        held.put(key(number), row(number))
    held.close()
    return held.folder


@pytest.mark.parametrize("ending", [".rows", ".npz"])
def test_no_flipped_byte_gives_another_row(tmp_path: Path, ending: str) -> None:
    folder = written(tmp_path)
    (path,) = folder.glob(f"*{ending}")
    files = {file: file.read_bytes() for file in folder.iterdir()}
    for place in range(len(files[path])):
        for file, content in files.items():
            file.write_bytes(content)
        flip(path, place, place % 8)
        later = store(tmp_path)
        for number in range(5):
            if key(number) in later:
                assert torch.equal(later.get([key(number)])[0], row(number)), f"byte {place}"
            else:
                with pytest.raises(KeyError):
                    later.get([key(number)])
        later.close()


def test_a_damaged_segment_is_computed_anew_and_stays_so(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (path,) = folder.glob("*.rows")
    flip(path, 200)  # of the third row
    later = store(tmp_path)
    assert key(0) in later and key(2) not in later and key(0) not in later
    assert not path.exists() and not path.with_suffix(".npz").exists()
    for number in range(5):
        later.put(key(number), row(number))
    later.close()
    again = store(tmp_path)
    assert all(torch.equal(found, row(n)) for n, found in enumerate(again.get([key(n) for n in range(5)])))


def test_rows_that_were_cut_off_are_computed_anew(tmp_path: Path) -> None:
    folder = written(tmp_path)
    (path,) = folder.glob("*.rows")
    for size in (0, 1, path.stat().st_size // 2, path.stat().st_size - 1):
        cut(path, size)
        later = store(tmp_path)
        assert not any(key(number) in later for number in range(5))
        later.close()
        shutil.rmtree(folder)
        written(tmp_path)
        (path,) = folder.glob("*.rows")


def test_an_index_of_pickles_is_not_read(tmp_path: Path) -> None:
    folder, marker = written(tmp_path), tmp_path / "ran"
    (index,) = folder.glob("*.npz")
    np.savez(index, keys=np.array([Marking(marker)], dtype=object), places=np.zeros((1, 2)), sums=np.zeros(1))
    assert key(0) not in store(tmp_path)
    assert not marker.exists()
