"""What starts a training elsewhere: a job file for SLURM, a command for torchrun or Accelerate."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from ftkit.errors import MachineError

Launcher = Literal["slurm", "torchrun", "accelerate"]
_PORT = 29_500
_PLACE = "${MASTER:?set MASTER to the name of the first machine}"
_RANK = "${RANK:?set RANK to the number of this machine, from 0}"


def job(
    launcher: Launcher,
    recipe: str,
    settings: Iterable[str] = (),
    run: str | None = None,
    machines: int = 1,
    processes: int = 1,
    address: str | None = None,
    gpus: bool = True,
    cpus: int | None = None,
    name: str = "ftkit",
) -> str:
    """The text that starts a training in `processes` processes on each of `machines`.

    `gpus` and `cpus` (for each process) are asked of SLURM; where `address` (HOST:PORT) is not given, a command for
    several machines asks the shell for it.
    """
    if machines < 1 or processes < 1:
        raise MachineError(f"--machines {machines} --processes {processes}: one or more of each are needed")
    if address is not None and not re.fullmatch(r".+:\d+", address):
        raise MachineError(f"--address {address}: it must be HOST:PORT of the first machine")
    if address is not None and (launcher == "slurm" or machines == 1):
        why = "SLURM tells where the first machine is" if launcher == "slurm" else "there is one machine"
        raise MachineError(f"--address {address}: {why}", "leave --address out")
    train = ["train", recipe]
    for setting in settings:
        train += ["--set", setting]
    train += ["--run", run] if run else []
    if launcher == "slurm":
        return _slurm([*train, "--processes", str(processes)], machines, processes, gpus, cpus, name)
    host, _, port = (address or f"{_PLACE}:{_PORT}").rpartition(":")
    if launcher == "torchrun":
        return _torchrun(train, machines, processes, host, port)
    return _accelerate(train, machines, processes, host, port)


def _slurm(
    train: list[str], machines: int, processes: int, gpus: bool, cpus: int | None, name: str
) -> str:  # one task a node: ftkit starts the node's processes, and takes the rest from SLURM's variables
    asked = {
        "job-name": shlex.quote(name),
        "nodes": machines,
        "ntasks-per-node": 1,
        **({"gpus-per-node": processes} if gpus else {}),
        **({"cpus-per-task": cpus * processes} if cpus else {}),
        "chdir": shlex.quote(str(Path.cwd())),
        "output": "%x-%j.log",
    }
    lines = [f"#SBATCH --{option}={value}" for option, value in asked.items()]
    share = ["export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK"] if cpus else []
    command = shlex.join([sys.executable, "-m", "ftkit", *train])
    return "\n".join(["#!/bin/bash", *lines, "", *share, f"srun --kill-on-bad-exit=1 {command}", ""])


def _torchrun(train: list[str], machines: int, processes: int, host: str, port: str) -> str:
    meet = "--standalone"
    if machines > 1:
        meet = f'--nnodes {machines} --rdzv-backend c10d --rdzv-endpoint "{host}:{port}"'
    # Behind `--`, or torchrun takes --run for one of its own options.
    start = f"{shlex.quote(sys.executable)} -m torch.distributed.run {meet} --nproc-per-node {processes}"
    return f"{start} -m -- {shlex.join(['ftkit', *train])}\n"


def _accelerate(train: list[str], machines: int, processes: int, host: str, port: str) -> str:
    count = machines * processes
    # Accelerate says --multi_gpu for several processes of whatever kind; without, it starts one, and says nothing.
    several = f"--multi_gpu --num_processes {count}" if count > 1 else "--num_processes 1"
    meet = f"--num_machines {machines}"
    if machines > 1:
        meet += f' --machine_rank "{_RANK}" --main_process_ip "{host}" --main_process_port {port}'
    start = f"{shlex.quote(sys.executable)} -m accelerate.commands.launch {several} {meet}"
    return f"{start} --mixed_precision no --dynamo_backend no -m {shlex.join(['ftkit', *train])}\n"
