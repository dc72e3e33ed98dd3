"""Calibration travels with the model, changes no answer, and reaches on the validation rows what is wished."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from ftkit.engine import calibrate, infer, machine
from ftkit.engine import model as models
from ftkit.engine.calibrate import Reliance, calibrated
from ftkit.engine.evaluate import evaluate
from ftkit.engine.export import export
from ftkit.engine.finish import Finished
from ftkit.engine.predict import Predictor
from ftkit.engine.train import plan, train
from ftkit.errors import RecipeError
from ftkit.metrics import calibration as metrics
from ftkit.metrics.calibration import Decisions
from ftkit.settings import EvaluateSpec
from tests.command import ftkit
from tests.runs import KINDS, Lab, answers, log, read_jsonl, refused, text, weights, write_rows

COUNTS = {"train": 60, "validation": 140, "test": 90}


def noisy(random: Random) -> dict[str, Any]:
    """A text that is long or short, and one in five that is called the other."""
    written = text(random)
    return {"text": written, "label": mostly(random, len(written) > 70, "long", "short")}


def noisy_names(random: Random) -> dict[str, Any]:
    """A text with names of one word or two, whose type is told by their length, but for one in five."""
    written = text(random)
    names = re.finditer(r"[A-Z][a-z]+(?: [A-Z][a-z]+)+|(?<=\w )[A-Z][a-z]+", written)
    entities = [(m.start(), m.end(), mostly(random, len(m.group()) > 6, "LOC", "PER")) for m in names]
    return {"text": written, "entities": [{"start": a, "end": b, "type": kind} for a, b, kind in entities]}


def mostly(random: Random, true: bool, one: str, other: str) -> str:
    return one if true == (random.random() < 0.8) else other


def settings(lab: Lab, kind: str) -> tuple[str, ...]:
    """Data with more validation rows than usual, learned until the model is surer than it is right."""
    files = []
    for split, count in COUNTS.items():
        path = lab.folder / "calibration" / kind / f"{split}.jsonl"
        random = Random(f"{kind}/{split}")
        row = {"single": noisy, "ner": noisy_names}[kind]
        found = [row(random) for _ in range(count)]
        files.append(f"data.{split}={path if path.is_file() else write_rows(path, found)}")
    epochs = {"single": 6, "ner": 8}[kind]
    return (*files, f"train.epochs={epochs}", "train.evaluate_every=1000", "train.learning_rate=3e-3")


def run_of(lab: Lab, kind: str, *more: str) -> Finished:
    return lab.train(kind, *settings(lab, kind), *more)


def said_of(predictions: list[dict[str, Any]]) -> list[Any]:
    """Labels, or places and types of entities, withheld or not."""
    if "entities" not in predictions[0]:
        return [p.get("withheld", p["label"]) for p in predictions]
    found = [[*p["entities"], *p.get("withheld", [])] for p in predictions]
    return [sorted((e["type"], e["start"], e["end"]) for e in row) for row in found]


def confidences(predictions: list[dict[str, Any]]) -> list[float]:
    if "entities" not in predictions[0]:
        return [p["score"] for p in predictions]
    return [e["score"] for p in predictions for e in (*p["entities"], *p.get("withheld", []))]


def given(predictions: list[dict[str, Any]]) -> int:
    """How many answers were not withheld."""
    return sum(len(p["entities"]) if "entities" in p else p["label"] is not None for p in predictions)


@pytest.mark.parametrize("kind", ["single", "ner"])
def test_calibration_changes_probabilities_and_no_answer(lab: Lab, kind: str) -> None:
    run, plain = run_of(lab, kind), run_of(lab, kind, "evaluate.calibrate=false")
    assert all((weight == weights(plain.run)[name]).all() for name, weight in weights(run.run).items())
    assert run.scores == plain.scores
    assert plain.calibration == {} and run.calibration.keys() == {"validation", "test"}
    for split in run.calibration:
        ours, theirs = (read_jsonl(r.run / "predictions" / f"{split}.jsonl") for r in (run, plain))
        assert said_of(ours) == said_of(theirs)
        assert confidences(ours) != pytest.approx(confidences(theirs), abs=1e-3)
    found = run.calibration["validation"]
    assert found["nll_after"] < found["nll_before"]
    assert found["temperature"] > 1 or kind == "ner", "it was trained to be surer than it is right"
    assert models.load(plain.run).task.options.temperature == 1


@pytest.mark.parametrize("kind", ["single", "ner"])
def test_calibrated_run_scores_and_answers_as_it_did_when_loaded_again(lab: Lab, tmp_path: Path, kind: str) -> None:
    run = run_of(lab, kind, "evaluate.wished_coverage=0.6")
    written = {split: read_jsonl(run.run / "predictions" / f"{split}.jsonl") for split in run.scores}
    for split, predictions in written.items():
        again = evaluate(run.run, split)
        assert again.scores == run.scores[split]
        assert again.predictions == predictions
    last = log(run.run, "validation")[-1]
    assert {name: last[name] for name in run.scores["validation"]} == {
        name: score["value"] for name, score in run.scores["validation"].items()
    }
    contract = json.loads((run.run / "model" / "ftkit.json").read_text())["task"]
    told = run.calibration["test"]
    assert (contract["temperature"], contract["abstain"]) == (told["temperature"], told["threshold"])
    assert answers(export(run.run, tmp_path / "out"), held_out(lab, kind)) == written["test"]
    assert "Logits are divided by" in (tmp_path / "out" / "README.md").read_text()
    assert json.loads((run.run / "scores.json").read_text())["calibration"] == run.calibration


def held_out(lab: Lab, kind: str, split: str = "test") -> list[dict[str, Any]]:
    return lab.prepared(kind, *settings(lab, kind)).splits[split].to_list()


@pytest.mark.parametrize("kind", ["single", "ner"])
@pytest.mark.parametrize("coverage", [0.6, 0.85])
def test_wished_coverage_is_reached_on_the_validation_rows(lab: Lab, kind: str, coverage: float) -> None:
    run = run_of(lab, kind, f"evaluate.wished_coverage={coverage}")
    plain = run_of(lab, kind, "evaluate.calibrate=false")
    assert run.scores == plain.scores, "what is withheld is scored too"
    for split, told in run.calibration.items():
        predictions = read_jsonl(run.run / "predictions" / f"{split}.jsonl")
        assert told["n"] == len(confidences(predictions))
        assert told["coverage"] == pytest.approx(given(predictions) / told["n"])
        assert given(predictions) == sum(c >= told["threshold"] for c in confidences(predictions))
    sure = np.array(confidences(read_jsonl(run.run / "predictions" / "validation.jsonl")))
    least = sure[sure >= run.calibration["validation"]["threshold"]].min()
    assert (sure > least + 1e-9).mean() < coverage <= run.calibration["validation"]["coverage"] < 1


@pytest.mark.parametrize("kind", ["single", "ner"])
def test_wished_precision_is_reached_on_the_validation_rows(lab: Lab, kind: str) -> None:
    all_given = run_of(lab, kind).calibration["validation"]
    assert all_given["coverage"] == 1
    wished = round(all_given["precision"] + 0.04, 3)
    run = run_of(lab, kind, f"evaluate.wished_precision={wished}")
    told = run.calibration["validation"]
    predictions = read_jsonl(run.run / "predictions" / "validation.jsonl")
    right = []
    for row, prediction in zip(held_out(lab, kind, "validation"), predictions, strict=True):
        if kind == "single":
            right += [prediction["label"] == row["label"]] if prediction["label"] is not None else []
        else:
            true = {(e["type"], e["start"], e["end"]) for e in row["entities"]}
            right += [(e["type"], e["start"], e["end"]) in true for e in prediction["entities"]]
    assert told["precision"] == pytest.approx(np.mean(right))
    assert told["precision"] >= wished and 0 < told["coverage"] < 1


def test_precision_out_of_reach_is_said_and_nothing_withheld(lab: Lab) -> None:
    said: list[str] = []
    wish = ("evaluate.wished_precision=1", "train.epochs=0")
    run = train(lab.recipe("single", *settings(lab, "single"), *wish), lab.new(), say=said.append)
    (note,) = [line for line in said if "wished_precision" in line]
    assert "no threshold reaches 1.0" in note and "nothing is withheld" in note
    assert run.calibration["validation"]["threshold"] == 0
    assert run.calibration["validation"]["coverage"] == 1


@pytest.mark.parametrize("kind", ["single", "ner"])
def test_decisions_make_the_scores_that_answers_have(lab: Lab, kind: str) -> None:
    """Each answer's confidence and truth come of `decisions` as `decode` and `score` have them."""
    t = models.load(run_of(lab, kind).run)
    examples, parts = held_out(lab, kind), []
    predictions = list(
        infer.predict(
            t.model, t.task, t.tokenizer, t.labels, examples, EvaluateSpec(),
            observe=lambda *shown: parts.append(t.task.decisions(*shown, t.labels)),
        )
    )  # fmt: skip
    confidence, right = Decisions.joined(parts).answers(t.task.options.temperature)
    assert confidence == pytest.approx(confidences(predictions), abs=1e-6)
    score = evaluate(run_of(lab, kind).run).scores["accuracy" if kind == "single" else "precision"]
    assert right.mean() == pytest.approx(score["value"])


def test_error_of_the_test_rows_is_that_of_their_predictions(lab: Lab) -> None:
    run = run_of(lab, "single")
    predictions, told = read_jsonl(run.run / "predictions" / "test.jsonl"), run.calibration["test"]
    right = np.array([p["label"] == row["label"] for p, row in zip(predictions, held_out(lab, "single"), strict=True)])
    after = np.array(confidences(predictions))
    before = np.array(
        confidences(read_jsonl(run_of(lab, "single", "evaluate.calibrate=false").run / "predictions" / "test.jsonl"))
    )
    for name, confidence in (("before", before), ("after", after)):
        assert told[f"ece_{name}"] == pytest.approx(metrics.ece(confidence, right))
        assert told[f"reliability_{name}"] == [pytest.approx(row) for row in metrics.reliability(confidence, right)]
    labels = models.load(run.run).labels
    likely = [p["score"] if ok else 1 - p["score"] for p, ok in zip(predictions, right, strict=True)]
    assert len(labels) == 2 and told["nll_after"] == pytest.approx(-np.log(likely).mean(), rel=1e-5)


def test_predict_withholds_unsure_answers_and_tells_its_confidence(lab: Lab) -> None:
    run = run_of(lab, "single", "evaluate.wished_coverage=0.6")
    threshold = run.calibration["test"]["threshold"]
    texts = [row["text"] for row in held_out(lab, "single")]
    predictions = list(Predictor(run.run)(texts))
    unsure = [p for p in predictions if p["label"] is None]
    assert unsure and len(unsure) < len(texts)
    assert all(p["score"] < threshold and p["withheld"] in ("long", "short") for p in unsure)
    assert all(p.keys() == {"label", "score"} and p["score"] >= threshold for p in predictions if p not in unsure)
    asked = texts[predictions.index(unsure[0])]
    printed = ftkit("predict", run.run, asked)
    assert printed.out.startswith(f"(withheld: {unsure[0]['withheld']}, ")
    told = json.loads(ftkit("predict", run.run, asked, "--json").out)
    assert told["label"] is None and told["score"] == pytest.approx(unsure[0]["score"], abs=1e-5)


# ---------------------------------------------------------------------- what is not calibrated, and is said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("data.validation=null",), "there are no validation rows"),
        ((), "there are 6 answers to validation rows, and 50 are needed"),
        (
            ("evaluate.wished_coverage=0.5",),
            "there are 6 answers to validation rows, and 50 are needed; nothing is withheld",
        ),
        (("evaluate.calibrate=false",), None),
    ],
)
def test_too_few_validation_rows_calibrate_nothing(lab: Lab, more: tuple[str, ...], said: str | None) -> None:
    notes: list[str] = []
    run = train(lab.recipe("single", *more, "train.epochs=0"), lab.new(), say=notes.append)
    assert [note for note in notes if "calibrated" in note] == (
        [f"note: probabilities are not calibrated: {said}"] if said else []
    )
    assert run.calibration == {}
    assert models.load(run.run).task.options.temperature == 1


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"single", "windows", "ner"}))
def test_other_tasks_are_not_calibrated(lab: Lab, tmp_path: Path, kind: str) -> None:
    assert not lab.prepared(kind).task.calibrates()
    error = refused(lab.recipe(kind, "evaluate.wished_coverage=0.5"), tmp_path / "new")
    assert "evaluate.wished_coverage: the answers of this task are not calibrated" in str(error)


REFUSED = {
    "no rows to choose on": (("evaluate.wished_coverage=0.5", "data.validation=null"), "no validation rows"),
    "two thresholds": (("evaluate.wished_precision=0.9", "task.abstain=0.5"), "task.abstain"),
    "two temperatures": (("task.temperature=2",), "task.temperature: training fits it"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_wished_is_refused_before_training(lab: Lab, tmp_path: Path, name: str) -> None:
    more, said = REFUSED[name]
    assert said in str(refused(lab.recipe("single", *more), tmp_path / "new"))
    with pytest.raises(RecipeError, match=said):
        plan(lab.recipe("single", *more))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("evaluate.wished_coverage=0.5", "evaluate.wished_precision=0.5"), "set one of them"),
        (("evaluate.wished_coverage=0.5", "evaluate.calibrate=false"), "evaluate.calibrate is false"),
        (("evaluate.wished_coverage=0",), "evaluate.wished_coverage"),
    ],
)
def test_wishes_that_contradict_are_no_recipe(lab: Lab, more: tuple[str, ...], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        lab.recipe("single", *more)


def test_ones_own_temperature_and_threshold_are_gone_by(lab: Lab) -> None:
    run = lab.train("single", "evaluate.calibrate=false", "task.temperature=3", "task.abstain=0.99")
    assert run.calibration == {} and run.scores == lab.train("single").scores
    assert {p["label"] for p in read_jsonl(run.run / "predictions" / "test.jsonl")} == {None}


# ---------------------------------------------------------------------- what it is fitted to


def by_answer(decisions: Decisions) -> Counter[bytes]:
    """The logits of each answer, counted: a sentence may be there twice."""
    return Counter(decisions.logits[decisions.answer == i].tobytes() for i in np.unique(decisions.answer))


def test_large_validation_sets_are_sampled_by_whole_answers(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    t, examples = models.load(run_of(lab, "ner").run), held_out(lab, "ner", "validation")
    monkeypatch.setattr(infer, "CHUNK", 16)

    def sampled() -> Decisions:
        sample = calibrate._Sample(t.task, t.labels)
        list(infer.predict(t.model, t.task, t.tokenizer, t.labels, examples, EvaluateSpec(), observe=sample))
        return Decisions.joined(part for part, _ in sample.parts)

    whole = sampled()
    monkeypatch.setattr(calibrate, "MOST", whole.logits.size // 3)
    part = sampled()
    assert whole.logits.size // 8 < part.logits.size <= calibrate.MOST
    assert (part.logits == sampled().logits).all(), "the sample is seeded"
    assert np.bincount(part.answer).max() > 1, "there are entities of several words"
    assert by_answer(part) <= by_answer(whole), "answers are whole"
    assert part.temperature() == pytest.approx(whole.temperature(), rel=0.5)


def test_model_that_is_never_wrong_keeps_its_temperature_and_can_abstain(lab: Lab) -> None:
    t = models.load(run_of(lab, "single").run)
    validation = lab.prepared("single", *settings(lab, "single")).splits["validation"]
    labels = said_of(list(Predictor(t.source)(validation["text"])))
    easy = validation.remove_columns("label").add_column("label", labels)
    found = calibrated(t, easy, EvaluateSpec(wished_coverage=0.5))
    assert found.temperature == 1 and found.n == len(easy)
    assert "never wrong" in found.notes[0]
    assert found.abstain > 0.5


def test_split_without_answers_has_no_error(lab: Lab) -> None:
    """A model that finds no entity."""
    t, example = models.load(run_of(lab, "ner").run), held_out(lab, "ner")[0]
    reliance = Reliance(t.task, t.labels)
    encoded = infer.encode(t.task, [example], t.tokenizer, t.labels)
    outside = [{"logits": np.eye(len(t.labels), dtype=np.float32)[[0] * len(ids)]} for ids in encoded["input_ids"]]
    reliance(outside, encoded, [example])
    told = reliance.measured()
    assert told["n"] == told["ece_after"] == told["coverage"] == told["precision"] == 0
    assert told["reliability_after"] == [] and told["nll_after"] == 0


def test_models_of_folds_are_not_calibrated(lab: Lab) -> None:
    run = run_of(lab, "single", "train.folds=2", "train.epochs=1")
    assert run.calibration.keys() == {"validation", "test"}
    assert models.load(run.run).task.options.temperature != 1
    assert [models.load(run.run / "folds" / n).task.options.temperature for n in "12"] == [1, 1]


@pytest.mark.slow
def test_several_processes_calibrate_as_one_does(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    more = ("train.optimizer=sgd", "train.learning_rate=0.1", "train.epochs=1", "evaluate.wished_coverage=0.7")
    one, two = (lab.train("single", *settings(lab, "single"), *more, processes=n) for n in (1, 2))
    assert two.calibration["test"]["temperature"] == pytest.approx(one.calibration["test"]["temperature"], rel=1e-3)
    assert two.calibration["test"]["threshold"] == pytest.approx(one.calibration["test"]["threshold"], abs=1e-3)
    assert evaluate(two.run).scores == two.scores["test"]


# ---------------------------------------------------------------------- the precision of answers


def contract(run: Path) -> dict[str, Any]:
    return json.loads((run / "model" / "ftkit.json").read_text())


@pytest.fixture
def bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that computes in bf16, and rules that the small data here can tell something by."""
    monkeypatch.setattr(machine, "has_bf16", lambda: True)
    monkeypatch.setattr(calibrate, "ENOUGH", 20)
    monkeypatch.setattr(calibrate, "SAME", 0.9)


@pytest.mark.usefixtures("bf16")
@pytest.mark.parametrize("kind", ["single", "ner"])
def test_bf16_answers_where_it_changes_nothing(lab: Lab, tmp_path: Path, kind: str) -> None:
    """Training's scores, `eval`'s and `predict`'s are then bf16's to the last digit, an export's too."""
    run = run_of(lab, kind, "train.seed=4").run
    assert contract(run)["precision"] == "bf16"
    test = json.loads((run / "scores.json").read_text())["scores"]["test"]
    assert evaluate(run).scores == test
    stored = read_jsonl(run / "predictions" / "test.jsonl")
    file = next(named.partition("=")[2] for named in settings(lab, kind) if named.startswith("data.test="))
    assert list(Predictor(run).file(file)) == stored == list(Predictor(run, precision="bf16").file(file))
    assert list(Predictor(run, precision="fp32").file(file)) != stored
    assert list(Predictor(export(run, tmp_path / "plain")).file(file)) == stored


@pytest.mark.usefixtures("bf16")
@pytest.mark.parametrize("rule", [("SAME", 1.01), ("NEAR", -1.0), ("ENOUGH", 10_000)])
def test_fp32_answers_where_bf16_is_not_shown_to_be_as_good(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, rule: tuple[str, float]
) -> None:
    monkeypatch.setattr(calibrate, *rule)
    run = run_of(lab, "single", "train.epochs=1", f"train.seed={list(rule[0]).count('E') + 20}").run
    assert contract(run)["precision"] == "fp32"
    assert list(Predictor(run)(held_out(lab, "single"))) == list(
        Predictor(run, precision="fp32")(held_out(lab, "single"))
    )


@pytest.mark.usefixtures("bf16")
def test_a_named_precision_is_kept(lab: Lab) -> None:
    for named in ("fp32", "bf16"):
        run = run_of(lab, "single", "train.epochs=1", f"evaluate.precision={named}").run
        assert contract(run)["precision"] == named
        assert read_jsonl(run / "predictions" / "test.jsonl") == list(
            Predictor(run, precision=named)(held_out(lab, "single"))
        )


@pytest.mark.usefixtures("bf16")
def test_a_machine_without_bf16_answers_in_fp32(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(lab, "single", "train.seed=4").run
    exact = list(Predictor(run, precision="fp32")(held_out(lab, "single")))
    monkeypatch.setattr(machine, "has_bf16", lambda: False)
    assert list(Predictor(run)(held_out(lab, "single"))) == exact
    assert list(Predictor(run, precision="auto")(held_out(lab, "single"))) == exact


def decided(first: list[float]) -> Decisions:
    """Choices among two by the first one's probability; all are right."""
    shares = np.array(first)
    logits = np.log(np.stack([shares, 1 - shares], -1))
    return Decisions(logits, np.arange(len(shares)), np.ones(len(shares), dtype=bool), logits.argmax(-1))


@pytest.mark.parametrize(
    ("low", "alike"),
    [
        ([0.8, 0.8, 0.3, 0.3] * 50, True),
        ([0.801, 0.799, 0.301, 0.299] * 50, True),
        ([0.82, 0.78, 0.32, 0.28] * 50, False),  # as often up as down
        ([0.8, 0.8, 0.3, 0.3] * 49 + [0.8, 0.8, 0.501, 0.501], False),  # two decisions
        ([0.8, 0.8, 0.3, 0.3] * 51, False),  # entities more
    ],
)
def test_precisions_that_decide_alike(low: list[float], alike: bool) -> None:
    assert calibrate._alike(decided([0.8, 0.8, 0.3, 0.3] * 50), decided(low)) is alike


def test_what_is_fitted_are_the_answers_of_the_precision_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"fp32": decided([0.8, 0.3] * 100), "bf16": decided([0.801, 0.301] * 100)}
    monkeypatch.setattr(calibrate, "_decisions", lambda trained, rows, settings, progress: found[settings.precision])
    for has in (True, False):
        monkeypatch.setattr(machine, "has_bf16", lambda has=has: has)
        decisions, precision = calibrate._in_its_precision(None, None, EvaluateSpec(precision="auto"), None)
        assert precision == ("bf16" if has else "fp32")
        assert decisions is found[precision]
