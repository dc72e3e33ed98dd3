"""A step is the same step however it is split: over micro-batches, over processes, and in a plain PyTorch loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from ftkit.engine.prepare import encode_training
from ftkit.engine.steps import WINDOW, Steps, examples_of
from ftkit.engine.train import train
from ftkit.engine.trainer import FTTrainer
from tests.runs import KINDS, Lab, answers, assert_close, curve, log, weights

ALONE = ("data.validation=null", "data.test=null")
SGD = ("train.optimizer=sgd", "train.learning_rate=0.1", *ALONE)
CLOSE: dict[str, Any] = {"rel": 1e-5, "abs": 1e-6}


def assert_same_training(one: Any, other: Any) -> None:
    """Same loss and gradient norm at each step, to 1e-5."""
    assert one.steps == other.steps >= 3
    for name, values in curve(one.run).items():
        assert curve(other.run)[name] == pytest.approx(values, **CLOSE), name


def assert_same_weights(one: Any, other: Any) -> None:
    ours, theirs = weights(one.run), weights(other.run)
    assert ours.keys() == theirs.keys()
    assert max((ours[name] - theirs[name]).abs().max().item() for name in ours) < 1e-5


# ---------------------------------------------------------------------- micro-batches


@pytest.mark.parametrize("kind", KINDS)
def test_micro_batches_change_nothing_under_sgd(lab: Lab, kind: str) -> None:
    whole, split = lab.train(kind, *SGD), lab.train(kind, *SGD, "train.accumulate=2")
    assert_same_training(whole, split)
    assert_same_weights(whole, split)


@pytest.mark.parametrize("kind", KINDS)
def test_micro_batches_change_no_answer_under_adamw(lab: Lab, kind: str) -> None:
    whole, split = lab.train(kind, *ALONE), lab.train(kind, *ALONE, "train.accumulate=4")
    assert_same_training(whole, split)
    examples = lab.prepared(kind).splits["test"].to_list()
    assert_close(answers(whole.run, examples), answers(split.run, examples), 1e-4)


@pytest.mark.parametrize(
    ("kind", "extra"),
    [
        ("single", ["train.class_weights={arts: 3, sport: 0.2}", "train.label_smoothing=0.1"]),
        ("single", ["train.class_weights=balanced"]),
        ("multi", ["train.class_weights=balanced", "train.label_smoothing=0.2"]),
        ("ner", ["train.label_smoothing=0.1"]),
        ("qa", ["train.label_smoothing=0.1"]),
        ("seq2seq", ["train.label_smoothing=0.1"]),
        ("causal", ["train.label_smoothing=0.1", "method=lora"]),
    ],
    ids=str,
)
def test_micro_batches_change_nothing_where_targets_are_weighed(lab: Lab, kind: str, extra: list[str]) -> None:
    whole = lab.train(kind, *SGD, *extra)
    assert_same_training(whole, lab.train(kind, *SGD, *extra, "train.accumulate=4"))
    if "method=lora" not in extra:
        assert curve(whole.run)["loss"] != pytest.approx(curve(lab.train(kind, *SGD).run)["loss"], **CLOSE)


def test_last_step_of_an_epoch_may_be_partial(lab: Lab) -> None:
    prepared = lab.prepared("single", *ALONE)
    assert len(prepared.splits["train"]) == 22
    run = lab.train("single", *SGD)
    assert run.steps == 3
    assert run.examples == 22


# ---------------------------------------------------------------------- processes


@pytest.mark.slow
def test_two_processes_train_token_classification_as_one_does(lab: Lab) -> None:
    """Sentences have unequal numbers of words, so each process has its own number of targets."""
    one, two = lab.train("ner", *SGD), lab.train("ner", *SGD, processes=2)
    assert_same_training(one, two)
    assert_same_weights(one, two)


@pytest.mark.slow
def test_two_processes_train_and_score_classification_as_one_does(lab: Lab) -> None:
    """With 17 rows, the last step has one: the second process has none of it and takes part all the same."""
    settings = ("train.optimizer=sgd", "train.learning_rate=0.1", "data.limit=17")
    one, two = lab.train("single", *settings), lab.train("single", *settings, processes=2)
    assert_same_training(one, two)
    assert_same_weights(one, two)
    assert log(two.run, "validation") == log(one.run, "validation")
    assert two.scores == one.scores


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"single", "ner"}))
def test_two_processes_train_every_other_task_as_one_does(lab: Lab, kind: str) -> None:
    one, two = lab.train(kind, *SGD), lab.train(kind, *SGD, "train.accumulate=2", processes=2)
    assert_same_training(one, two)
    assert_same_weights(one, two)


@pytest.mark.slow
def test_two_processes_train_lora_as_one_does(lab: Lab) -> None:
    settings = (*SGD, "method=lora")
    assert_same_training(lab.train("causal", *settings), lab.train("causal", *settings, processes=2))


# ---------------------------------------------------------------------- plain PyTorch


def padded(tokenizer: Any, rows: Sequence[dict[str, Any]], width: int = 0) -> dict[str, torch.Tensor]:
    """Rows padded on the right as transformers' own collators do, labels with -100 where there is one a token."""
    inputs = [{n: row[n] for n in tokenizer.model_input_names if n in row} for row in rows]
    batch = dict(tokenizer.pad(inputs, return_tensors="pt"))
    if "labels" in rows[0] and isinstance(rows[0]["labels"], list):
        longest = max(len(row["labels"]) for row in rows)
        labels = [row["labels"] + [-100] * (longest - len(row["labels"])) for row in rows]
        batch["labels"] = torch.tensor(labels)
    elif "labels" in rows[0]:
        batch["labels"] = torch.tensor([row["labels"] for row in rows])
    return batch


def stock_loss(model: Any, tokenizer: Any, rows: Sequence[dict[str, Any]]) -> Any:
    """The loss that the transformers model itself computes; over single windows for qa, where it counts padding."""
    if "weight" in rows[0]:
        each = [row["weight"] * model(**padded(tokenizer, [row])).loss for row in rows]
        return torch.stack(each).sum() / sum(row["weight"] for row in rows)
    if "start_positions" not in rows[0]:
        return model(**padded(tokenizer, rows)).loss
    losses = []
    for row in rows:
        places = {name: torch.tensor([row[name]]) for name in ("start_positions", "end_positions")}
        losses.append(model(**padded(tokenizer, [row]), **places).loss)
    return torch.stack(losses).mean()


def optimizer(model: Any) -> torch.optim.Optimizer:
    still = [p for name, p in model.named_parameters() if p.ndim == 1]
    moved = [p for name, p in model.named_parameters() if p.ndim > 1]
    groups = [{"params": moved, "weight_decay": 0.01}, {"params": still, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_what_a_plain_loop_over_the_transformers_model_does(lab: Lab, kind: str) -> None:
    settings = (*ALONE, "train.epochs=2", "train.schedule=linear", "train.warmup=0.25")
    run, prepared = lab.train(kind, *settings), lab.prepared(kind, *ALONE)
    auto_class = getattr(
        transformers, prepared.task.model_class(transformers.AutoConfig.from_pretrained(run.run / "model"))
    )
    model = auto_class.from_pretrained(lab.train(kind, *ALONE, "train.epochs=0").run / "model").train()
    encoded = encode_training(prepared, prepared.splits["train"])[0]
    rows, adamw = encoded.to_list(), optimizer(model)
    steps = Steps([len(row["input_ids"]) for row in rows], 8, 13, examples_of(encoded))
    schedule: Any = transformers.get_scheduler("linear", adamw, -(-run.steps // 4), run.steps)
    found: dict[str, list[float]] = {"loss": [], "grad_norm": []}
    for epoch in range(2):
        steps.set_epoch(epoch)
        for numbers in steps:
            loss = stock_loss(model, prepared.tokenizer, [rows[i] for i in numbers])
            loss.backward()
            found["grad_norm"].append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item())
            found["loss"].append(loss.item())
            adamw.step()
            schedule.step()
            adamw.zero_grad()
    assert len(found["loss"]) == run.steps
    for name, values in found.items():
        assert curve(run.run)[name] == pytest.approx(values, rel=1e-4, abs=1e-5), name
        assert curve(run.run)[name][:3] == pytest.approx(values[:3], **CLOSE), name


# ---------------------------------------------------------------------- the order of rows


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=300),
    batch=st.integers(1, 9),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 3),
)
def test_every_row_comes_once_an_epoch(lengths: list[int], batch: int, seed: int, epoch: int) -> None:
    steps = Steps(lengths, batch, seed)
    steps.set_epoch(epoch)
    found = list(steps)
    assert sorted(i for step in found for i in step) == list(range(len(lengths)))
    assert len(found) == len(steps)
    assert sorted(len(step) for step in found)[1:] == [batch] * (len(found) - 1)
    again = Steps(lengths, batch, seed)
    again.set_epoch(epoch)
    assert list(again) == found


def test_order_differs_by_epoch_and_by_seed() -> None:
    steps, orders = Steps([5] * 64, 4, 0), []
    for epoch in range(3):
        steps.set_epoch(epoch)
        orders.append(str(list(steps)))
    orders += [str(list(Steps([5] * 64, 4, seed))) for seed in (1, 2)]
    assert len(set(orders)) == 5


def test_rows_of_a_step_are_of_similar_length() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(4, 200, (WINDOW * 8 * 2,), generator=generator).tolist()
    spread = [max(lengths[i] for i in step) - min(lengths[i] for i in step) for step in Steps(lengths, 8, 0)]
    assert sum(spread) / len(spread) < 10
    in_order = [lengths[step[0]] for step in Steps(lengths, 8, 0)]
    assert in_order != sorted(in_order, reverse=True)


# ---------------------------------------------------------------------- the rates


def rates(run: Any) -> list[float]:
    return [entry["learning_rate"] for entry in log(run.run)]


@pytest.mark.parametrize("method", ["full", "lora", "ia3", "adapter"])
def test_every_step_is_taken_in_training_mode_also_behind_an_evaluation(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    modes: list[set[bool]] = []
    forward = FTTrainer.compute_loss

    def seen(self: FTTrainer, model: Any, *args: Any, **kwargs: Any) -> Any:
        modes.append({module.training for module in model.modules()})
        return forward(self, model, *args, **kwargs)

    monkeypatch.setattr(FTTrainer, "compute_loss", seen)
    for settings in (("train.evaluate_every=1",), ("data.validation=null",)):
        modes.clear()
        recipe = lab.recipe("single", f"method={method}", "train.epochs=2", "train.frozen_cache=0", *settings)
        train(recipe, lab.new())
        assert len(modes) > 3 and all(each == {True} for each in modes)


def test_rates_rise_and_fall_as_the_schedule_says(lab: Lab) -> None:
    run = lab.train("single", *ALONE, "train.epochs=2", "train.schedule=linear", "train.warmup=0.25")
    assert rates(run) == pytest.approx([0, 0.5e-3, 1e-3, 0.75e-3, 0.5e-3, 0.25e-3])
    assert rates(lab.train("single", *ALONE)) == [1e-3] * 3


@pytest.mark.parametrize("optimizer", ["lamb", "adafactor", "sgd", "adamw"])
def test_each_optimizer_lowers_the_loss(lab: Lab, optimizer: str) -> None:
    rate = {"lamb": 1e-2, "adafactor": 1e-2, "sgd": 0.1, "adamw": 3e-3}[optimizer]
    run = lab.train("single", *ALONE, f"train.optimizer={optimizer}", f"train.learning_rate={rate}", "train.epochs=8")
    losses = curve(run.run)["loss"]
    assert sum(losses[-3:]) < sum(losses[:3])


def moved(lab: Lab, *settings: str) -> dict[str, float]:
    """How far each weight has moved in one step of Adam, whose steps are as long as the rate."""
    fixed = (*ALONE, "train.batch=22", "train.weight_decay=0", *settings)
    start, end = lab.train("single", *fixed, "train.epochs=0"), lab.train("single", *fixed)
    before, after = weights(start.run), weights(end.run)
    return {name: (after[name] - before[name]).abs().max().item() for name in before}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["train.layer_decay=0.5"], [0.0625, 0.125, 0.25, 0.5, 1]),
        (["train.bottom_rate=1e-4"], [0.1, 0.4, 0.7, 1, 1]),
        (["train.head_multiplier=4"], [1, 1, 1, 1, 4]),
    ],
    ids=str,
)
def test_weights_move_by_the_rate_of_their_depth(lab: Lab, settings: list[str], expected: list[float]) -> None:
    found = moved(lab, *settings)
    names = [
        "embeddings.word",
        "layer.0.output.dense.w",
        "layer.1.output.dense.w",
        "layer.2.output.dense.w",
        "classifier",
    ]
    for part, factor in zip(names, expected, strict=True):
        longest = max(distance for name, distance in found.items() if part in name)
        assert longest == pytest.approx(1e-3 * factor, rel=0.02), part


# ---------------------------------------------------------------------- processes, and embeddings by rows


@pytest.fixture(scope="session")
def wide(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint with so many words that its embedding is moved by rows."""
    folder = tmp_path_factory.mktemp("wide") / "bert"
    source = lab.checkpoint("bert")
    model = transformers.AutoModel.from_pretrained(source)
    torch.manual_seed(3)
    model.resize_token_embeddings(5000)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("precision", ["fp32", pytest.param("bf16", marks=pytest.mark.slow)])
def test_two_processes_move_an_embedding_by_rows_as_one_does(lab: Lab, wide: str, precision: str) -> None:
    """Each reads rows that the other does not, and rows rest in between; validation reads some too.

    With 17 rows, the last step has one: the second process has none of it and takes part all the same.
    """
    usual = ("train.epochs=3", "train.weight_decay=0.1", "data.limit=17")
    settings = (f"model.checkpoint={wide}", f"train.precision={precision}", *usual)
    one = lab.train("single", *settings)
    two = lab.train("single", *settings, "train.accumulate=2", processes=2)
    if precision == "fp32":
        assert_same_training(one, two)
        assert_close(log(two.run, "validation"), log(one.run, "validation"), 1e-4)
        assert two.scores == one.scores
    else:
        assert curve(two.run)["loss"] == pytest.approx(curve(one.run)["loss"], rel=0.02)
    examples = lab.prepared("single", *settings).splits["test"].to_list()
    assert_close(answers(one.run, examples), answers(two.run, examples), 1e-4 if precision == "fp32" else 0.02)
