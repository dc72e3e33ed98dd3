"""What the benchmarks share: fresh processes in turn on a quiet machine, its matrix peak, medians and ratios."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ftkit.terminal import say, table

Measured = dict[str, Any]
"""One contestant's figures of one round."""
Call = Callable[[], Measured]
"""A contestant: something that can be pickled and measures itself in a process of its own."""

_ATTEMPTS = 5
_WAIT, _LOOK = 600.0, 2.0
"""Seconds to wait for a quiet machine at most, and to look at it each time."""


def parser(description: str | None, rounds: int | None = 5, data: bool = True) -> argparse.ArgumentParser:
    """The options that benchmarks have; without `rounds`, nothing is timed against a quiet machine."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    if data:
        options.add_argument("--data", type=Path, default=os.environ.get("FTKIT_DATA"), help="folder of the data sets")
        options.add_argument("--rows", type=int, help="rows that are used, drawn at random; all when not given")
    options.add_argument("--seed", type=int, default=13, help="of the rows' choice, and of training")
    options.add_argument("--json", action="store_true", help="print one JSON object with every round's figures")
    if rounds is not None:
        options.add_argument("--rounds", type=int, default=rounds, help="times that each contestant runs, in turn")
        options.add_argument("--busy", type=float, default=0.2, help="cores that other processes may use meanwhile")
    return options


def parse(options: argparse.ArgumentParser) -> argparse.Namespace:
    """The options of this call; ends the program where the data sets' folder is not named."""
    found = options.parse_args()
    if found.data is None or not found.data.is_dir():
        options.error("name the folder of the data sets with --data, or in FTKIT_DATA")
    return found


# ---------------------------------------------------------------------- fresh processes in turn


def rounds(calls: Mapping[str, Call], options: argparse.Namespace) -> dict[str, list[Measured]]:
    """What each contestant measured in each round: A B A B ..., so that a slow hour of the machine hits all alike."""
    found: dict[str, list[Measured]] = {name: [] for name in calls}
    for number in range(1, options.rounds + 1):
        for name, call in calls.items():
            found[name].append(undisturbed(call, options.busy))
            seconds = found[name][-1]["wall_seconds"]
            say(f"round {number} of {options.rounds}: {name} took {seconds:.1f} s from start to end")
    return found


def undisturbed(call: Call, busy: float) -> Measured:
    """What `call` measures in a fresh process while others use `busy` cores at most; repeated until it is so.

    Adds `wall_seconds` (the process from its start to its end), `load_before` and `other_cores`. Ends the program
    where the machine does not get quiet.
    """
    for _ in range(_ATTEMPTS):
        _wait_until_quiet(busy)
        load, before = os.getloadavg()[0], _Use()
        found = apart(call)
        seconds, others = before.until_now()
        if others <= busy:
            return {**found, "wall_seconds": seconds, "load_before": load, "other_cores": others}
        say(f"discarded, and done again: other processes used {others:.2f} cores (--busy {busy:g})")
    raise SystemExit(f"other processes disturbed {_ATTEMPTS} runs in a row: end them, or allow them with --busy")


def apart(call: Callable[[], Any]) -> Any:
    """The result of `call` in a fresh process: its imports, its caches and its memory are its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_silenced, call).result()


def _silenced(call: Callable[[], Any]) -> Any:
    os.dup2(2, 1)  # what libraries print is not this program's result
    return call()


class _Use:
    """The processors' use from here on, by this program and by all others."""

    def __init__(self) -> None:
        self.time, self.all, self.own = time.perf_counter(), _busy_seconds(), sum(os.times()[:4])

    def until_now(self) -> tuple[float, float]:
        """Seconds since, and the cores that other processes kept busy; 0 on systems that don't tell."""
        seconds = time.perf_counter() - self.time
        others = _busy_seconds() - self.all - (sum(os.times()[:4]) - self.own)
        return seconds, max(0.0, others / seconds)


def _busy_seconds() -> float:
    """Seconds that all cores were busy since the machine was started, those that a hypervisor took away included."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return sum(os.times()[:4])
    user, nice, system, _idle, _wait, irq, soft, steal = map(int, stat.read_text().split()[1:9])
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")


def _wait_until_quiet(busy: float) -> None:
    end, told = time.monotonic() + _WAIT, False
    while time.monotonic() < end:
        before = _Use()
        time.sleep(_LOOK)
        others = before.until_now()[1]
        if others <= busy:
            return
        if not told:
            say(f"waiting for a quiet machine: other processes use {others:.2f} cores (--busy {busy:g})")
            told = True
    raise SystemExit(f"other processes use more than {busy:g} cores: end them, or allow them with --busy")


# ---------------------------------------------------------------------- the machine


def machine() -> str:
    """The processor and the libraries, in a line."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    libraries = ", ".join(f"{name} {version(name)}" for name in ("ftkit", "torch", "transformers", "peft"))
    where = f"{processor}, {os.cpu_count()} cores, OMP_NUM_THREADS {threads}"
    return f"{where}; Python {platform.python_version()}, {libraries}"


def peak(size: int = 1024, repeats: int = 30) -> Measured:
    """GFLOP/s of the fastest of some products of two square matrices, in `fp32` and in `bf16`."""
    import torch

    found: Measured = {}
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
        times = []
        for _ in range(repeats):
            began = time.perf_counter()
            torch.mm(a, b)
            times.append(time.perf_counter() - began)
        found[name] = 2 * size**3 / min(times) / 1e9
    return found


def peak_memory() -> float:
    """MiB that this process held at most, until now."""
    from ftkit.engine import machine  # imports torch, as every contestant has done by then

    return machine.peak_memory() / 2**20


# ---------------------------------------------------------------------- results


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, lowest and highest."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def ratios(
    found: Mapping[str, Sequence[Measured]], ours: str, speed: Callable[[Measured], float]
) -> dict[str, dict[str, float]]:
    """How many times as fast as each contestant `ours` was, round by round."""
    return {
        name: spread([speed(own) / speed(other) for own, other in zip(found[ours], rounds, strict=True)])
        for name, rounds in found.items()
        if name != ours
    }


def present(
    options: argparse.Namespace,
    title: str,
    found: Mapping[str, Sequence[Measured]],
    columns: Mapping[str, str],
    compared: Mapping[str, Mapping[str, float]],
    **more: Any,
) -> None:
    """Print the medians of `columns` (figure -> heading) and the ratios; with --json, everything."""
    if options.json:
        asked = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
        whole = {
            "benchmark": title,
            "machine": machine(),
            "options": asked,
            **more,
            "rounds": found,
            "ratios": compared,
        }
        print(json.dumps(whole, indent=1))
        return
    print(f"{title}\n{machine()}")
    for name, value in more.items():
        print(f"{name.replace('_', ' ')}: {_plain(value)}")
    rows = [
        [name, *(_figure(rounds, column) for column in columns), _ratio(compared.get(name))]
        for name, rounds in found.items()
    ]
    print(table(["", *columns.values(), "ratio (lowest..highest)"], rows))


def _plain(value: Any) -> str:
    """Numbers, and what they belong to, in a line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _figure(rounds: Sequence[Measured], column: str) -> str:
    median = statistics.median(measured[column] for measured in rounds)
    return f"{median:.0f}" if median >= 100 else f"{median:.3g}"


def _ratio(found: Mapping[str, float] | None) -> str:
    return f"{found['median']:.2f} ({found['low']:.2f}..{found['high']:.2f})" if found else ""
