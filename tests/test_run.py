"""A run is its directory: there whole or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftkit.errors import RunError
from ftkit.files import SEAL
from ftkit.run import RunDirectory, default_path, refuse_existing
from tests.command import environment
from tests.runs import Lab, read_jsonl


def test_new_run_waits_out_of_sight_until_it_is_published(lab: Lab, tmp_path: Path) -> None:
    recipe = lab.recipe("single")
    run = RunDirectory.create(recipe, tmp_path / "runs" / "one")
    assert not run.published and not (tmp_path / "runs" / "one").exists()
    assert run.recipe.dump() == recipe.dump()
    run.publish()
    run.publish()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["one"]
    assert RunDirectory.open(tmp_path / "runs" / "one").recipe.dump() == recipe.dump()
    run.discard()
    assert run.path.is_dir()


def test_discarded_run_leaves_nothing_not_even_the_folders_made_for_it(lab: Lab, tmp_path: Path) -> None:
    RunDirectory.create(lab.recipe("single"), tmp_path / "a" / "b" / "one").discard()
    assert not list(tmp_path.iterdir())
    (tmp_path / "a").mkdir()
    RunDirectory.create(lab.recipe("single"), tmp_path / "a" / "b" / "one").discard()
    assert [path.name for path in tmp_path.rglob("*")] == ["a"]


def test_run_never_overwrites(lab: Lab, tmp_path: Path) -> None:
    recipe = lab.recipe("single")
    (tmp_path / "one").write_text("mine")
    with pytest.raises(RunError, match="exists already"):
        RunDirectory.create(recipe, tmp_path / "one")
    run = RunDirectory.create(recipe, tmp_path / "two")
    (tmp_path / "two").mkdir()
    with pytest.raises(RunError, match="exists already"):
        run.publish()
    run.discard()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_second_run_at_one_place_does_not_destroy_the_first(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (RunDirectory.create(lab.recipe("single"), tmp_path / "one") for _ in range(2))
    assert first.path != second.path
    rename = os.rename

    def late(source: Path, target: Path) -> None:
        monkeypatch.undo()
        first.publish()
        rename(source, target)

    first.log({"step": 1})
    monkeypatch.setattr(os, "rename", late)
    with pytest.raises(RunError, match="exists already"):
        second.publish()
    second.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["one"]
    assert read_jsonl(tmp_path / "one" / "log.jsonl") == [{"step": 1}]


def test_run_that_cannot_be_made_says_why(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="can't be made: Not a directory"):
        RunDirectory.create(lab.recipe("single"), tmp_path / "file" / "run")


def test_fold_is_published_with_its_run(lab: Lab, tmp_path: Path) -> None:
    run = RunDirectory.create(lab.recipe("single"), tmp_path / "one")
    first = run.part("folds", "1")
    assert not (tmp_path / "one").exists() and not first.published
    first.publish()
    assert first.path == tmp_path / "one" / "folds" / "1" and run.published
    second = run.part("folds", "2")
    assert second.published and RunDirectory.is_run(second.path)


def test_what_is_no_run_or_has_no_model_is_refused(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run"):
        RunDirectory.open(tmp_path)
    run = RunDirectory.create(lab.recipe("single"), tmp_path / "one")
    with pytest.raises(RunError, match="has no model"):
        _ = run.model
    with pytest.raises(RunError, match=r"scores\.json is missing"):
        run.read_json("scores")
    (run.path / "scores.json").write_text('{"torn": ')
    with pytest.raises(RunError, match=r"scores\.json can't be read"):
        run.read_json("scores")


def test_log_grows_and_json_and_predictions_come_back(lab: Lab, tmp_path: Path) -> None:
    run = RunDirectory.create(lab.recipe("single"), tmp_path / "one")
    run.log({"step": 1})
    run.log({"step": 2})
    assert read_jsonl(run.path / "log.jsonl") == [{"step": 1}, {"step": 2}]
    run.write_json("scores", {"ü": 1})
    assert run.read_json("scores") == {"ü": 1}
    run.write_predictions("test", [{"label": "ü"}])
    assert read_jsonl(run.path / "predictions" / "test.jsonl") == [{"label": "ü"}]


def test_log_is_rewound_to_behind_a_step(lab: Lab, tmp_path: Path) -> None:
    run = RunDirectory.create(lab.recipe("single"), tmp_path / "one")
    for step in (1, 2, 3):
        run.log({"step": step})
    with (run.path / "log.jsonl").open("a") as file:
        file.write('{"step": ')
    run.rewind_log(2)
    assert read_jsonl(run.path / "log.jsonl") == [{"step": 1}, {"step": 2}]


def writes(name: str, text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_text(text)

    return write


def test_failed_write_of_a_model_keeps_the_one_before(lab: Lab, tmp_path: Path) -> None:
    run = RunDirectory.create(lab.recipe("single"), tmp_path / "one")
    run.write_model(writes("weights", "old"))

    def fails(folder: Path) -> None:
        (folder / "weights").write_text("half of the n")
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run.write_model(fails)
    assert (run.model / "weights").read_text() == "old"
    run.write_model(writes("other", "new"))
    assert [path.name for path in run.model.iterdir()] == ["other", SEAL]
    assert sorted(path.name for path in run.path.iterdir()) == ["model", "recipe.yaml", "recipe.yaml.sha256"]


def fail_rename(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The `number`th renaming fails, and no other."""
    rename, calls = os.rename, iter(range(1, 100))

    def fails_once(source: Path, target: Path) -> None:
        if next(calls) == number:
            raise OSError("Stale file handle")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fails_once)


@pytest.mark.parametrize("number", [1, 2])
def test_model_that_cannot_be_moved_into_place_leaves_the_one_before(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    run = RunDirectory.create(lab.recipe("single"), tmp_path / "one")
    run.write_model(writes("weights", "old"))
    fail_rename(monkeypatch, number)
    with pytest.raises(OSError, match="Stale"):
        run.write_model(writes("weights", "new"))
    assert (run.path / "model" / "weights").read_text() == "old"
    assert sorted(path.name for path in run.path.iterdir()) == ["model", "recipe.yaml", "recipe.yaml.sha256"]


def test_model_of_a_process_that_was_killed_while_replacing_it_is_put_back(lab: Lab, tmp_path: Path) -> None:
    run = RunDirectory.create(lab.recipe("single"), tmp_path / "one")
    run.write_model(writes("weights", "old"))
    script = (
        "import os, signal, sys; from pathlib import Path; from ftkit.run import RunDirectory\n"
        "rename = os.rename\n"
        "def once(source, target):\n"
        "    rename(source, target)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "os.rename = once\n"
        "RunDirectory(Path(sys.argv[1])).write_model(lambda folder: (folder / 'weights').write_text('new'))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(run.path)], env=environment())
    assert done.returncode == -signal.SIGKILL and not (run.path / "model").exists()
    assert (run.model / "weights").read_text() == "old"
    run.write_model(writes("weights", "new"))
    assert (run.model / "weights").read_text() == "new"
    assert not [path for path in run.path.iterdir() if "previous" in path.name]


def test_folder_left_by_a_killed_process_does_not_hinder_the_next(lab: Lab, tmp_path: Path) -> None:
    run = RunDirectory.create(lab.recipe("single"), tmp_path / "one")
    run.write_model(writes("weights", "old"))
    writes("weights", "older")(Path(shutil.copytree(run.model, run.path / ".model.previous-1")))
    run.write_model(writes("weights", "new"))
    assert (run.model / "weights").read_text() == "new"
    assert sorted(path.name for path in run.path.iterdir()) == ["model", "recipe.yaml", "recipe.yaml.sha256"]


def test_default_path_names_the_recipe() -> None:
    assert default_path("sentiment/lora").name.startswith("sentiment-lora-")
    assert default_path("my/reviews.yaml").name.startswith("reviews-")
    assert default_path("x").parent == Path("runs")


def test_predictions_that_break_off_leave_the_ones_before(lab: Lab, tmp_path: Path) -> None:
    run = RunDirectory.create(lab.recipe("single"), tmp_path / "one")
    run.write_predictions("test", [{"label": "old"}])

    def broken() -> Iterator[dict[str, str]]:
        yield {"label": "new"}
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        run.write_predictions("test", broken())
    assert read_jsonl(run.path / "predictions" / "test.jsonl") == [{"label": "old"}]
    assert [path.name for path in (run.path / "predictions").iterdir()] == ["test.jsonl"]
    run.write_predictions("test", iter([{"label": "new"}]))
    assert read_jsonl(run.path / "predictions" / "test.jsonl") == [{"label": "new"}]
    run.discard()


def told(run: RunDirectory) -> list[str]:
    said: list[str] = []
    run.warn_if_edited(said.append)
    return said


def test_recipe_that_was_edited_is_told_from_the_one_trained_with(lab: Lab, tmp_path: Path) -> None:
    run = RunDirectory.create(lab.recipe("single"), tmp_path / "one")
    fold = run.part("folds", "1")
    run.publish()
    fold.publish()
    assert told(run) == told(fold) == []
    recipe = tmp_path / "one" / "recipe.yaml"
    whole = recipe.read_text()
    recipe.write_text(whole.replace("epochs: 1", "epochs: 2"))
    assert [str(recipe) in line and "has changed" in line for line in told(run)] == [True] and not told(fold)
    recipe.write_text(whole)
    assert not told(run)


def test_run_without_its_recipes_hash_tells_nothing(lab: Lab, tmp_path: Path) -> None:
    run = RunDirectory.create(lab.recipe("single"), tmp_path / "one")
    (run.path / "recipe.yaml.sha256").unlink()
    assert not told(run)


def test_hash_is_one_that_sha256sum_checks(lab: Lab, tmp_path: Path) -> None:
    run = RunDirectory.create(lab.recipe("single"), tmp_path / "one")
    done = subprocess.run(["sha256sum", "--check", "recipe.yaml.sha256"], cwd=run.path, capture_output=True, text=True)
    assert done.stdout == "recipe.yaml: OK\n"


def test_home_of_nobody_is_refused_before_anything_is_made(lab: Lab, tmp_path: Path) -> None:
    for use in (RunDirectory.open, refuse_existing, lambda path: RunDirectory.create(lab.recipe("single"), path)):
        with pytest.raises(RunError, match="~nobody-here is no home folder"):
            use(Path("~nobody-here/run"))
    assert not RunDirectory.is_run("~nobody-here/run")


def test_home_is_expanded_wherever_a_run_is_named(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not RunDirectory.is_run("~/one")
    RunDirectory.create(lab.recipe("single"), Path("~/one")).publish()
    assert RunDirectory.is_run("~/one") and RunDirectory.open("~/one").path == tmp_path / "one"
    with pytest.raises(RunError, match="exists already"):
        refuse_existing(Path("~/one"))


def test_a_link_to_nowhere_is_something_that_stands_there(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path / "not-there-yet")
    with pytest.raises(RunError, match="exists already"):
        refuse_existing(tmp_path / "run")
