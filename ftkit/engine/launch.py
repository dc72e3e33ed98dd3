"""The training processes of this node: started, waited for, ended, and what they tell raised or returned."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from ftkit import errors, trust
from ftkit.engine import interrupt, machine
from ftkit.engine.fit import Fitted
from ftkit.engine.worker import Job, as_message, by_signal
from ftkit.errors import FTKitError, Interrupted, MachineError

LOOK = 0.1
"""Seconds after which it is looked again whether a process has ended."""
_TIDY = 60.0
"""Seconds that a process which is told to end has for it."""
Outcomes = dict[int, dict[str, Any]]
"""What the training processes tell, by their numbers."""


class Processes:
    """The training processes of one node and one job, from `with` to its end.

    `launched` is the rank on its machine of a node that is one process, which needs no agent. Their input is a pipe
    that closes with this process, however that ends. That alone ends them early: in a session of their own they do
    not hear a Ctrl-C, which would cut an agent's tidying short.
    """

    stop: Path
    """A file that asks them, once it is there, to save and end (`engine/interrupt`)."""

    def __init__(self, job: Job, launched: int | None = None, interface: str = "") -> None:
        self.job, self.launched, self.interface, self.ended = job, launched, interface, False

    def __enter__(self) -> Processes:
        self._folder = tempfile.TemporaryDirectory()
        job = replace(self.job, results=self._folder.name)
        self.stop = Path(self._folder.name) / "stop"
        kind = "start" if self.launched is None else "one"
        command = [sys.executable, "-m", "ftkit.engine.worker", kind, job.dump()]
        self._process = subprocess.Popen(
            command,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=sys.stderr,
            start_new_session=True,
            close_fds=False,  # all are closed but the run's lock, which they hold on to
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()
        self._folder.cleanup()

    def code(self) -> int | None:
        """The exit code, once they have ended; negative for a signal."""
        return self._process.poll()

    def result(self) -> int:
        """The exit code; 0 where they were ended from here."""
        return 0 if self.ended else self.code() or 0

    def wait(self) -> int:
        """Their exit code, when they have ended."""
        return self._process.wait()

    def end(self) -> None:
        """Have them end, and wait until they have."""
        assert self._process.stdin is not None
        self.ended = self.ended or self.code() is None
        self._process.stdin.close()
        try:
            self._process.wait(_TIDY)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def outcomes(self) -> Outcomes:
        """What each of them has told until now."""
        found = {int(file.stem): json.loads(file.read_text()) for file in Path(self._folder.name).glob("*.json")}
        code = self.code()
        if self.launched is not None and not self.ended and (code or 0) < 0:  # an agent says so itself
            assert code is not None
            ended = by_signal(self.job.node, signal.Signals(-code))
            found[self.job.size + self.job.node] = as_message(ended, self.job.node)
        return found

    def _environment(self) -> dict[str, str]:
        job = self.job
        environment = {**os.environ, trust.VARIABLE: "1", interrupt.FILE: str(self.stop)}  # the code is checked
        if self.interface:
            environment.setdefault("GLOO_SOCKET_IFNAME", self.interface)
        if self.launched is None:
            return {**environment, "OMP_NUM_THREADS": str(machine.thread_share(job.processes))}
        return {
            **environment,
            "RANK": str(job.node),
            "WORLD_SIZE": str(job.size),
            "LOCAL_RANK": str(machine.gpu(self.launched)),
            "MASTER_ADDR": job.host,
            "MASTER_PORT": str(job.port),
        }


def heeded(processes: Processes) -> AbstractContextManager[None]:
    """The first signal asks the processes to save and end; it ends those at once that keep no checkpoints."""
    return interrupt.heeded(pass_to=processes.stop) if processes.job.keeps else nullcontext()


def fit_here(job: Job) -> Fitted:
    """Train in processes of this machine alone. Raises the error of the first one, by number, that has one."""
    with Processes(job) as processes, heeded(processes):
        return outcome([processes.wait()], processes.outcomes())


def outcome(codes: Sequence[int], found: Mapping[int, dict[str, Any]]) -> Fitted:
    """What the first training process found, where all have done their work.

    Raises the error of the first one that has one; others that differ are printed.
    """
    raise_first([found[number] for number in sorted(found) if "error" in found[number]])
    for code in codes:
        if code < 0:
            raise MachineError(f"the training processes were ended by the signal {signal.Signals(-code).name}")
    if any(codes) or 0 not in found:
        code = next((code for code in codes if code), 0)
        raise FTKitError(f"a training process ended with exit code {code}", "its own message stands above")
    return Fitted(**found[0])


def raise_first(failed: list[dict[str, Any]]) -> None:
    """Raise the first error, and print those that say something else."""
    for other in failed[1:]:
        if other["message"] != failed[0]["message"]:
            print(f"training process {other['rank']}: {other['message']}", file=sys.stderr)
    for other in failed:
        raise error_of(other)


def error_of(outcome: Mapping[str, Any]) -> FTKitError | Interrupted:
    """The error that `told` has told."""
    error: FTKitError | Interrupted = getattr(errors, outcome["error"], FTKitError)(outcome["message"], outcome["hint"])
    return error
