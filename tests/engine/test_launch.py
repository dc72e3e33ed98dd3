"""Several processes: their rows, and their errors."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ftkit.engine import launch, worker
from ftkit.engine.train import resume, train
from ftkit.errors import DataError, FTKitError, MachineError
from ftkit.files import sha256
from ftkit.recipe import Recipe, load_recipe
from tests.command import command, environment
from tests.runs import Lab, read_jsonl, refused


def faulty(lab: Lab, folder: Path, fault: str) -> Recipe:
    """A recipe with a task that has a fault in the process of rank 1 only."""
    (folder / "faulty.py").write_text(
        "import os, signal, time\n"
        "from ftkit.errors import DataError\n"
        "from ftkit.tasks.classification import Classification\n"
        "class Faulty(Classification):\n"
        "    def encode(self, batch, tokenizer, labels):\n"
        "        if os.environ.get('RANK') == '1':\n"
        f"            {fault}\n"
        "        return super().encode(batch, tokenizer, labels)\n"
    )
    (folder / "mine.yaml").write_text(lab.recipe("single", f"task={folder / 'faulty.py'}").dump())
    return load_recipe(folder / "mine.yaml")


FAULTS = {
    "an error": ("raise DataError('row 7 is torn', 'mend it')", DataError, "row 7 is torn"),
    "a kill": ("os.kill(os.getpid(), signal.SIGKILL)", MachineError, "training process 1 was .* signal SIGKILL"),
    "an ending": ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", MachineError, "1 was .* signal SIGTERM"),
    "a bug": ("raise KeyError('a bug of rank 1')", FTKitError, "ended with exit code 1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_fault_of_any_process_is_told_and_leaves_nothing(
    lab: Lab, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fault, kind, said = FAULTS[name]
    recipe = faulty(lab, tmp_path, fault)
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    with pytest.raises(kind, match=said):
        raise refused(recipe, tmp_path / "new" / "run", processes=2)
    printed = capfd.readouterr().err
    assert ("KeyError: 'a bug of rank 1'" in printed) == (name == "a bug")
    assert "ChildFailedError" not in printed and "elastic" not in printed


def test_first_error_is_raised_and_others_that_differ_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    told = [
        worker.as_message(DataError(said, "mend it"), rank) for rank, said in ((1, "torn"), (2, "torn"), (5, "gone"))
    ]
    with pytest.raises(DataError, match="torn") as caught:
        launch.raise_first(told)
    assert caught.value.hint == "mend it"
    assert capsys.readouterr().err == "training process 5: gone\n"
    launch.raise_first([])


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ({1: -9, 0: -15}, "training process 1 was ended by the signal SIGKILL"),
        ({0: -15, 1: -9}, "training process 1 was ended by the signal SIGKILL"),
        ({1: -15, 0: -15}, "training process 1 was ended by the signal SIGTERM"),
        ({1: 1, 0: -15}, None),
        ({1: 3, 0: 3}, None),
    ],
)
def test_signal_from_outside_is_told_from_the_agents_own(codes: dict[int, int], said: str | None) -> None:
    ended = worker._ended_by_signal(codes)
    assert (ended and ended[0].message) == said


@pytest.mark.slow
def test_error_of_a_process_is_the_users_and_leaves_nothing(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    error = refused(lab.recipe("single", "train.metric=acuracy"), tmp_path / "run", processes=2)
    assert "'acuracy' is no score" in error.message


def started(word: object) -> list[int]:
    """Processes that have `word` in their command."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if str(word).encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def wait_until(true: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.1)
    return true()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks processes up in /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_the_one_that_started_them(lab: Lab, tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "mine.yaml").write_text(lab.recipe("single", "train.epochs=100000").dump())
    line = command("train", tmp_path / "mine.yaml", "--processes", "2", "--run", tmp_path / "run")
    training = subprocess.Popen(line, env=environment(), stdout=-1, stderr=-1, text=True, start_new_session=True)
    try:
        assert wait_until((tmp_path / "run" / "model").exists), "it has not begun"
        assert len(started(tmp_path)) == 4, "this command, the agent and two training processes"
        (os.killpg if number == signal.SIGINT else os.kill)(training.pid, number)  # a terminal tells the whole group
        out, err = training.communicate(timeout=60)
        assert training.returncode == (-number if number == signal.SIGKILL else 130) and out == ""
        assert ("which is saved" in err and "--resume" in err) == (number != signal.SIGKILL), err
        assert wait_until(lambda: not started(tmp_path), seconds=10)
    finally:
        for left in started(tmp_path):
            os.kill(left, signal.SIGKILL)
    if number != signal.SIGKILL:
        assert not list((tmp_path / "run").rglob(".*"))
        assert list((tmp_path / "run" / "checkpoints").iterdir())


@pytest.mark.slow
def test_two_processes_go_on_to_the_same_weights(lab: Lab, tmp_path: Path) -> None:
    """A signal stops both after the same step; what they go on from is one checkpoint."""
    settings = ("train.epochs=12", "model.dropout=0.2", "train.batch=4", "train.checkpoint_every=1")
    (tmp_path / "mine.yaml").write_text(lab.recipe("single", *settings).dump())
    line = command("train", tmp_path / "mine.yaml", "--processes", "2", "--run", tmp_path / "run")
    training = subprocess.Popen(line, env=environment(), stdout=-1, stderr=-1, text=True)
    assert wait_until((tmp_path / "run" / "checkpoints" / "step-00000003").exists), "it has not begun"
    training.send_signal(signal.SIGTERM)
    _, err = training.communicate(timeout=60)
    assert training.returncode == 130, err
    resumed = resume(tmp_path / "run")
    whole = train(lab.recipe("single", *settings), tmp_path / "whole", 2)
    assert resumed.steps == whole.steps
    assert sha256(resumed.run / "model") == sha256(whole.run / "model")


@pytest.mark.slow
def test_folds_in_two_processes_are_the_folds_in_one(lab: Lab, tmp_path: Path) -> None:
    settings = ("train.folds=2", "train.optimizer=sgd", "train.learning_rate=0.1")
    one = lab.train("single", *settings)
    two = train(lab.recipe("single", *settings), tmp_path / "run", 2)
    assert two.scores == one.scores
    ours, theirs = (read_jsonl(run.run / "predictions" / "folds.jsonl") for run in (two, one))
    assert [(a["fold"], a["label"]) for a in ours] == [(a["fold"], a["label"]) for a in theirs]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
