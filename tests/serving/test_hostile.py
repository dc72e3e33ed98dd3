"""Whatever is sent, by OpenAPI or by malice, gets an answer or a refusal, as OpenAPI says; never a server's error."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from tests.runs import Lab
from tests.serving.served import answered, listening, server_of

OPERATIONS = (
    *(("POST", "/v1/predict"), ("POST", "/v1/explain"), ("GET", "/v1/model")),
    *(("GET", "/health"), ("GET", "/ready"), ("GET", "/metrics")),
)
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


@pytest.fixture(scope="module")
def client(lab: Lab) -> Iterator[httpx.Client]:
    with listening(server_of(lab.trained("single", "full").run)) as found:
        yield found


@pytest.fixture(scope="module")
def described(client: httpx.Client) -> Any:
    """The server's OpenAPI; a body that is wrong and too large may be refused for the one or the other."""
    found = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
    found.config.checks.negative_data_rejection.expected_statuses = ["400", "413", "422"]
    return found


def sent(operation: Any, mode: GenerationMode, cases: int) -> list[int]:
    """Send cases that keep to OpenAPI, or do not; the statuses that they got, each checked against it."""
    found: list[int] = []

    @settings(max_examples=cases, derandomize=True, suppress_health_check=list(HealthCheck), phases=[Phase.generate])
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case) -> None:
        found.append(case.call_and_validate(timeout=60).status_code)

    send()
    assert max(found) < 500
    return found


def test_all_paths_are_tried(described: Any) -> None:
    assert {(op.ok().method.upper(), op.ok().path) for op in described.get_all_operations()} == set(OPERATIONS)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_answers_are_what_openapi_says(described: Any, method: str, path: str) -> None:
    assert 200 in sent(described[path][method], GenerationMode.POSITIVE, 30)
    if method == "POST":
        assert 422 in sent(described[path][method], GenerationMode.NEGATIVE, 30)


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_thousands_of_cases_are_answered_or_refused(described: Any, mode: GenerationMode) -> None:
    assert len(sent(described["/v1/predict"]["POST"], mode, 2250)) >= 2250
    assert len(sent(described["/v1/explain"]["POST"], mode, 250)) >= 250


def test_bytes_that_are_no_request_are_no_servers_error(client: httpx.Client) -> None:
    """Binary, broken, cut and smuggled requests, straight into the socket."""
    draw = random.Random(13)
    head = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n"
    whole = head + b'{"inputs":["a"]}'
    raw = [draw.randbytes(draw.randint(1, 400)) for _ in range(40)]
    for _ in range(60):
        bad = bytearray(whole)
        for _ in range(draw.randint(1, 6)):
            bad[draw.randrange(len(bad))] = draw.randrange(256)
        raw.append(bytes(bad))
    raw += [
        b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\nabc",
        b"GET /%00%ff/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://elsewhere/v1/predict HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
    for sent in raw:
        with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=10) as line:
            line.sendall(sent)
            line.shutdown(socket.SHUT_WR)
            try:
                got = line.recv(100)
            except ConnectionResetError:
                continue
            assert not got or got.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4")), (sent, got)
    assert len(answered(client, ["still here"])) == 1
