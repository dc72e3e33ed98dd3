"""What is offered: every kind of task with every method that trains it, in every format that the method leaves."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from ftkit import exporters, plugins
from ftkit.methods._base import Method
from tests.runs import KINDS, Lab

FORMATS = exporters.names()
TORCH = [name for name in FORMATS if exporters.find(name).is_torch]
GRAPHS = [name for name in FORMATS if name not in TORCH]
WRITING = ("seq2seq", "causal")
METHODS = plugins.names("method")
OFFERED = [(kind, method) for kind in KINDS for method in METHODS if method != "head" or kind not in WRITING]
"""What writes has no head of its own: tests/methods/test_head.py says so."""
WHOLE = {
    "single": "lora",
    "windows": "head",
    "multi": "ia3",
    "regression": "full",
    "ner": "adapter",
    "qa": "lora",
    "qa2": "head",
    "seq2seq": "full",
    "causal": "ia3",
}
"""Every kind with one of the methods: these go through all formats at once."""


class Case(NamedTuple):
    """A kind of task with a method, and formats of one export."""

    kind: str
    method: str
    formats: tuple[str, ...]

    @property
    def part(self) -> str:
        """Which of the formats these are."""
        graphs = set(self.formats) >= set(GRAPHS)
        return "graphs" if self.formats == tuple(GRAPHS) else "all" if graphs else "torch"

    def __str__(self) -> str:
        return f"{self.kind}-{self.method}-{self.part}"

    def run(self, lab: Lab) -> Path:
        """The run that is exported."""
        return lab.trained(self.kind, self.method).run

    def folder(self, to: Path, name: str) -> Path:
        """Where a format of an export to `to` lies."""
        return to / name if len(self.formats) > 1 else to


@cache
def offered(method: str) -> tuple[str, ...]:
    """The formats that a method's runs can be had in."""
    trained: Any = plugins.resolve("method", plugins.Choice(name=method), Method)
    refused = {"adapter"} if trained.standalone else set() if trained.peft else {"checkpoint", "torch-bf16"}
    return tuple(name for name in FORMATS if name not in refused)


def some(method: str, among: list[str]) -> tuple[str, ...]:
    """Those of the formats that a method's runs can be had in."""
    return tuple(name for name in among if name in offered(method))


QUICK = [
    Case(kind, method, offered(method) if WHOLE[kind] == method else some(method, TORCH)) for kind, method in OFFERED
]
"""Every pair of task, method and format: graphs are traced for `WHOLE` alone."""
REST = [Case(kind, method, some(method, GRAPHS)) for kind, method in OFFERED if WHOLE[kind] != method]
"""What is left of task x method x format."""
ALL = [*QUICK, *(pytest.param(case, marks=pytest.mark.slow) for case in REST)]


FORBIDDEN = "import sys; sys.modules.update({name: None for name in ('torch', 'transformers', 'ftkit')}); "


def run_example(folder: Path, alone: bool) -> str:
    """What the program in an export prints, `alone` where neither ftkit nor PyTorch can be imported."""
    program = f"{FORBIDDEN if alone else ''}exec(open('example.py').read())"
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def inputs(lab: Lab, kind: str) -> list[Any]:
    """The test rows without what they should be answered with."""
    columns = {column.name for column in lab.prepared(kind).task.columns if column.is_input}
    return [{name: row[name] for name in columns & row.keys()} for row in lab.prepared(kind).splits["test"].to_list()]
