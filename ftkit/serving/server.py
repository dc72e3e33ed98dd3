"""A server's life: its address, its model, requests until it is told to stop, and then those that are left."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import uvicorn

from ftkit.engine.predict import Predictor
from ftkit.errors import DataError, Interrupted, MachineError
from ftkit.serving.app import Server
from ftkit.serving.limits import Limits
from ftkit.serving.model import ServedModel
from ftkit.terminal import Say, silence

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_GRACE = 5
"""Seconds beyond a request's own that are waited for the last ones."""
_LOCAL = ("127.0.0.1", "::1", "localhost")


def serve(
    load: Callable[[], Predictor],
    source: str,
    host: str,
    port: int,
    limits: Limits,
    key: str | None = None,
    say: Say = silence,
) -> None:
    """Serve a model until the process is told to stop; returns when all requests that were taken are answered.

    `load` gives the model, which is slow, once the address is had; it is called by the name of its `source`.
    Raises FTKitError for a model that can't be loaded and an address that can't be had, Interrupted where it is told
    twice.
    """
    if limits.rows > limits.queue:
        raise DataError(
            f"a request may have {limits.rows} rows, and {limits.queue} may wait", "lower --max-rows, or raise --queue"
        )
    listening = _bound(host, port)
    with listening:
        model = ServedModel(load(), Path(os.path.abspath(source)).name if os.path.exists(source) else source, limits)
        model.warm_up()
        gc.collect()
        gc.freeze()  # or all that was imported is looked through now and then, for half a second
        server = Server(model, limits, key)
        if key is None and host not in _LOCAL:
            say(f"warning: whoever reaches {host} may ask; set FTKIT_API_KEY, or --api-key-file, to ask for a key")
        config = uvicorn.Config(
            server.guarded(key),
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="on",
            ws="none",
            timeout_graceful_shutdown=int(limits.timeout) + _GRACE,
        )
        _Running(config, server, _address(listening), say).run(sockets=[listening])


class _Running(uvicorn.Server):
    """uvicorn's loop; the first signal asks it to finish, the second ends it."""

    def __init__(self, config: uvicorn.Config, server: Server, address: str, say: Say) -> None:
        super().__init__(config)
        self.server, self.address, self.say = server, address, say

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say where."""
        await super().startup(sockets)
        self.say(f"serving {self.server.model.name} at {self.address} (Ctrl-C stops it)")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Heed signals while this lasts; uvicorn would raise them again at the end, as if nothing was done."""
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, known in before.items():
                signal.signal(number, known)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal asks, the second ends."""
        if self.should_exit:
            logging.getLogger("uvicorn.error").disabled = True  # what is broken off is no fault to tell of
            raise Interrupted("interrupted at once: requests were left unanswered")
        self.server.stopping = self.should_exit = True
        self.say("stopping: what was taken is still answered; once more to stop at once")


def _bound(host: str, port: int) -> socket.socket:
    """A socket at an address, which does not listen yet. Raises MachineError where it can't be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except (OSError, OverflowError) as error:
        told = getattr(error, "strerror", None) or error
        raise MachineError(
            f"{host}:{port} can't be served at: {told}", "name another with --host and --port (0 takes a free one)"
        ) from error
    return found


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
