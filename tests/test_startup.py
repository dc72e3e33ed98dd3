"""What a person waits for: commands that need no library import none. Exact, without a clock."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

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
    script = SCRIPT.format(arguments=arguments, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.rpartition("LOADED")[2]) == []


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = f"import ftkit, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
