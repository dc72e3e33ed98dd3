"""Many clients for a while: nobody waits much longer than the others, nothing fails, memory stays."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections import Counter
from itertools import cycle, islice
from typing import Any, NamedTuple

import httpx
import psutil
import pytest

from tests.runs import Lab, rows
from tests.serving.test_server import process

CLIENTS = 64
HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


class Load(NamedTuple):
    """What some clients met."""

    seconds: list[float]
    """Of each request that was answered."""
    statuses: Counter[int]
    memory: list[int]
    """The server's, in bytes, every half second."""


def load(address: str, number: int, seconds: float, texts: list[str]) -> Load:
    """Have 64 clients ask for one text after another, each when it has its answer.

    They are sockets of one loop, which takes them in turn and costs little: threads, or a whole HTTP client for each,
    would wait for one another, and not for the server.
    """
    found, url = Load([], Counter(), []), httpx.URL(address)
    end = time.monotonic() + seconds

    async def client(own: int) -> None:
        reader, writer = await asyncio.open_connection(url.host, url.port)
        for text in islice(cycle(texts), own, None):
            if time.monotonic() > end:
                break
            body = json.dumps({"inputs": [text]}).encode()
            begun = time.monotonic()
            writer.write(HEAD % (url.netloc, len(body)) + body)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
            status = int(head.split()[1])
            found.statuses[status] += 1
            if status == 200:
                found.seconds.append(time.monotonic() - begun)
        writer.close()

    async def watch() -> None:
        while time.monotonic() < end:
            found.memory.append(psutil.Process(number).memory_info().rss)
            await asyncio.sleep(0.5)

    async def all_clients() -> None:
        await asyncio.gather(watch(), *map(client, range(CLIENTS)))

    asyncio.run(all_clients())
    return found


def p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


@pytest.mark.parametrize("seconds", [2, pytest.param(60, marks=pytest.mark.slow)])
def test_64_clients_are_answered_evenly_and_memory_stays(lab: Lab, seconds: float) -> None:
    texts = [row["text"] for row in rows("single", "test", 500)]
    with process(lab.trained("single", "full").run) as server:
        load(server.address, server.process.pid, 1, texts)  # what is made once is made
        found = load(server.address, server.process.pid, seconds, texts)
    told = figures(found, seconds)
    print(told)  # for whoever asks with -s
    assert set(found.statuses) <= {200, 429} and found.statuses[200] > 10 * seconds
    if seconds < 60:
        return  # too short a while to tell how evenly, on a machine that does other things
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
