"""What the nodes of a training say to each other: JSON, over a connection of each follower to node 0.

It lasts as long as both do, so who is gone is known at once. The gradients go their own ways, as torch sends them.
"""

from __future__ import annotations

import json
import socket
from datetime import timedelta
from importlib.metadata import version
from multiprocessing.connection import Connection
from typing import Any

import psutil

from ftkit.engine.worker import as_message
from ftkit.engine.world import World
from ftkit.errors import FTKitError, Interrupted
from ftkit.recipe import Recipe

PATIENCE = 600.0
"""Seconds that nodes wait for each other to come."""
LATENESS = 15.0
"""Seconds after which what another machine has written is seen in a shared folder, or never will be."""
_LIBRARIES = ("ftkit", "torch", "transformers", "accelerate")
Message = dict[str, Any]


def name(world: World, node: int) -> str:
    """How a node is spoken of."""
    return f"{'process' if world.launcher else 'machine'} {node}"


def hello(world: World, processes: int, recipe: Recipe) -> Message:
    """What a node says first: all that has to be alike."""
    versions = {library: version(library) for library in _LIBRARIES}
    return {
        "kind": "hello",
        "node": world.node,
        "nodes": world.nodes,
        "processes": processes,
        "recipe": recipe.dump(),
        "versions": versions,
    }


def difference(said: Message, own: Message) -> str:
    """What a node that says hello has otherwise than node 0; empty where it is alike."""
    for what in ("nodes", "processes"):
        if said[what] != own[what]:
            return f"has {said[what]} {what.replace('nodes', 'machines')} and not {own[what]}"
    if said["recipe"] != own["recipe"]:
        return "was given another recipe or other settings"
    versions = [
        f"{library} {found}" for library, found in said["versions"].items() if found != own["versions"][library]
    ]
    return f"has other versions: {', '.join(versions)}" if versions else ""


def ending(error: BaseException | None) -> Message:
    """How node 0 ends, as the others are told."""
    if isinstance(error, (FTKitError, Interrupted)):
        return {"kind": "end", "code": error.exit_code, **as_message(error)}
    code = 0 if error is None else 130 if isinstance(error, KeyboardInterrupt) else 1
    return {"kind": "end", "code": code, "error": None}


def connection_of(found: socket.socket) -> Connection:
    """A connection that notices, some day, that the other machine has lost its power."""
    found.settimeout(None)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return Connection(found.detach())


def send(connection: Connection, message: Message) -> None:
    """Say something. Raises OSError where the other side is gone."""
    connection.send_bytes(json.dumps(message).encode())


def heard(connection: Connection, seconds: float | None = None) -> Message | None:
    """The next message; None where the other side is gone, says nothing for so long, or nothing that is one."""
    try:
        if not connection.poll(seconds):
            return None
        found = json.loads(connection.recv_bytes(2**26))
        return found if isinstance(found, dict) else None
    except (OSError, EOFError, ValueError):
        return None


def tell_port(world: World, port: int) -> None:
    """Tell the launcher's store where node 0 is spoken to."""
    _store(world).set("port", str(port))


def port_of(world: World) -> int:
    """Where node 0 is spoken to. Raises RuntimeError where the launcher's store does not tell."""
    return int(_store(world).get("port")) if world.shared else world.port


def _store(world: World) -> Any:
    from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

    found = TCPStore(world.host, world.port, is_master=False, timeout=timedelta(seconds=PATIENCE))
    return PrefixStore(f"ftkit/{world.attempt}", found)


def interface(address: str) -> str:
    """The network interface that has an address of this machine; empty where none has.

    Gloo takes the one that the machine's own name stands for, which on many is the one that leads nowhere.
    """
    for own, addresses in psutil.net_if_addrs().items():
        if any(each.address == address for each in addresses):
            return str(own)
    return ""


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.create_server(("", 0)) as found:
        return int(found.getsockname()[1])
