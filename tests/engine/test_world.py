"""Which of the nodes of a training a process is: by flags, torchrun's variables and SLURM's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.engine.world import World, environment_kept, find, first_host
from ftkit.errors import DataError, MachineError

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "gpu1", "MASTER_PORT": "29400"}
NODE = {"SLURM_NNODES": "2", "SLURM_NODEID": "1", "SLURM_JOB_ID": "70123", "SLURM_JOB_NODELIST": "gpu[03-05,9],cpu1"}
TASK = {**NODE, "SLURM_NTASKS": "8", "SLURM_PROCID": "6", "SLURM_LOCALID": "2"}


def test_without_flags_and_variables_a_process_is_alone() -> None:
    assert find(environ={}) == World()
    assert find(processes=4, environ={}) == World(4)


def test_flags_tell_the_place_whatever_the_environment_says() -> None:
    for environ in ({}, dict(TORCHRUN), dict(TASK)):
        found = find(4, 2, 1, "gpu1:29500", environ=environ)
        assert found == World(4, nodes=2, node=1, host="gpu1", port=29500)
    assert find(4, 1, environ=dict(NODE)) == World(4)


def test_each_process_of_torchrun_is_a_node_and_says_where_it_knows_it_from() -> None:
    found = find(environ=dict(TORCHRUN))
    assert (found.nodes, found.node, found.processes, found.host, found.port) == (8, 5, 1, "gpu1", 29400)
    assert (found.launcher, found.local_rank, found.shared) == ("torchrun", 1, False)
    assert "RANK=5" in found.note and "WORLD_SIZE=8" in found.note
    agents = {**TORCHRUN, "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "2"}
    assert find(environ=agents).shared
    assert find(environ={**TORCHRUN, "TORCHELASTIC_RESTART_COUNT": "2"}).attempt != found.attempt


def test_one_task_a_node_of_slurm_starts_processes_and_one_task_a_gpu_is_one() -> None:
    node, task = find(processes=4, environ=dict(NODE)), find(environ=dict(TASK))
    assert (node.nodes, node.node, node.processes, node.launcher) == (2, 1, 4, "")
    assert (task.nodes, task.node, task.processes, task.launcher, task.local_rank) == (8, 6, 1, "SLURM", 2)
    assert node.host == task.host == "gpu03" and node.port == task.port
    assert "SLURM_NODEID=1" in node.note and "SLURM_PROCID=6" in task.note


@pytest.mark.parametrize(
    "environ",
    [
        {"WORLD_SIZE": "1"},
        {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "x", "MASTER_PORT": "1"},
        {"RANK": "3", "LOCAL_RANK": "3"},
        {"WORLD_SIZE": "four", "RANK": "0"},
        {**NODE, "SLURM_NNODES": "1", "SLURM_NTASKS": "1", "SLURM_NODEID": "0", "SLURM_PROCID": "0"},
        {**NODE, "SLURM_NTASKS": "1", "SLURM_PROCID": "0"},
        {name: value for name, value in NODE.items() if name != "SLURM_NODEID"},
    ],
)
def test_left_overs_make_nobody_wait(environ: dict[str, str]) -> None:
    assert find(2, environ=environ) == World(2)
    assert not {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} & environ.keys()


def test_a_world_size_that_nothing_goes_with_is_told_and_left() -> None:
    environ = {"WORLD_SIZE": "4", "PMI_SIZE": "4", "ACCELERATE_MIXED_PRECISION": "fp16", "HOME": "/root"}
    found = find(environ=environ)
    assert found.nodes == 1 and "WORLD_SIZE=4" in found.note and "left over" in found.note
    assert environ == {"HOME": "/root"}


def test_a_script_that_trains_twice_has_its_place_twice() -> None:
    environ = dict(TORCHRUN)
    for _ in range(2):
        with environment_kept(environ):
            assert find(environ=environ).launcher == "torchrun"
            assert not environ
    assert environ == TORCHRUN


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((0, None, None, None), ["--processes 0"]),
        ((None, 2, None, None), ["--rank", "--address", "HOST:PORT"]),
        ((None, 2, 2, "a:1"), ["--rank 2", "from 0 to 1"]),
        ((None, 2, -1, "a:1"), ["--rank -1"]),
        ((None, 0, 0, "a:1"), ["--machines", "not 0"]),
        ((None, None, 1, "a:1"), ["--machines"]),
        ((None, 2, 0, "a"), ["--address a"]),
        ((None, 2, 0, "a:70000"), ["--address a:70000"]),
        ((None, 2, 5, "a:port"), ["--rank 5", "--address a:port"]),
    ],
)
def test_flags_that_say_no_place_are_refused_all_at_once(
    flags: tuple[int | None, int | None, int | None, str | None], said: list[str]
) -> None:
    with pytest.raises(MachineError) as caught:
        find(*flags, environ={})
    assert all(word in str(caught.value) for word in said), str(caught.value)


def test_processes_of_processes_and_accelerates_own_sharding_are_refused() -> None:
    for environ in (TORCHRUN, TASK):
        with pytest.raises(MachineError, match="--processes 4"):
            find(4, environ=dict(environ))
    with pytest.raises(MachineError, match="ACCELERATE_USE_FSDP"):
        find(environ={**TORCHRUN, "ACCELERATE_USE_FSDP": "true"})


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("node1", "node1"),
        ("node1,node2", "node1"),
        ("gpu[03-05,9],cpu1", "gpu03"),
        ("n[7]-ib,n9", "n7-ib"),
        ("a-b[1,2].local", "a-b1.local"),
    ],
)
def test_first_host_of_slurms_short_list(hosts: str, first: str) -> None:
    assert first_host(hosts) == first


@given(st.integers(0, 10**9), st.integers(0, 63), st.integers(2, 64))
def test_every_task_of_a_job_knows_the_same_place_to_meet(job: int, rank: int, nodes: int) -> None:
    environ = {**NODE, "SLURM_JOB_ID": str(job), "SLURM_NNODES": str(nodes), "SLURM_NODEID": str(rank % nodes)}
    found = find(environ=environ)
    assert (found.nodes, found.node, found.host) == (nodes, rank % nodes, "gpu03")
    assert 1024 < found.port < 32_768


def test_only_the_launchers_names_come_back() -> None:
    environ = {**TORCHRUN, "HOME": "/root"}
    with environment_kept(environ):
        environ["HOME"] = "/home/me"
    assert environ == {**TORCHRUN, "HOME": "/home/me"}


def test_the_place_comes_back_after_a_fault_too() -> None:
    environ = dict(TORCHRUN)
    with pytest.raises(DataError), environment_kept(environ):
        find(environ=environ)
        raise DataError("no such file")
    assert environ == TORCHRUN
