"""What all tests share: one thread, no network, a cache of their own, and small runs that are trained once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    TOKENIZERS_PARALLELISM="false",
    OMP_NUM_THREADS="1",
)

import pytest
import torch
from hypothesis import settings

from tests.runs import Lab

torch.set_num_threads(1)
settings.register_profile("ftkit", deadline=None)  # a busy machine is no failure
settings.load_profile("ftkit")


@pytest.fixture(autouse=True)
def gate_in_this_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports are measured here, where all is imported already, but for tests marked `fresh_process`."""
    if request.node.get_closest_marker("fresh_process"):
        return
    from ftkit.engine import gate, parity, speed

    monkeypatch.setattr(speed, "PATIENCE", 0.0)
    monkeypatch.setattr(gate, "in_a_fresh_process", parity.measure)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Tiny checkpoints, data of every kind and trained runs, made when first asked for, once for all processes."""
    folder, base = tmp_path_factory.mktemp("lab"), tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTKIT_CACHE", str(folder / "cache"))
        yield Lab(Path(folder), shared)
