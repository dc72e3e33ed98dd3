"""The `evaluate` adapter, against scripts on disk and a Hub that serves one metric on loopback."""

from __future__ import annotations

import http.server
import socket
import threading
import time

import evaluate
import pytest
from huggingface_hub import constants

from ftkit.errors import DataError, MachineError, RecipeError
from ftkit.metrics import answers, classification, library, spans, text

SCRIPT = '''
import datasets, evaluate, numpy as np

class Off(evaluate.Metric):
    """How far off, in class numbers."""
    columns = ("predictions", "references")

    def _info(self):
        return evaluate.MetricInfo(description="", citation="", inputs_description="",
            features=datasets.Features({name: datasets.Value("int64") for name in self.columns}))

    def _compute(self, predictions, references):
        off = np.abs(np.array(predictions) - np.array(references))
        return {"off": off.mean(), "detail": {"most": off.max()}, "rows": list(off), "name": "off"}
'''


@pytest.fixture(autouse=True)
def _own_caches(tmp_path, monkeypatch):
    for name in ("HF_MODULES_CACHE", "HF_METRICS_CACHE", "HF_EVALUATE_CACHE", "DOWNLOADED_EVALUATE_PATH"):
        monkeypatch.setattr(evaluate.config, name, tmp_path / "cache" / name)
    monkeypatch.setattr(evaluate.config, "HF_EVALUATE_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def values(scores):
    return {name: score["value"] for name, score in scores.items()}


# ---------------------------------------------------------------- ftkit's own, as evaluate.Metric


TAGS = [["B-PER", "I-PER", "O"], ["O"]], [["B-PER", "I-PER", "O"], ["B-LOC"]]
SPANS = [[spans.entities(row) for row in side] for side in TAGS]


@pytest.mark.parametrize(
    ("name", "predictions", "references", "expected"),
    [
        ("classification", ["a", "b", "a"], ["a", "b", "b"],
         classification.single_label(["a", "b", "b"], ["a", "b", "a"], ["a", "b"])),
        ("multi_label", [["a"], []], [["a", "b"], []],
         classification.multi_label([["a", "b"], []], [["a"], []], ["a", "b"])),
        ("regression", [1.0, 2.0, 4.0], [1.5, 2.5, 3.0],
         classification.regression([1.5, 2.5, 3.0], [1.0, 2.0, 4.0])),
        ("ner", *TAGS, spans.entity_scores(SPANS[1], SPANS[0])),
        ("squad", ["x", ""], [["the X", "y"], []], answers.answer_scores(["x", ""], [["the X", "y"], []])),
        ("rouge", ["a b", "c"], [["a c b", "b"], ["d"]], text.rouge(["a b", "c"], [["a c b", "b"], ["d"]])),
    ],
)  # fmt: skip
def test_own_metrics_add_batches_and_compute(name, predictions, references, expected):
    metric = library.as_evaluate(name)
    assert isinstance(metric, evaluate.Metric)
    assert metric.compute(predictions=predictions, references=references) == values(expected)
    metric.add_batch(predictions=predictions[:1], references=references[:1])
    metric.add_batch(predictions=predictions[1:], references=references[1:])
    assert metric.compute() == values(expected)  # and nothing of the first round is left in it
    assert library.load(f"ftkit/{name}")(predictions, references) == values(expected)


def test_a_single_score_of_class_numbers():
    assert library.as_evaluate("f1").compute(predictions=[0, 1, 1], references=[0, 1, 0]) == {
        "f1": pytest.approx(2 / 3)
    }


def test_every_score_of_a_family_has_a_name():
    single = set(classification.single_label(["a"], ["a"], ["a"]))
    several = set(classification.multi_label([["a"]], [["a"]], ["a"]))
    numbers = set(classification.regression([1.0], [1.0]))
    for name in single | several | numbers | set(text.rouge(["a"], [["a"]])) | {"exact_match"}:
        assert name in library._family(name)[1]


def test_own_metrics_combine():
    both = evaluate.combine([library.as_evaluate("accuracy"), library.as_evaluate("mcc")])
    assert both.compute(predictions=["a", "b"], references=["a", "b"]) == {"accuracy": 1.0, "mcc": 1.0}


def test_an_unknown_metric_of_ftkit_lists_what_there_is():
    with pytest.raises(RecipeError, match="no metric called 'f2'") as caught:
        library.load("ftkit/f2")
    assert "rougeL" in caught.value.hint


def test_tags_that_do_not_pair_up():
    with pytest.raises(RecipeError, match="sentence 0 has 2 tags, but 1 were predicted"):
        library.load("ftkit/ner")([["O"]], [["O", "O"]])


# ---------------------------------------------------------------- a script of the user's


def script(folder, content=SCRIPT, name="off.py"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(content)
    return str(folder / name)


def test_a_script_scores_and_only_its_numbers_are_kept(tmp_path):
    compute = library.load(script(tmp_path))
    assert compute([1, 2, 3], [1, 1, 1]) == {"off": 1.0, "detail.most": 2.0}
    assert all(type(value) is float for value in compute([1], [3]).values())


def test_a_relative_path_and_a_folder_are_found(tmp_path, monkeypatch):
    script(tmp_path / "off")
    monkeypatch.chdir(tmp_path)
    assert library.load("./off/off.py")([1], [2])["off"] == library.load("./off")([1], [2])["off"] == 1.0


def test_names_become_class_numbers_by_their_place_in_labels(tmp_path):
    compute = library.load(script(tmp_path), labels=["low", "middle", "high"])
    assert compute(["high", "low"], ["low", "low"]) == {"off": 1.0, "detail.most": 2.0}
    with pytest.raises(RecipeError, match="could not score"):
        library.load(script(tmp_path))(["high"], ["low"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("import evaluate\n", "must define one class that inherits Metric; it defines none"),
        (
            "from evaluate import Metric\nclass A(Metric): pass\n",
            "A of .* can't be built: NotImplementedError",
        ),
        ("class A(:\n", "line 1 can't be loaded: SyntaxError"),
        ("import no_such_package\n", "No module named 'no_such_package'"),
    ],
)
def test_a_script_that_is_no_metric(tmp_path, content, said):
    with pytest.raises(RecipeError, match=said):
        library.load(script(tmp_path, content))


@pytest.mark.parametrize("returned", ["0.5", '{"name": "off"}', "None", "{}"])
def test_a_result_without_numbers_is_refused(tmp_path, returned):
    content = SCRIPT.split("        off =")[0] + f"        return {returned}\n"
    with pytest.raises(RecipeError, match="not a dict of finite numbers by name"):
        library.load(script(tmp_path, content))([1], [1])


def test_a_missing_script_and_missing_rows(tmp_path):
    with pytest.raises(RecipeError, match=r"there is no file .*nope\.py"):
        library.load(str(tmp_path / "nope.py"))
    with pytest.raises(RecipeError, match=r"there is no file .*nope/nope\.py"):
        library.load(str(tmp_path / "nope"))
    with pytest.raises(DataError, match="no rows"):
        library.load(script(tmp_path))([], [])


# ---------------------------------------------------------------- the Hub


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves SCRIPT as the metric `off` of the Hub, and nothing else."""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        known = self.path.endswith("/evaluate-metric/off/resolve/main/off.py")
        content = SCRIPT.replace("import datasets, evaluate, numpy as np",
                                 "import datasets\nimport evaluate\nimport numpy as np").encode()  # fmt: skip
        self.send_response(200 if known or self.path == "/" else 404)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(content) if known else 0))
        self.end_headers()
        if body and known:
            self.wfile.write(content)

    def log_message(self, *args):
        pass


def point_to(monkeypatch, port):
    endpoint = f"http://127.0.0.1:{port}"
    monkeypatch.setattr(evaluate.config, "HF_ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    pattern = endpoint + "/spaces/{path}/resolve/{revision}/{name}"
    monkeypatch.setattr(evaluate.config, "HUB_EVALUATE_URL", pattern)


@pytest.fixture
def served(monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    point_to(monkeypatch, server.server_address[1])
    yield server
    server.shutdown()
    server.server_close()


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_metric_of_the_hub_and_later_of_its_cache(served, monkeypatch):
    assert library.load("off")([1, 3], [1, 1])["off"] == 1.0
    point_to(monkeypatch, closed_port())
    assert library.load("off")([1, 4], [1, 1])["off"] == 1.5
    assert evaluate.config.HF_EVALUATE_OFFLINE is False


def test_a_name_that_the_hub_does_not_have(served):
    with pytest.raises(RecipeError, match="the Hub has no metric called 'offf'") as caught:
        library.load("offf")
    assert "ftkit/squad" in caught.value.hint


def test_an_unreachable_hub_is_found_out_at_once(monkeypatch):
    point_to(monkeypatch, closed_port())
    with pytest.raises(MachineError, match=r"bleu is not in the cache, and http://127.* can't be reached"):
        library.load("bleu")


def test_a_hub_that_never_answers_is_given_up_within_the_probe(monkeypatch):
    monkeypatch.setattr("ftkit.hub.PROBE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        point_to(monkeypatch, silent.getsockname()[1])
        begun = time.perf_counter()
        with pytest.raises(MachineError, match="can't be reached"):
            library.load("bleu")
        assert time.perf_counter() - begun < 5


def test_offline_mode_asks_nobody(served, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MachineError, match="off is not in the cache"):
        library.load("off")


ODD = """
import sys
import datasets, evaluate

class Odd(evaluate.Metric):
    def _info(self):
        features = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        if predictions[0] == "stop":
            sys.exit(0)
        return {"fine": 1.0, "none": float("nan"), "endless": float("inf")}
"""


def test_a_metric_that_ends_the_process_is_told_and_what_is_not_finite_is_left_out(tmp_path):
    (tmp_path / "odd.py").write_text(ODD)
    compute = library.load(str(tmp_path / "odd.py"))
    assert compute(["a"], ["a"]) == {"fine": 1.0}
    with pytest.raises(RecipeError, match="could not score the predictions: SystemExit"):
        compute(["stop"], ["a"])
