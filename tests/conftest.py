"""What all tests share: one thread, no network, a cache of their own, and small runs that are trained once."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import nullcontext
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

from tests.runs import Lab, gate_here

torch.set_num_threads(1)
settings.register_profile("ftkit", deadline=None)  # a busy machine is no failure
settings.load_profile("ftkit")


def pytest_collection_finish() -> None:
    """What was imported is no garbage, and is not looked through as such.

    Accelerate collects garbage before each training, which took longer than the training of a tiny model does.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def gate_in_this_process(request: pytest.FixtureRequest) -> Iterator[None]:
    """Exports are measured here, but for tests marked `fresh_process`."""
    with nullcontext() if request.node.get_closest_marker("fresh_process") else gate_here():
        yield


@pytest.fixture
def brief_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run does one step where it would do several, to time them."""
    from ftkit.engine import trial

    monkeypatch.setattr(trial, "STEPS", 1)
    monkeypatch.setattr(trial, "_MANY", 1)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Tiny checkpoints, data of every kind and trained runs, made when first asked for, once for all processes."""
    folder, base = tmp_path_factory.mktemp("lab"), tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTKIT_CACHE", str(folder / "cache"))
        yield Lab(Path(folder), shared)
