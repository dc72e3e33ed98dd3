"""What stands before the app: who may ask, how much, how slowly, how many at once; and the count of it all."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from time import monotonic
from typing import Any

from ftkit.serving.limits import Limits
from ftkit.serving.metrics import Metrics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)
OPEN = frozenset({"/", "/page.css", "/page.js", "/health", "/ready"})
"""Paths that are told without the key: they say nothing of the model's answers."""
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
        b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)


class Refused(Exception):
    """A request that goes no further."""

    def __init__(self, status: int, error: str, hint: str = "", **headers: str) -> None:
        super().__init__(error)
        self.status, self.error, self.hint = status, error, hint
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Guard:
    """An ASGI app around another."""

    def __init__(self, app: App, limits: Limits, metrics: Metrics, paths: frozenset[str], key: str | None) -> None:
        self.app, self.limits, self.metrics, self.paths = app, limits, metrics, paths
        self.key = key.encode() if key else None
        self.open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status, started = monotonic(), 500, False

        async def watched(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        self.open += 1
        self.metrics.open.set(self.open)
        try:
            await self.app(scope, await self._admitted(scope, receive), watched)
        except Refused as refused:
            await _tell(watched, refused)
        except Exception:  # a bug, which ends this request and is told to whoever keeps the log, and no other
            _log.exception("%s %s failed", scope["method"], scope["path"])
            if not started:
                await _tell(watched, Refused(500, "the server has failed", "its log says more"))
        finally:
            self.open -= 1
            self.metrics.open.set(self.open)
            path = scope["path"] if scope["path"] in self.paths else "other"
            self.metrics.requests.labels(path, str(status)).inc()
            self.metrics.seconds.labels(path).observe(monotonic() - begun)

    async def _admitted(self, scope: Scope, receive: Receive) -> Receive:
        """What gives the request's body, all of which has come. Raises Refused."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        if self.key and scope["path"] not in OPEN and not self._has_key(headers):
            hint = "send it as the header Authorization: Bearer KEY"
            raise Refused(401, "this server asks for its key", hint, WWW_Authenticate="Bearer")
        if self.open > self.limits.open and scope["path"] not in OPEN:
            raise Refused(429, "too many requests at once", "ask again later", Retry_After="1")
        size = headers.get(b"content-length", b"0")
        if not size.isdigit() or int(size[:20]) > self.limits.body:
            raise self._too_large()
        try:
            async with asyncio.timeout(self.limits.timeout / 2):
                return await self._read(receive)
        except TimeoutError as error:
            raise Refused(408, "the request did not arrive in time", Connection="close") from error

    def _has_key(self, headers: dict[bytes, bytes]) -> bool:
        assert self.key
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        return scheme.lower() == b"bearer" and secrets.compare_digest(given.strip(), self.key)

    async def _read(self, receive: Receive) -> Receive:
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] != "http.request":  # the client has gone, which the app is told
                parts.clear()
                break
            parts.append(message.get("body", b""))
            size, more = size + len(parts[-1]), message.get("more_body", False)
            if size > self.limits.body:
                raise self._too_large()
        messages = [message] if message["type"] != "http.request" else [{**message, "body": b"".join(parts)}]

        async def replay() -> Message:
            return messages.pop() if messages else await receive()

        return replay

    def _too_large(self) -> Refused:
        return Refused(
            413, f"a request has at most {self.limits.body} bytes", "send fewer rows at once", Connection="close"
        )


async def _tell(send: Send, refused: Refused) -> None:
    body = json.dumps({"error": refused.error, "hint": refused.hint}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in refused.headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
