"""The nodes of one training, as node 0 sees them: it hands out each fit of a run, and tells how it has ended."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection, wait

from ftkit.engine import machine, wire
from ftkit.engine.fit import Fitted
from ftkit.engine.launch import LOOK, Outcomes, Processes, fit_here, heeded, outcome
from ftkit.engine.prepare import Prepared
from ftkit.engine.wire import Message
from ftkit.engine.worker import Job, sources
from ftkit.engine.world import World
from ftkit.errors import MachineError, RunError, SmallerParts
from ftkit.recipe import Recipe
from ftkit.run import RunDirectory
from ftkit.terminal import Say, say

_GRACE = 3.0
"""Seconds in which a node that comes says what it is, and late ones are still told of an error."""


class Crew:
    """Those who train: the processes of this node, and of the nodes that follow it."""

    def __init__(self, world: World, listener: socket.socket | None = None) -> None:
        self.world, self.listener = world, listener
        self.processes = world.processes or machine.processes()
        self.others: dict[int, Connection] = {}
        self.address = ""
        """Of this machine, as the others reach it."""

    @property
    def size(self) -> int:
        """Processes on all nodes."""
        return self.world.nodes * self.processes

    def meet(self, run: RunDirectory, recipe: Recipe, say: Say) -> None:
        """Wait for the other nodes. Raises an error where one does not come, is not alike, or can't see the run."""
        own, end, told = wire.hello(self.world, self.processes, recipe), time.monotonic() + wire.PATIENCE, False
        while absent := self._absent():
            if not self._admit(1.0, own) and not told:
                say(f"note: waiting for {', '.join(absent)}")
                told = True
            if time.monotonic() > end:
                raise self._missing(absent)
        for node in self.others:
            self._send(node, {"kind": "look", "run": str(run.path)})
        for node in self.others:
            if fault := self._receive(node)["fault"]:
                raise RunError(f"{wire.name(self.world, node)} {fault}", "name a folder that all share with --run")

    def fit(self, run: RunDirectory, prepared: Prepared, part: str = "") -> Fitted:
        """Train the run, or a part of it (`folds/3`, `seeds/14`), in all processes of all nodes.

        Where memory runs out for one, all go on from the last checkpoint in smaller parts. Raises the error of the
        first process, by number, that has one; others that differ are printed.
        """
        while True:
            keeps = prepared.recipe.train.sharding.name is None
            job = Job(str(run.path), str(run.final), part, sources(prepared), self.world.nodes, self.processes, keeps)
            try:
                return self._fit(job) if self.others else fit_here(job)
            except SmallerParts:
                say(f"note: the training processes begin again{' at the last checkpoint' if keeps else ''}")
            finally:
                if not run.path.is_dir():  # its own processes have published it
                    run.path = run.final

    def end(self, error: BaseException | None) -> None:
        """Tell all that follow how it has ended; those that come late too, for a moment."""
        late = time.monotonic() + _GRACE
        while error is not None and self._absent() and time.monotonic() < late:
            with contextlib.suppress(MachineError):
                self._admit(0.1)
        for connection in self.others.values():
            with contextlib.suppress(OSError):  # it is gone
                wire.send(connection, wire.ending(error))
            connection.close()

    # ------------------------------------------------------------------ who comes

    def _absent(self) -> list[str]:
        return [wire.name(self.world, node) for node in range(1, self.world.nodes) if node not in self.others]

    def _admit(self, seconds: float, own: Message | None = None) -> bool:
        """Take in the next node that comes within `seconds`; tells whether one came.

        Raises MachineError where it is not as this node, which says `own`.
        """
        assert self.listener is not None
        self.listener.settimeout(seconds)
        try:
            found, _ = self.listener.accept()
        except TimeoutError:
            return False
        reached = str(found.getsockname()[0])
        connection = wire.connection_of(found)
        said = wire.heard(connection, _GRACE)
        if not said or said.get("kind") != "hello":  # some program that looks what listens here
            connection.close()
            return False
        if not self.address or self.address.startswith("127."):
            self.address = reached
        node = int(said["node"])
        twice, self.others[node] = self.others.get(node), connection
        name = wire.name(self.world, node)
        if twice is not None:
            fault = MachineError(f"{name} came twice", "give each machine a --rank of its own")
            wire.send(twice, wire.ending(fault))
            raise fault
        if own and (unlike := wire.difference(said, own)):
            hint = "give the same command on every machine, where ftkit is installed alike"
            raise MachineError(f"{name} is not as machine 0: it {unlike}", hint)
        return True

    def _missing(self, absent: list[str]) -> MachineError:
        where = f"{self.world.host}:{self.world.port}"
        way = "srun or torchrun starts them" if self.world.note else f"start each with --address {where}"
        return MachineError(
            f"{', '.join(absent)} did not come to {where} within {wire.PATIENCE:.0f} s",
            f"{way}; see that no firewall is between; --machines 1 trains on this machine alone",
        )

    # ------------------------------------------------------------------ a fit

    def _fit(self, job: Job) -> Fitted:
        """Train with all; where one fails, all are ended."""
        job = replace(job, host=self.address, port=wire.free_port())
        launched = self.world.local_rank if self.world.launcher else None
        waiting, codes, found, gone = set(self.others), list[int](), Outcomes(), list[MachineError]()
        with (
            Processes(job, launched, wire.interface(self.address)) as own,
            heeded(own),
        ):
            try:
                for node in self.others:
                    self._send(node, {"kind": "fit", "job": job.dump()})
                while (own.code() is None or waiting) and not own.code() and not any(codes):
                    for node in self._ready(waiting):
                        message = self._receive(node)
                        waiting.discard(node)
                        codes.append(message["code"])
                        found |= self._found(message)
            except MachineError as error:
                gone.append(error)
            finally:
                own.end()
                found |= self._stopped(waiting)
            found |= own.outcomes()
            if gone and not any("error" in each for each in found.values()):
                raise gone[0]
            return outcome([own.result(), *codes], found)

    def _ready(self, nodes: set[int]) -> list[int]:
        """Nodes that have said something, or are gone; waits for it a little."""
        if not nodes:
            time.sleep(LOOK)
            return []
        ready = wait([self.others[node] for node in nodes], LOOK)
        return [node for node in nodes if self.others[node] in ready]

    def _stopped(self, nodes: set[int]) -> Outcomes:
        """What the processes of nodes have told that are ended now."""
        found = Outcomes()
        for node in nodes:
            with contextlib.suppress(MachineError):  # it is gone, and that is known or not what matters
                self._send(node, {"kind": "stop"})
        for node in nodes:
            with contextlib.suppress(MachineError):
                found |= self._found(self._receive(node))
        return found

    def _found(self, message: Message) -> Outcomes:
        """What the processes of another node have told; a bug of one is shown here too."""
        found: Outcomes = {int(number): each for number, each in message["found"].items()}
        for each in found.values():
            if "bug" in each and not self.world.launcher:
                print(f"training process {each['rank']}:\n{each['bug']}", file=sys.stderr)
        return found

    def _send(self, node: int, message: Message) -> None:
        try:
            wire.send(self.others[node], message)
        except OSError:
            raise self._gone(node) from None

    def _receive(self, node: int) -> Message:
        message = wire.heard(self.others[node])
        if message is None:
            raise self._gone(node)
        return message

    def _gone(self, node: int) -> MachineError:
        return MachineError(f"{wire.name(self.world, node)} is gone", "what it has said stands where it was started")


@contextmanager
def gathered(world: World) -> Iterator[Crew]:
    """Those who will train; at the end those who follow are told how it has ended."""
    if world.nodes == 1:
        yield Crew(world)
        return
    with _listener(world) as listener:
        crew = Crew(world, listener)
        try:
            yield crew
        except BaseException as error:
            crew.end(error)
            raise
        crew.end(None)


def _listener(world: World) -> socket.socket:
    """Where the others come to: the port that is named, or one that the launcher's store tells them."""
    try:
        found = socket.create_server(("", 0 if world.shared else world.port), backlog=world.nodes)
    except OSError as error:
        raise MachineError(
            f"port {world.port} can't be listened at: {error.strerror}", "name another one with --address HOST:PORT"
        ) from error
    if world.shared:
        wire.tell_port(world, found.getsockname()[1])
    return found
