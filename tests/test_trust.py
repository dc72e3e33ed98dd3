"""Code runs for a person's own recipe; a folder from elsewhere that names code is refused until they allow it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftkit import trust
from ftkit.engine import model as models
from ftkit.errors import RunError
from ftkit.recipe import load_recipe
from ftkit.run import RunDirectory

TASK = """
from pathlib import Path

from ftkit.tasks.classification import Classification

Path(__file__).with_name("ran").touch()


class Stance(Classification):
    summary = "stance"
"""


@pytest.fixture(autouse=True)
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache and a process that remember nobody's code."""
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(trust, "_own", set())
    monkeypatch.setattr(trust, "_allowed", False)


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "pulled" / "stance.py"
    path.parent.mkdir()
    path.write_text(TASK, encoding="utf-8")
    return path


def folder(code: Path) -> Path:
    """An export that names its own code."""
    contract = {"ftkit": "0", "task": {"name": str(code)}, "labels": ["a", "b"], "method": {"name": "full"}}
    (code.parent / "ftkit.json").write_text(json.dumps(contract), encoding="utf-8")
    (code.parent / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")
    (code.parent / "tokenizer.json").write_text("{}", encoding="utf-8")
    return code.parent


def run(code: Path, **sections: object) -> RunDirectory:
    recipe = {"task": str(code), "model": {"checkpoint": "minilm"}, **sections}
    (code.parent / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    return RunDirectory(code.parent)


def test_a_runs_recipe_that_names_code_is_refused_before_the_code_runs(code: Path) -> None:
    with pytest.raises(RunError, match=r"stance\.py") as error:
        _ = run(code).recipe
    assert "--allow-code" in error.value.hint
    with pytest.raises(RunError):
        load_recipe(code.parent)
    assert not code.with_name("ran").exists()


def test_a_runs_metric_that_is_code_is_refused(code: Path) -> None:
    pulled = run(code, task="classification", evaluate={"metrics": ["ftkit/f1", "somebody/metric"]})
    with pytest.raises(RunError, match="somebody/metric"):
        _ = pulled.recipe


def test_an_export_that_names_code_is_refused_before_the_code_runs(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models.checkpoints, "locate", lambda name, *_: type("Found", (), {"path": Path(name)}))
    with pytest.raises(RunError, match=r"stance\.py"):
        models.load(folder(code))
    assert not code.with_name("ran").exists()


def test_ones_own_recipe_runs_its_code_and_so_do_later_processes(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = code.parent / "mine.yaml"
    recipe.write_text("task: ./stance.py\nmodel: {checkpoint: minilm}\n", encoding="utf-8")
    assert load_recipe(recipe).task.name == str(code)
    assert code.with_name("ran").exists()
    monkeypatch.setattr(trust, "_own", set())  # another process
    assert run(code).recipe.task.name == str(code)


def test_a_person_may_allow_it(code: Path) -> None:
    trust.allow()
    assert run(code).recipe.task.name == str(code)
    assert code.with_name("ran").exists()


def test_shipped_names_are_nobodys_code() -> None:
    trust.refuse_foreign("x", {"task": {"name": "qa"}, "method": "lora", "evaluate": {"metrics": ["ftkit/f1"]}})
