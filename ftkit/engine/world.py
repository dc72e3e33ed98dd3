"""Where the processes of a training stand: on this machine, on several, or started one by one by a launcher.

A node is a machine, which starts processes, or, under torchrun and the like, one process that stands for itself.
Node 0 leads: it prepares, hands out trainings, scores and keeps the run. The others follow it (`engine/crew`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass

from ftkit.errors import MachineError, problems

_LAUNCHERS = re.compile(
    r"(RANK|LOCAL_RANK|WORLD_SIZE|LOCAL_WORLD_SIZE|GROUP_RANK|GROUP_WORLD_SIZE|ROLE_\w+|MASTER_ADDR|MASTER_PORT"
    r"|TORCHELASTIC_\w+|(PMI|OMPI_COMM_WORLD|MV2_COMM_WORLD)_(RANK|SIZE|LOCAL_RANK|LOCAL_SIZE)|MPI_LOCALN?RANK\w+"
    r"|ACCELERATE_\w+|FSDP_\w+)"
)
"""Variables by which torch and Accelerate take a process for one of several, or one set up otherwise than it says."""
_SHARDING = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")
_PORTS = 15_000
"""SLURM's job number tells a port from here on, and below those that systems hand out by themselves."""


@dataclass(frozen=True)
class World:
    """The nodes of a training, and which of them this process is."""

    processes: int | None = None
    """Processes that each node starts; one for each GPU of the machine where it is not said."""
    nodes: int = 1
    node: int = 0
    host: str = ""
    """Of node 0."""
    port: int = 0
    """Where node 0 is spoken to."""
    launcher: str = ""
    """What has started a process for each node, `torchrun` or `SLURM`; empty where a node is a machine."""
    shared: bool = False
    """Whether the launcher has a store of its own at `port`, which tells where node 0 is spoken to."""
    attempt: str = ""
    """Tells it from earlier ones in that store."""
    local_rank: int = 0
    """Which of the launcher's processes on its machine this one is."""
    note: str = ""
    """What was taken from the environment."""


def find(
    processes: int | None = None,
    machines: int | None = None,
    rank: int | None = None,
    address: str | None = None,
    environ: MutableMapping[str, str] = os.environ,
) -> World:
    """This process's place: as it is told, or as torchrun's and SLURM's variables say.

    Takes such variables out of the environment: what a launcher, or an earlier session, has left there would have
    libraries wait for other processes. Raises MachineError with all that is wrong.
    """
    found = _taken(environ)
    _check(processes)
    if given := [name for name in _SHARDING if found.get(name, "").lower() in ("1", "true")]:
        raise MachineError(
            f"{given[0]} is set: a training is set up by its recipe alone, not by Accelerate's own configuration",
            "set train.sharding in the recipe, and leave --use_fsdp and --use_deepspeed out",
        )
    if machines is not None or rank is not None or address is not None:
        return _told(processes, machines, rank, address)
    if (size := _number(found, "WORLD_SIZE") or 1) > 1:
        return _by_torchrun(processes, size, found)
    return _by_slurm(processes, environ) or World(processes)


@contextmanager
def environment_kept(environ: MutableMapping[str, str] = os.environ) -> Iterator[None]:
    """Gives back at the end what `find` took out of the environment: a script may train more than once."""
    before = {name: value for name, value in environ.items() if _LAUNCHERS.fullmatch(name)}
    try:
        yield
    finally:
        environ.update(before)


def alone(processes: int | None = None) -> World:
    """This process's place where it is one of no others, whatever an earlier session has left in the environment."""
    _taken(os.environ)
    _check(processes)
    return World(processes)


def _check(processes: int | None) -> None:
    if processes is not None and processes < 1:
        raise MachineError(f"--processes {processes}: one or more are needed", "leave it out for one on each GPU")


def _taken(environ: MutableMapping[str, str]) -> dict[str, str]:
    return {name: environ.pop(name) for name in list(environ) if _LAUNCHERS.fullmatch(name)}


def _told(processes: int | None, machines: int | None, rank: int | None, address: str | None) -> World:
    if machines == 1 and not rank:
        return World(processes)
    host, _, port = (address or "").rpartition(":")
    wrong = []
    if machines is None or machines < 1:
        wrong.append(f"--machines must say how many there are{'' if machines is None else f', and not {machines}'}")
    elif rank is None:
        wrong.append(f"--rank must say which of the {machines} machines this is, from 0")
    elif not 0 <= rank < machines:
        wrong.append(f"--rank {rank}: there are {machines} machines, from 0 to {machines - 1}")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        wrong.append(f"--address {address or ''}: it must be HOST:PORT of machine 0".replace(" :", ":"))
    if wrong:
        hint = "on each machine: --machines 2 --rank R --address HOST:PORT, with R 0 on HOST and 1 on the other"
        raise problems(MachineError, "", wrong, hint)
    return World(processes, machines or 1, rank or 0, host.strip("[]"), int(port))


def _by_torchrun(processes: int | None, size: int, found: dict[str, str]) -> World:
    rank, port = _number(found, "RANK"), _number(found, "MASTER_PORT")
    if rank is None or port is None or "MASTER_ADDR" not in found:
        note = f"WORLD_SIZE={size} in the environment is left over: RANK, MASTER_ADDR or MASTER_PORT is not there"
        return World(processes, note=f"{note}, so this process trains by itself")
    if processes not in (None, 1):
        raise MachineError(
            f"--processes {processes}: torchrun has started {size} processes already",
            "leave it out, or call ftkit without torchrun",
        )
    host, shared = found["MASTER_ADDR"], found.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    note = (
        f"RANK={rank}, WORLD_SIZE={size} and MASTER_ADDR={host} were taken from the environment, as torchrun sets them"
    )
    attempt = f"{found.get('TORCHELASTIC_RUN_ID', '')}/{found.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    return World(1, size, rank, host, port, "torchrun", shared, attempt, _number(found, "LOCAL_RANK") or 0, note)


def _by_slurm(processes: int | None, environ: MutableMapping[str, str]) -> World | None:
    """The place that `srun` gives a task: one task a node starts processes, one task a GPU is one."""
    nodes = _number(environ, "SLURM_STEP_NUM_NODES", "SLURM_NNODES") or 1
    tasks = _number(environ, "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS") or nodes
    name = "SLURM_PROCID" if tasks != nodes else "SLURM_NODEID"
    place, job = _number(environ, name), _number(environ, "SLURM_JOB_ID")
    hosts = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST") or environ.get("SLURM_NODELIST")
    if tasks == 1 or place is None or job is None or not hosts:
        return None
    if tasks != nodes and processes not in (None, 1):
        raise MachineError(
            f"--processes {processes}: SLURM has started {tasks} tasks already, each of which is a process",
            "leave it out, or ask for one task a node (--ntasks-per-node=1)",
        )
    host, port = first_host(hosts), _PORTS + job % _PORTS
    note = f"{name}={place} of {tasks} and the first node, {host}, were taken from the environment, as SLURM sets them"
    if tasks == nodes:
        return World(processes, nodes, place, host, port, note=note)
    return World(1, tasks, place, host, port, "SLURM", local_rank=_number(environ, "SLURM_LOCALID") or 0, note=note)


def first_host(hosts: str) -> str:
    """The first of the hosts in SLURM's short way to write them: `gpu[03-05,9],cpu1` begins with gpu03."""
    found = re.match(r"([^,\[]*)(?:\[(\w+)[^\]]*\]([^,\[]*))?", hosts)
    return "".join(part or "" for part in found.groups()) if found else hosts


def _number(environ: Mapping[str, str], *names: str) -> int | None:
    """The first of some variables that is a number."""
    return next((int(environ[name]) for name in names if environ.get(name, "").strip().isdigit()), None)
