"""The installed wheel works outside the clone: recipes, samples and commands come with it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CLONE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the unpacked wheel, as pip would put it into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CLONE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("ftkit-*.whl")
    target = folder / "site"
    zipfile.ZipFile(wheel).extractall(target)
    return target


def run(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "ftkit", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_it_is_the_wheel_that_runs(installed: Path, tmp_path: Path) -> None:
    script = "import ftkit; print(ftkit.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()).is_relative_to(installed)


def test_the_shelf_comes_with_it(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "recipes", "list")
    assert done.returncode == 0, done.stderr
    assert "sentiment/full" in done.stdout and "summarization/seq2seq" in done.stdout


SLOW = [pytest.param(recipe, marks=pytest.mark.slow) for recipe in ("qa/full", "ner/lora")]


@pytest.mark.parametrize("recipe", ["sentiment/full", *SLOW])
def test_a_sample_is_read_and_planned(installed: Path, tmp_path: Path, recipe: str) -> None:
    done = run(installed, tmp_path, "train", recipe, "--set", "train.batch=4", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout and "steps" in done.stdout
    assert not list(tmp_path.iterdir())
