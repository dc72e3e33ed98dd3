"""A client of a Hub on loopback, in this process: its address, a cache of its own, somebody who is logged in."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants


def use(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask the Hub at `address`."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


def keep_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be online, and keep what is fetched below `home`; the Hub's cache is returned."""
    monkeypatch.setenv("FTKIT_CACHE", str(home / "ftkit"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    return home / "hub"
