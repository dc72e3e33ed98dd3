"""Several processes for one training: torchrun starts them, each comes back to `fit` through `main`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from ftkit.engine.fit import Fitted, fit, thread_share
from ftkit.engine.prepare import Prepared, prepare
from ftkit.errors import FTKitError
from ftkit.report import Progress
from ftkit.run import RunDirectory

_RESULT = "fitted.json"


def fit_in_processes(run: RunDirectory, processes: int, fold: int | None) -> Fitted:
    """Train the run (or one fold of it) in `processes` processes of this machine.

    Raises FTKitError with the first process's own message where one fails.
    """
    result = run.final.parent / f".{run.final.name}.{_RESULT}"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += [
        "-m",
        "ftkit.engine.launch",
        str(run.path),
        str(run.final),
        str(result),
        str(fold or 0),
        str(processes),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": str(thread_share(processes))}
    try:
        done = subprocess.run(command, env=environment, stdout=sys.stderr, check=False)
        outcome = json.loads(result.read_text()) if result.is_file() else {}
    finally:
        result.unlink(missing_ok=True)
    if run.final.is_dir():
        run.path = run.final
    if "error" in outcome:
        raise FTKitError(outcome["error"], outcome["hint"])
    if done.returncode or not outcome:
        raise FTKitError(f"a training process ended with exit code {done.returncode}", "its own message stands above")
    return Fitted(**outcome)


def fold_rows(prepared: Prepared, fold: int) -> tuple[list[int], list[int]]:
    """(training rows, held-out rows) of a fold, counted from 1; stratified where the task has a label."""
    from sklearn.model_selection import KFold, StratifiedKFold

    settings, train = prepared.recipe.train, prepared.splits["train"]
    assert settings.folds is not None
    label = prepared.task.stratify()
    kind = StratifiedKFold if label and _each_label_fills(train[label], settings.folds) else KFold
    parts = kind(settings.folds, shuffle=True, random_state=prepared.recipe.data.seed)
    kept, held = list(parts.split(range(len(train)), train[label] if label else None))[fold - 1]
    return kept.tolist(), held.tolist()


def _each_label_fills(values: list[str], folds: int) -> bool:
    return min(values.count(value) for value in set(values)) >= folds


def main() -> None:
    """A training process: the run, where its result goes, and the fold come as arguments from `fit_in_processes`."""
    path, final, result, fold, processes = sys.argv[1:]
    run = RunDirectory(Path(path), Path(final))
    first = os.environ.get("RANK") == "0"
    try:
        prepared = prepare(run.recipe)
        train = prepared.splits["train"]
        if int(fold):
            run = run.fold(int(fold))
            train = train.select(fold_rows(prepared, int(fold))[0])
        fitted = fit(run, prepared, train, Progress(show=first), int(processes))
        if first:
            Path(result).write_text(json.dumps(vars(fitted)))
    except FTKitError as error:
        if first:
            Path(result).write_text(json.dumps({"error": error.message, "hint": error.hint}))
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
