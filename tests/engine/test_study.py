"""Studies: each training a run of its own, nothing trained twice, nothing mixed with another study's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftkit import trust
from ftkit.data.split import draw
from ftkit.engine import curve, study
from ftkit.engine import lift as lifting
from ftkit.engine.curve import Found, learning_curve, part_sizes
from ftkit.engine.lift import lift
from ftkit.errors import FTKitError, Interrupted, MachineError, RecipeError, RunError
from ftkit.recipe import Recipe, changed, parse_recipe
from ftkit.run import RunDirectory
from ftkit.tasks._base import Task
from ftkit.tasks.classification import Classification
from tests.runs import Lab, rows, write_rows

SEEDS = 2


@pytest.fixture(scope="module")
def train_file(lab: Lab) -> Path:
    return write_rows(lab.folder / "data" / "many" / "train.jsonl", rows("single", "train", 80))


@pytest.fixture(scope="module")
def done(lab: Lab, train_file: Path) -> Found:
    path = lab.folder / "studies" / "curve"
    return learning_curve(lab.recipe("single", f"data.train={train_file}"), path, [40], seeds=SEEDS)


def scores(run: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((run / "scores.json").read_text())["scores"]["test"]["accuracy"]
    return found


def test_every_size_and_seed_is_a_run_with_scores_and_without_a_model(done: Found) -> None:
    sizes = [point.rows for point in done.points]
    assert sizes == part_sizes(80) == [16, 20, 40, 80]
    for size in sizes:
        for seed in (13, 14):
            run = done.study / f"rows-{size}" / str(seed)
            assert json.loads((run / "scores.json").read_text())["examples"] == size
            assert not (run / "model").exists()
            assert (run / "evidence" / "test.npz").is_file()


def test_points_are_the_scores_of_the_runs(done: Found) -> None:
    for point in done.points:
        each = [scores(done.study / f"rows-{point.rows}" / str(seed))["value"] for seed in (13, 14)]
        assert list(point.each) == each
        assert point.value == pytest.approx(sum(each) / SEEDS)


def test_the_largest_part_is_the_training_of_the_recipe_itself(lab: Lab, done: Found, train_file: Path) -> None:
    alone = lab.train("single", f"data.train={train_file}")
    assert scores(done.study / "rows-80" / "13")["value"] == alone.scores["test"]["accuracy"]["value"]


def test_what_is_done_is_not_trained_again(lab: Lab, done: Found, train_file: Path) -> None:
    """Of a study that was stopped in the midst, only what is missing is trained; all else stays."""
    missing = done.study / "rows-40" / "14" / "scores.json"
    missing.unlink()
    kept = {path: path.stat().st_mtime_ns for path in done.study.rglob("scores.json")}
    said: list[str] = []
    again = learning_curve(
        lab.recipe("single", f"data.train={train_file}"), done.study, [40], seeds=SEEDS, say=said.append
    )
    assert again == done
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert [line for line in said if line.startswith("training")] == ["training rows-40, seed 14: 40 rows"]


def test_a_training_whose_files_are_torn_is_done_again(lab: Lab, done: Found, train_file: Path) -> None:
    (done.study / "rows-20" / "13" / "scores.json").write_text("{torn")
    (done.study / "rows-16" / "14" / "evidence" / "test.npz").write_bytes(b"torn")
    said: list[str] = []
    again = learning_curve(
        lab.recipe("single", f"data.train={train_file}"), done.study, [40], seeds=SEEDS, say=said.append
    )
    assert again == done
    assert [line for line in said if line.startswith("training")] == [
        "training rows-16, seed 14: 16 rows",
        "training rows-20, seed 13: 20 rows",
    ]


def test_another_recipe_and_other_data_are_refused(lab: Lab, done: Found, train_file: Path) -> None:
    with pytest.raises(RunError, match="another recipe"):
        learning_curve(lab.recipe("single", f"data.train={train_file}", "train.batch=4"), done.study)
    before = train_file.read_text()
    train_file.write_text(before + before.splitlines()[0] + "\n")
    try:
        with pytest.raises(RunError, match=r"train\.jsonl has changed since it began"):
            learning_curve(lab.recipe("single", f"data.train={train_file}"), done.study)
    finally:
        train_file.write_text(before)


def test_gains_are_told_in_the_score_and_the_check_is_of_the_largest(done: Found) -> None:
    (gain,) = done.gains
    assert gain.rows == 40 and gain.low <= gain.value <= gain.high and gain.value >= 0
    assert done.check.rows == 80
    assert done.check.found == pytest.approx(done.points[-1].value)
    assert json.loads((done.study / "curve.json").read_text()) == json.loads(json.dumps(done.as_json()))


def test_an_error_that_falls_is_told_as_a_fall(lab: Lab) -> None:
    file = write_rows(lab.folder / "data" / "many" / "numbers.jsonl", rows("regression", "train", 70))
    found = learning_curve(
        lab.recipe("regression", f"data.train={file}"), lab.folder / "studies" / "numbers", [70], seeds=1
    )
    assert found.metric == "mse"
    assert all(gain.low <= gain.value <= gain.high and gain.value <= 0 for gain in found.gains)
    assert found.check.low <= found.check.high


def test_a_folder_of_something_else_is_left_as_it_is(lab: Lab, train_file: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="no folder of such trainings"):
        learning_curve(lab.recipe("single", f"data.train={train_file}"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_too_few_rows_for_a_curve_are_refused_and_nothing_is_left(lab: Lab) -> None:
    path = lab.new()
    with pytest.raises(RecipeError, match="22 training rows are too few"):
        learning_curve(lab.recipe("single"), path)
    assert not path.exists()


def test_parts_of_one_seed_lie_in_one_another() -> None:
    labels = ["a"] * 90 + ["b"] * 9 + ["c"]
    parts = [set(draw(100, size, seed=3, labels=labels)) for size in (3, 10, 50, 100)]
    assert all(small < large for small, large in pairwise(parts))
    assert {labels[i] for i in parts[0]} == {"a", "b", "c"}
    assert curve.part_sizes(1000) == [62, 125, 250, 500, 1000]


def test_without_rows_to_score_on_nothing_is_trained_and_nothing_left(lab: Lab, train_file: Path) -> None:
    path = lab.new()
    said: list[str] = []
    bare = lab.recipe("single", f"data.train={train_file}", "data.validation=null", "data.test=null")
    with pytest.raises(RunError, match="no rows to score on"):
        learning_curve(bare, path, say=said.append)
    assert not path.exists() and not said


@pytest.mark.parametrize("setting", ["train.seeds=2", "train.folds=2", "augment.teacher=true"])
def test_settings_that_a_study_has_no_use_for_are_refused(lab: Lab, train_file: Path, setting: str) -> None:
    with pytest.raises(RecipeError, match=setting.partition("=")[0].replace(".", r"\.")):
        learning_curve(lab.recipe("single", f"data.train={train_file}", setting), lab.new())


def test_parts_are_learned_from_with_their_variants(lab: Lab, train_file: Path) -> None:
    recipe = lab.recipe("single", f"data.train={train_file}", "augment.by=[swap]")
    found = learning_curve(recipe, lab.folder / "studies" / "varied", seeds=1)
    examples = json.loads((found.study / "rows-20" / "13" / "scores.json").read_text())["examples"]
    assert 20 < examples <= 40


# ---------------------------------------------------------------------- stopped, and gone on with


class Halted:
    """Calls `real`, but for one call, by number, in place of which the person wants to end."""

    def __init__(self, real: Callable[..., Any], at: int) -> None:
        self.real, self.at, self.calls = real, at, 0

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.calls += 1
        if self.calls == self.at:
            raise KeyboardInterrupt
        return self.real(*args, **options)


def times(path: Path, name: str) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in path.rglob(name)}


def one_more(recipe: Recipe, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go on with a study until one more training is done."""
    monkeypatch.setattr(study, "finish", Halted(study.finish, at=2))
    with pytest.raises(Interrupted):
        learning_curve(recipe, path, [40], seeds=SEEDS)


def test_a_training_that_was_stopped_while_it_was_scored_is_not_trained_again(
    lab: Lab, done: Found, train_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, path = lab.recipe("single", f"data.train={train_file}"), lab.folder / "studies" / "scoring"
    with monkeypatch.context() as patch:
        patch.setattr(study, "finish", Halted(study.finish, at=2))
        with pytest.raises(Interrupted, match=f"--run {path} goes on from there"):
            learning_curve(recipe, path, [40], seeds=SEEDS)
    before = times(path, "fitted.json")
    assert len(before) == 2 and len(list(path.rglob("model"))) == 1
    one_more(recipe, path, monkeypatch)
    assert before.items() <= times(path, "fitted.json").items()
    for part in ("rows-16/13", "rows-16/14"):
        assert scores(path / part) == scores(done.study / part) and not (path / part / "model").exists()


@pytest.mark.parametrize("damage", ["model", "model/model.safetensors", "fitted.json"])
def test_what_is_damaged_of_a_stopped_training_is_trained_again(
    lab: Lab, done: Found, train_file: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    recipe, path = lab.recipe("single", f"data.train={train_file}"), lab.new()
    with monkeypatch.context() as patch:
        patch.setattr(study, "finish", Halted(study.finish, at=1))
        with pytest.raises(Interrupted):
            learning_curve(recipe, path, [40], seeds=SEEDS)
    harmed = path / "rows-16" / "13" / damage
    if harmed.is_dir():
        shutil.rmtree(harmed)
    else:
        harmed.write_bytes(b"torn")
    one_more(recipe, path, monkeypatch)
    assert scores(path / "rows-16" / "13") == scores(done.study / "rows-16" / "13")


def test_what_a_teacher_has_kept_is_not_found_out_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, path = lab.recipe("single", "augment.by=swap", "augment.teacher=true"), lab.new()
    with monkeypatch.context() as patch:
        patch.setattr(study, "fit", Halted(study.fit, at=2))  # the first has no variants
        with pytest.raises(Interrupted):
            lift(recipe, path, seeds=2, rows=10)
    before = times(path, "teacher.json")
    assert len(before) == 1
    said: list[str] = []
    lift(recipe, path, seeds=2, rows=10, say=said.append)
    assert before.items() <= times(path, "teacher.json").items()
    assert sum("judges their variants" in line for line in said) == 1  # the second seed's


def test_a_teacher_that_was_stopped_before_it_judged_is_not_trained_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, path = lab.recipe("single", "augment.by=swap", "augment.teacher=true"), lab.new()
    with monkeypatch.context() as patch:
        patch.setattr("ftkit.engine.judge._agreed", Halted(lambda *_: [], at=1))
        with pytest.raises(Interrupted):
            lift(recipe, path, seeds=2, rows=10)
    (fitted,) = times(path, "teacher/13/fitted.json").items()
    monkeypatch.setattr(
        "ftkit.engine.judge._agreed", lambda *_: [] if fitted in times(path, "fitted.json").items() else [0]
    )
    lift(recipe, path, seeds=2, rows=10)
    (one,) = path.glob("*-swap/13/teacher.json")
    assert json.loads(one.read_text())["kept"] == []


def test_a_study_that_was_killed_when_it_was_published_is_gone_on_with(
    lab: Lab, train_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, path = lab.recipe("single", f"data.train={train_file}"), lab.new()
    published = RunDirectory.publish

    def killed(run: RunDirectory) -> None:
        published(run)
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "publish", killed)
        with pytest.raises(SystemExit):
            learning_curve(recipe, path)
    assert path.is_dir()
    monkeypatch.setattr(curve, "_train", Halted(curve._train, at=1))
    with pytest.raises(Interrupted):
        learning_curve(recipe, path)


def test_two_processes_do_not_work_on_one_study(lab: Lab, done: Found, train_file: Path) -> None:
    with RunDirectory.open(done.study).locked(), pytest.raises(RunError, match="another process is at work"):
        learning_curve(lab.recipe("single", f"data.train={train_file}"), done.study)


def test_a_checkpoint_that_has_changed_is_refused(lab: Lab, train_file: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(lab.checkpoint("bert"), tmp_path / "base"))
    recipe, path = lab.recipe("single", f"data.train={train_file}", f"model.checkpoint={base}"), tmp_path / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(curve, "_train", Halted(curve._train, at=1))
        with pytest.raises(Interrupted):
            learning_curve(recipe, path)
    content = bytearray((base / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (base / "model.safetensors").write_bytes(content)
    with pytest.raises(RunError, match="has other weights than when it began"):
        learning_curve(recipe, path)


@pytest.mark.parametrize(
    ("settings", "kind", "match"),
    [
        (("train.precision=fp16",), MachineError, "train.precision"),
        (("train.sharding.name=fsdp",), MachineError, "train.sharding"),
        (("evaluate.wished_precision=0.9", "data.validation=null"), RecipeError, "evaluate.wished_precision"),
    ],
)
def test_studies_ask_what_train_asks(
    lab: Lab, train_file: Path, settings: tuple[str, ...], kind: type[FTKitError], match: str
) -> None:
    recipe, path = lab.recipe("single", f"data.train={train_file}", "augment.by=swap", *settings), lab.new()
    for asked in (learning_curve, lift):
        with pytest.raises(kind, match=match):
            asked(recipe, path)
    assert not path.exists()


def test_a_teacher_without_labels_to_agree_with_is_refused_at_once(lab: Lab) -> None:
    with pytest.raises(RecipeError, match=r"augment\.teacher"):
        lift(lab.recipe("ner", "augment.by=swap", "augment.teacher=true"), lab.new())


@pytest.mark.parametrize(("settings", "how"), [((), {"rows": 10}), (("augment.strength=0.5",), {"per_label": 3})])
def test_variants_of_another_kind_are_another_study(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, settings: tuple[str, ...], how: dict[str, Any]
) -> None:
    recipe, path = lab.recipe("single", "augment.by=swap"), lab.new()
    monkeypatch.setattr(study, "fit", Halted(study.fit, at=1))
    with pytest.raises(Interrupted):
        lift(recipe, path, per_label=3)
    with pytest.raises(RunError, match=r"other settings|another --per-label, --rows"):
        lift(changed(recipe, settings), path, **how)


def test_code_of_ones_own_is_remembered_by_a_study(
    lab: Lab, train_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(trust, "_own", set())
    code = tmp_path / "own.py"
    code.write_text(
        "from ftkit.tasks.classification import Classification\n\n\n"
        "class Own(Classification):\n    summary = 'labels of texts'\n"
    )
    raw = lab.recipe("single", f"data.train={train_file}").model_dump()
    recipe: Recipe = parse_recipe({**raw, "task": str(code)}, "own")
    monkeypatch.setattr(curve, "_found", Halted(curve._found, at=1))
    with pytest.raises(Interrupted):
        learning_curve(recipe, tmp_path / "study", seeds=1)


def test_what_a_checkpoint_has_learned_is_told_before_a_curve_is_drawn(
    lab: Lab, train_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = lab.train("single", f"data.train={train_file}").run
    recipe = lab.recipe("single", f"data.train={train_file}", f"model.checkpoint={run}")
    said: list[str] = []

    def stop(*_: Any) -> None:
        raise RunError("it has begun")

    monkeypatch.setattr(curve, "_train", stop)
    with pytest.raises(RunError, match="it has begun"):
        learning_curve(recipe, tmp_path / "study", say=said.append)
    assert any("has learned from 80 of the 80 training rows" in line for line in said)


def test_score_that_the_test_rows_lack_costs_one_training_at_most(lab: Lab, tmp_path: Path) -> None:
    recipe = lab.recipe("single", "augment.by=[swap]", "train.metric=acuracy", "data.validation=null")
    with pytest.raises(RecipeError, match="'acuracy' is no score of this task"):
        lift(recipe, tmp_path / "study", seeds=2, per_label=3)


def test_few_documents_are_told_and_their_rows_are_drawn(lab: Lab, tmp_path: Path) -> None:
    files = []
    for split in ("train", "test"):
        grouped = [{**row, "group": "one"} for row in rows("single", split, 30)]
        files.append(f"data.{split}={write_rows(tmp_path / f'{split}.jsonl', grouped)}")
    said: list[str] = []
    recipe = lab.recipe("single", "augment.by=[swap]", *files, "data.validation=null", "data.group=group")
    found = lift(recipe, tmp_path / "study", seeds=2, per_label=3, say=said.append)
    assert any("the test rows are of 1 document" in line for line in said)
    assert found.lifts[0].found.low < found.lifts[0].found.high


def test_tasks_without_a_tally_that_a_file_can_hold_are_refused(lab: Lab, tmp_path: Path) -> None:
    source = """
from ftkit.metrics.tally import LabelTally
from ftkit.tasks.classification import Classification

class Doubled(LabelTally):
    pass

class Mine(Classification):
    def tally(self, predictions, examples):
        found = super().tally(predictions, examples)
        return Doubled(found.names, found.rows, found.kind)
"""
    (tmp_path / "mine.py").write_text(source)
    recipe = lab.recipe("single", f"task={tmp_path / 'mine.py'}", "augment.by=[swap]")
    with pytest.raises(RecipeError, match="no tally that a file can hold"):
        lift(recipe, tmp_path / "study", seeds=2, per_label=3)


def stop(*_: Any) -> None:
    raise RunError("it has begun")


def test_what_the_recipe_does_not_do_is_told_before_a_study(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_rows(tmp_path / "train.jsonl", rows("single", "train", 80))
    recipe = lab.recipe("single", f"data.train={file}", "data.validation=null", "train.patience=2")
    told: list[str] = []
    monkeypatch.setattr(curve, "_train", stop)
    with pytest.raises(RunError, match="it has begun"):
        learning_curve(recipe, tmp_path / "study", say=told.append)
    assert "note: there are no validation rows, so train.patience does nothing" in told


def test_a_task_without_a_tally_is_refused_before_anything_is_trained(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_rows(tmp_path / "train.jsonl", rows("single", "train", 80))
    recipe = lab.recipe("single", f"data.train={file}")
    monkeypatch.setattr(Classification, "tally", Task.tally)
    monkeypatch.setattr(curve, "_train", stop)
    with pytest.raises(RecipeError, match="keeps no tally"):
        learning_curve(recipe, tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_a_score_that_the_test_rows_lack_ends_a_study_after_one_training(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Any] = []
    fit = study.fit
    monkeypatch.setattr(study, "fit", lambda *args, **options: trained.append(args) or fit(*args, **options))
    monkeypatch.setattr(
        study.Evidence,
        "load",
        classmethod(lambda cls, path: SimpleNamespace(tally=SimpleNamespace(scores=lambda: {"f1": {}}))),
    )
    with pytest.raises(RecipeError, match="'accuracy', is none of those"):
        lift(
            lab.recipe("single", "augment.by=[swap]", "train.metric=accuracy"), tmp_path / "study", seeds=2, per_label=3
        )
    assert len(trained) == 1


def test_curve_of_few_documents_draws_rows(lab: Lab, tmp_path: Path) -> None:
    found = []
    for name, group in (("alone", None), ("one", "one")):
        files = []
        for split in ("train", "test"):
            grouped = [
                {**row, **({"group": group} if group else {})}
                for row in rows("single", split, 80 if split == "train" else None)
            ]
            files.append(f"data.{split}={write_rows(tmp_path / f'{name}-{split}.jsonl', grouped)}")
        more = ["data.group=group"] if group else []
        found.append(
            learning_curve(lab.recipe("single", *files, "data.validation=null", *more), tmp_path / name, [40], seeds=2)
        )
    assert found[0].gains == found[1].gains and found[0].check == found[1].check


@pytest.mark.parametrize(("documents", "drawn"), [(1, None), (4, None), (5, 5)])
def test_documents_are_drawn_where_they_are_enough(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: int, drawn: Any
) -> None:
    files, given = [], []
    for split in ("train", "test"):
        grouped = [{**row, "group": f"{split} {i % documents}"} for i, row in enumerate(rows("single", split, 30))]
        files.append(f"data.{split}={write_rows(tmp_path / f'{split}.jsonl', grouped)}")
    pairs = lifting.paired
    monkeypatch.setattr(lifting, "paired", lambda *told: given.append(told[3]) or pairs(*told))
    recipe = lab.recipe("single", "augment.by=[swap]", *files, "data.validation=null", "data.group=group")
    lift(recipe, tmp_path / "study", seeds=2, per_label=3)
    assert [groups and len(set(groups)) for groups in given] == [drawn]


def test_a_checkpoint_that_knows_some_of_the_rows_is_told(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = rows("single", "train", 80)
    part, file = write_rows(tmp_path / "part.jsonl", many[:30]), write_rows(tmp_path / "train.jsonl", many)
    run = lab.train("single", f"data.train={part}").run
    told: list[str] = []
    monkeypatch.setattr(curve, "_train", stop)
    with pytest.raises(RunError, match="it has begun"):
        learning_curve(
            lab.recipe("single", f"data.train={file}", f"model.checkpoint={run}"), tmp_path / "study", say=told.append
        )
    assert any("of the 80 training rows" in line and "80 of the 80" not in line for line in told), told
