"""A Hub on loopback: it serves the folders of a root as repositories, over the few addresses that clients ask.

Layout: `root/models/org/name/...` and `root/datasets/org/name/...`; each has one commit, COMMIT, and the revision
`main`. A client must have HF_ENDPOINT set to the address before it imports huggingface_hub.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34


@dataclass
class Faults:
    """How a server misbehaves; a test may change it while the server runs."""

    silent: bool = False
    """It takes requests and never answers."""
    status: int = 0
    """It answers each request with this error."""
    cut: int = 0
    """Of larger bodies only so many bytes go out, then the connection ends."""
    cuts: int = 1000
    """How many times a body is still cut."""
    stalls: bool = False
    """A body that is cut leaves its connection open: nothing more comes."""
    wrong: bool = False
    """One byte of each body of safetensors is another one."""
    ranges: list[int] = field(default_factory=list)
    """Where clients asked to go on."""


@contextmanager
def hub(root: Path, faults: Faults | None = None) -> Iterator[str]:
    """The address of a server for the repositories below `root`, for as long as the context lasts."""
    handler = type("Handler", (_Handler,), {"root": root, "faults": faults or Faults()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def client_environment(address: str, home: Path) -> dict[str, str]:
    """What a client's environment needs, beside PATH and the like, to use the server and a cache of its own."""
    return {
        "HF_ENDPOINT": address,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_DATASETS_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "NO_PROXY": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
    }


class _Handler(BaseHTTPRequestHandler):
    root: Path
    faults: Faults
    recursive = False

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *args: Any) -> None:
        """Say nothing: a test's output is its own."""

    def _answer(self) -> None:
        if self.faults.silent:
            Event().wait(60)
            return
        if self.faults.status:
            self._send(self.faults.status, b"")
            return
        url = urlsplit(self.path)
        self.recursive = "recursive=true" in url.query.casefold()
        parts = unquote(url.path).strip("/").split("/")
        if parts == [""]:
            self._send(200, b"")
        elif parts[0] == "api":
            self._describe(parts[1], parts[2:])
        else:
            kind, rest = (parts[0], parts[1:]) if parts[0] == "datasets" else ("models", parts)
            self._file(kind, rest)

    def _repository(self, kind: str, parts: list[str]) -> Path | None:
        folder = self.root / kind / "/".join(parts[:2])
        if len(parts) < 2 or not folder.is_dir():
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
            return None
        return folder

    def _describe(self, kind: str, parts: list[str]) -> None:
        """`R`, `R/revision/X` and `R/tree/X[/folder]`."""
        folder = self._repository(kind, parts)
        if folder is None:
            return
        asked, revision = parts[2:4] if len(parts) > 3 else ("", "main")
        if revision not in ("main", COMMIT):
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif asked == "tree":
            self._tree(folder, folder.joinpath(*parts[4:]))
        else:
            files = [{"rfilename": str(path.relative_to(folder))} for path in _files(folder)]
            self._json({"id": "/".join(parts[:2]), "sha": COMMIT, "private": False, "tags": [], "siblings": files})

    def _tree(self, folder: Path, below: Path) -> None:
        if not below.is_dir():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        paths = sorted(below.rglob("*") if self.recursive else below.iterdir())
        self._json([{**_entry(path), "path": str(path.relative_to(folder))} for path in paths])

    def _file(self, kind: str, parts: list[str]) -> None:
        """`R/resolve/X/file`."""
        folder = self._repository(kind, parts)
        if folder is None:
            return
        path = folder.joinpath(*parts[4:])
        if len(parts) < 5 or parts[3] not in ("main", COMMIT):
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif not path.is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        else:
            self._send_file(path, {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": COMMIT})

    def _send_file(self, path: Path, headers: dict[str, str]) -> None:
        """A file, from where the client wants to go on."""
        body = path.read_bytes()
        if self.faults.wrong and path.suffix == ".safetensors":
            body = body[:-1] + bytes([body[-1] ^ 1])
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked is None:
            self._send(200, body, headers)
            return
        start = int(asked[1])
        self.faults.ranges.append(start)
        place = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        self._send(206, body[start:], {**headers, **place})

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "GET":
            return
        if 0 < self.faults.cut < len(body) and self.faults.cuts > 0:
            self.faults.cuts -= 1
            self.wfile.write(body[: self.faults.cut])
            self.close_connection = True
            if self.faults.stalls:
                Event().wait(60)
            return
        self.wfile.write(body)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _entry(path: Path) -> dict[str, Any]:
    if path.is_dir():
        return {"type": "directory", "size": 0, "oid": "0" * 40}
    return {"type": "file", "size": path.stat().st_size, "oid": _etag(path)}


def _etag(path: Path) -> str:
    """As the Hub tags files: large ones by their SHA-256, others by their hash in Git."""
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
