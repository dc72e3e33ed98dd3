"""Nodes of one training: they meet, find out what would go wrong, train as one process does, and end together."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ftkit.engine import wire
from ftkit.engine.crew import Crew, gathered
from ftkit.engine.follow import follow
from ftkit.engine.world import World
from ftkit.errors import DataError, FTKitError, MachineError, RunError
from ftkit.files import sha256
from ftkit.recipe import Recipe
from ftkit.run import RunDirectory
from ftkit.terminal import silence
from tests.command import command, environment
from tests.engine.test_launch import faulty, started, wait_until
from tests.runs import Lab, curve, log, read_jsonl, weights


def world(port: int, node: int = 0, **changes: Any) -> World:
    return World(**{"processes": 1, "nodes": 2, "node": node, "host": "127.0.0.1", "port": port, **changes})


@contextmanager
def following(node: World, recipe: Recipe, told: list[str] | None = None) -> Iterator[Future[None]]:
    """A node that follows, in a thread."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(follow, node, recipe, silence if told is None else told.append)


@pytest.fixture
def port() -> int:
    return wire.free_port()


@pytest.fixture
def run(lab: Lab, tmp_path: Path) -> Iterator[RunDirectory]:
    made = RunDirectory.create(lab.recipe("single"), tmp_path / "run")
    yield made
    made.discard()


# ---------------------------------------------------------------------- they meet


def test_nodes_meet_see_the_run_and_end_in_peace(lab: Lab, port: int, run: RunDirectory) -> None:
    told, waited = [], []
    recipe = lab.recipe("single")
    with following(world(port, 1), recipe, told) as other:
        with gathered(world(port)) as crew:
            crew.meet(run, recipe, waited.append)
            assert (crew.size, list(crew.others), crew.address) == (2, [1], "127.0.0.1")
        assert other.result(10) is None
    assert len(told) == 1 and "machine 1 of 2" in told[0]


def test_a_crew_of_one_listens_to_nobody(run: RunDirectory, lab: Lab) -> None:
    with gathered(World(3)) as crew:
        crew.meet(run, lab.recipe("single"), silence)
        assert (crew.size, crew.others, crew.listener) == (3, {}, None)


@pytest.mark.parametrize(
    ("changes", "settings", "said"),
    [
        ({}, ["train.seed=4"], "machine 1 is not as machine 0: it was given another recipe"),
        ({"processes": 2}, [], "has 2 processes and not 1"),
        ({"nodes": 3}, [], "has 3 machines and not 2"),
    ],
)
def test_node_that_is_not_alike_is_refused_on_both(
    lab: Lab, port: int, run: RunDirectory, changes: dict[str, Any], settings: list[str], said: str
) -> None:
    with following(world(port, 1, **changes), lab.recipe("single", *settings)) as other:
        with pytest.raises(MachineError, match=said), gathered(world(port)) as crew:
            crew.meet(run, lab.recipe("single"), silence)
        with pytest.raises(MachineError, match=said):
            other.result(10)


def test_other_versions_of_the_libraries_are_refused(
    lab: Lab, port: int, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = wire.hello(world(port), 1, lab.recipe("single"))
    said = {**own, "versions": {**own["versions"], "torch": "1.0"}}
    assert wire.difference(said, own) == "has other versions: torch 1.0"
    assert wire.difference(own, own) == ""


def test_run_that_another_machine_cannot_see_is_told_before_the_first_step(
    lab: Lab, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "LATENESS", 0.3)
    recipe = lab.recipe("single")
    with following(world(port, 1), recipe) as other:
        with (
            pytest.raises(RunError, match=r"machine 1 .* sees another folder") as caught,
            gathered(world(port)) as crew,
        ):
            crew.meet(RunDirectory(tmp_path / "elsewhere" / "run"), recipe, silence)
        assert "--run" in caught.value.hint and str(tmp_path / "elsewhere") in caught.value.message
        with pytest.raises(RunError, match="sees another folder"):
            other.result(10)


def test_node_that_does_not_come_is_named(
    lab: Lab, port: int, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "PATIENCE", 0.5)
    told: list[str] = []
    said = f"machine 1, machine 2 did not come to 127.0.0.1:{port}"
    with pytest.raises(MachineError, match=said) as caught, gathered(world(port, nodes=3)) as crew:
        crew.meet(run, lab.recipe("single"), told.append)
    assert told == ["note: waiting for machine 1, machine 2"]
    assert "--address" in caught.value.hint
    with pytest.raises(MachineError, match=f"machine 0 is not to be reached at 127.0.0.1:{port}"):
        follow(world(port, 1), lab.recipe("single"), silence)


def test_same_rank_twice_is_refused(lab: Lab, port: int, run: RunDirectory) -> None:
    recipe = lab.recipe("single")
    with following(world(port, 1, nodes=3), recipe) as one, following(world(port, 1, nodes=3), recipe) as other:
        with pytest.raises(MachineError, match="machine 1 came twice"), gathered(world(port, nodes=3)) as crew:
            crew.meet(run, recipe, silence)
        for each in (one, other):
            with pytest.raises(MachineError, match="came twice"):
                each.result(10)


def test_what_is_no_node_does_no_harm(lab: Lab, port: int, run: RunDirectory) -> None:
    recipe = lab.recipe("single")
    with gathered(world(port)) as crew:
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with following(world(port, 1), recipe) as other:
            crew.meet(run, recipe, silence)
            crew.end(None)
            assert other.result(10) is None


def test_port_that_is_taken_is_told(port: int) -> None:
    said = f"port {port} can't be listened at"
    with socket.create_server(("", port)), pytest.raises(MachineError, match=said), gathered(world(port)):
        raise AssertionError("it listens")


# ---------------------------------------------------------------------- they end


@pytest.mark.parametrize(
    ("error", "kind", "said", "code"),
    [
        (DataError("row 7 is torn", "mend it"), DataError, "row 7 is torn", 3),
        (KeyboardInterrupt(), FTKitError, "was ended where it is led", 130),
        (KeyError("a bug"), FTKitError, "was ended where it is led", 1),
    ],
)
def test_those_that_follow_end_as_node_0_does_even_before_they_met(
    lab: Lab, port: int, error: BaseException, kind: type[FTKitError], said: str, code: int
) -> None:
    with following(world(port, 1), lab.recipe("single")) as other:
        with pytest.raises(type(error)), gathered(world(port)):
            raise error
        with pytest.raises(kind, match=said) as caught:
            other.result(10)
        assert caught.value.exit_code == code


def test_processes_of_a_launcher_say_it_once_on_a_machine(lab: Lab, port: int) -> None:
    node = world(port, 1, launcher="torchrun", local_rank=1)
    with following(node, lab.recipe("single")) as other:
        with pytest.raises(DataError), gathered(world(port, launcher="torchrun")):
            raise DataError("torn")
        with pytest.raises(SystemExit) as caught:
            other.result(10)
        assert caught.value.code == 3


def test_node_0_that_is_gone_and_a_follower_that_is_are_told(lab: Lab, port: int, run: RunDirectory) -> None:
    recipe = lab.recipe("single")
    with following(world(port, 1), recipe) as other, gathered(world(port)) as crew:
        crew.meet(run, recipe, silence)
        crew.others[1].close()
        with pytest.raises(MachineError, match=r"machine 0 \(127.0.0.1\), which leads the training, is gone"):
            other.result(10)
        crew.others.clear()
    crew = Crew(world(port))
    ours, theirs = socket.socketpair()
    crew.others[1] = wire.connection_of(ours)
    theirs.close()
    with pytest.raises(MachineError, match="machine 1 is gone"):
        crew._receive(1)


# ---------------------------------------------------------------------- they train


def start(folder: Path, port: int, rank: int, *flags: object, inside: tuple[str, ...] = (), host: str = "127.0.0.1"):
    line = command(
        "train", folder / "mine.yaml", "--machines", 2, "--rank", rank, "--address", f"{host}:{port}", *flags
    )
    return subprocess.Popen([*inside, *line], env=environment(), stdout=-1, stderr=-1, text=True)


def ended(*started: subprocess.Popen[str]) -> list[tuple[int, str, str]]:
    """How they end: code, what they print, what they tell but warnings and notes."""
    found = []
    for process in started:
        out, err = process.communicate(timeout=200)
        told = [line for line in err.splitlines() if not line.startswith(("warning", "note"))]
        found.append((process.returncode, out, "\n".join(told)))
    return found


SETTINGS = ("train.optimizer=sgd", "train.learning_rate=0.1")


def assert_as_one(lab: Lab, run: Path, settings: tuple[str, ...]) -> None:
    """Losses, norms and weights as one process has them to 1e-5, and the same scores."""
    one = lab.train("single", *settings)
    for name, values in curve(one.run).items():
        assert curve(run)[name] == pytest.approx(values, rel=1e-5, abs=1e-6), name
    if "train.optimizer=sgd" in settings:
        ours, theirs = weights(one.run), weights(run)
        assert max((ours[name] - theirs[name]).abs().max().item() for name in ours) < 1e-5
    assert log(run, "validation") == log(one.run, "validation")
    assert json.loads((run / "scores.json").read_text())["scores"] == one.scores


@pytest.mark.slow
@pytest.mark.parametrize("settings", [(*SETTINGS, "train.accumulate=2"), ()], ids=["sgd", "adamw"])
def test_two_nodes_of_two_processes_train_as_one_process_does(
    lab: Lab, tmp_path: Path, port: int, settings: tuple[str, ...]
) -> None:
    (tmp_path / "mine.yaml").write_text(lab.recipe("single", *settings).dump())
    nodes = [start(tmp_path, port, rank, "--processes", 2, "--run", tmp_path / "run") for rank in (1, 0)]
    follower, leader = ended(*nodes)
    assert (follower, leader[0]) == ((0, "", ""), 0), (follower, leader)
    assert_as_one(lab, tmp_path / "run", settings)
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["processes"] == 4


@pytest.mark.slow
def test_folds_over_two_nodes_are_the_folds_of_one(lab: Lab, tmp_path: Path, port: int) -> None:
    settings = (*SETTINGS, "train.folds=2")
    (tmp_path / "mine.yaml").write_text(lab.recipe("single", *settings).dump())
    nodes = [start(tmp_path, port, rank, "--processes", 1, "--run", tmp_path / "run") for rank in (0, 1)]
    assert [code for code, *_ in ended(*nodes)] == [0, 0]
    one = lab.train("single", *settings)
    ours, theirs = (read_jsonl(run / "predictions" / "folds.jsonl") for run in (tmp_path / "run", one.run))
    assert [(a["fold"], a["label"]) for a in ours] == [(a["fold"], a["label"]) for a in theirs]
    assert_as_one(lab, tmp_path / "run", settings)


NODE_FAULTS = {
    "an error": ("raise DataError('row 7 is torn', 'mend it')", "error: row 7 is torn\n  mend it", ""),
    "a kill": ("os.kill(os.getpid(), signal.SIGKILL)", "error: training process 1 was ended by the signal SIGKILL", ""),
    "a bug": ("raise KeyError('a bug of rank 1')", "ended with exit code 1", "KeyError: 'a bug of rank 1'"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NODE_FAULTS)
def test_fault_on_another_node_ends_all_and_is_told_on_each(lab: Lab, tmp_path: Path, port: int, name: str) -> None:
    fault, said, traceback = NODE_FAULTS[name]
    faulty(lab, tmp_path, fault)
    before = set(tmp_path.iterdir())
    nodes = [start(tmp_path, port, rank, "--processes", 1, "--run", tmp_path / "new" / "run") for rank in (0, 1)]
    for code, out, err in ended(*nodes):
        assert (code, out) == (3, "")
        assert said in err and traceback in err
        assert "gloo" not in err and "ChildFailedError" not in err
    assert set(tmp_path.iterdir()) == before
    assert not started(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("killed", "said"), [(0, "which leads the training, is gone"), (1, "machine 1 is gone")])
def test_node_that_is_killed_ends_the_other_within_seconds(
    lab: Lab, tmp_path: Path, port: int, killed: int, said: str
) -> None:
    (tmp_path / "mine.yaml").write_text(lab.recipe("single", "train.epochs=100000").dump())
    nodes = [start(tmp_path, port, rank, "--processes", 1, "--run", tmp_path / "run") for rank in (0, 1)]
    try:
        assert wait_until((tmp_path / "run" / "model").exists, seconds=150), "it has not begun"
        os.kill(nodes[killed].pid, signal.SIGKILL)
        assert wait_until(lambda: nodes[1 - killed].poll() is not None, seconds=15)
        code, _, err = ended(nodes[1 - killed])[0]
        assert code == 3 and said in err
        assert wait_until(lambda: not started(tmp_path), seconds=15)
    finally:
        for left in started(tmp_path):
            os.kill(left, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("told", [0, 1])
def test_node_that_is_told_to_stop_stops_all_and_they_go_on_to_the_same_weights(
    lab: Lab, tmp_path: Path, port: int, told: int
) -> None:
    settings = ("train.epochs=12", "model.dropout=0.2", "train.batch=4", "train.checkpoint_every=1")
    (tmp_path / "mine.yaml").write_text(lab.recipe("single", *settings).dump())
    flags = ("--processes", 1, "--run", tmp_path / "run", "--resume")
    nodes = [start(tmp_path, port, rank, *flags) for rank in (0, 1)]
    assert wait_until((tmp_path / "run" / "checkpoints" / "step-00000003").exists, seconds=150), "it has not begun"
    nodes[told].send_signal(signal.SIGTERM)
    for code, out, err in ended(*nodes):
        assert (code, out) == (130, "") and "which is saved" in err, err
    nodes = [start(tmp_path, port, rank, *flags) for rank in (0, 1)]
    assert [code for code, *_ in ended(*nodes)] == [0, 0]
    whole = lab.train("single", *settings, processes=2)
    assert sha256(tmp_path / "run" / "model") == sha256(whole.run / "model")


@pytest.mark.slow
def test_other_rows_on_another_machine_are_found_out(lab: Lab, tmp_path: Path) -> None:
    from ftkit.engine.launch import fit_here
    from ftkit.engine.worker import Job, sources

    prepared = lab.prepared("single")
    run = RunDirectory.create(lab.recipe("single"), tmp_path / "run")
    data = {**sources(prepared), "data.train": "0" * 64}
    with pytest.raises(DataError, match=r"data\.train: there are other contents"):
        fit_here(Job(str(run.path), str(run.final), "", data, nodes=1, processes=2))
    run.discard()


@pytest.mark.slow
def test_torchrun_trains_as_one_process_does(lab: Lab, tmp_path: Path) -> None:
    settings = (*SETTINGS, "train.accumulate=2")
    (tmp_path / "mine.yaml").write_text(lab.recipe("single", *settings).dump())
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--", "ftkit"]
    line += ["train", str(tmp_path / "mine.yaml"), "--run", str(tmp_path / "run"), "--json"]
    done = subprocess.run(line, env=environment(), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == str(tmp_path / "run")  # rank 0 alone prints
    assert done.stderr.count("were taken from the environment") == 1
    assert_as_one(lab, tmp_path / "run", settings)


@pytest.mark.slow
def test_script_under_torchrun_trains_twice_with_all_its_processes(lab: Lab, tmp_path: Path) -> None:
    settings = (*SETTINGS, "train.accumulate=2")
    (tmp_path / "mine.yaml").write_text(lab.recipe("single", *settings).dump())
    calls = [f"ftkit.train({str(tmp_path / 'mine.yaml')!r}, run={str(tmp_path / name)!r})" for name in ("one", "two")]
    (tmp_path / "twice.py").write_text("import ftkit\nif __name__ == '__main__':\n    " + "\n    ".join(calls))
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*line, str(tmp_path / "twice.py")], env=environment(), capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    for name in ("one", "two"):
        assert_as_one(lab, tmp_path / name, settings)


# ---------------------------------------------------------------------- two machines, as far as one has them


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def machines() -> Iterator[dict[str, str]]:
    """Two network namespaces, each with its address: nothing but their cable joins them."""
    mine = f"ftk{os.getpid()}"
    names = [f"{mine}a", f"{mine}b"]
    if not shutil.which("ip") or os.geteuid():
        pytest.skip("network namespaces need iproute2 and root")
    try:
        ip("netns", "add", names[0])
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespace can be made here: {error.stderr.strip()}")
    try:
        ip("netns", "add", names[1])
        ip(
            "link",
            "add",
            f"v{mine}a",
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            "name",
            f"v{mine}b",
            "netns",
            names[1],
        )
        addresses = {}
        for place, name in enumerate(names, 1):
            ip("-n", name, "addr", "add", f"10.77.0.{place}/24", "dev", f"v{name}")
            ip("-n", name, "link", "set", f"v{name}", "up")
            ip("-n", name, "link", "set", "lo", "up")
            addresses[name] = f"10.77.0.{place}"
        yield addresses
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [SETTINGS, ()], ids=["sgd", "adamw"])
def test_two_machines_that_only_a_cable_joins_train_as_one_process_does(
    lab: Lab, tmp_path: Path, machines: dict[str, str], settings: tuple[str, ...]
) -> None:
    (tmp_path / "mine.yaml").write_text(lab.recipe("single", *settings).dump())
    host = next(iter(machines.values()))
    nodes = [
        start(
            tmp_path, 29_500, rank, "--processes", 1, "--run", tmp_path / "run",
            inside=("ip", "netns", "exec", name), host=host,
        )
        for rank, name in enumerate(machines)
    ]  # fmt: skip
    told = ended(*nodes)
    assert [code for code, *_ in told] == [0, 0], told
    assert_as_one(lab, tmp_path / "run", settings)
