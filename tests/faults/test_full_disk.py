"""A disk that fills while something is saved: exit code 3, a sentence, what was there before stays, and room helps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ftkit.engine import contract as contracts
from ftkit.engine import features
from ftkit.engine import model as models
from ftkit.engine.features import KEY, FeatureStore
from ftkit.files import broken
from ftkit.run import RunDirectory
from tests.command import ftkit, stands
from tests.faults.harness import full, small_disk
from tests.runs import Lab


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", megabytes=8) as disk:
        yield disk


def recipe(lab: Lab, folder: Path) -> Path:
    """The recipe of a short training."""
    path = folder / "recipe.yaml"
    path.write_text(lab.recipe("single").dump())
    return path


def said_so(code: int, err: str) -> None:
    assert code == 3, err
    assert "Traceback" not in err and ("the disk is full" in err or "No space left on device" in err), err


def test_a_training_that_fills_the_disk_says_so_and_works_when_there_is_room(
    lab: Lab, tmp_path: Path, disk: Path
) -> None:
    asked = recipe(lab, tmp_path)
    for leave in (0, 40_000, 90_000):
        with full(disk, leave):
            done = ftkit("train", asked, "--run", disk / "run")
        said_so(done.code, done.err)
        assert not [name for name in stands(disk) if "writing-" in name or "starting-" in name]
        shutil.rmtree(disk / "run", ignore_errors=True)
    assert ftkit("train", asked, "--run", disk / "run").code == 0
    assert broken(disk / "run" / "model") == []


def test_the_model_before_stays_and_is_replaced_when_there_is_room(lab: Lab, tmp_path: Path, disk: Path) -> None:
    run = RunDirectory(Path(shutil.copytree(lab.trained("single", "full").run, disk / "run")))
    trained = models.load(run.path)
    before = {path: path.read_bytes() for path in run.model.iterdir()}

    def write(folder: Path) -> None:
        models.save(folder, trained.model, trained.tokenizer, trained.method, trained.contract)

    for leave in (0, 8_000, 60_000):
        with full(disk, leave), pytest.raises(Exception, match="No space left"):
            run.write_model(write)
        assert {path: path.read_bytes() for path in run.model.iterdir()} == before
        assert [path.name for path in run.path.iterdir() if path.name.startswith(".model")] == []
    with full(disk), pytest.raises(OSError, match="No space left"):
        run.write_json("scores", {"much": "x" * 100_000})
    assert json.loads((run.path / "scores.json").read_text())["scores"]
    with full(disk), pytest.raises(OSError, match="No space left"):
        contracts.write(run.model, trained.contract.model_copy(update={"labels": ("x" * 9_999,)}))
    assert broken(run.model) == []
    run.write_model(write)
    assert broken(run.model) == []


def test_an_export_that_fills_the_disk_leaves_nothing(lab: Lab, disk: Path) -> None:
    run = lab.trained("single", "full").run
    for leave in (0, 8_000, 60_000):
        with full(disk, leave):
            done = ftkit("export", run, "--to", disk / "out")
        said_so(done.code, done.err)
        assert stands(disk) == set()
    assert ftkit("export", run, "--to", disk / "out").code == 0


def test_answers_that_fill_the_disk_leave_those_before(lab: Lab, tmp_path: Path, disk: Path) -> None:
    run, out, texts = lab.trained("single", "full").run, disk / "answers.jsonl", tmp_path / "texts.jsonl"
    texts.write_text('{"text": "a text"}\n' * 300)
    out.write_text("before")
    with full(disk):
        done = ftkit("predict", run, "--input", texts, "--output", out, "--overwrite")
    said_so(done.code, done.err)
    assert out.read_text() == "before" and stands(disk) <= {"answers.jsonl", "answers.jsonl.partial"}
    assert ftkit("predict", run, "--input", texts, "--output", out, "--overwrite").code == 0


def test_a_cache_on_a_full_disk_keeps_nothing_and_ends_nothing(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "_SEGMENT", 1 << 16)
    with full(disk):
        store = FeatureStore.open(disk, "a", 8, torch.float32, 1 << 30)
        for number in range(50):
            store.put(number.to_bytes(KEY, "big"), torch.ones(9, 8))
        assert store.full
        store.close()
    later = FeatureStore.open(disk, "a", 8, torch.float32, 1 << 30)
    assert (1).to_bytes(KEY, "big") not in later
    later.put(b"1" * KEY, torch.ones(9, 8))
    later.close()
    assert b"1" * KEY in FeatureStore.open(disk, "a", 8, torch.float32, 1 << 30)


def test_a_full_disk_under_ftkits_cache_is_no_reason_to_stop(
    lab: Lab, tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTKIT_CACHE", str(disk))
    with full(disk):
        assert ftkit("train", recipe(lab, tmp_path), "--run", tmp_path / "run", "--set", "method=head").code == 0
        assert ftkit("predict", tmp_path / "run", "a text").code == 0
