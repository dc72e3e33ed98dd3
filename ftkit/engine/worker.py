"""A training process, and what starts several of one node: an agent of torchrun's, which ends all where one fails.

Called by `engine/launch`, with a job as JSON: `start` is the agent, `one` a process without one, `train` a process.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ftkit.engine import interrupt, judge
from ftkit.engine.begun import code_hashes, reads
from ftkit.engine.fit import fit
from ftkit.engine.folds import fold_rows
from ftkit.engine.prepare import Prepared, prepare
from ftkit.engine.seeds import with_seed
from ftkit.errors import DataError, FTKitError, Interrupted, MachineError
from ftkit.files import full_disk_told, write_json
from ftkit.run import RunDirectory
from ftkit.startup import spare_imports
from ftkit.terminal import Progress, say, silence

_ENDED_SOON = 20.0
"""Seconds in which a process that lost another one is ended with it, if that one has failed."""


@dataclass(frozen=True)
class Job:
    """One training of a run, as every process of it is told."""

    path: str
    final: str
    part: str
    """Of a run with several: `folds/3`, `seeds/14`; empty for the run itself."""
    data: dict[str, str]
    """SHA-256 of the data, of one's own code and of the checkpoint, as node 0 read them."""
    nodes: int
    processes: int
    """On each node."""
    keeps: bool = True
    """Whether checkpoints are written, so that it can be stopped and gone on with."""
    host: str = ""
    port: int = 0
    """Where the processes meet, where there are several nodes."""
    node: int = 0
    results: str = ""
    """A folder of the node's own: what came of each process, as JSON by its number."""

    @property
    def size(self) -> int:
        """Processes on all nodes."""
        return self.nodes * self.processes

    def dump(self) -> str:
        """The job as JSON."""
        return json.dumps(asdict(self))


def sources(prepared: Prepared) -> dict[str, str]:
    """What has to be the same for every process: SHA-256 by what it is of."""
    return {
        **{f"data.{name}": digest for name, digest in prepared.files.items()},
        **code_hashes(prepared.recipe),
        "model.checkpoint": prepared.base.sha256,
        "model.checkpoint's tokenizer and config": reads(prepared),
        "objective.teacher": prepared.teacher,
        "data.labels": hashlib.sha256(json.dumps(prepared.labels).encode()).hexdigest(),
    }


def start(text: str) -> None:
    """The agent: run the training processes of this node, and note where a signal ended one."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    job = Job(**json.loads(text))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    logging.disable(logging.ERROR)  # what the agent logs of a failure, `engine/launch` says
    meeting = ["--standalone"]
    if job.nodes > 1:
        meeting = [f"--nnodes={job.nodes}", f"--node-rank={job.node}"]
        meeting += [f"--master-addr={job.host}", f"--master-port={job.port}"]
    command = [*meeting, f"--nproc-per-node={job.processes}", "-m", "ftkit.engine.worker", "train", text]
    try:
        run(parse_args(command))  # type: ignore[no-untyped-call]
    except ChildFailedError as failed:
        ended = _ended_by_signal({rank: failure.exitcode for rank, failure in failed.failures.items()})
        if ended:  # its number is behind those of the processes: what they say themselves comes first
            _write(job, job.size + job.node, as_message(*ended))
        sys.exit(1)
    except SignalException as stop:  # the agent has ended the processes; now it ends as it was told to
        signal.signal(stop.sigval, signal.SIG_DFL)
        os.kill(os.getpid(), stop.sigval)


def one(text: str) -> None:
    """A training process that has no agent, as it is the only one of its node."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    train(text)


def _end_with_parent() -> None:
    """End this process, and an agent's own, when the process that started it is gone or wants no more of it."""
    os.read(sys.stdin.fileno(), 1)  # no buffer: Python's own can't be left while a thread waits in it
    interrupt.end_all_at_once()
    os.kill(os.getpid(), signal.SIGTERM)


def _ended_by_signal(codes: dict[int, int]) -> tuple[MachineError, int] | None:
    """The error, and the rank, of the first process that a signal from outside ended; `codes` in order of ending."""
    signals = {rank: signal.Signals(-code) for rank, code in codes.items() if code < 0}
    outside: dict[int, signal.Signals] = {r: number for r, number in signals.items() if number != signal.SIGTERM}
    if not outside and len(signals) == len(codes):  # else the agent ended the others so
        outside = signals
    for rank, number in outside.items():
        return by_signal(rank, number), rank
    return None


def by_signal(rank: int, number: signal.Signals) -> MachineError:
    """The error of a training process that a signal ended."""
    hint = "the system does so when memory runs out: raise train.accumulate" if number == signal.SIGKILL else ""
    return MachineError(f"training process {rank} was ended by the signal {number.name}", hint)


def train(text: str) -> None:
    """A training process: fit, and write what came of it for `engine/launch`."""
    job, rank = Job(**json.loads(text)), int(os.environ["RANK"])
    try:
        fitted = _fit(job, rank)
    except (FTKitError, Interrupted) as error:
        _write(job, rank, as_message(error, rank))
        sys.exit(error.exit_code)
    except Exception as error:
        if not _is_lost(error):
            _write(job, rank, {"bug": traceback.format_exc(), "rank": rank})
            raise
        time.sleep(_ENDED_SOON)  # the other one's error is the one to show, and ends this process
        lost = MachineError(f"the connection to another training process is lost: {error}", "see to the network")
        _write(job, rank, as_message(lost, rank))
        sys.exit(lost.exit_code)
    _write(job, rank, vars(fitted))


def _fit(job: Job, rank: int) -> Any:
    run = RunDirectory(Path(job.path), Path(job.final))
    prepared = prepare(run.recipe, look=False)
    _refuse_other(job, sources(prepared))
    prepared = judge.recalled(run, prepared)
    kind, _, name = job.part.partition("/")
    rows = prepared.training(fold_rows(prepared)[int(name) - 1][0] if kind == "folds" else None)
    if kind == "seeds":
        prepared = with_seed(prepared, int(name))
    if kind:
        run = run.part(kind, name, prepared.recipe)
    with full_disk_told(lambda: f"free some space; `ftkit train --resume --run {job.final}` goes on from there"):
        return fit(run, prepared, rows, Progress(show=rank == 0), job.size, say=silence if rank else say)


def _refuse_other(job: Job, found: dict[str, str]) -> None:
    """Raises DataError where this process reads other files than node 0: its gradients would be of other rows."""
    if other := sorted(name for name in {**job.data, **found} if job.data.get(name) != found.get(name)):
        where = f"on machine {job.node} " if job.nodes > 1 else ""
        raise DataError(
            f"{', '.join(other)}: {where}there are other contents than those that the training began with",
            "let all machines read the same files, and leave these alone while it goes on",
        )


def _is_lost(error: Exception) -> bool:
    """Whether a process says with this that another one is gone."""
    from torch.distributed import DistError

    said = str(error)
    return isinstance(error, DistError) or (isinstance(error, RuntimeError) and ("gloo" in said or " by peer" in said))


def as_message(error: FTKitError | Interrupted, rank: int | None = None) -> dict[str, Any]:
    """An error as JSON has it; `rank` is that of the training process that it comes from."""
    return {"error": type(error).__name__, "message": error.message, "hint": error.hint, "rank": rank}


def _write(job: Job, number: int, outcome: dict[str, Any]) -> None:
    """Whole or not at all: the agent may end this process at any time."""
    write_json(Path(job.results) / f"{number}.json", outcome)


if __name__ == "__main__":
    spare_imports()
    {"start": start, "one": one, "train": train}[sys.argv[1]](sys.argv[2])
