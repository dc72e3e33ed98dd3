"""`ftkit launch`: what it prints starts the training that it says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ftkit as package
from ftkit.engine import wire
from ftkit.errors import MachineError, RecipeError
from tests.command import environment, ftkit
from tests.engine.test_crew import SETTINGS, assert_as_one
from tests.runs import Lab

LAUNCHERS = ("slurm", "torchrun", "accelerate")


@pytest.fixture
def recipe(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "my recipe.yaml"
    path.write_text(lab.recipe("single", *SETTINGS).dump())
    return path


def shell(folder: Path, script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    where = environment(**variables)
    return subprocess.run(["bash", "-c", script], cwd=folder, env=where, capture_output=True, text=True, timeout=280)


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("machines", [1, 3])
def test_what_is_printed_is_shell_and_names_all_that_was_said(recipe: Path, launcher: str, machines: int) -> None:
    flags = ("--machines", machines, "--processes", 2, "--set", "data.limit=9 ", "--set", "train.batch=12")
    done = ftkit("launch", recipe.name, "--print", launcher, *flags, "--run", "new run")
    assert (done.code, done.err) == (0, "")
    assert subprocess.run(["bash", "-n", "-c", done.out]).returncode == 0
    assert f"train '{recipe}' --set 'data.limit=9 ' --set train.batch=12 --run 'new run'" in done.out
    count = {"slurm": f"--nodes={machines}\n", "torchrun": "--nproc-per-node 2 ", "accelerate": f"es {2 * machines} "}
    assert count[launcher] in done.out


def test_slurm_is_asked_for_what_the_processes_take(recipe: Path) -> None:
    flags = ("--print", "slurm", "--machines", 2, "--processes", 4, "--cpus", 3)
    out = ftkit("launch", recipe, *flags).out
    assert "#SBATCH --gpus-per-node=4\n#SBATCH --cpus-per-task=12\n" in out
    assert "#SBATCH --ntasks-per-node=1\n" in out and "export SRUN_CPUS_PER_TASK=" in out
    bare = ftkit("launch", recipe, *flags[:-2], "--no-gpus").out
    assert "gpus" not in bare and "cpus" not in bare.lower()


def test_several_machines_are_told_apart_by_the_shell_where_no_address_is_given(recipe: Path) -> None:
    for launcher in ("torchrun", "accelerate"):
        asks = ftkit("launch", recipe, "--print", launcher, "--machines", 2).out
        done = shell(recipe.parent, asks)
        assert done.returncode != 0 and ("MASTER to the name" in done.stderr or "RANK to the number" in done.stderr)
        told = ftkit("launch", recipe, "--print", launcher, "--machines", 2, "--address", "gpu1:777").out
        assert "gpu1" in told and "777" in told and "MASTER" not in told


def test_what_could_not_start_is_refused(recipe: Path) -> None:
    with pytest.raises(RecipeError, match="over 6 processes"):
        package.launch(recipe, "slurm", machines=2, processes=3)
    with pytest.raises(MachineError, match="--processes 0"):
        package.launch(recipe, "slurm", processes=0)
    with pytest.raises(MachineError, match="--address gpu1: it must be HOST:PORT"):
        package.launch(recipe, "torchrun", address="gpu1")
    assert ftkit("launch", recipe, "--print", "pbs").code == 2
    assert ftkit("launch", "sentimnt/full", "--print", "slurm").code == 3


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_command_trains_as_one_process_does(lab: Lab, recipe: Path, launcher: str) -> None:
    printed = ftkit("launch", recipe, "--print", launcher, "--processes", 2, "--run", "new").out
    done = shell(recipe.parent, printed)
    assert done.returncode == 0, done.stderr
    assert "WORLD_SIZE=2" in done.stderr
    assert json.loads((recipe.parent / "new" / "environment.json").read_text())["processes"] == 2
    assert_as_one(lab, recipe.parent / "new", SETTINGS)


def as_slurm(**variables: Any) -> dict[str, str]:
    job = wire.free_port() % 15_000 + 15_000 * 7  # the port that the number tells is most likely free
    known = {"SLURM_JOB_ID": job, "SLURM_JOB_NODELIST": "localhost", **variables}
    return {name: str(value) for name, value in known.items()}


@pytest.mark.slow
def test_slurms_job_trains_with_one_task_a_node(lab: Lab, recipe: Path) -> None:
    """`srun` stands for itself twice, with the variables that it sets on two nodes."""
    printed = ftkit("launch", recipe, "--print", "slurm", "--machines", 2, "--processes", 1, "--run", "new").out
    srun = 'srun() { shift; SLURM_NODEID=1 "$@" & SLURM_NODEID=0 "$@" && wait $!; }'
    done = shell(recipe.parent, f"{srun}\n{printed}", **as_slurm(SLURM_NNODES=2))
    assert done.returncode == 0, done.stderr
    assert "SLURM_NODEID=0 of 2" in done.stderr
    assert_as_one(lab, recipe.parent / "new", SETTINGS)


@pytest.mark.slow
def test_one_task_a_gpu_trains_as_one_process_does(lab: Lab, recipe: Path) -> None:
    train = f"{sys.executable} -m ftkit train {json.dumps(str(recipe))} --run new"
    script = f"SLURM_PROCID=1 SLURM_LOCALID=1 {train} & SLURM_PROCID=0 SLURM_LOCALID=0 {train} && wait $!"
    done = shell(recipe.parent, script, **as_slurm(SLURM_NNODES=1, SLURM_NTASKS=2))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("SLURM_PROCID=0 of 2") == 1 and "SLURM_PROCID=1" not in done.stderr
    assert_as_one(lab, recipe.parent / "new", SETTINGS)


@pytest.mark.parametrize(("launcher", "machines"), [("slurm", 2), ("torchrun", 1)])
def test_an_address_that_nothing_asks_for_is_refused(launcher: str, machines: int) -> None:
    done = ftkit("launch", "sentiment/full", "--print", launcher, "--machines", machines, "--address", "gpu1:29500")
    assert done.code == 3 and "--address gpu1:29500" in done.err
