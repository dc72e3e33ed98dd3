"""README.md and the recipes' headers are programs: each command in them is one that ftkit understands."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from tests.command import Done, ftkit

CLONE = Path(__file__).parents[1]
README = (CLONE / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```console\n(.*?)```", README, flags=re.S)
LINES = [line for block in BLOCKS for line in re.sub(r"\\\n\s*", " ", block).splitlines()]
COMMANDS = [re.sub(r"\s+# .*", "", line[2:]) for line in LINES if line.startswith("$ ")]
FTKIT = list(dict.fromkeys(command for command in COMMANDS if command.startswith("ftkit ")))


def run(command: str) -> Done:
    return ftkit(*[os.path.expandvars(part) for part in shlex.split(command, comments=True)][1:])


def test_the_readme_opens_with_the_two_commands() -> None:
    assert COMMANDS[:2] == ["make quickstart", "make test"]
    targets = re.findall(r"^([a-z-]+):", (CLONE / "Makefile").read_text(encoding="utf-8"), flags=re.M)
    assert {command.split()[1] for command in COMMANDS if command.startswith("make ")} <= set(targets)


@pytest.mark.parametrize("command", [c for c in FTKIT if re.match(r"ftkit (recipes|checkpoints list)", c)])
def test_a_listing_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(command)
    assert done.code == 0, done.err
    assert done.out


STARTS = [c for c in FTKIT if c.startswith("ftkit train") and not re.search("--resume|teacher=|checkpoint=runs", c)]


@pytest.mark.usefixtures("brief_trial")
@pytest.mark.parametrize("command", [c for c in STARTS if "$FTKIT_DATA" not in c])
def test_a_training_on_samples_is_one_that_can_start(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    reviews = "text,label\n" + "".join(f"row {i} is good,positive\nrow {i} is bad,negative\n" for i in range(30))
    Path("reviews.csv").write_text(reviews, encoding="utf-8")
    Path("inbox.csv").write_text("text\nthe soup was good\nthe room was bad\n", encoding="utf-8")
    assert run("ftkit init reviews.csv").code == 0
    done = run(f"{command} --dry-run")
    assert done.code == 0, done.err


@pytest.mark.shared_data
@pytest.mark.parametrize("command", [c for c in STARTS if "$FTKIT_DATA" in c])
def test_a_training_on_public_data_is_one_that_can_start(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "FTKIT_DATA" not in os.environ:
        pytest.skip("FTKIT_DATA names no folder")
    monkeypatch.chdir(tmp_path)
    done = run(f"{command} --dry-run")
    assert done.code == 0, done.err


OTHERS = re.compile(r"ftkit (eval|predict|export|compare|report|doctor|init|data|augment|launch|push|pull)")


@pytest.mark.parametrize("command", [c for c in FTKIT if OTHERS.match(c)])
def test_the_flags_of_other_commands_exist(command: str) -> None:
    words = shlex.split(command, comments=True)
    named = words[1:3] if words[1] == "data" else words[1:2]
    told = run(f"ftkit {' '.join(named)} --help").out
    assert all(word.partition("=")[0] in told for word in words if word.startswith("--")), told


def test_nothing_in_the_readme_waits_to_be_filled_in() -> None:
    assert not re.findall(r"^[A-Z]{4,}$|\bTODO\b|\bTBD\b", README, flags=re.M)
