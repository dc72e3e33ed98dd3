"""Many clients for a while: nobody waits much longer than the others, nothing fails, memory stays."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from itertools import chain
from typing import Any, NamedTuple

import httpx
import psutil
import pytest

from tests.runs import Lab, rows
from tests.serving.test_server import process

CLIENTS = 64


class Load(NamedTuple):
    """What some clients met."""

    seconds: list[float]
    """Of each request that was answered."""
    statuses: Counter[int]
    memory: list[int]
    """The server's, in bytes, every half second."""


def load(address: str, number: int, seconds: float, texts: list[str]) -> Load:
    """Have 64 clients ask for one text after another, each when it has its answer."""
    times: list[list[float]] = [[] for _ in range(CLIENTS)]
    statuses: list[Counter[int]] = [Counter() for _ in range(CLIENTS)]
    end = time.monotonic() + seconds

    def client(own: int) -> None:
        with httpx.Client(base_url=address, timeout=60) as asking:
            place = own
            while time.monotonic() < end:
                begun = time.monotonic()
                found = asking.post("/v1/predict", json={"inputs": [texts[place % len(texts)]]})
                statuses[own][found.status_code] += 1
                if found.status_code == 200:
                    times[own].append(time.monotonic() - begun)
                place += CLIENTS

    threads = [threading.Thread(target=client, args=(own,)) for own in range(CLIENTS)]
    for thread in threads:
        thread.start()
    memory: list[int] = []
    while time.monotonic() < end:
        memory.append(psutil.Process(number).memory_info().rss)
        time.sleep(0.5)
    for thread in threads:
        thread.join()
    return Load(list(chain.from_iterable(times)), sum(statuses, Counter()), memory)


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


@pytest.mark.parametrize("seconds", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_64_clients_are_answered_evenly_and_memory_stays(lab: Lab, seconds: float) -> None:
    texts = [row["text"] for row in rows("single", "test", 500)]
    with process(lab.trained("single", "full").run) as server:
        load(server.address, server.process.pid, 2, texts)  # what is made once is made
        found = load(server.address, server.process.pid, seconds, texts)
    told = figures(found, seconds)
    print(told)  # for whoever asks with -s
    assert set(found.statuses) <= {200, 429} and found.statuses[200] > 10 * seconds
    assert told["p95"] <= 3 * told["median"], told
    half = len(found.memory) // 2
    assert max(found.memory[half:]) <= 1.05 * max(found.memory[:half]), told


def figures(found: Load, seconds: float) -> dict[str, Any]:
    """What is to be told of a load."""
    return {
        "answers a second": len(found.seconds) / seconds,
        "median": statistics.median(found.seconds),
        "p95": p95(found.seconds),
        "slowest": max(found.seconds),
        "statuses": dict(found.statuses),
        "MiB": (found.memory[0] >> 20, max(found.memory) >> 20),
    }
