"""Each benchmark runs, on a few rows, and its figures are complete."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import environment

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted(path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py"))
MORE = {"train_accuracy": ["--seeds", "1", "--results", "results.jsonl"]}


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize("program", PROGRAMS)
def test_a_few_rows_go_through(program: str, tmp_path: Path) -> None:
    if "FTKIT_DATA" not in os.environ:
        pytest.skip("FTKIT_DATA names no folder")
    few = ["--json"] if program == "start_up" else ["--json", "--rows", "24"]
    if program != "train_accuracy":
        few += ["--rounds", "1", "--busy", "99"]
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{program}", *few, *MORE.get(program, [])],
        cwd=tmp_path,
        env=environment(OMP_NUM_THREADS="1"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found


def test_every_benchmark_is_in_the_readme() -> None:
    told = (ROOT / "benchmarks" / "README.md").read_text()
    assert PROGRAMS
    assert [program for program in PROGRAMS if f"benchmarks.{program}" not in told] == []
