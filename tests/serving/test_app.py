"""What a server answers over HTTP: the same as Python and the command, and a sentence for all that it refuses."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from ftkit.engine import attribution
from ftkit.engine.predict import Predictor
from ftkit.serving import model
from ftkit.serving.app import Server
from ftkit.serving.limits import Limits
from tests.command import ftkit
from tests.runs import Lab, assert_close, read_jsonl, rows, write_rows
from tests.serving.served import answered, finds_entities, listening, server_of

INPUTS = {
    "single": ["text"],
    "windows": ["text"],
    "multi": ["text"],
    "regression": ["text"],
    "ner": ["text"],
    "qa": ["question", "context"],
    "qa2": ["question", "context"],
    "seq2seq": ["document"],
    "causal": ["document"],
}
METHODS = {"multi": "lora"}


def run_of(lab: Lab, kind: str) -> Path:
    return lab.trained(kind, METHODS.get(kind, "full")).run


def inputs(kind: str, count: int = 12) -> list[dict[str, Any]]:
    return [{name: row[name] for name in INPUTS[kind]} for row in rows(kind, "test", count)]


@pytest.fixture(scope="module")
def client(lab: Lab) -> Iterator[httpx.Client]:
    """A client of the usual model."""
    with listening(server_of(run_of(lab, "single"))) as found:
        yield found


# ---------------------------------------------------------------------- answers


@pytest.mark.parametrize("kind", INPUTS)
def test_answers_are_those_of_python(lab: Lab, kind: str) -> None:
    given = inputs(kind)
    expected = list(Predictor(run_of(lab, kind))(given))
    with listening(server_of(run_of(lab, kind))) as client:
        assert_close(answered(client, given), expected, 1e-6)
        one = answered(client, given[:1])
        if len(INPUTS[kind]) == 1:
            assert answered(client, [given[0][INPUTS[kind][0]]]) == one


def test_500_rows_get_the_same_answers_from_python_predict_and_serve(lab: Lab, tmp_path: Path) -> None:
    given = inputs("single", 500)
    server = server_of(run_of(lab, "single"), Limits(rows=500))
    expected = list(server.model.predictor(given))
    source, output = write_rows(tmp_path / "in.jsonl", given), tmp_path / "out.jsonl"
    assert ftkit("predict", run_of(lab, "single"), "--input", source, "--output", output).code == 0
    assert read_jsonl(output) == expected
    with listening(server) as client:
        assert_close(answered(client, given), expected, 1e-6)


def test_many_clients_at_once_get_the_answers_of_one(lab: Lab) -> None:
    given = [row["text"] for row in inputs("single", 96)]
    server = server_of(run_of(lab, "single"))
    expected = list(server.model.predictor(given))
    with listening(server) as client, ThreadPoolExecutor(32) as pool:
        found = list(pool.map(lambda text: answered(client, [text])[0], given))
        batches = client.get("/metrics").text
    assert_close(found, expected, 1e-6)
    count = float(batches.split("ftkit_batch_rows_count ")[1].split()[0])
    assert count < 96, "nothing was answered together"


def test_inputs_of_one_request_may_be_texts_and_objects(client: httpx.Client) -> None:
    one = {"text": "A fair price."}
    mixed = answered(client, [one, {"text": "It broke at once."}, "A fair price."])
    assert_close([mixed[0], mixed[2]], [answered(client, [one])[0]] * 2, 1e-6)
    assert mixed[0] != mixed[1]


def test_a_second_text_is_refused_where_training_had_none(client: httpx.Client) -> None:
    pair = {"text": "A fair price.", "text_pair": "It broke at once."}
    found = client.post("/v1/predict", json={"inputs": ["A fair price.", pair]})
    assert found.status_code == 422 and "inputs.1.row.text_pair" in found.json()["error"]


def test_words_are_read_where_a_row_has_them(lab: Lab) -> None:
    with listening(server_of(run_of(lab, "ner"))) as client:
        by_words, by_text = answered(client, [{"tokens": ["Anna", "works", "."]}, {"text": "Anna works ."}])
    assert_close(by_words, by_text, 1e-6)


def test_it_is_told_which_inputs_were_cut(client: httpx.Client) -> None:
    found = client.post("/v1/predict", json={"inputs": ["short", "long " * 600, "short"]})
    assert found.json()["cut"] == [False, True, False]


@pytest.mark.parametrize(("kind", "columns"), [("single", {"text"}), ("ner", {"text"})])
def test_words_of_an_answer_are_weighed(lab: Lab, kind: str, columns: set[str]) -> None:
    server, given = server_of(run_of(lab, kind)), inputs(kind)[0]
    if kind == "ner":
        finds_entities(server)
    with listening(server) as client:
        found = client.post("/v1/explain", json={"input": given}).json()
    assert_close(found["answer"], server.model.predictor.each([given])[0][0], 1e-6)
    assert {word["column"] for word in found["words"]} == columns
    assert max(abs(word["weight"]) for word in found["words"]) == 1
    text = found["texts"]["text"]
    assert [text[word["start"] : word["end"]] for word in found["words"]] == attribution_words(server, given)
    if kind == "single":
        assert found["instead_of"] in set(server.model.predictor.trained.labels) - {found["answer"]["label"]}


def attribution_words(server: Server, given: dict[str, Any]) -> list[str]:
    predictor = server.model.predictor
    explained = attribution.explain_new(predictor.trained, predictor.read([given])[0], predictor.settings)
    assert explained
    return [given["text"][word.start : word.end] for word in explained.words]


@pytest.mark.parametrize("kind", ["multi", "regression", "qa", "seq2seq"])
def test_answers_without_a_rival_have_no_words(lab: Lab, kind: str) -> None:
    with listening(server_of(run_of(lab, kind))) as client:
        found = client.post("/v1/explain", json={"input": inputs(kind)[0]})
    assert found.status_code == 200 and found.json()["words"] is None


def test_a_graph_has_answers_and_no_words(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells no gradients; the page then has no box for them."""
    server = server_of(run_of(lab, "single"))
    assert server.model.explains
    for module in (attribution, model):
        monkeypatch.setattr(module, "is_served", lambda _: True)
    assert not server.model.explains
    with listening(server) as client:
        found = client.post("/v1/explain", json={"input": inputs("single")[0]})
    assert found.status_code == 200 and found.json()["words"] is None and "label" in found.json()["answer"]


# ---------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 422, "the request"),
        (b"\xff\xfe\x00binary", 400, "no JSON"),
        (b"[" * 100_000, 400, "no JSON"),
        (b"7", 422, "the request"),
        (b"{}", 422, "inputs"),
        (b'{"inputs": []}', 422, "at least 1"),
        (b'{"inputs": [NaN]}', 422, "neither a text nor an object"),
        (b'{"inputs": ["\\ud800"]}', 422, "inputs.0"),
        (b'{"inputs": [{"\\udc00": "x", "text": "y"}]}', 422, "inputs.0"),
        (b'{"inputs": [{"text": 3}]}', 422, "inputs.0.row.text"),
        (b'{"inputs": [{"txt": "a"}]}', 422, "inputs.0.row.text"),
        (b'{"inputs": ["a"], "more": 1}', 422, "more"),
        (json.dumps({"inputs": ["a"] * 257}).encode(), 422, "at most 256"),
        (json.dumps({"inputs": ["a" * 20_001]}).encode(), 422, "at most 20000"),
        (b" " * 300_000, 413, "at most 262144 bytes"),
        (b'{"inputs": [' + b"9" * 5000 + b"]}", 400, "no JSON"),
    ],
    ids=[*"abcdefghijklmnop"],
)
def test_refusals_say_why_and_the_next_is_answered(client: httpx.Client, body: bytes, status: int, said: str) -> None:
    found = client.post("/v1/predict", content=body, headers={"content-type": "application/json"})
    assert found.status_code == status, found.text
    assert found.json().keys() == {"error", "hint"} and said in found.json()["error"]
    assert len(answered(client, ["a text"])) == 1


def test_the_characters_of_a_row_are_counted_together(lab: Lab) -> None:
    with listening(server_of(run_of(lab, "qa"))) as client:
        found = client.post("/v1/predict", json={"inputs": [{"question": "a" * 12_000, "context": "b" * 12_000}]})
    assert found.status_code == 413 and "input 1" in found.json()["error"]


def test_what_is_not_said_to_be_json_is_told(client: httpx.Client) -> None:
    found = client.post("/v1/predict", content=b'{"inputs": ["a text"]}').json()
    assert found["error"] == "the request was not read: its Content-Type does not say that it is JSON"
    assert "Content-Type: application/json" in found["hint"]


def test_body_without_a_length_is_bounded_too(client: httpx.Client) -> None:
    found = client.post("/v1/predict", content=(b" " * 10_000 for _ in range(40)))
    assert found.status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/v1/predict", 405), ("POST", "/", 405), ("GET", "/x", 404)]
)
def test_other_paths_and_methods_are_told(client: httpx.Client, method: str, path: str, status: int) -> None:
    found = client.request(method, path)
    assert found.status_code == status and found.json().keys() == {"error", "hint"}


def test_body_that_trickles_is_given_up(lab: Lab) -> None:
    with listening(server_of(run_of(lab, "single"), Limits(timeout=0.4))) as client:
        with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as slow:
            slow.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{")
            slow.settimeout(20)
            assert slow.recv(1000).startswith(b"HTTP/1.1 408")
        assert client.get("/ready").status_code == 200


class Held:
    """Holds up a server's model until it is let."""

    def __init__(self, server: Server) -> None:
        self.let, self.begun, answer = threading.Event(), threading.Event(), server.batcher.answer

        def held(rows: list[dict[str, Any]]) -> Any:
            self.begun.set()
            assert self.let.wait(60)
            return answer(rows)

        server.batcher.answer = held


def test_full_queue_is_429_and_nothing_that_was_taken_is_lost(lab: Lab) -> None:
    server = server_of(run_of(lab, "single"), Limits(queue=8, rows=8, batch=8))
    held = Held(server)
    with listening(server) as client, ThreadPoolExecutor(12) as pool:
        first = pool.submit(answered, client, ["first"])
        assert held.begun.wait(60)
        taken = [pool.submit(answered, client, ["a", "b"]) for _ in range(4)]
        while server.batcher.waiting < 8:
            time.sleep(0.01)
        full = client.post("/v1/predict", json={"inputs": ["one more"]})
        assert full.status_code == 429 and full.headers["retry-after"] == "1"
        assert client.get("/health").status_code == client.get("/ready").status_code == 200
        held.let.set()
        assert len(first.result(60)) == 1 and [len(each.result(60)) for each in taken] == [2] * 4


def test_what_takes_too_long_is_given_up(lab: Lab) -> None:
    """Begun, it is the server's fault; not begun, the others'."""
    server = server_of(run_of(lab, "single"), Limits(timeout=0.5))
    held = Held(server)
    ask = {"inputs": ["a"]}
    with listening(server) as client, ThreadPoolExecutor(2) as pool:
        begun = pool.submit(client.post, "/v1/predict", json=ask)
        assert held.begun.wait(60)
        waiting = client.post("/v1/predict", json=ask)
        assert waiting.status_code == 429 and waiting.headers["retry-after"]
        assert begun.result(60).status_code == 504
        held.let.set()
        assert len(answered(client, ["a"])) == 1


def test_requests_at_once_are_bounded(lab: Lab) -> None:
    server = server_of(run_of(lab, "single"), Limits(open=2))
    held = Held(server)
    with listening(server) as client, ThreadPoolExecutor(2) as pool:
        taken = [pool.submit(answered, client, ["a"]) for _ in range(2)]
        while (ready := client.get("/metrics")).status_code != 429:
            time.sleep(0.01)
        assert ready.headers["retry-after"] and client.get("/health").status_code == 200
        held.let.set()
        assert [len(each.result(60)) for each in taken] == [1, 1]


def test_bug_is_a_500_with_a_sentence_and_a_line_in_the_log(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    server = server_of(run_of(lab, "single"))
    server.batcher.answer = lambda rows: [1 / 0]
    with listening(server) as client:
        found = client.post("/v1/predict", json={"inputs": ["a"]})
        assert found.status_code == 500 and found.json()["error"] == "the server has failed"
        assert client.get("/health").status_code == 200
    assert "POST /v1/predict failed" in caplog.text and "ZeroDivisionError" in caplog.text


# ---------------------------------------------------------------------- keys, operations


def test_key_is_asked_for_where_there_is_one(lab: Lab) -> None:
    server = server_of(run_of(lab, "single"), key="s3cret")
    with listening(server, key="s3cret") as client:
        for headers in (
            {},
            {"authorization": "Bearer other"},
            {"authorization": "Bearer"},
            {"authorization": "Basic s3cret"},
        ):
            for method, path in (
                ("POST", "/v1/predict"),
                ("GET", "/v1/model"),
                ("GET", "/metrics"),
                ("GET", "/openapi.json"),
            ):
                found = client.request(method, path, headers=headers)
                assert found.status_code == 401 and found.headers["www-authenticate"] == "Bearer"
        assert [client.get(path).status_code for path in ("/", "/page.css", "/page.js", "/health", "/ready")] == [
            200
        ] * 5
        client.headers["authorization"] = "Bearer s3cret"
        assert len(answered(client, ["a"])) == 1
        described = client.get("/openapi.json").json()
    assert described["components"]["securitySchemes"] and described["paths"]["/v1/predict"]["post"]["security"]


def test_metrics_count_what_was_asked(lab: Lab) -> None:
    with listening(server_of(run_of(lab, "single"))) as client:
        answered(client, ["a", "b"])
        client.post("/v1/predict", json={})
        for n in range(5):
            client.get(f"/made-up/{n}")
        found = client.get("/metrics")
    assert found.headers["content-type"].startswith("text/plain")
    values = dict(line.rsplit(" ", 1) for line in found.text.splitlines() if not line.startswith("#"))
    assert values['ftkit_requests_total{path="/v1/predict",status="200"}'] == "1.0"
    assert values['ftkit_requests_total{path="/v1/predict",status="422"}'] == "1.0"
    assert values['ftkit_requests_total{path="other",status="404"}'] == "5.0"
    assert values["ftkit_rows_total"] == "2.0" and values["ftkit_queue_rows"] == "0.0"
    assert float(values["process_resident_memory_bytes"]) > 0


def test_stopping_server_is_not_ready_and_takes_no_more(lab: Lab) -> None:
    server = server_of(run_of(lab, "single"))
    with listening(server) as client:
        server.batcher.close()
        server.stopping = True
        assert client.get("/ready").status_code == 503 and client.get("/health").status_code == 200
        assert client.post("/v1/predict", json={"inputs": ["a"]}).status_code == 503


def test_model_is_told_about(client: httpx.Client, lab: Lab) -> None:
    found = client.get("/v1/model").json()
    assert found["task"] == "classification" and found["columns"] == [["text"]]
    assert found["labels"] == list(Predictor(run_of(lab, "single")).trained.labels)


def test_answers_may_not_be_framed_or_kept(client: httpx.Client) -> None:
    for path in ("/", "/v1/model", "/nothing"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
