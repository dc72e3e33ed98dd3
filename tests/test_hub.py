"""Whether the Hub answers is found out in seconds."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from ftkit import hub
from tests.hub_server import hub as serve


@pytest.fixture(autouse=True)
def not_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def ask(address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(constants, "ENDPOINT", address)
    return hub.unreachable()


def test_any_answer_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(tmp_path) as address:
        assert ask(address, monkeypatch) == ""
        assert ask(f"{address}/nothing/here", monkeypatch) == ""


def test_closed_port_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "refused" in ask(f"http://127.0.0.1:{port}", monkeypatch)


def test_silence_is_given_up_within_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "PROBE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        assert ask(f"http://127.0.0.1:{silent.getsockname()[1]}", monkeypatch)
        assert time.monotonic() - begun < 2


def test_offline_mode_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0)
        assert "HF_HUB_OFFLINE" in ask(f"http://127.0.0.1:{listener.getsockname()[1]}", monkeypatch)
        with pytest.raises(BlockingIOError):
            listener.accept()
