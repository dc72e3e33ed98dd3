"""The card of an export says what the model is, what it scored and how to use it, and its commands are true."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from ftkit import exporters
from ftkit.checkpoints.starters import STARTERS
from ftkit.engine import model as models
from ftkit.engine.card import _results as card_results
from ftkit.engine.card import model_card
from ftkit.engine.export import export
from ftkit.engine.predict import Predictor
from ftkit.exporters._example import example
from tests.command import ftkit
from tests.runs import Lab

SCORES = {"test": {"accuracy": {"value": 0.98765, "n": 7}}, "folds": {"f1": {"value": 0.5}}}


def card(lab: Lab, kind: str, method: str = "full", scores: object = None) -> str:
    trained = models.load(lab.trained(kind, method).run)
    format = "checkpoint" if trained.method.standalone else "adapter"
    program = example(trained, exporters.find(format), format)
    return model_card(trained, scores or {}, program=program)  # type: ignore[arg-type]


def test_front_matter_is_yaml_that_the_hub_reads(lab: Lab) -> None:
    head, body = re.fullmatch(r"---\n(.*?)\n---\n(.*)", card(lab, "single"), re.DOTALL).groups()  # type: ignore[union-attr]
    told = {"library_name": "transformers", "pipeline_tag": "text-classification", "tags": ["ftkit"]}
    assert yaml.safe_load(head) == told
    assert body.lstrip().startswith("# BertForSequenceClassification for classification\n")


def test_labels_stand_in_the_order_of_the_outputs(lab: Lab) -> None:
    (line,) = [line for line in card(lab, "ner").splitlines() if line.startswith("Labels")]
    assert tuple(re.findall(r"`(.+?)`", line)) == lab.prepared("ner").labels
    assert "Labels" not in card(lab, "qa")


def test_scores_are_a_table_and_none_are_no_section(lab: Lab) -> None:
    table = [line for line in card(lab, "single", scores=SCORES).splitlines() if line.startswith("| ")]
    assert table[1:] == ["| test | accuracy | 0.9877 | 7 |", "| folds | f1 | 0.5000 |  |"]
    assert "Scores" not in card(lab, "single")


def results(card: str) -> dict[tuple[str, str], tuple[str, float]]:
    """Split and metric -> data set and value, as the Hub's library reads a card."""
    found = ModelCard(card).data.eval_results or []
    return {(one.dataset_split, one.metric_type): (one.dataset_type, one.metric_value) for one in found}


def test_scores_of_held_out_rows_are_metadata(lab: Lab) -> None:
    assert results(card(lab, "single", scores=SCORES)) == {("test", "accuracy"): ("own", 0.9877)}
    nothing = {"test": {"f1": {"value": float("nan")}, "accuracy": {"value": None}}}
    assert results(model_card(models.load(lab.trained("single", "full").run), {})) == {}
    assert list(card_results(nothing, "text-classification", None, set())) == []


@pytest.mark.parametrize(("test", "is_own"), [("null", False), ("0.2", True), ("rows/mine.csv", True)])
def test_scores_of_ones_own_rows_are_not_told_as_the_hubs(lab: Lab, test: str, is_own: bool) -> None:
    recipe = lab.recipe("single", "data.train=hf://org/reviews:en", f"data.test={test}")
    told = model_card(models.load(lab.trained("single", "full").run), SCORES, recipe=recipe, called="ada/reviews")
    assert results(told)["test", "accuracy"] == ("own" if is_own else "org/reviews", 0.9877)
    assert ModelCard(told).data.datasets == ["org/reviews"]


@pytest.mark.parametrize(
    ("train", "name"), [("hf://org/reviews:en", "org/reviews"), ("sample:sentiment", None), ("rows/mine.csv", None)]
)
def test_data_of_the_hub_are_named_and_no_files(lab: Lab, train: str, name: str | None) -> None:
    recipe = lab.recipe("single", "model.checkpoint=org/base", f"data.train={train}", "data.test=null")
    told = model_card(models.load(lab.trained("single", "full").run), SCORES, recipe=recipe, called="ada/reviews")
    data = ModelCard(told).data
    assert (data.base_model, data.datasets) == ("org/base", [name] if name else None)
    assert results(told)["test", "accuracy"] == (name or "own", 0.9877)
    assert data.model_name == "reviews" and 'ftkit predict ada/reviews "' in told and "mine" not in told


def test_a_starter_is_named_as_the_hub_knows_it(lab: Lab) -> None:
    trained = models.load(lab.trained("single", "full").run)
    told = model_card(trained, {}, recipe=lab.recipe("single", "model.checkpoint=smollm2"))
    assert ModelCard(told).data.base_model == STARTERS["smollm2"].hub_id


def test_what_is_done_to_probabilities_is_told(lab: Lab) -> None:
    assert "Logits" not in card(lab, "single") and "withheld" not in card(lab, "qa")
    run = lab.train("single", "evaluate.calibrate=false", "task.temperature=3", "task.abstain=0.99")
    told = model_card(models.load(run.run), {})
    assert "Logits are divided by 3.0000" in told and "below 0.9900 are withheld" in told


def test_adapter_names_what_it_builds_on_and_no_pipeline_that_would_lack_it(lab: Lab) -> None:
    told = card(lab, "single", "lora")
    assert "method `lora`, on top of a checkpoint that is on no Hub" in told and "pipeline(" not in told
    assert str(lab.checkpoint("bert")) not in told
    plain = card(lab, "single", "full")
    assert "method `full`." in plain and "on top of" not in plain and "pipeline" in plain


@pytest.mark.parametrize("kind", ["single", "ner"])
def test_python_of_the_card_runs_in_the_folder(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    export(lab.trained(kind, "full").run, tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    code = re.search(r"```python\n(.*?)```", Path("README.md").read_text(), re.DOTALL)
    assert code is not None
    exec(code[1], {})
    printed = capsys.readouterr().out
    assert printed.startswith("[") and ("'label'" in printed or kind == "ner")


def test_card_shows_what_was_measured(lab: Lab, tmp_path: Path) -> None:
    export(lab.trained("single", "full").run, tmp_path / "out")
    told = (tmp_path / "out" / "README.md").read_text()
    assert "## Measured as `checkpoint`, beside the run" in told and "On 7 held-out rows" in told
    assert "| same answers | 100.00% | |" in told and re.search(r"\| time of 32 rows \| \d", told)


def test_command_of_the_card_answers(lab: Lab, tmp_path: Path) -> None:
    export(lab.trained("single", "full").run, tmp_path / "out")
    told = (tmp_path / "out" / "README.md").read_text()
    words = re.search(r'```console\nftkit predict THIS_FOLDER "(.*?)"\n```', told)
    assert words is not None
    done = ftkit("predict", tmp_path / "out", words[1])
    assert done.code == 0 and words[1] in done.out


@pytest.mark.parametrize("kind", ["single", "ner", "qa", "seq2seq"])
def test_the_command_is_of_the_tasks_own_columns(lab: Lab, kind: str) -> None:
    method = "lora" if kind == "seq2seq" else "full"
    (line,) = [line for line in card(lab, kind, method).splitlines() if line.startswith("ftkit predict")]
    (given,) = shlex.split(line)[3:]
    value = json.loads(given) if given.startswith("{") else given
    assert len(list(Predictor(lab.trained(kind, method).run)([value]))) == 1
