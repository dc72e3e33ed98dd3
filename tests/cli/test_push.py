"""`ftkit push` prints the address and `ftkit pull` the folder; who is not logged in is told so."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.command import command, environment, ftkit
from tests.engine.test_push import TOKEN, Hub, exported, online
from tests.hub_server import client_environment

__all__ = ["exported", "online"]


def test_there_and_back(online: Hub, exported: Path, tmp_path: Path) -> None:
    sent = ftkit("push", exported, "reviews", "--message", "for the lab")
    assert (sent.code, sent.out) == (0, f"{online.address}/ada/reviews\n")
    assert "for the lab" in online.accounts.messages.values() and TOKEN not in sent.err
    fetched = ftkit("pull", "ada/reviews", "--to", tmp_path / "out")
    assert (fetched.code, fetched.out) == (0, f"{tmp_path / 'out'}\n")
    told = [ftkit("predict", source, "a text", "--json").out for source in (exported, tmp_path / "out", "ada/reviews")]
    assert told[0] == told[1] == told[2] != ""


def test_one_object_on_stdout(online: Hub, exported: Path, tmp_path: Path) -> None:
    told = json.loads(ftkit("push", exported, "reviews", "--dry-run", "--json").out)
    assert told["repo"] == "ada/reviews" and told["commit"] is None and "model.safetensors" in told["files"]
    assert json.loads(ftkit("push", exported, "reviews", "--json").out)["commit"] in online.accounts.messages
    told = json.loads(ftkit("pull", "ada/reviews", "--to", tmp_path / "out", "--json").out)
    assert told == {"repo": "ada/reviews", "folder": str(tmp_path / "out")}


def test_who_is_not_logged_in_is_told_what_to_do(
    online: Hub, exported: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    done = ftkit("push", exported, "reviews")
    assert (done.code, done.out) == (3, "") and "hf auth login" in done.err
    done = ftkit("pull", "ada/nothing", "--to", tmp_path / "out")
    assert (done.code, done.out) == (3, "") and "the Hub has no ada/nothing" in done.err


def test_the_users_own_endpoint_and_token_are_used(online: Hub, exported: Path, tmp_path: Path) -> None:
    ours = client_environment(online.address, tmp_path / "other") | {"HF_TOKEN": TOKEN, "HF_DEBUG": "1"}
    done = subprocess.run(
        command("push", exported, "lab/reviews"), env=environment(**ours), capture_output=True, text=True, timeout=120
    )
    assert done.stdout == f"{online.address}/lab/reviews\n", done.stderr
    assert TOKEN not in done.stderr and (online.folder("lab/reviews") / "ftkit.json").exists()
