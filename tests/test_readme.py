"""README.md and the recipes' headers are programs: each command in them is one that ftkit understands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

CLONE = Path(__file__).parents[1]
README = (CLONE / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n(.*?)```", README, flags=re.S)
LINES = [line for block in BLOCKS for line in re.sub(r"\\\n\s*", " ", block).splitlines()]
COMMANDS = [re.sub(r"\s+# .*", "", line[2:]) for line in LINES if line.startswith("$ ")]
FTKIT = list(dict.fromkeys(command for command in COMMANDS if command.startswith("ftkit ")))


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    arguments = [os.path.expandvars(part) for part in shlex.split(command, comments=True)][1:]
    return subprocess.run(
        [sys.executable, "-m", "ftkit", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_readme_opens_with_the_two_commands() -> None:
    assert COMMANDS[:2] == ["make quickstart", "make test"]
    targets = re.findall(r"^([a-z-]+):", (CLONE / "Makefile").read_text(encoding="utf-8"), flags=re.M)
    assert {command.split()[1] for command in COMMANDS if command.startswith("make ")} <= set(targets)


@pytest.mark.parametrize("command", [c for c in FTKIT if re.match(r"ftkit (recipes|checkpoints list)", c)])
def test_a_listing_runs(command: str, tmp_path: Path) -> None:
    done = run(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout


STARTS = [c for c in FTKIT if c.startswith("ftkit train") and not re.search("--resume|teacher=|checkpoint=runs", c)]


@pytest.mark.parametrize("command", [c for c in STARTS if "$FTKIT_DATA" not in c])
def test_a_training_on_samples_is_one_that_can_start(command: str, tmp_path: Path) -> None:
    reviews = "text,label\n" + "".join(f"row {i} is good,positive\nrow {i} is bad,negative\n" for i in range(30))
    (tmp_path / "reviews.csv").write_text(reviews, encoding="utf-8")
    (tmp_path / "inbox.csv").write_text("text\nthe soup was good\nthe room was bad\n", encoding="utf-8")
    run("ftkit init reviews.csv", tmp_path)
    done = run(f"{command} --dry-run", tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.shared_data
@pytest.mark.parametrize("command", [c for c in STARTS if "$FTKIT_DATA" in c])
def test_a_training_on_public_data_is_one_that_can_start(command: str, tmp_path: Path) -> None:
    if "FTKIT_DATA" not in os.environ:
        pytest.skip("FTKIT_DATA names no folder")
    done = run(f"{command} --dry-run", tmp_path)
    assert done.returncode == 0, done.stderr


OTHERS = re.compile(r"ftkit (eval|predict|export|compare|report|doctor|init|data|augment|launch|push|pull)")


@pytest.mark.parametrize("command", [c for c in FTKIT if OTHERS.match(c)])
def test_the_flags_of_other_commands_exist(command: str) -> None:
    words = shlex.split(command, comments=True)
    named = words[1:3] if words[1] == "data" else words[1:2]
    done = run(f"ftkit {' '.join(named)} --help", CLONE)
    assert all(word.partition("=")[0] in done.stdout for word in words if word.startswith("--")), done.stdout


def test_nothing_in_the_readme_waits_to_be_filled_in() -> None:
    assert not re.findall(r"^[A-Z]{4,}$|\bTODO\b|\bTBD\b", README, flags=re.M)
