"""A Hub on loopback: it serves the folders of a root as repositories, over the few addresses that clients ask.

Layout: `root/models/org/name/...` and `root/datasets/org/name/...`; each begins with one commit, COMMIT, and the
revision `main`. Whoever has a token (`Accounts`) may make repositories and commits, which lie in `root/commits`. A
client must have HF_ENDPOINT set to the address before it imports huggingface_hub.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

COMMIT = "c0ffee" + "0" * 34
LFS = (".safetensors", ".onnx", ".bin")
"""Endings of files that are stored by their SHA-256."""


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
    uploads: int = 0
    """How many more files that are sent are cut off in the midst."""
    overtaken: bool = False
    """Somebody else commits while files are sent."""


@dataclass
class Accounts:
    """Who may write, and what has been written."""

    tokens: dict[str, list[str]] = field(default_factory=dict)
    """Token -> the names under which its owner may write, their own first."""
    roles: dict[str, str] = field(default_factory=dict)
    """Token, or name -> what its owner may do there, where that is not `write`."""
    private: set[str] = field(default_factory=set)
    heads: dict[tuple[str, str], str] = field(default_factory=dict)
    """Repository and branch -> commit, where it is not COMMIT any more."""
    messages: dict[str, str] = field(default_factory=dict)
    """Commit -> what it is called."""
    stored: dict[str, bytes] = field(default_factory=dict)
    """SHA-256 -> a large file."""


@contextmanager
def hub(root: Path, faults: Faults | None = None, accounts: Accounts | None = None) -> Iterator[str]:
    """The address of a server for the repositories below `root`, for as long as the context lasts."""
    state = {"root": root, "faults": faults or Faults(), "accounts": accounts or Accounts()}
    handler = type("Handler", (_Handler,), state)
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
    accounts: Accounts
    recursive = False

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._take()

    def do_PUT(self) -> None:
        self._take()

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
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        if parts == [""]:
            self._send(200, b"")
        elif parts == ["api", "whoami-v2"]:
            self._whoami()
        elif parts[0] == "api":
            self._describe(parts[1], parts[2:])
        else:
            kind, rest = (parts[0], parts[1:]) if parts[0] == "datasets" else ("models", parts)
            self._file(kind, rest)

    def _repository(self, kind: str, parts: list[str]) -> Path | None:
        """The folder of a repository; None, and so answered, where there is none for this client."""
        folder = self.root / kind / "/".join(parts[:2])
        hidden = "/".join(parts[:2]) in self.accounts.private and parts[0] not in self._names()
        if len(parts) < 2 or not folder.is_dir() or hidden:
            self._send(401 if hidden else 404, b"", {"X-Error-Code": "RepoNotFound"})
            return None
        return folder

    def _at(self, parts: list[str], folder: Path, revision: str) -> tuple[str, Path] | None:
        """The commit that a revision means, and the folder of its files; None, and so answered, where there is none."""
        name = "/".join(parts[:2])
        commit = self.accounts.heads.get((name, revision), COMMIT if revision in ("main", COMMIT) else revision)
        below = folder if commit == COMMIT else self.root / "commits" / name / commit
        if below.is_dir():
            return commit, below
        self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        return None

    def _describe(self, kind: str, parts: list[str]) -> None:
        """`R`, `R/revision/X` and `R/tree/X[/folder]`."""
        folder = self._repository(kind, parts)
        if folder is None:
            return
        asked, revision = parts[2:4] if len(parts) > 3 else ("", "main")
        if (found := self._at(parts, folder, revision)) is None:
            return
        commit, folder = found
        if asked == "tree":
            self._tree(folder, folder.joinpath(*parts[4:]))
        else:
            name = "/".join(parts[:2])
            files = [{"rfilename": str(path.relative_to(folder))} for path in _files(folder)]
            private = name in self.accounts.private
            self._json({"id": name, "sha": commit, "private": private, "tags": [], "siblings": files})

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
        if len(parts) < 5:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            return
        if (found := self._at(parts, folder, parts[3])) is None:
            return
        commit, folder = found
        path = folder.joinpath(*parts[4:])
        if not path.is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
        else:
            self._send_file(path, {"ETag": f'"{_etag(path)}"', "X-Repo-Commit": commit})

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

    # ------------------------------------------------------------------ writing

    def _names(self) -> list[str]:
        """The names under which the client may write; none without a token that is known."""
        return self.accounts.tokens.get(self.headers.get("Authorization", "").removeprefix("Bearer "), [])

    def _whoami(self) -> None:
        names = self._names()
        if not names:
            self._send(401, b"", {"X-Error-Message": "Invalid credentials in Authorization header"})
            return
        roles = self.accounts.roles
        orgs = [{"name": name, "roleInOrg": roles.get(name, "write")} for name in names[1:]]
        token = {"role": roles.get(self.headers["Authorization"].removeprefix("Bearer "), "write")}
        self._json({"name": names[0], "type": "user", "orgs": orgs, "auth": {"accessToken": token}})

    def _take(self) -> None:
        """What a client sends."""
        body = self._body()
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if body is None:
            return
        if parts[0] == "store":
            self._store(parts[1], body)
        elif parts == ["api", "validate-yaml"]:
            self._validate(json.loads(body))
        elif not self._names():
            self._send(401, b"", {"X-Error-Message": "Invalid credentials in Authorization header"})
        elif parts == ["api", "repos", "create"]:
            self._create(json.loads(body))
        elif parts[0] == "api":
            self._write(parts[2:], body)
        elif parts[2:] == ["info", "lfs", "objects", "batch"]:
            self._batch(json.loads(body))
        else:
            self._send(404, b"")

    def _body(self) -> bytes | None:
        """What was sent; None, and the connection cut, where that is a fault of this server."""
        size = int(self.headers.get("Content-Length", 0))
        if self.command == "PUT" and self.faults.uploads > 0:
            self.faults.uploads -= 1
            self.rfile.read(size // 2)
            self.close_connection = True
            return None
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(size)
        chunks = []
        while size := int(self.rfile.readline(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _validate(self, sent: dict[str, str]) -> None:
        """The head of a card must be YAML; each result in it must say of what task and data it is."""
        head = yaml.safe_load(sent["content"].split("---\n")[1])
        results = [result for model in head.get("model-index", []) for result in model["results"]]
        faults = [{"message": f"{result}"} for result in results if not result["task"]["type"] or not result["metrics"]]
        self._json({"errors": faults, "warnings": []}, 400 if faults else 200)

    def _create(self, sent: dict[str, str]) -> None:
        owner = sent.get("organization") or self._names()[0]
        name = f"{owner}/{sent['name']}"
        if not self._may_write(owner):
            return
        if (self.root / "models" / name).exists():
            self._send(409, b"{}")
            return
        (self.root / "models" / name).mkdir(parents=True)
        (self.root / "models" / name / ".gitattributes").write_text("*.safetensors filter=lfs\n")
        if sent.get("visibility") == "private":
            self.accounts.private.add(name)
        self._json({"url": f"http://{self.headers['Host']}/{name}"})

    def _may_write(self, owner: str) -> bool:
        if owner in self._names():
            return True
        self._send(403, b"", {"X-Error-Message": f"you have no rights under {owner}"})
        return False

    def _write(self, parts: list[str], body: bytes) -> None:
        """`R/branch/X`, `R/preupload/X` and `R/commit/X`."""
        folder = self._repository("models", parts)
        if folder is None or not self._may_write(parts[0]):
            return
        what, revision, name = parts[2], parts[3], "/".join(parts[:2])
        if what == "branch":
            self.accounts.heads[name, revision] = json.loads(body).get("startingPoint", COMMIT)
            self._json({})
        elif what == "preupload":
            if (found := self._at(parts, folder, revision)) is not None:
                self._json({"files": [_asked(file["path"], found[1]) for file in json.loads(body)["files"]]})
        elif (found := self._at(parts, folder, revision)) is not None:
            self._commit(name, revision, found, [json.loads(line) for line in body.splitlines()])

    def _batch(self, sent: dict[str, Any]) -> None:
        """Where large files are to be sent that are not here yet."""
        address = f"http://{self.headers['Host']}/store/"
        objects = [dict(wanted) for wanted in sent["objects"]]
        for wanted in objects:
            if wanted["oid"] not in self.accounts.stored:
                wanted["actions"] = {"upload": {"href": address + wanted["oid"]}}
        self._json({"transfer": "basic", "objects": objects})

    def _store(self, oid: str, body: bytes) -> None:
        if hashlib.sha256(body).hexdigest() != oid:
            self._send(400, b"")
            return
        self.accounts.stored[oid] = body
        self._send(200, b"")

    def _commit(self, name: str, branch: str, found: tuple[str, Path], lines: list[dict[str, Any]]) -> None:
        """A new commit, of the branch's files and the changes that were sent; all of them or none."""
        parent, before = found
        header = lines[0]["value"]
        if self.faults.overtaken or header.get("parentCommit", parent) != parent:
            self._send(412, b"", {"X-Error-Message": "A commit has happened since. Please refresh and try again."})
            return
        commit = hashlib.sha1(repr((parent, lines)).encode()).hexdigest()
        folder = self.root / "commits" / name / commit
        shutil.copytree(before, folder)
        for line in lines[1:]:
            path = folder / line["value"]["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            if line["key"] == "file":
                path.write_bytes(base64.b64decode(line["value"]["content"]))
            elif line["key"] == "lfsFile":
                path.write_bytes(self.accounts.stored[line["value"]["oid"]])
            else:
                path.unlink()
        self.accounts.heads[name, branch] = commit
        self.accounts.messages[commit] = header["summary"]
        self._json({"commitUrl": f"http://{self.headers['Host']}/{name}/commit/{commit}", "commitOid": commit})

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
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
    size = path.stat().st_size
    stored = {"lfs": {"oid": _etag(path), "size": size, "pointerSize": 134}} if path.suffix in LFS else {}
    return {"type": "file", "size": size, "oid": _etag(path)[:40], **stored}


def _asked(path: str, folder: Path) -> dict[str, Any]:
    """How a file is to be sent, and what is here under its name."""
    here = {"oid": _etag(folder / path)} if (folder / path).is_file() else {}
    return {"path": path, "uploadMode": "lfs" if path.endswith(LFS) else "regular", "shouldIgnore": False, **here}


def _etag(path: Path) -> str:
    """As the Hub tags files: large ones by their SHA-256, others by their hash in Git."""
    content = path.read_bytes()
    if path.suffix in LFS:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
