"""The folder is the registry; a user's file is as good as a shipped one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, ValidationError

from ftkit.baselines._base import Baseline
from ftkit.config import Section
from ftkit.errors import RecipeError
from ftkit.methods._base import Method
from ftkit.objectives._base import Objective
from ftkit.plugins import Choice, explain_errors, find, forget_changed, names, resolve
from ftkit.tasks._base import Task

SOURCE = "from ftkit.tasks.classification import Classification\nclass Mine(Classification):\n    summary = '{}'\n"
PLUG_INS = [
    ("task", "tasks", Task),
    ("method", "methods", Method),
    ("objective", "objectives", Objective),
    ("baseline", "baselines", Baseline),
]


@pytest.mark.parametrize(("setting", "folder", "base"), PLUG_INS)
def test_each_file_is_a_plug_in_of_its_name(setting: str, folder: str, base: type) -> None:
    files = {path.stem for path in (Path(str(sys.modules["ftkit"].__file__)).parent / folder).glob("[a-z]*.py")}
    assert set(names(setting)) == files and names(setting) == sorted(files)
    for name in names(setting):
        assert find(setting, name, base).__module__ == f"ftkit.{folder}.{name}"


def test_choice_is_a_name_or_a_name_with_options() -> None:
    assert Choice.model_validate("lora") == Choice(name="lora")
    assert Choice.model_validate({"name": "lora", "rank": 4}).options == {"rank": 4}
    with pytest.raises(ValidationError):
        Choice.model_validate({"rank": 4})


def test_options_reach_the_plug_in() -> None:
    assert resolve("method", Choice.model_validate({"name": "lora", "rank": 4}), Method).options.rank == 4


def test_every_wrong_option_is_told() -> None:
    with pytest.raises(RecipeError) as caught:
        resolve("method", Choice.model_validate({"name": "lora", "rnak": 4, "alpha": "high"}), Method)
    assert "2 problems" in caught.value.message
    assert "method.rnak: no such setting; did you mean method.rank?" in caught.value.message
    assert "method.alpha: must be a" in caught.value.message and "'high'" in caught.value.message


def test_file_of_ones_own_is_found_once_and_two_of_one_name_apart(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(SOURCE.format(folder))
    found = [find("task", str(tmp_path / folder / "mine.py"), Task) for folder in ("one", "two", "one")]
    assert [task.summary for task in found] == ["one", "two", "one"]
    assert found[0] is found[2]


def test_file_may_hold_a_base_and_the_task_that_inherits_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(SOURCE.format("base") + "class Leaf(Mine):\n    summary = 'leaf'\n")
    assert find("task", str(tmp_path / "mine.py"), Task).summary == "leaf"


def test_package_of_ones_own_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_package_of_tasks").mkdir()
    (tmp_path / "my_package_of_tasks" / "mine.py").write_text(SOURCE.format("packed"))
    monkeypatch.syspath_prepend(tmp_path)
    assert find("task", "my_package_of_tasks.mine", Task).summary == "packed"


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("broken", "class Mine(:", "SyntaxError"),
        ("asking", "import os; os.environ['NO_SUCH_VARIABLE']", "KeyError: 'NO_SUCH_VARIABLE'"),
    ],
)
def test_package_that_fails_is_a_fault_of_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, source: str, said: str
) -> None:
    (tmp_path / "my_failing_tasks").mkdir()
    (tmp_path / "my_failing_tasks" / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RecipeError, match=f"my_failing_tasks.{name} can't be imported: {said}"):
        find("task", f"my_failing_tasks.{name}", Task)


@pytest.mark.parametrize("name", ["./stance", "../tasks/stance", "~/stance"])
def test_path_without_its_ending_is_told(name: str) -> None:
    with pytest.raises(RecipeError, match=r"is no file of Python's") as caught:
        find("task", name, Task)
    assert f"{name}.py" in str(caught.value)


def test_file_that_fails_is_read_again_once_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("class Mine(:\n")
    with pytest.raises(RecipeError, match=r"mine\.py, line 1.*SyntaxError"):
        find("task", str(path), Task)
    path.write_text(SOURCE.format("mended"))
    assert find("task", str(path), Task).summary == "mended"


def test_file_that_imports_what_is_missing_says_what(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("from ftkit.tasks.classification import Classifikation\n")
    with pytest.raises(RecipeError, match="can't be loaded: ImportError: cannot import name 'Classifikation'"):
        find("task", str(tmp_path / "mine.py"), Task)


class Inner(Section):
    depth: int = 1
    share: float | Literal["auto"] = Field(0.5, union_mode="left_to_right")


class Outer(Section):
    inner: Inner = Inner()
    size: int = Field(1, gt=0)
    name: str


EXPLAINED = {
    "unknown": ({"name": "a", "colour": 1}, "colour: no such setting; there are: inner, size, name"),
    "misspelt": ({"name": "a", "sise": 1}, "sise: no such setting; did you mean size?"),
    "misspelt inside": ({"name": "a", "inner": {"dept": 1}}, "inner.dept: no such setting; did you mean inner.depth?"),
    "missing": ({}, "name: must be set"),
    "no whole number": ({"name": "a", "size": 1.5}, "size: must be a whole number, and it is 1.5"),
    "a word": ({"name": "a", "size": "big"}, "size: must be a whole number, and it is 'big'"),
    "too small": ({"name": "a", "size": 0}, "size: must be greater than 0, and it is 0"),
    "no text": ({"name": 3}, "name: must be a text, and it is 3"),
    "no section": ({"name": "a", "inner": 3}, "inner: "),
}


@pytest.mark.parametrize("case", EXPLAINED)
def test_validation_errors_are_sentences(case: str) -> None:
    given, said = EXPLAINED[case]
    with pytest.raises(ValidationError) as caught:
        Outer(**given)  # type: ignore[arg-type]
    (sentence,) = explain_errors(caught.value, Outer)
    assert sentence.startswith(said)
    (prefixed,) = explain_errors(caught.value, Outer, "task")
    assert prefixed.startswith("task." + said.split(":")[0])


def test_value_that_suits_no_branch_of_a_choice_names_the_setting_alone() -> None:
    with pytest.raises(ValidationError) as caught:
        Outer(name="a", inner={"share": "much"})
    assert explain_errors(caught.value, Outer) == ["inner.share: must be a number or must be 'auto', and it is 'much'"]


def test_file_that_was_edited_is_loaded_anew_at_the_next_command_and_not_within_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(SOURCE.format("first"))
    assert find("task", str(path), Task).summary == "first"
    path.write_text(SOURCE.format("second"))
    assert find("task", str(path), Task).summary == "first", "what has begun goes on as it was"
    forget_changed()
    assert find("task", str(path), Task).summary == "second"
    again = find("task", str(path), Task)
    forget_changed()
    assert find("task", str(path), Task) is again


@pytest.mark.parametrize("end", ["sys.exit()", "sys.exit('no')"])
def test_file_that_ends_the_program_is_a_fault(tmp_path: Path, end: str) -> None:
    (tmp_path / "mine.py").write_text(f"import sys\n{end}\n")
    with pytest.raises(RecipeError, match="SystemExit"):
        find("task", str(tmp_path / "mine.py"), Task)
