"""Several processes for one training: an agent of torchrun's starts them and ends all where one fails."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from ftkit import errors
from ftkit.engine import interrupt, machine, teacher
from ftkit.engine.fit import Fitted, fit
from ftkit.engine.folds import fold_rows
from ftkit.engine.prepare import prepare
from ftkit.engine.seeds import with_seed
from ftkit.errors import FTKitError, Interrupted, MachineError, SmallerParts
from ftkit.files import full_disk_told, write_json
from ftkit.run import RunDirectory
from ftkit.terminal import Progress, say


def fit_in_processes(run: RunDirectory, processes: int, part: str = "") -> Fitted:
    """Train the run (or a part of it: `folds/3`, `seeds/14`) in `processes` processes of this machine.

    Where memory runs out for one, all go on from the last checkpoint in smaller parts. Raises the error of the first
    process, by number, that has one; others that differ are printed.
    """
    while True:
        try:
            return _fit(run, processes, part)
        except SmallerParts:
            say("note: the training processes begin again at the last checkpoint")


def _fit(run: RunDirectory, processes: int, part: str) -> Fitted:
    threads = str(machine.thread_share(processes))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "FTKIT_ALLOW_CODE": "1"}  # this process has checked it
    with tempfile.TemporaryDirectory() as results:
        arguments = [str(run.path), str(run.final), results, part, str(processes)]
        command = [sys.executable, "-m", "ftkit.engine.launch", "start", *arguments]
        stop = Path(results) / "stop"
        with interrupt.heeded(pass_to=stop):
            code = _run(command, {**environment, interrupt.FILE: str(stop)})
        found = {int(file.stem): json.loads(file.read_text()) for file in Path(results).glob("*.json")}
    if not run.path.is_dir():  # its own processes have published it
        run.path = run.final
    _raise_first([found[number] for number in sorted(found) if "error" in found[number]])
    if code < 0:
        raise MachineError(f"the training processes were ended by the signal {signal.Signals(-code).name}")
    if code or 0 not in found:
        raise FTKitError(f"a training process ended with exit code {code}", "its own message stands above")
    return Fitted(**found[0])


def _run(command: list[str], environment: dict[str, str]) -> int:
    """The agent's exit code. Its input is a pipe that closes with this process, however that ends.

    That alone ends it early: in a session of its own it does not hear a Ctrl-C, which would cut its tidying short.
    """
    agent = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=sys.stderr, start_new_session=True)
    assert agent.stdin is not None
    try:
        return agent.wait()
    finally:
        agent.stdin.close()
        agent.wait()


def _raise_first(failed: list[dict[str, Any]]) -> None:
    """Raise the first error, and print those that say something else."""
    for outcome in failed[1:]:
        if outcome["message"] != failed[0]["message"]:
            print(f"training process {outcome['rank']}: {outcome['message']}", file=sys.stderr)
    for outcome in failed:
        raise getattr(errors, outcome["error"], FTKitError)(outcome["message"], outcome["hint"])


def start(*arguments: str) -> None:
    """The agent: run the training processes, and note where a signal ended one."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    threading.Thread(target=_end_with_parent, daemon=True).start()
    results, processes = Path(arguments[2]), arguments[4]
    logging.disable(logging.ERROR)  # what the agent logs of a failure, `fit_in_processes` says
    command = ["--standalone", f"--nproc-per-node={processes}", "-m", "ftkit.engine.launch", "train", *arguments]
    try:
        run(parse_args(command))  # type: ignore[no-untyped-call]
    except ChildFailedError as failed:
        ended = _ended_by_signal({rank: failure.exitcode for rank, failure in failed.failures.items()})
        if ended:  # its number is behind those of the processes: what they say themselves comes first
            _write(results, int(processes), _told(*ended))
        sys.exit(1)
    except SignalException as stop:  # the agent has ended the processes; now it ends as it was told to
        signal.signal(stop.sigval, signal.SIG_DFL)
        os.kill(os.getpid(), stop.sigval)


def _end_with_parent() -> None:
    """End this agent, and so its processes, when the process that started it is gone or wants no more of it."""
    os.read(sys.stdin.fileno(), 1)  # no buffer: Python's own can't be left while a thread waits in it
    os.kill(os.getpid(), signal.SIGTERM)


def _ended_by_signal(codes: dict[int, int]) -> tuple[MachineError, int] | None:
    """The error, and the rank, of the first process that a signal from outside ended; `codes` in order of ending."""
    signals = {rank: signal.Signals(-code) for rank, code in codes.items() if code < 0}
    outside: dict[int, signal.Signals] = {r: number for r, number in signals.items() if number != signal.SIGTERM}
    if not outside and len(signals) == len(codes):  # else the agent ended the others so
        outside = signals
    for rank, number in outside.items():
        hint = "the system does so when memory runs out: raise train.accumulate" if number == signal.SIGKILL else ""
        return MachineError(f"training process {rank} was ended by the signal {number.name}", hint), rank
    return None


def train(path: str, final: str, results: str, part: str, processes: str) -> None:
    """A training process: fit, and write what came of it for `fit_in_processes`."""
    run, rank = RunDirectory(Path(path), Path(final)), int(os.environ["RANK"])
    try:
        prepared = teacher.recalled(run, prepare(run.recipe, look=False))
        kind, _, name = part.partition("/")
        rows = prepared.training(fold_rows(prepared)[int(name) - 1][0] if kind == "folds" else None)
        if kind == "seeds":
            prepared = with_seed(prepared, int(name))
        if kind:
            run = run.part(kind, name, prepared.recipe)
        with full_disk_told(f"free some space; `ftkit train --resume --run {final}` goes on from there"):
            fitted = fit(run, prepared, rows, Progress(show=rank == 0), int(processes))
    except (FTKitError, Interrupted) as error:
        _write(Path(results), rank, _told(error, rank))
        sys.exit(error.exit_code)
    _write(Path(results), rank, vars(fitted))


def _told(error: FTKitError | Interrupted, rank: int) -> dict[str, Any]:
    return {"error": type(error).__name__, "message": error.message, "hint": error.hint, "rank": rank}


def _write(results: Path, number: int, outcome: dict[str, Any]) -> None:
    """Whole or not at all: the agent may end this process at any time."""
    write_json(results / f"{number}.json", outcome)


if __name__ == "__main__":
    start(*sys.argv[2:]) if sys.argv[1] == "start" else train(*sys.argv[2:])
