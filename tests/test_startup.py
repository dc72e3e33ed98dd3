"""What a person waits for: commands that need no library import none. Exact, without a clock."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.runs import Lab

HEAVY = (
    *("torch", "transformers", "datasets", "accelerate", "peft", "evaluate", "sklearn", "nlpaug", "numpy", "pandas"),
    *("scipy", "jinja2", "vaderSentiment", "nltk", "lemminflect"),
)

SCRIPT = """
import json, sys
from ftkit.cli import main
sys.argv = ["ftkit", *{arguments!r}]
try:
    main()
except SystemExit as stop:
    assert stop.code in (0, None), stop.code
loaded = sorted(name for name in {heavy!r} if name in sys.modules)
print("LOADED" + json.dumps(loaded))
"""


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["train", "--help"], ["recipes", "list"], ["recipes", "show", "sentiment/full"]],
    ids=" ".join,
)
def test_light_commands_import_nothing_heavy(arguments: list[str]) -> None:
    assert loaded(arguments, HEAVY) == []


def test_answering_a_text_imports_neither_tables_nor_the_trainer(lab: Lab) -> None:
    run = lab.trained("single", "full").run
    spared = ("datasets", "pandas", "pyarrow", "sklearn", "evaluate", "peft", "nlpaug", "transformers.trainer")
    assert loaded(["predict", str(run), "a text"], ("torch", *spared)) == ["torch"]


def loaded(arguments: Sequence[str], heavy: Sequence[str]) -> list[str]:
    """Which of some modules a command has imported by its end."""
    script = SCRIPT.format(arguments=arguments, heavy=heavy)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.rpartition("LOADED")[2])
    return found


COLLECTED = """
import gc, sys
from ftkit import startup
from ftkit.cli import main
before, full = gc.get_threshold(), []
gc.callbacks.append(lambda phase, info: full.append(phase) if info["generation"] == 2 else None)
sys.argv = ["ftkit", "--version"]
try:
    main()
except SystemExit:
    import transformers.modeling_utils
assert not full and gc.get_freeze_count() == 0 and gc.get_threshold() != before, "while it imports"
kept = [[] for _ in range(before[0] * 2 * startup._SETTLED)]
frozen = gc.get_freeze_count()
assert frozen > 100_000, frozen
assert gc.get_threshold() == before and len(gc.callbacks) == 1
kept += [[] for _ in range(100_000)]
assert full and gc.get_freeze_count() == frozen
"""


def test_the_collector_looks_through_no_imports_and_then_works_as_before() -> None:
    done = subprocess.run([sys.executable, "-c", COLLECTED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = f"import ftkit, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
