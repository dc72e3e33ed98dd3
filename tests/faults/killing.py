"""Trains in a process that is killed again and again, at any moment and while it saves, and gone on with each time.

`python -m tests.faults.killing RECIPE RUN KILLS SEED` prints, as JSON, how often the training was killed where. The
libraries are loaded once: each training is a fork, so that a kill meets the training and not its imports.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random

from ftkit.engine import adamw
from ftkit.engine.checkpoint import Checkpoints
from ftkit.engine.train import resume, train
from ftkit.recipe import Recipe, load_recipe
from ftkit.terminal import silence

_SHORT, _LONG = 0.03, 4.0
"""Seconds until a kill: once something is being saved, and from the beginning."""


def main(recipe_file: str, path: str, kills: int, seed: int) -> None:
    """Train with kills. Exits with an error where a run can't be gone on with, or a whole checkpoint is lost."""
    adamw._WORTH = 1  # so that rows of these small embeddings rest, too
    random, run, recipe = Random(seed), Path(path), load_recipe(recipe_file)
    took = _whole(recipe, run)
    killed: Counter[str] = Counter()
    newest = -1
    while killed.total() < kills:
        child = _begin(recipe, run)
        where = "any moment" if random.random() < 0.3 else "saving"
        if where == "saving":
            _await_change(run / "checkpoints", child, took)
        time.sleep(random.uniform(0, min(took, _LONG) if where == "any moment" else _SHORT))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            break
        if code != -signal.SIGKILL:
            sys.exit(f"after {killed.total()} kills the training ended with {code}")
        killed[where if run.exists() else "before the first step"] += 1
        found = Checkpoints(run / "checkpoints").newest(silence)
        if found is None and newest >= 0 and not (run / "fitted.json").exists():
            sys.exit(f"the checkpoint after step {newest} is lost")
        newest = int(found.name.partition("-")[2]) if found else -1
    if not (run / "scores.json").exists():
        _, status = os.waitpid(_begin(recipe, run), 0)
        if status:
            sys.exit(f"after {killed.total()} kills the training could not be gone on with")
    print(json.dumps(killed))


def _whole(recipe: Recipe, run: Path) -> float:
    """The seconds of a run that nobody kills, beside the other one."""
    began, child = time.monotonic(), _begin(recipe, run.with_name(f"{run.name}-whole"))
    if os.waitpid(child, 0)[1]:
        sys.exit("the training fails by itself")
    return time.monotonic() - began


def _begin(recipe: Recipe, run: Path) -> int:
    child = os.fork()
    if child:
        return child
    try:
        resume(run, recipe=recipe) if run.exists() else train(recipe, run)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _await_change(folder: Path, child: int, most: float) -> None:
    """Wait until something is written to the folder."""
    before, end = _names(folder), time.monotonic() + 3 * most
    while _names(folder) == before and time.monotonic() < end and _runs(child):
        time.sleep(0.001)


def _runs(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
