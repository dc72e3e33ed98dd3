"""Tables and the progress line."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.terminal import (
    Progress,
    say,
    silence,
    table,
)

CELLS = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=9)


@given(st.integers(1, 5).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=2)))
def test_columns_of_a_table_stand_under_each_other(rows: list[list[str]]) -> None:
    lines = table(rows[0], rows[1:]).split("\n")
    assert len(lines) == len(rows)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for line, row in zip(lines, rows, strict=True):
        place = 0
        for cell, width in zip(row, widths, strict=True):
            assert line[place : place + width].strip() == cell
            place += width + 2


def test_numbers_stand_to_the_right_and_words_to_the_left() -> None:
    assert table(["name", "n"], [["a", 5], ["long one", 1200]]).split("\n") == [
        "name         n",
        "a            5",
        "long one  1200",
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(terminal: Terminal) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())


@pytest.mark.parametrize(("seconds", "left"), [(7.4, "0:07 left"), (61, "1:01 left"), (3725, "1:02:05 left")])
def test_line_tells_loss_rate_speed_and_time_left(monkeypatch: pytest.MonkeyPatch, seconds: float, left: str) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    terminal = Terminal()
    progress = Progress(terminal)
    progress.start(200)
    progress.note("accuracy", 0.75)
    progress.step(50, 0.69314, 2e-5, 1234.4, seconds)
    progress.stop()
    told = f"50/200 loss 0.6931  rate 2.0e-05  1,234 examples/s  {left}  validation accuracy 0.7500"
    assert told in " ".join(shown(terminal).split("\n")).replace("\r", "")
    assert terminal.getvalue().rstrip().endswith("\x1b[2K"), "nothing of the line is left"


@pytest.mark.parametrize(
    "progress", [Progress(io.StringIO()), Progress(Terminal(), show=False)], ids=["a file", "not asked for"]
)
def test_nobody_watching_sees_nothing(progress: Progress) -> None:
    progress.start(10)
    progress.step(1, 0.5, 1e-5, 10, 10)
    progress.advance(2)
    progress.note("f1", 0.5)
    progress.stop()
    assert isinstance(progress.stream, io.StringIO) and progress.stream.getvalue() == ""


def test_sentences_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    say("a note")
    silence("nothing")
    assert capsys.readouterr() == ("", "a note\n")


def test_what_is_said_to_nobody_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """`ftkit train ... 2>&1 | tee log`: Ctrl-C ends `tee`, too."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as nobody:
        monkeypatch.setattr(sys, "stderr", nobody)
        say("stopping")
        monkeypatch.undo()
        with contextlib.suppress(BrokenPipeError):
            nobody.close()
