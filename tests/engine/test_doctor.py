"""What `ftkit doctor --train` tries: on a processor for real, on GPUs (there are none here) as it would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from ftkit import terminal
from ftkit.engine import doctor, machine
from ftkit.errors import MachineError
from ftkit.recipe import Recipe

Tried = list[tuple[str, int]]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> Tried:
    """Precision and processes of each training that was tried; each ends as a driver's bug would end it."""
    found: Tried = []

    def fails(recipe: Recipe, path: Path, processes: int) -> Any:
        found.append((recipe.train.precision, processes))
        raise RuntimeError("\nCUDA error: no kernel image\nCompile with TORCH_USE_CUDA_DSA")

    monkeypatch.setattr(doctor, "train", fails)
    return found


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr("os.cpu_count", lambda: 64)


def trainings() -> list[doctor.Finding]:
    return doctor._trainings(terminal.silence)


def test_on_gpus_there_is_a_process_for_each(gpus: None, tried: Tried) -> None:
    trainings()
    assert tried == [("fp32", 1), ("bf16", 1), ("fp16", 1), ("auto", 3)]


@pytest.mark.skipif(machine.has_accelerator(), reason="says what holds on a processor")
def test_on_a_processor_there_are_as_many_as_it_has_cores_to_8(tried: Tried, monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, last in ((64, ("auto", 8)), (3, ("auto", 3)), (1, ("fp16", 1))):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        trainings()
        assert tried[-1] == last


def test_fp16_that_fails_on_a_gpu_is_a_fault(gpus: None, tried: Tried) -> None:
    assert [finding.verdict for finding in trainings()] == ["fails"] * 4


@pytest.mark.skipif(machine.has_accelerator(), reason="says what holds on a processor")
def test_fp16_is_not_here_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = doctor._training("fp16", 1, terminal.silence)
    assert finding.verdict == "not here" and "needs a GPU" in finding.detail


def test_a_bug_is_told_in_one_line_and_the_rest_goes_on(tried: Tried) -> None:
    found = trainings()
    assert len(tried) >= 3 and found[0].verdict == "fails"
    assert found[0].detail == "RuntimeError: CUDA error: no kernel image Compile with TORCH_USE_CUDA_DSA"


def test_a_fault_keeps_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> Any:
        raise MachineError("no\nspace", "free some")

    monkeypatch.setattr(doctor, "train", fails)
    assert doctor._training("fp32", 1, terminal.silence).detail == "no space"


def test_libraries_have_one_home() -> None:
    told = {finding.name for finding in doctor.examine(False, terminal.silence)}
    assert told >= set(machine.LIBRARIES) == set(machine.environment()["libraries"])
