"""The nodes of one training but the first: each trains what node 0 hands out, and ends as it does."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from ftkit.engine import machine, wire
from ftkit.engine.launch import LOOK, Processes, error_of, heeded
from ftkit.engine.wire import Message
from ftkit.engine.worker import Job
from ftkit.engine.world import World
from ftkit.errors import FTKitError, Interrupted, MachineError
from ftkit.recipe import Recipe
from ftkit.run import RECIPE
from ftkit.terminal import Say


def follow(world: World, recipe: Recipe, say: Say) -> None:
    """Train with node 0 what it trains, until all is done. Raises its error where it fails."""
    connection = _reached(world)
    if not world.launcher:
        say(f"note: machine {world.node} of {world.nodes} trains with {world.host}, which tells and keeps everything")
    try:
        wire.send(connection, wire.hello(world, world.processes or machine.processes(), recipe))
        while (message := _next(connection, world))["kind"] != "end":
            if message["kind"] == "look":
                wire.send(connection, {"fault": _unseen(Path(message["run"]))})
            elif message["kind"] == "fit":
                wire.send(connection, _fit(world, connection, Job(**json.loads(message["job"]))))
    except OSError as error:
        raise _gone(world) from error
    finally:
        connection.close()
    _end_as(message, world)


def _reached(world: World) -> Connection:
    """The connection to node 0. Raises MachineError where it is not to be reached."""
    end = time.monotonic() + wire.PATIENCE
    while True:
        try:
            return wire.connection_of(socket.create_connection((world.host, wire.port_of(world)), timeout=10))
        except (OSError, RuntimeError) as error:
            if time.monotonic() > end:
                raise MachineError(
                    f"machine 0 is not to be reached at {world.host}:{world.port}: {error}",
                    "start it there with --rank 0, and see that no firewall is between",
                ) from error
            time.sleep(0.5)


def _next(connection: Connection, world: World) -> Message:
    message = wire.heard(connection)
    if message is None:
        raise _gone(world)
    return message


def _gone(world: World) -> MachineError:
    return MachineError(f"machine 0 ({world.host}), which leads the training, is gone", "start all machines again")


def _unseen(run: Path) -> str:
    """What is wrong where the run that node 0 has made can't be seen from here; empty where it can."""
    end = time.monotonic() + wire.LATENESS
    while not (run / RECIPE).is_file():
        if time.monotonic() > end:
            return f"({socket.gethostname()}) sees another folder {run.parent} than machine 0, without the run in it"
        if run.parent.is_dir():
            os.listdir(run.parent)  # has a network's file system look again
        time.sleep(LOOK)
    return ""


def _fit(world: World, connection: Connection, job: Job) -> Message:
    """Train with the others; ended where node 0 says so or is gone."""
    launched = world.local_rank if world.launcher else None
    with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as own:
        reached = str(own.getsockname()[0])
    here = job.host if reached.startswith("127.") else reached
    with (
        Processes(replace(job, node=world.node), launched, wire.interface(here)) as processes,
        heeded(processes),
    ):
        while processes.code() is None:
            if connection.poll(LOOK):
                message = _next(connection, world)
                if message["kind"] == "end":  # and not "stop" before: it was interrupted twice
                    _end_as(message, world)
                processes.end()
        return {"code": processes.result(), "found": processes.outcomes()}


def _end_as(message: Message, world: World) -> None:
    """End as node 0 has; quietly where another process of this machine says why."""
    if not message["code"]:
        return
    if world.launcher and world.local_rank:
        sys.exit(message["code"])
    error: FTKitError | Interrupted
    if message["error"] is None:
        error = FTKitError(f"the training was ended where it is led, on {world.host}")
    else:
        error = error_of(message)
    error.exit_code = message["code"]
    raise error
