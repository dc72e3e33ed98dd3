"""A server in this process, on a free port, and what asks it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from ftkit.engine.predict import Predictor
from ftkit.serving.app import Server
from ftkit.serving.limits import Limits
from ftkit.serving.model import ServedModel


def server_of(run: Path, limits: Limits | None = None, key: str | None = None) -> Server:
    """What `serve` makes of a run."""
    limits = limits or Limits()
    return Server(ServedModel(Predictor(run), run.name, limits), limits, key)


@contextmanager
def listening(server: Server, key: str | None = None) -> Iterator[httpx.Client]:
    """The server on a real port, with a client of it; drained at the end."""
    config = uvicorn.Config(server.guarded(key), port=0, log_config=None, lifespan="on", ws="none")
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        assert thread.is_alive(), "the server does not start"
        time.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        running.should_exit = True
        thread.join()


def answered(client: httpx.Client, inputs: list[Any]) -> list[dict[str, Any]]:
    """The answers to some inputs."""
    found = client.post("/v1/predict", json={"inputs": inputs})
    assert found.status_code == 200, found.text
    answers: list[dict[str, Any]] = found.json()["answers"]
    return answers


def finds_entities(server: Server) -> None:
    """Have a model that was trained for a moment, and finds nothing, find entities everywhere."""
    trained = server.model.predictor.trained
    trained.model.classifier.bias.data[trained.labels.index("O")] -= 10
