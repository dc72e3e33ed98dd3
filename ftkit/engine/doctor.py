"""What this machine has, and what of ftkit works on it: found out by doing it, not by reading versions."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from ftkit import checkpoints
from ftkit.engine import machine
from ftkit.engine.train import train
from ftkit.errors import FTKitError, one_line
from ftkit.recipe import load_recipe
from ftkit.terminal import Say


class Finding(NamedTuple):
    """One thing that was looked at."""

    name: str
    verdict: Literal["ok", "fails", "not here", "unmeasured"]
    detail: str


def examine(try_training: bool, say: Say) -> list[Finding]:
    """Everything that was found; with `try_training`, two steps in each precision and on all processes."""
    findings = [
        _python(),
        *(_library(name) for name in machine.LIBRARIES),
        _processor(),
        _gpu(),
        _disk(),
        *_starters(),
    ]
    return findings + (_trainings(say) if try_training else [])


def _python() -> Finding:
    return Finding("python", "ok", f"{sys.version.split()[0]} on {platform.platform()}")


def _library(name: str) -> Finding:
    try:
        return Finding(name, "ok", version(name))
    except PackageNotFoundError:
        return Finding(name, "not here", f"pip install {name}")


def _processor() -> Finding:
    fast = (
        "computes in bf16" if not torch.cuda.is_available() and machine.has_bf16() else "fp32 is its fastest precision"
    )
    return Finding("processor", "ok", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, {fast}")


def _gpu() -> Finding:
    if not torch.cuda.is_available():
        return Finding("gpu", "not here", "GPU paths of ftkit are unmeasured until they ran on one")
    names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return Finding("gpu", "unmeasured", f"{names}; `ftkit doctor --train` finds out")


def _disk() -> Finding:
    folder = checkpoints.cache()
    place = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(place).free / 2**30
    return Finding("cache", "ok" if free > 2 else "fails", f"{folder}, {free:.0f} GiB free")


def _starters() -> list[Finding]:
    return [
        Finding(str(entry["name"]), "ok" if entry["cached"] else "not here", _where(entry))
        for entry in checkpoints.catalog()
    ]


def _where(entry: Mapping[str, object]) -> str:
    return str(entry["folder"]) if entry["cached"] else f"ftkit checkpoints get {entry['name']}"


def _trainings(say: Say) -> list[Finding]:
    most = machine.processes() if machine.has_accelerator() else min(os.cpu_count() or 1, 8)
    findings = [_training(precision, 1, say) for precision in ("fp32", "bf16", "fp16")]
    if most > 1:
        findings.append(_training("auto", most, say))
    if not torch.cuda.is_available():
        findings.append(Finding("train on a gpu", "unmeasured", "this machine has none"))
    return findings


def _training(precision: str, processes: int, say: Say) -> Finding:
    name = f"train {precision}, {processes} process{'es' if processes > 1 else ''}"
    say(f"{name} ...")
    settings = [
        f"train.precision={precision}",
        "train.epochs=1",
        f"train.batch={4 * processes}",
        f"data.limit={8 * processes}",
    ]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        try:
            found = train(load_recipe("sentiment/full", settings), Path(folder) / "run", processes)
        except Exception as error:  # whatever it is, it is the finding
            here = precision != "fp16" or torch.cuda.is_available()
            said = error.message if isinstance(error, FTKitError) else f"{type(error).__name__}: {error}"
            return Finding(name, "fails" if here else "not here", one_line(said))
        seconds = time.perf_counter() - began
    return Finding(name, "ok", f"{found.steps} steps, {found.train_seconds:.2f} s of {seconds:.1f} s")
