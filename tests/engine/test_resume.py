"""A training that is stopped and gone on with ends as if it had never been stopped, to the last bit."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import pytest

from ftkit.data import identity
from ftkit.engine import adamw, interrupt, prepare
from ftkit.engine import begun as beginning
from ftkit.engine.checkpoint import Checkpoints
from ftkit.engine.train import resume, train
from ftkit.errors import FTKitError, Interrupted, RunError
from ftkit.files import sha256
from ftkit.recipe import Recipe
from ftkit.run import RunDirectory
from tests.runs import CASES, QUICK_CASES, Lab, log, paired, slow_but, write_rows


class Stops:
    """Asks a training to stop at some of the steps that it begins, counted over all of its parts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: Sequence[int]) -> None:
        self.begun, self.at = 0, at
        monkeypatch.setattr(interrupt, "asked", self)

    def __call__(self) -> bool:
        self.begun += 1
        return self.begun in self.at


def stopped(recipe: Recipe, path: Path, times: int) -> list[str]:
    """What is said when a run is begun, and gone on with after each of so many stops, until it is complete."""
    said: list[str] = []
    for number in range(times + 1):
        goes_on: Callable[[], object] = (
            (lambda: resume(path, say=said.append)) if number else (lambda: train(recipe, path))
        )
        if number == times:
            goes_on()
        else:
            with pytest.raises(Interrupted, match="saved") as caught:
                goes_on()
            assert f"--resume --run {path}" in str(caught.value)
    return said


def same(run: Path, other: Path) -> None:
    """Two runs have the same weights, log and scores."""
    assert sha256(run / "model") == sha256(other / "model")
    assert log(run) == log(other) and log(run, "validation") == log(other, "validation")
    one, two = (json.loads((path / "scores.json").read_text()) for path in (run, other))
    for told in (one, two):
        del told["run"], told["train_seconds"]
    assert one == two
    assert not (run / "checkpoints").exists() and not (other / "checkpoints").exists()


DROPOUT = ("model.dropout=0.2", "train.epochs=2", "train.precision=auto")
SETTINGS = {
    "plain": ("train.epochs=2",),
    "dropout in bf16": DROPOUT,
    "parts of a step": ("train.epochs=2", "train.accumulate=2", "train.batch_tokens=64"),
    "early stopping": ("train.epochs=4", "train.patience=1", "train.learning_rate=0"),
    "scored in the midst": (*DROPOUT, "train.evaluate_every=2"),
    "part of an epoch": ("train.epochs=1.5",),
    "no validation": (*DROPOUT, "data.validation=null"),
    "sgd": (*DROPOUT, "train.optimizer=sgd"),
    "lamb": (*DROPOUT, "train.optimizer=lamb", "train.schedule=cosine"),
    "adafactor": (*DROPOUT, "train.optimizer=adafactor"),
    "variants": (*DROPOUT, "augment.by=swap"),
    "label smoothing": (*DROPOUT, "train.label_smoothing=0.1", "data.balance=oversample"),
}
SETTINGS["early stopping"] = ("train.epochs=4", "train.patience=1", "train.learning_rate=1e-12")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_stopped_training_ends_as_one_that_was_not(lab: Lab, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    whole, path = lab.train("single", *SETTINGS[name]), lab.new()
    Stops(monkeypatch, at=(2, 3, 5))  # after a step, at an epoch's end, and in the next epoch
    stopped(lab.recipe("single", *SETTINGS[name]), path, min(3, (whole.steps + 1) // 2))
    same(path, whole.run)


@pytest.mark.parametrize(
    ("precision", "at", "validation"),
    paired(["fp32", "auto"], [(2, 3), (5, 6), (6,)], [(), ("data.validation=null",)]),
)
def test_rows_of_an_embedding_that_rest_do_so_across_a_stop(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, precision: str, at: tuple[int, ...], validation: tuple[str, ...]
) -> None:
    """The last step is the sixth: what is gone on with after it has nothing to learn, and only saves."""
    monkeypatch.setattr(adamw, "_WORTH", 1)
    settings = ("train.epochs=2", f"train.precision={precision}", *validation)
    whole, path = train(lab.recipe("single", *settings), lab.new()), lab.new()
    Stops(monkeypatch, at)
    stopped(lab.recipe("single", *settings), path, len(at))
    same(path, whole.run)


def test_a_request_in_the_last_validation_is_heeded_once_the_training_is_saved(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, path = lab.train("single", "train.seeds=2"), lab.new()
    with monkeypatch.context() as patch:
        Stops(patch, at=(4,))  # three steps, and then once more
        with pytest.raises(Interrupted, match="after the training, which is saved"):
            train(lab.recipe("single", "train.seeds=2"), path)
    assert (path / "seeds" / "13" / "fitted.json").is_file() and not (path / "seeds" / "14").exists()
    resume(path)
    same(path, whole.run)


@pytest.mark.parametrize(("kind", "method"), slow_but(CASES, QUICK_CASES))
def test_of_every_task_and_method(lab: Lab, monkeypatch: pytest.MonkeyPatch, kind: str, method: str) -> None:
    settings = (f"method={method}", *DROPOUT)
    whole, path = lab.train(kind, *settings), lab.new()
    Stops(monkeypatch, at=(2,))
    stopped(lab.recipe(kind, *settings), path, 1)
    same(path, whole.run)


SEVERAL = {
    "folds": ("train.folds=2",),
    "seeds": ("train.seeds=2",),
    "teacher": ("augment.by=swap", "augment.teacher=true"),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_a_run_of_several_trainings_goes_on_in_the_midst_of_each(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    settings = (*DROPOUT, *SEVERAL[name])
    whole, path = lab.train("single", *settings), lab.new()
    stops = Stops(monkeypatch, at=range(2, 40, 5))  # a training has six steps
    done = False
    times = 0
    while not done:
        try:
            resume(path) if times else train(lab.recipe("single", *settings), path)
            done = True
        except Interrupted:
            times += 1
    assert times >= 3 and stops.begun > 9
    same(path, whole.run)
    for file in whole.run.rglob("predictions/*.jsonl"):
        assert (path / file.relative_to(whole.run)).read_bytes() == file.read_bytes()


def test_self_training_goes_on(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts = write_rows(tmp_path / "more.jsonl", [{"text": f"Nobody has read letter {i} yet."} for i in range(12)])
    settings = (*DROPOUT, f"data.unlabeled={texts}", "data.unlabeled_confidence=0.1")
    whole, path = lab.train("single", *settings), lab.new()
    Stops(monkeypatch, at=(2, 9))
    stopped(lab.recipe("single", *settings), path, 2)
    same(path, whole.run)


# ---------------------------------------------------------------------- where it can't go on, or need not


def begun(lab: Lab, monkeypatch: pytest.MonkeyPatch, *settings: str, after: int = 2) -> Path:
    """A run that was stopped after a step."""
    path = lab.new()
    with monkeypatch.context() as patch:
        Stops(patch, at=(after,))
        with pytest.raises(Interrupted):
            train(lab.recipe("single", *settings), path)
    return path


def test_a_complete_run_is_told_of_as_it_is(lab: Lab) -> None:
    whole, said = lab.train("single"), list[str]()
    before = sha256(whole.run)
    assert resume(whole.run, say=said.append).as_json() == whole.as_json()
    assert sha256(whole.run) == before and "nothing left to do" in said[0]


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run has begun in it"):
        resume(tmp_path / "none")
    with pytest.raises(RunError, match="holds no recipe"):
        resume(tmp_path)


def test_changed_data_and_recipes_are_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = shutil.copy(lab.file("single", "train"), tmp_path / "train.jsonl")
    path = begun(lab, monkeypatch, f"data.train={file}")
    with pytest.raises(RunError, match="of another recipe"):
        resume(path, recipe=lab.recipe("single"))
    with Path(file).open("a") as rows:
        rows.write('{"text": "One more.", "label": "arts"}\n')
    with pytest.raises(RunError, match=r"train.jsonl has changed since it began"):
        resume(path)
    recipe = path / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("warmup: 0.0", "warmup: 0.2"))
    with pytest.raises(RunError, match="has changed since the run began"):
        resume(path)


def test_changed_code_of_ones_own_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code = tmp_path / "own.py"
    code.write_text(
        "from ftkit.tasks.classification import Classification\n\n\n"
        "class Own(Classification):\n    summary = 'labels of texts'\n"
    )
    path = begun(lab, monkeypatch, f"task.name={code}")
    with code.open("a") as file:
        file.write("    best_metric = 'f1'\n")
    assert resume(path).run == path  # this process has loaded it as it was
    path = begun(lab, monkeypatch, f"task.name={code}")
    for module in [name for name in sys.modules if name.startswith("ftkit_user_own")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(RunError, match=r"own\.py has changed since it began"):
        resume(path)


def test_other_rows_from_the_hub_are_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Under the same name: a file stands in for a data set whose `main` moves."""
    file = Path(shutil.copy(lab.file("single", "train"), tmp_path / "train.jsonl"))
    monkeypatch.setattr(identity, "is_hub_id", lambda source: source == str(file))
    monkeypatch.setattr(prepare, "file_hashes", lambda recipe: {})
    path = begun(lab, monkeypatch, f"data.train={file}")
    assert set(RunDirectory.open(path).read_json("begun")["sha256"]) == {"train"}
    rows = file.read_text()
    file.write_text(rows.replace("arts", "trade", 1))
    with pytest.raises(RunError, match="has changed since it began"):
        resume(path)
    file.write_text(rows)
    assert resume(path).scores


def test_another_version_of_a_library_is_said(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    path = begun(lab, monkeypatch)
    monkeypatch.setattr(beginning, "version", lambda name: {"torch": "99.0"}.get(name, version(name)))
    said: list[str] = []
    resume(path, say=said.append)
    assert f"note: it began with torch {version('torch')}, now 99.0: the last digits may differ" in said


def test_two_can_not_go_on_with_one_run(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    path = begun(lab, monkeypatch)
    with RunDirectory.open(path).locked():
        with pytest.raises(RunError, match="another process is at work"):
            resume(path)
        worker = subprocess.Popen(["sleep", "60"], close_fds=False)  # as training processes are started
    try:
        with pytest.raises(RunError, match="another process is at work"):  # the worker of one that was killed
            resume(path)
    finally:
        worker.kill()
        worker.wait()
    resume(path)


def test_a_damaged_checkpoint_is_skipped_with_a_sentence(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = (*DROPOUT, "train.checkpoint_every=1")
    whole = lab.train("single", *settings)
    path = begun(lab, monkeypatch, *settings, after=3)
    checkpoints = Checkpoints(path / "checkpoints")
    assert checkpoints.steps() == [3, 2]
    newest = checkpoints.path(3) / "weights.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    said: list[str] = []
    assert checkpoints.newest(said.append) == checkpoints.path(2)
    assert "step-00000003 is damaged (weights.safetensors is not as it was written)" in said[0]
    resume(path)
    same(path, whole.run)


def test_where_all_are_damaged_it_says_how_to_begin_anew_and_what_it_saves_then_counts(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (*DROPOUT, "train.checkpoint_every=1")
    path, said = begun(lab, monkeypatch, *settings, after=3), list[str]()
    checkpoints = Checkpoints(path / "checkpoints")
    for step in (2, 3):
        (checkpoints.path(step) / "optimizer.safetensors").write_bytes(b"torn")
    with pytest.raises(RunError) as caught:
        resume(path)
    assert str(caught.value).count(" is damaged ") == 2 and f"remove {path / 'checkpoints'}" in caught.value.hint
    assert checkpoints.steps() == [3, 2]
    shutil.rmtree(path / "checkpoints")
    with monkeypatch.context() as patch:
        Stops(patch, at=(1,))
        with pytest.raises(Interrupted, match="after step 1, which is saved"):
            resume(path)
    assert checkpoints.steps() == [1] and checkpoints.newest(said.append) == checkpoints.path(1)
    resume(path)
    same(path, lab.train("single", *settings).run)


def test_without_any_whole_checkpoint_it_begins_anew(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = lab.train("single", *DROPOUT)
    path = begun(lab, monkeypatch, *DROPOUT)
    shutil.rmtree(path / "checkpoints")
    resume(path)
    same(path, whole.run)


# ---------------------------------------------------------------------- signals


def signalled(recipe: Recipe, path: Path, number: signal.Signals) -> None:
    """A training that is told once, and once more where it goes on; in a process of its own, which signals may end."""
    handler, asked = signal.getsignal(number), interrupt.asked

    def tell_once() -> bool:
        if not asked():
            signal.raise_signal(number)
        return asked()

    def tell_twice() -> bool:
        for _ in range(2):
            signal.raise_signal(number)
        return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interrupt, "asked", tell_once)
        with pytest.raises(Interrupted, match="interrupted after step 1, which is saved"):
            train(recipe, path)
        assert Checkpoints(path / "checkpoints").steps() == [1]
        assert signal.getsignal(number) is handler
        patch.setattr(interrupt, "asked", tell_twice)
        with pytest.raises(Interrupted, match="interrupted at once"):
            resume(path)
        assert signal.getsignal(number) is handler


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_saves_and_the_second_ends_at_once(
    lab: Lab, capfd: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    process = get_context("spawn").Process(target=signalled, args=(lab.recipe("single"), lab.new(), number))
    process.start()
    process.join(120)
    told = capfd.readouterr().err
    assert process.exitcode == 0, told
    assert "once more to stop at once" in told


def test_a_training_in_a_thread_is_not_disturbed(lab: Lab) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            train(lab.recipe("single"), lab.new())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not errors


def test_a_stopped_run_has_no_scores_to_compare(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FTKitError):
        RunDirectory.open(begun(lab, monkeypatch)).read_json("scores")


# ---------------------------------------------------------------------- what was harmed meanwhile


def test_links_of_a_foreign_run_are_refused_before_anything_is_written(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = begun(lab, monkeypatch)
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (path / "seeds" / "13").mkdir(parents=True)
    (path / "seeds" / "13" / "recipe.yaml").symlink_to(precious)
    with pytest.raises(RunError, match="holds links that leave it"):
        resume(path)
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("harm", ["gone", "flipped"])
def test_a_best_model_that_is_lost_is_told_and_trained_anew_without_checkpoints(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    settings = ("train.epochs=3", "train.learning_rate=1e-12")  # no later epoch is better
    whole, path = lab.train("single", *settings), begun(lab, monkeypatch, *settings, after=5)
    if harm == "gone":
        shutil.rmtree(path / "model")
    else:
        weights = path / "model" / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(RunError, match="no later epoch may be as good") as caught:
        resume(path)
    assert f"remove {path / 'checkpoints'}" in caught.value.hint
    shutil.rmtree(path / "checkpoints")
    resume(path)
    same(path, whole.run)


def test_a_complete_run_without_its_model_is_not_told_to_be_complete(lab: Lab, tmp_path: Path) -> None:
    path = shutil.copytree(lab.train("single").run, tmp_path / "run")
    shutil.rmtree(path / "model")
    with pytest.raises(RunError, match="its model is gone"):
        resume(path)


def test_an_edited_recipe_is_noticed_without_its_hash_file(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    path = begun(lab, monkeypatch)
    recipe = path / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("warmup: 0.0", "warmup: 0.2"))
    (path / "recipe.yaml.sha256").unlink()
    with pytest.raises(RunError, match="has changed since the run began"):
        resume(path)


@pytest.mark.parametrize("name", ["begun", "scores", "fitted"])
@pytest.mark.parametrize("content", ["{}", "[]", None])
def test_files_that_are_not_as_they_should_be_are_told(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: str | None
) -> None:
    path = shutil.copytree(lab.train("single").run, tmp_path / "run")
    for other in {"begun": ("scores", "fitted"), "fitted": ("scores",), "scores": ()}[name]:
        (path / f"{other}.json").unlink()
    (path / f"{name}.json").unlink()
    if content is not None:
        (path / f"{name}.json").write_text(content)
    elif name != "begun":
        return
    with pytest.raises(RunError, match=f"{name}.json (lacks|is missing)"):
        resume(path)


def test_a_model_that_is_a_link_is_replaced_and_what_it_leads_to_is_left(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = begun(lab, monkeypatch, "train.epochs=3", after=4)
    elsewhere = path / "elsewhere"
    (path / "model").rename(elsewhere)
    (path / "model").symlink_to(elsewhere)
    resume(path)
    assert (elsewhere / "model.safetensors").is_file() and not list(path.glob(".*"))
