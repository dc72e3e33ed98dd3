"""A student learns what its teacher says of each row: of every kind of task, however a step is split and stopped."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftkit.engine import distill, infer
from ftkit.engine import model as models
from ftkit.engine.prepare import encode_training, prepare, sampled
from ftkit.engine.train import resume, train
from ftkit.errors import Interrupted, RecipeError, RunError
from ftkit.objectives._base import TEACHER
from ftkit.recipe import load_recipe
from ftkit.settings import EvaluateSpec
from tests.engine.test_resume import Stops, same, stopped
from tests.engine.test_trainer import SGD, assert_same_training, assert_same_weights
from tests.runs import KINDS, METHODS, Lab, answers, curve, read_jsonl, refused, rows, slow_but, write_rows
from tests.tiny import save_tiny


def taught(lab: Lab, kind: str, *settings: str, **options: Any) -> tuple[str, ...]:
    """Settings by which the usual run of a kind teaches."""
    teacher = lab.trained(kind, METHODS[kind][0]).run
    return (f"objective={json.dumps({'name': 'distill', 'teacher': str(teacher), **options})}", *settings)


@pytest.mark.parametrize("kind", slow_but([*KINDS], {"windows", "multi", "ner", "qa2", "seq2seq", "causal"}))
def test_micro_batches_change_nothing(lab: Lab, kind: str) -> None:
    settings = taught(lab, kind, *SGD)
    whole, split = lab.train(kind, *settings), lab.train(kind, *settings, "train.accumulate=2")
    assert_same_training(whole, split)
    assert_same_weights(whole, split)


@pytest.mark.parametrize("kind", slow_but([*KINDS], {"single", "regression", "ner", "qa", "seq2seq"}))
def test_the_first_loss_is_the_labels_and_the_teachers_by_weight(lab: Lab, kind: str) -> None:
    losses = [
        curve(lab.train(kind, *settings).run)["loss"][0]
        for settings in (SGD, taught(lab, kind, *SGD, weight=1.0), taught(lab, kind, *SGD, weight=0.25))
    ]
    assert losses[2] == pytest.approx(0.75 * losses[0] + 0.25 * losses[1], rel=1e-4)
    assert losses[1] != pytest.approx(losses[0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_student_that_is_its_teacher_has_nothing_to_learn(lab: Lab, kind: str) -> None:
    if kind == "windows":
        pytest.skip("a window is taught what the whole text is answered")
    if METHODS[kind][0] != "full":
        pytest.skip("the adapter's merged weights answer a little otherwise")
    teacher = lab.trained(kind, METHODS[kind][0]).run
    settings = taught(lab, kind, *SGD, f"model.checkpoint={teacher}", weight=1.0)
    assert curve(lab.train(kind, *settings).run)["loss"][0] == pytest.approx(0, abs=2e-4)


@pytest.mark.parametrize("kind", ["single", "windows", "multi", "regression"])
def test_texts_are_taught_what_the_teacher_would_answer(lab: Lab, kind: str) -> None:
    prepared = prepare(lab.recipe(kind, *taught(lab, kind)))
    teacher = models.load(lab.trained(kind, METHODS[kind][0]).run)
    train = prepared.training()
    places = sampled(prepared, train)
    encoded, _ = encode_training(prepared, train, places)
    found = distill.with_answers(prepared, train, places, encoded)
    kept = infer.encode(teacher.task, list(train), teacher.tokenizer, teacher.labels)
    outputs = infer.run(teacher.model, teacher.task, teacher.tokenizer, kept, EvaluateSpec(precision="fp32"))
    wanted = teacher.task.joined(outputs, kept)  # type: ignore[attr-defined]
    example = encoded["example"] if "example" in encoded.column_names else range(len(train))
    assert np.allclose(np.array(found[TEACHER]), wanted[list(example)], atol=1e-4)
    assert found["input_ids"] == encoded["input_ids"]


@pytest.mark.parametrize(("kind", "swapped"), [("single", "[trade, arts, sport]"), ("multi", "[new, calm, long]")])
def test_labels_in_another_order_are_matched_by_name(lab: Lab, kind: str, swapped: str) -> None:
    settings = taught(lab, kind, *SGD, weight=1.0)
    own, other = (prepare(lab.recipe(kind, *settings, *more)) for more in ((), (f"data.labels={swapped}",)))
    assert own.labels != other.labels
    order = [own.labels.index(label) for label in other.labels]
    told = []
    for one in (own, other):
        encoded, _ = encode_training(one, one.training())
        told.append(np.array(distill.with_answers(one, one.training(), range(len(encoded)), encoded)[TEACHER]))
    assert np.allclose(told[0][:, order], told[1], atol=1e-5)


def test_tags_in_another_order_are_matched_by_name(lab: Lab) -> None:
    prepared = prepare(lab.recipe("ner", *taught(lab, "ner")))
    turned = prepared.labels[::-1]
    other = replace(prepared, labels=turned)
    told = []
    for one in (prepared, other):
        encoded, _ = encode_training(one, one.training())
        said = distill.with_answers(one, one.training(), range(len(encoded)), encoded)[TEACHER]
        told.append([np.array(row).reshape(-1, len(turned)) for row in said])
    assert all(np.allclose(a[:, ::-1], b, atol=1e-5) for a, b in zip(*told, strict=True))


def test_a_teacher_may_read_by_another_tokenizer_where_texts_have_the_targets(lab: Lab) -> None:
    settings = (*taught(lab, "single", *SGD), f"model.checkpoint={lab.checkpoint('roberta')}")
    assert lab.train("single", *settings).steps == 3


@pytest.mark.parametrize(("kind", "architecture"), [("ner", "roberta"), ("qa", "roberta"), ("causal", "gpt2")])
def test_tokens_of_another_tokenizer_are_refused(lab: Lab, kind: str, architecture: str) -> None:
    settings = (*taught(lab, kind), f"model.checkpoint={lab.checkpoint(architecture)}")
    error = refused(lab.recipe(kind, *settings), lab.new())
    assert "has another tokenizer than the checkpoint" in str(error)


def test_other_labels_and_other_tasks_are_refused(lab: Lab, tmp_path: Path) -> None:
    renamed = refused(
        lab.recipe("single", *taught(lab, "single"), "data.labels={arts: art, sport: sport, trade: trade}"), lab.new()
    )
    assert "knows the labels arts, sport, trade, and the data has art, sport, trade" in str(renamed)
    for kind, other in (("single", "ner"), ("single", "multi"), ("regression", "multi")):
        error = refused(lab.recipe(kind, *taught(lab, other)), lab.new())
        assert "is of another task than the recipe" in str(error)


def test_an_export_in_another_runtime_teaches_nobody(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare(lab.recipe("single", *taught(lab, "single")))
    distill.check(prepared)
    monkeypatch.setattr(distill, "is_served", lambda model: True)
    with pytest.raises(RecipeError, match="is an export as"):
        distill.check(prepared)


def test_a_teacher_that_is_not_there_is_refused(lab: Lab) -> None:
    error = refused(lab.recipe("single", "objective={name: distill, teacher: ./nowhere}"), lab.new())
    assert "nowhere" in str(error) and "objective.teacher: there is no folder" in str(error)
    assert "name a run or an export" in str(error)


def test_a_shelf_recipe_without_its_teacher_says_how_to_make_one(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    error = refused(load_recipe("sentiment/distilled"), tmp_path / "run")
    assert f"model.checkpoint and objective.teacher: there is no folder {tmp_path}/runs/teacher" in error.message
    assert "ftkit train sentiment/full --run runs/teacher" in error.hint
    assert "--set model.checkpoint=RUN --set objective.teacher=RUN" in error.hint
    other = load_recipe("sentiment/distilled", ["objective.teacher=./one", "model.checkpoint=./two"])
    error = refused(other, tmp_path / "run")
    assert "objective.teacher: there is no folder" in error.message and f"{tmp_path}/two" in error.message


def test_a_teacher_with_fewer_positions_is_refused_for_tokens(lab: Lab, tmp_path: Path) -> None:
    small = save_tiny(tmp_path / "small", "bert", max_position_embeddings=24)
    teacher = lab.train("ner", f"model.checkpoint={small}", "task.max_length=24").run
    settings = (f"objective={{name: distill, teacher: {teacher}}}",)
    error = refused(lab.recipe("ner", *settings), lab.new())
    assert "reads 24 tokens, and task.max_length is 32" in str(error)


def test_variants_and_copies_are_taught_too(lab: Lab) -> None:
    settings = taught(lab, "single", "augment.by=swap", "data.balance=oversample")
    assert lab.train("single", *settings).steps >= 6


def test_class_weights_weigh_both_parts(lab: Lab) -> None:
    weights = "train.class_weights={arts: 3, sport: 0.2}"
    whole, split = (
        lab.train("single", *taught(lab, "single", *SGD, weights, weight=1.0), *more)
        for more in ((), ("train.accumulate=4",))
    )
    assert_same_training(whole, split)


@pytest.mark.parametrize("kind", ["single", "ner"])
def test_a_stopped_training_ends_as_one_that_was_not(lab: Lab, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    settings = taught(lab, kind, "model.dropout=0.2", "train.epochs=2", "train.precision=auto", "model.layers=2")
    whole, path = train(lab.recipe(kind, *settings), lab.new()), lab.new()
    Stops(monkeypatch, at=(2, 4))
    stopped(lab.recipe(kind, *settings), path, 2)
    same(path, whole.run)


def test_another_teacher_at_its_place_is_noticed(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    teacher = Path(shutil.copytree(lab.trained("single", "full").run, tmp_path / "teacher"))
    recipe, path = lab.recipe("single", f"objective={{name: distill, teacher: {teacher}}}"), lab.new()
    with monkeypatch.context() as patch:
        Stops(patch, at=(1,))
        with pytest.raises(Interrupted):
            train(recipe, path)
    shutil.rmtree(teacher)
    shutil.copytree(lab.trained("single", "head").run, teacher)
    with pytest.raises(RunError, match=r"the teacher .* is not as it was when it began"):
        resume(path)


def test_answers_of_several_processes_come_in_the_order_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(places: Any) -> list[dict[str, Any]]:
        return [{TEACHER: [float(place)]} for place in places]

    others = range(1, 5, 2)
    gathered = [*zip(others, ask(others), strict=True)]
    monkeypatch.setattr(distill, "gather_object", lambda own: [*own, *gathered])
    (found,) = distill._shared(5, 0, 2, ask)
    assert [row.tolist() for row in found[TEACHER]] == [[0], [1], [2], [3], [4]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["single", "ner"])
def test_several_processes_learn_the_same(lab: Lab, kind: str) -> None:
    settings = taught(lab, kind, *SGD)
    assert_same_training(lab.train(kind, *settings), lab.train(kind, *settings, processes=2))


def test_a_relative_teacher_counts_from_where_it_is_named(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "recipe.yaml").write_text("task: sentiment\n")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("task: sentiment\nmodel: {checkpoint: minilm}\nobjective: {name: distill, teacher: teacher}\n")
    assert load_recipe(recipe).objective.options["teacher"] == str(tmp_path / "teacher")


def test_the_teacher_teaches(lab: Lab, tmp_path: Path) -> None:
    """These labels are drawn at random and tell nothing of it."""
    teacher = lab.trained("single", "full").run
    texts = rows("single", "train", 60)
    path = write_rows(tmp_path / "train.jsonl", texts)
    settings = (f"data.train={path}", "train.epochs=12", "train.learning_rate=3e-3")
    student = lab.train("single", *taught(lab, "single", *settings, weight=1.0)).run
    said = [[answer["label"] for answer in answers(run, texts)] for run in (teacher, student)]
    assert np.mean([a == b for a, b in zip(*said, strict=True)]) > 0.9


def signs(folder: Path) -> Path:
    """Texts with signs, which the task of sentiments reads."""
    some = [{**row, "label": ("negative", "positive")[i % 2]} for i, row in enumerate(rows("single", "train"))]
    return write_rows(folder / "signs.jsonl", some)


def test_teacher_that_reads_otherwise_is_refused(lab: Lab, tmp_path: Path) -> None:
    pairs = [{**row, "text_pair": "Is it so?"} for row in rows("single", "train")]
    data = f"data={json.dumps({'train': str(write_rows(tmp_path / 'pairs.jsonl', pairs)), 'test': None})}"
    (setting,) = taught(lab, "single")
    error = refused(lab.recipe("single", data, "data.validation=null", setting), tmp_path / "run")
    assert "reads single texts, and the data has pairs of texts" in error.message
    sentiment = lab.train(
        "single", "task=sentiment", f"data.train={signs(tmp_path)}", "data.validation=0.3", "data.test=null"
    ).run
    objective = f"objective={json.dumps({'name': 'distill', 'teacher': str(sentiment)})}"
    pairs = [{**row, "text_pair": "Is it so?"} for row in read_jsonl(signs(tmp_path))]
    data = f"data={json.dumps({'train': str(write_rows(tmp_path / 'two.jsonl', pairs)), 'test': None})}"
    error = refused(lab.recipe("single", data, "data.validation=null", objective), tmp_path / "run")
    assert "reads single texts, and the data has pairs of texts" in error.message
    cleaner = lab.train("single", "data.clean=[html]").run
    objective = f"objective={json.dumps({'name': 'distill', 'teacher': str(cleaner)})}"
    error = refused(lab.recipe("single", objective), tmp_path / "run")
    assert "reads texts after data.clean=[html]" in error.message and "data.clean=[html]" in error.hint
    error = refused(lab.recipe("single", setting, "data.clean=[html]"), tmp_path / "run")
    assert "reads texts after data.clean=[], and the recipe has [html]" in error.message


def test_plain_checkpoint_that_gives_a_number_teaches(lab: Lab, tmp_path: Path) -> None:
    save_tiny(tmp_path / "plain", "bert", kind="SEQ_CLS", num_labels=1)
    objective = f"objective={json.dumps({'name': 'distill', 'teacher': str(tmp_path / 'plain')})}"
    assert lab.train("regression", objective).scores["test"]["mse"]["value"] > 0
