"""Start-up: seconds from the start of a process to its first answer, ftkit beside a script of the pipeline."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks import _common

TEXT = "The room was quiet and the breakfast was good."
SCRIPT = """
import sys
from transformers import pipeline
print(pipeline("text-classification", sys.argv[1])(sys.argv[2]))
"""
PREDICT, PIPELINE, HELP = "ftkit predict", "pipeline", "ftkit --help"


def main() -> None:
    """Train a model of a few steps, then run the rounds and print them."""
    options = _common.parser(__doc__, data=False).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        _common.apart(partial(trained, run, options.seed))
        python, ftkit = [sys.executable, "-c"], [sys.executable, "-m", "ftkit"]
        commands = {
            PIPELINE: [*python, SCRIPT, str(run / "model"), TEXT],
            PREDICT: [*ftkit, "predict", str(run), TEXT],
            HELP: [*ftkit, "--help"],
        }
        found = _common.rounds({name: partial(timed, command) for name, command in commands.items()}, options)
    columns = {"first": "to the first line s", "seconds": "to the end s"}
    answering = {name: found[name] for name in (PIPELINE, PREDICT)}
    compared = _common.ratios(answering, PREDICT, lambda measured: 1 / measured["first"])
    _common.present(options, "from the start of a process to its first answer", found, columns, compared)


def trained(run: Path, seed: int) -> None:
    """A run of a few steps on the sample that ftkit ships."""
    from ftkit.engine.train import train
    from ftkit.recipe import load_recipe

    train(load_recipe("sentiment/full", [f"train.seed={seed}", "train.epochs=1"]), run)


def timed(command: list[str]) -> _common.Measured:
    """Seconds from a command's start to its first line, and to its end."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    began = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = process.stdout.readline()
        first = time.perf_counter() - began
        process.stdout.read()
    if process.returncode or not line.strip():
        raise SystemExit(f"{' '.join(command)} ended with code {process.returncode}")
    return {"first": first, "seconds": time.perf_counter() - began}


if __name__ == "__main__":
    main()
