"""A recipe made concrete: rows in the form the task reads, labels in order, and all that is wrong at once."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from ftkit.checks.lengths import counting
from ftkit.data.identity import changed_files, file_hashes
from ftkit.engine import begun
from ftkit.engine import prepare as preparing
from ftkit.engine.prepare import describe, encode_training, in_order_of, prepare, weighting
from ftkit.errors import DataError, FTKitError, RecipeError
from ftkit.findings import Finding, Place
from ftkit.plugins import resolve
from ftkit.recipe import Recipe, load_recipe
from ftkit.tasks._base import Task
from tests.runs import KINDS, SIZES, Lab, read_jsonl, rows, write_rows

DROPS = '''
from ftkit.tasks.classification import Classification


class Drops(Classification):
    """Classification whose `unify` returns no more than its own columns."""

    def unify(self, batch):
        return {name: batch[name] for name in ("text", "label") + KEPT if name in batch}
'''


@pytest.mark.parametrize("kind", KINDS)
def test_every_split_is_read_whole_with_the_hash_of_its_file(lab: Lab, kind: str) -> None:
    prepared = lab.prepared(kind)
    assert {name: len(split) for name, split in prepared.splits.items()} == SIZES
    for split in SIZES:
        assert prepared.files[split] == hashlib.sha256(lab.file(kind, split).read_bytes()).hexdigest()


def test_a_file_that_changes_after_it_was_hashed_is_known_as_another(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Path(shutil.copy(lab.file("single", "train"), tmp_path))
    recipe, load = lab.recipe("single", f"data.train={file}"), preparing.load

    def meanwhile(*arguments: Any, **options: Any) -> Any:
        file.write_text(file.read_text() + file.read_text().splitlines()[-1] + "\n")
        return load(*arguments, **options)

    monkeypatch.setattr(preparing, "load", meanwhile)
    prepared = prepare(recipe)
    assert changed_files(recipe.data, prepared.files, file_hashes(recipe.data)) == {str(file): "has changed"}


def test_refused_without_training_rows(lab: Lab) -> None:
    with pytest.raises(RecipeError, match=r"data\.train must be set"):
        prepare(lab.recipe("single", "data.train=null"))


def test_faults_of_data_and_checkpoint_are_told_together(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(FTKitError) as caught:
        prepare(lab.recipe("single", f"data.test={tmp_path}/no.csv", f"model.checkpoint={tmp_path}/none"))
    assert "no.csv" in caught.value.message and f"{tmp_path}/none" in caught.value.message


def test_validation_rows_are_the_first_ones(lab: Lab) -> None:
    few, all_of_them = (
        lab.prepared("single", *settings).splits["validation"]["text"]
        for settings in (("evaluate.validation_rows=4",), ())
    )
    assert list(few) == list(all_of_them)[:4] and len(all_of_them) == SIZES["validation"]
    assert len(lab.prepared("single", "evaluate.validation_rows=99").splits["validation"]) == SIZES["validation"]


# ---------------------------------------------------------------------- a task of one's own


def own(lab: Lab, folder: Path, kept: tuple[str, ...], *settings: str) -> Recipe:
    """A recipe with a task whose `unify` keeps `text`, `label` and the columns of `kept` alone."""
    (folder / "drops.py").write_text(f"KEPT = {kept}\n{DROPS}")
    grouped = [{**row, "book": f"book {i % 4}"} for i, row in enumerate(rows("single", "train"))]
    path = write_rows(folder / "rows.jsonl", grouped)
    settings = (f"task={folder / 'drops.py'}", f"data.train={path}", "data.validation=0", "data.test=0", *settings)
    (folder / "mine.yaml").write_text(lab.recipe("single", *settings).dump())
    return load_recipe(folder / "mine.yaml")


def test_task_that_drops_the_group_is_told_so(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="`unify` of Drops drops the column 'group'") as caught:
        prepare(own(lab, tmp_path, ("row",), "data.group=book", "train.folds=2"))
    assert "**batch" in caught.value.hint


def test_task_that_drops_the_numbers_of_rows_is_told_so(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"drops the column 'row'\n"):
        prepare(own(lab, tmp_path, ()))


def test_task_that_keeps_them_is_ready(lab: Lab, tmp_path: Path) -> None:
    prepared = prepare(own(lab, tmp_path, ("row", "group"), "data.group=book"))
    assert prepared.splits["train"]["group"][:5] == ["book 0", "book 1", "book 2", "book 3", "book 0"]


# ---------------------------------------------------------------------- labels, warnings, weights


def test_labels_stay_in_the_order_that_the_head_was_trained_in() -> None:
    assert in_order_of(("a", "b", "c"), ("c", "a", "b")) == ("c", "a", "b")
    assert in_order_of(("a", "b"), ("b", "a", "c")) == ("a", "b")
    assert in_order_of((), ("LABEL_0", "LABEL_1")) == ()


def test_labels_of_a_run_that_is_gone_on_from_keep_their_order(lab: Lab) -> None:
    before = lab.train("single", "data.labels=[trade, arts, sport]")
    again = prepare(lab.recipe("single", f"model.checkpoint={before.run}"))
    assert again.labels == ("trade", "arts", "sport") != lab.prepared("single").labels


def test_labels_that_are_renamed_are_wanted_once(lab: Lab) -> None:
    assert lab.recipe("single", "data.labels={0: no, 1: yes, 2: no}").data.label_names == ("no", "yes")
    assert lab.recipe("single", "data.labels=[b, a]").data.label_names == ("b", "a")
    assert lab.recipe("single").data.label_names is None


class Complains(Task):
    """A task that finds fault with what it is told to."""

    def check(self, split: Dataset, labels: Any) -> Any:
        for level in split["level"]:
            yield Finding(level, level, f"a {level}", (Place(1),), "mend it")


def complaints(*levels: str) -> Dataset:
    return Dataset.from_dict({"level": list(levels)})


def test_errors_of_all_splits_are_raised_at_once_and_warnings_returned() -> None:
    task = Complains(Complains.Options())
    (warning,) = preparing.check(task, {"a.csv": complaints(), "b.csv": complaints("warning")}, ())
    assert warning.places == (Place(1, "b.csv"),) and warning.level == "warning" and warning.of == 1
    with pytest.raises(DataError) as caught:
        preparing.check(task, {"a.csv": complaints("error", "warning"), "b.csv": complaints("error")}, ())
    assert "a.csv row 1 and 1 more: a error; mend it" in caught.value.message


def test_class_weights_are_for_labels_of_texts_alone(lab: Lab) -> None:
    for kind in ("regression", "ner", "qa"):
        with pytest.raises(RecipeError, match="only labels of texts are weighed"):
            prepare(lab.recipe(kind, "train.class_weights=balanced"))


def test_there_is_nothing_to_smooth_in_a_regression(lab: Lab) -> None:
    with pytest.raises(RecipeError, match=r"train\.label_smoothing"):
        prepare(lab.recipe("regression", "train.label_smoothing=0.1"))


def test_weights_follow_the_order_of_the_labels(lab: Lab) -> None:
    prepared = lab.prepared("single", "train.class_weights={sport: 3, trade: 0.5}", "train.label_smoothing=0.1")
    found = weighting(prepared, prepared.splits["train"])
    assert prepared.labels == ("arts", "sport", "trade")
    assert found == (0.1, (1.0, 3.0, 0.5))


def test_balanced_weights_make_each_label_weigh_the_same(lab: Lab) -> None:
    prepared = lab.prepared("single", "train.class_weights=balanced")
    train = prepared.splits["train"]
    counts = Counter(train["label"])
    found = weighting(prepared, train).class_weights
    assert found is not None
    shares = [counts[label] * weight for label, weight in zip(prepared.labels, found, strict=True)]
    assert shares == pytest.approx([shares[0]] * 3) and sum(shares) == pytest.approx(len(train))


# ---------------------------------------------------------------------- encoded rows


@pytest.mark.parametrize("kind", KINDS)
def test_encoded_rows_hold_what_the_model_and_the_loss_read(lab: Lab, kind: str) -> None:
    prepared = lab.prepared(kind)
    encoded, _ = encode_training(prepared, prepared.splits["train"])
    assert {*encoded.column_names} - {*prepared.tokenizer.model_input_names} == {
        *prepared.task.targets,
        "length",
        "row",
        *(["example"] if prepared.task.keeps_together else []),
    }
    assert encoded["length"] == [len(ids) for ids in encoded["input_ids"]]
    if prepared.recipe.task.name != "summarization":  # whose limit is the document's alone
        assert max(encoded["length"]) <= prepared.task.options.max_length
    assert len(encoded) >= len(prepared.splits["train"])


def cut_rows(prepared: preparing.Prepared, train: Dataset) -> int:
    """Rows that are longer than the task reads, by the tokenizer alone."""
    lengths = [len(ids) for ids in prepared.tokenizer(list(train["text"]))["input_ids"]]
    return sum(length > prepared.task.options.max_length for length in lengths)


def test_rows_that_are_cut_are_counted_once_each(lab: Lab) -> None:
    prepared = lab.prepared("single", "task.max_length=16")
    train = prepared.splits["train"]
    _, cut = encode_training(prepared, train)
    assert 0 < cut == cut_rows(prepared, train) < len(train)
    assert describe(prepared, cut)["truncated_training_rows"] == cut
    assert encode_training(lab.prepared("single"), train)[1] == 0


def test_limit_of_the_checkpoint_is_a_note(lab: Lab) -> None:
    longest = prepare(lab.recipe("single", "task.max_length=100000"))
    assert longest.task.options.max_length < 100000
    (note,) = [note for note in longest.notes if "max_length" in note]
    assert f"is {longest.task.options.max_length}, not 100000" in note


def test_settings_that_do_nothing_without_validation_are_a_note(lab: Lab) -> None:
    def said(*settings: str) -> list[str]:
        notes = prepare(lab.recipe("single", "data.validation=0", *settings)).notes
        return [note for note in notes if "does nothing" in note]

    (note,) = said("train.patience=2", "train.metric=f1", "data.test=null")
    assert "no validation rows" in note and "train.metric, train.patience" in note
    (note,) = said("train.patience=2", "train.metric=f1")
    assert "train.patience" in note and "train.metric" not in note, "test rows are scored by it"
    assert said() == []


def test_run_is_told_its_rows_and_labels(lab: Lab) -> None:
    told = describe(lab.prepared("single"), 0)
    assert told["rows"] == SIZES and told["sha256"] == lab.prepared("single").files
    for split in SIZES:
        assert told["labels"][split] == Counter(row["label"] for row in read_jsonl(lab.file("single", split)))
    assert describe(lab.prepared("regression"), 0)["labels"] == {}


def test_contract_is_what_was_settled(lab: Lab) -> None:
    prepared = lab.prepared("ner", "method=lora")
    contract = prepared.contract
    assert resolve("task", lab.recipe("ner").task, Task).options.max_length == contract.task["max_length"]
    assert contract.labels == prepared.labels and contract.method["name"] == "lora"
    assert contract.base is not None and contract.base["sha256"] == prepared.base.sha256
    assert lab.prepared("ner").contract.base is None, "full fine-tuning needs no other weights"


def test_lengths_are_counted_by_checkpoints_that_have_a_vocabulary_alone(lab: Lab, tmp_path: Path) -> None:
    whole = lab.checkpoint("bert")
    folder = Path(shutil.copytree(whole, tmp_path / "bert"))
    (folder / "tokenizer.json").unlink()
    vocabulary = json.loads((whole / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)), encoding="utf-8")
    told = []
    for checkpoint in (whole, folder):
        prepared = prepare(lab.recipe("single", f"model.checkpoint={checkpoint}", "task.max_length=12"))
        told.append([finding for finding in prepared.warnings if finding.kind == "too-long"])
        assert prepared.tokenizer.backend_tokenizer.truncation is None
    assert told[0] and told[0] == told[1]


def test_what_the_checks_count_with_is_a_copy(lab: Lab) -> None:
    tokenizer = lab.prepared("single").tokenizer.backend_tokenizer
    tokenizer.enable_truncation(5)
    try:
        assert counting(tokenizer).truncation is None
        assert tokenizer.truncation["max_length"] == 5
    finally:
        tokenizer.no_truncation()


def test_labels_in_another_order_than_a_run_began_with_are_told(lab: Lab) -> None:
    """The weights of its head would answer with the others' names."""
    prepared = prepare(lab.recipe("single"))
    before = begun.identity(prepared)
    assert begun.changes(before, prepared) == []
    (told,) = begun.changes({**before, "labels": before["labels"][::-1]}, prepared)
    assert told.startswith(f"the labels are {', '.join(prepared.labels)}, and were ")
    older = {name: value for name, value in before.items() if name != "labels"}
    assert begun.changes(older, prepared) == []


def test_a_head_of_other_labels_is_told(lab: Lab) -> None:
    """A run that goes on from a trained one with labels of its own; a plain checkpoint has none to tell of."""
    assert not any("head" in note for note in prepare(lab.recipe("single")).notes)
    base = lab.trained("ner", "full").run / "model"
    same = prepare(lab.recipe("ner", f"model.checkpoint={base}"))
    assert not any("head" in note for note in same.notes)
    notes = prepare(lab.recipe("single", f"model.checkpoint={base}")).notes
    assert any("the checkpoint's head is of other labels" in note and "a new one is trained" in note for note in notes)


def test_another_tokenizer_and_other_variants_than_a_run_began_with_are_told(lab: Lab, tmp_path: Path) -> None:
    base = Path(shutil.copytree(lab.checkpoint("bert"), tmp_path / "base"))
    settings = (f"model.checkpoint={base}", "augment.by=[swap]")
    before = begun.identity(prepare(lab.recipe("single", *settings)))
    assert begun.changes(before, prepare(lab.recipe("single", *settings))) == []
    config = json.loads((base / "tokenizer_config.json").read_text())
    (base / "tokenizer_config.json").write_text(json.dumps({**config, "do_lower_case": False}))
    (told,) = begun.changes(before, prepare(lab.recipe("single", *settings)))
    assert "has another tokenizer or config" in told
    shutil.copy(lab.checkpoint("bert") / "tokenizer_config.json", base)
    prepared = prepare(lab.recipe("single", *settings))
    assert prepared.augmented
    fewer = replace(prepared.augmented, rows=prepared.augmented.rows.select(range(2)))
    (told,) = begun.changes(before, replace(prepared, augmented=fewer))
    assert "variants of the training rows are other ones" in told


def test_baselines_are_told_to_be_missing_beside_a_stream_alone(lab: Lab) -> None:
    def told(*settings: str) -> list[str]:
        return [note for note in prepare(lab.recipe("single", *settings)).notes if "no baselines" in note]

    assert (
        told("data.stream=true", "data.labels=[arts, sport, trade]", "train.steps=2", "train.epochs=auto")
        and not told()
    )
