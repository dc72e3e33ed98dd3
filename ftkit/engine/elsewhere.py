"""Measuring in a process of its own, which wrote nothing of what it measures and holds nothing else in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from datasets import Dataset

import ftkit
from ftkit import trust
from ftkit.errors import RunError, one_line
from ftkit.files import write_json


def run(module: str, job: Mapping[str, Any], rows: Dataset) -> dict[str, Any]:
    """What a module of ftkit's, run as a program, makes of a job and of rows, which it is told the place of.

    It is called with a file of the job, and writes its answer, a JSON object, where that says under `result`.
    """
    with TemporaryDirectory() as aside:
        rows.save_to_disk(f"{aside}/rows")
        told = {**job, "rows": f"{aside}/rows", "result": f"{aside}/result.json"}
        write_json(Path(aside) / "job.json", told)
        command = [sys.executable, "-m", module, f"{aside}/job.json"]
        done = subprocess.run(command, env=_environment(), capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise RunError(
                f"the process that measures the exports ended with {done.returncode}:"
                f" {one_line(done.stderr[-2000:], 2000)}",
                "if memory ran out, try fewer --rows",
            )
        result: dict[str, Any] = json.loads(Path(aside, "result.json").read_text(encoding="utf-8"))
        return result


def _environment() -> dict[str, str]:
    """This process's, in which ftkit is found and may do what this one may: the run is loaded already."""
    home = str(Path(ftkit.__file__).parents[1])
    paths = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": paths, trust.VARIABLE: "1", "HF_HUB_OFFLINE": "1"}
