"""Code runs for a person's own recipe; a folder from elsewhere that names code is refused until they allow it."""

from __future__ import annotations

import json
import subprocess
import sys
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
    monkeypatch.setattr(trust, "_lent", set())
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


def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_own", set())
    monkeypatch.setattr(trust, "_lent", set())
    monkeypatch.setattr(trust, "_allowed", False)


def mine(code: Path) -> Path:
    recipe = code.parent / "mine.yaml"
    recipe.write_text("task: ./stance.py\nmodel: {checkpoint: minilm}\n", encoding="utf-8")
    return recipe


def test_what_ones_own_recipe_names_is_remembered_for_later_processes(
    code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(mine(code))
    assert recipe.task.name == str(code) and code.with_name("ran").exists()
    trust.remember(recipe.model_dump())
    another_process(monkeypatch)
    assert run(code).recipe.task.name == str(code)


def test_a_recipe_that_is_only_looked_at_is_not_remembered(code: Path) -> None:
    load_recipe(mine(code))
    assert not list(code.parents[1].glob("cache/*"))
    with pytest.raises(RunError, match=r"stance\.py"):
        _ = run(code).recipe


def test_what_was_let_through_once_is_not_remembered(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = {"metrics": ["somebody/metric"]}
    data = {"train": str(code.parents[1] / "elsewhere.csv")}
    trust.allow()
    trust.remember(load_recipe(run(code, task=str(code), evaluate=metrics, data=data).path).model_dump())
    trust.remember(run(code, task="qa", data={"train": "/own.csv"}).recipe.model_dump())
    another_process(monkeypatch)
    for refused in ({}, {"task": "classification", "evaluate": metrics}):
        with pytest.raises(RunError, match="wants to run code"):
            _ = run(code, **refused).recipe
    with pytest.raises(RunError, match=r"elsewhere\.csv"):
        run(code, task="qa", data=data).refuse_outside()
    run(code, task="qa", data={"train": "/own.csv"}).refuse_outside()


_REMEMBERS = """
import sys
from ftkit import trust

sys.stdin.readline()
for number in range(20):
    trust.remember({"data": {"train": f"/data/{sys.argv[1]}-{number}.csv"}})
"""


def test_trainings_that_begin_at_once_lose_none_of_each_others(code: Path) -> None:
    each = [
        subprocess.Popen([sys.executable, "-c", _REMEMBERS, str(i)], stdin=subprocess.PIPE, text=True) for i in range(4)
    ]
    for process in each:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.wait() for process in each] == [0] * 4
    for name in range(4):
        trust.refuse_outside(code.parent, {"data": {"train": [f"/data/{name}-{number}.csv" for number in range(20)]}})


def test_a_person_may_allow_it(code: Path) -> None:
    trust.allow()
    assert run(code).recipe.task.name == str(code)
    assert code.with_name("ran").exists()


def test_shipped_names_are_nobodys_code() -> None:
    trust.refuse_foreign("x", {"task": {"name": "qa"}, "method": "lora", "evaluate": {"metrics": ["ftkit/f1"]}})


def test_a_prompt_is_no_path_whatever_it_begins_with(tmp_path: Path) -> None:
    def named(option: str, name: str = "template") -> set[Path]:
        return set(trust.paths({"task": {"name": "summarization", name: option}}))

    assert named("/no_think {document}") == named("~ {document}") == named("../ in short: ") == set()
    assert named("/somewhere/words.csv") == {Path("/somewhere/words.csv")}
    (tmp_path / "my words.csv").touch()
    assert named(str(tmp_path / "my words.csv")) == {tmp_path / "my words.csv"}, "it is there"
    assert named("/a folder/run", "teacher") == {Path("/a folder/run")}
