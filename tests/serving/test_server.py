"""`ftkit serve` as a process: where it listens, what it asks for, and how it ends."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.command import command, environment, ftkit
from tests.runs import Lab
from tests.serving.served import answered


class Process:
    """A server of its own, and what it said."""

    def __init__(self, words: list[str], **changes: str) -> None:
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=environment(**changes))
        self.said: list[str] = []
        self.serving = threading.Event()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.said.append(line)
            if line.startswith("serving "):
                self.serving.set()
        self.serving.set()

    @property
    def address(self) -> str:
        assert self.serving.wait(120)
        found = re.search(r"http://\S+", "".join(self.said))
        assert found, self.said
        return found[0]

    def tell(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        code = self.process.wait(60)
        self.reader.join(10)
        return code


@contextmanager
def process(*words: Any, **changes: str) -> Iterator[Process]:
    found = Process(command("serve", *words, "--port", 0), **changes)
    try:
        yield found
    finally:
        found.process.kill()
        found.end()


def is_gone(address: str) -> bool:
    try:
        socket.create_connection((httpx.URL(address).host, httpx.URL(address).port or 0)).close()
    except ConnectionRefusedError:
        return True
    return False


def test_sigterm_answers_what_was_taken_and_ends_with_0(lab: Lab) -> None:
    texts = [f"Text {number} that is somewhat longer than most others are." for number in range(256)]
    with process(lab.trained("single", "full").run, "--batch", 4) as server, ThreadPoolExecutor(4) as pool:
        assert server.address.startswith("http://127.0.0.1:")
        with httpx.Client(base_url=server.address, timeout=60) as client:
            before = answered(client, texts)
            waiting = [pool.submit(answered, client, texts) for _ in range(3)]
            while float(client.get("/metrics").text.split("\nftkit_queue_rows ")[1].split()[0]) < 100:
                assert not all(each.done() for each in waiting)
            server.tell(signal.SIGTERM)
            assert [[a["label"] for a in each.result(60)] for each in waiting] == [[a["label"] for a in before]] * 3
        assert server.end() == 0 and is_gone(server.address)
        assert "what was taken is still answered" in server.said[-1]


@pytest.mark.slow
def test_second_signal_ends_at_once_with_130(lab: Lab) -> None:
    texts = ["Text that is somewhat longer than most others are. " * 20] * 256
    with process(lab.trained("single", "full").run, "--batch", 1) as server, ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(httpx.post, f"{server.address}v1/predict", json={"inputs": texts}) for _ in range(4)]
        while float(httpx.get(f"{server.address}metrics").text.split("\nftkit_queue_rows ")[1].split()[0]) < 500:
            time.sleep(0.01)
        server.tell(signal.SIGTERM)
        while "stopping" not in "".join(server.said):
            time.sleep(0.01)
        server.tell(signal.SIGTERM)
        assert server.end() == 130 and "at once" in "".join(server.said)
        assert "Traceback" not in "".join(server.said)
        for each in waiting:
            assert isinstance(each.exception(60), httpx.TransportError) or each.result().status_code >= 500


@pytest.mark.slow
def test_key_comes_from_a_file_or_the_environment(lab: Lab, tmp_path: Path) -> None:
    run = lab.trained("single", "full").run
    (tmp_path / "key").write_text("f1le\n")
    with process(run, "--api-key-file", tmp_path / "key", FTKIT_API_KEY="other") as server:
        ask = {"url": f"{server.address}v1/predict", "json": {"inputs": ["a"]}}
        assert [httpx.post(**ask, headers={"authorization": f"Bearer {k}"}).status_code for k in ("f1le", "other")] == [
            200,
            401,
        ]
        server.tell(signal.SIGINT)
        assert server.end() == 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/sys/net/ipv4").exists(), reason="binding to other addresses is Linux's")
def test_address_beyond_this_machine_without_a_key_is_warned_of(lab: Lab) -> None:
    with process(lab.trained("single", "full").run, "--host", "0.0.0.0") as server:
        assert server.address and any(line.startswith("warning: whoever reaches 0.0.0.0") for line in server.said)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--api-key-file", "nowhere"], "nowhere can't be read"),
        (["--api-key-file", "two"], "holds no key"),
        (["--max-rows", "9", "--queue", "8"], "raise --queue"),
        (["--host", "no.such.host.invalid"], "can't be served at"),
        (["--precision", "fp7"], "no such precision"),
    ],
)
def test_what_cannot_be_is_told(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two").write_text("two words")
    done = ftkit("serve", lab.trained("single", "full").run, "--port", "0", *words)
    assert done.code == 3 and said in done.err


def test_address_that_is_taken_is_told(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = ftkit("serve", lab.trained("single", "full").run, "--port", taken.getsockname()[1])
    assert done.code == 3 and "--port" in done.err and os.strerror(errno.EADDRINUSE) in done.err


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    done = ftkit("serve", tmp_path, "--port", "0")
    assert done.code == 3 and str(tmp_path) in done.err
