"""Classification: the order of labels is a contract, and the loss is the library's own."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from ftkit.data.balance import balanced_weights
from ftkit.engine.prepare import in_order_of
from ftkit.errors import DataError, RecipeError
from ftkit.plugins import Choice, resolve
from ftkit.tasks._base import Task, Weighting
from ftkit.tasks.classification import Classification
from tests.tiny import SENTENCES, tiny, tiny_tokenizer

TOKENIZER = tiny_tokenizer("bert")


def task(kind: str = "single", **options: Any) -> Classification:
    return Classification(Classification.Options(kind=kind, **options))


def train_rows(*labels: Any) -> Dataset:
    return Dataset.from_dict({"label": list(labels), "row": list(range(1, len(labels) + 1))})


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (["b", "a", "b"], ("a", "b")),
        (["10", "9", "2"], ("2", "9", "10")),
        (["1", "-1", "0"], ("-1", "0", "1")),
        (["10", "9", "x"], ("10", "9", "x")),
        (["--5", "4"], ("--5", "4")),
    ],
)
def test_labels_are_sorted_by_value_where_all_are_whole_numbers(found: list[str], expected: tuple[str, ...]) -> None:
    assert task().labels(train_rows(*found)) == expected


@given(st.sets(st.text(min_size=1, max_size=4), min_size=2, max_size=8), st.randoms())
def test_order_of_labels_does_not_depend_on_the_order_of_rows(found: set[str], random: Random) -> None:
    one, other = sorted(found), sorted(found)
    random.shuffle(other)
    labels = task().labels(train_rows(*one))
    assert labels == task().labels(train_rows(*other))
    assert set(labels) == found


def test_listed_labels_keep_their_order_and_may_be_more_than_the_data_has() -> None:
    assert task().labels(train_rows("a", "b"), ["c", "b", "a"]) == ("c", "b", "a")
    with pytest.raises(DataError, match="'b'"):
        task().labels(train_rows("a", "b"), ["a", "c"])


def test_one_label_is_too_few() -> None:
    with pytest.raises(DataError, match=r"different label.*'a'"):
        task().labels(train_rows("a", "a"))
    assert task("multi").labels(train_rows(["a"], [])) == ("a",)


def test_checkpoints_order_is_kept_for_the_same_labels_alone() -> None:
    assert in_order_of(("a", "b"), ("b", "a")) == ("b", "a")
    assert in_order_of(("a", "b"), ("b", "c")) == ("a", "b")
    assert in_order_of(("a", "b"), ()) == ("a", "b")


def test_unknown_labels_are_named_with_row_and_nearest_label() -> None:
    issues = list(task().check(train_rows("Sport", "arts", "zebra", "Sport"), ("arts", "sport")))
    assert [issue.level for issue in issues] == ["error", "error"]
    assert "row 1 and 1 more" in str(issues[0]) and "did you mean 'sport'?" in str(issues[0])
    assert "row 3" in str(issues[1]) and "did you mean" not in str(issues[1])


@pytest.mark.parametrize(
    ("kind", "given_", "expected"),
    [
        ("single", ["b", "a"], [1, 0]),
        ("multi", [["a", "c"], []], [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]),
        ("regression", [1.5, -2.0], [1.5, -2.0]),
    ],
)
def test_targets_are_numbered_by_the_labels_order(kind: str, given_: list[Any], expected: list[Any]) -> None:
    assert task(kind).label_ids({"label": given_}, ("a", "b", "c")) == {"labels": expected}
    assert task(kind).label_ids({"text": ["x"]}, ("a", "b", "c")) == {}


def test_cut_texts_are_marked_and_pairs_cut_where_they_are_longest() -> None:
    short, long = "A film.", SENTENCES
    encoded = task(max_length=24).encode({"text": [short, long]}, TOKENIZER, ())
    assert encoded["truncated"] == [False, True]
    assert [len(ids) <= 24 for ids in encoded["input_ids"]] == [True, True]
    pair = task(max_length=24).encode({"text": [short], "text_pair": [long]}, TOKENIZER, ())
    first = [i for i, kind in zip(pair["input_ids"][0], pair["token_type_ids"][0], strict=True) if kind == 0]
    assert first == TOKENIZER(short)["input_ids"]
    assert pair["truncated"] == [True]


@pytest.mark.parametrize("kind", ["single", "multi", "regression"])
def test_loss_over_its_size_is_the_models_own_loss(kind: str) -> None:
    labels = ("value",) if kind == "regression" else ("a", "b", "c")
    targets: Any = {
        "single": ["a", "c", "b", "a"],
        "multi": [["a"], [], ["b", "c"], ["a", "b", "c"]],
        "regression": [0.5, -1.0, 2.0, 0.0],
    }[kind]
    t, texts = task(kind), SENTENCES.splitlines()[:4]
    model = tiny(
        "bert", labels=len(labels), vocab_size=len(TOKENIZER), problem_type=t.model_settings(labels)["problem_type"]
    )
    encoded = t.encode({"text": texts, "label": targets}, TOKENIZER, labels)
    rows = [{name: encoded[name][i] for name in encoded} for i in range(4)]
    batch = t.collate(rows, TOKENIZER)
    with torch.no_grad():
        ours = t.loss(t.forward(model, batch), batch, Weighting()) / t.loss_size(batch, Weighting())
        reference = model(**batch).loss
    assert ours.item() == pytest.approx(reference.item(), rel=1e-6)


def test_multi_label_loss_with_weights_is_pytorchs() -> None:
    t, generator = task("multi"), torch.Generator().manual_seed(0)
    logits, targets = torch.randn(5, 3, generator=generator), torch.randint(0, 2, (5, 3), generator=generator).float()
    weighting = Weighting(0.0, (2.0, 0.5, 1.0))
    ours = t.loss(type("Output", (), {"logits": logits}), {"labels": targets}, weighting)
    reference = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(weighting.class_weights))(logits, targets)
    assert (ours / t.loss_size({"labels": targets}, weighting)).item() == pytest.approx(reference.item(), rel=1e-6)


def test_answers_are_the_likeliest_labels_with_their_probabilities() -> None:
    outputs = [{"logits": np.array([0.0, 2.0, -1.0], dtype=np.float32)}]
    expected = torch.softmax(torch.tensor([0.0, 2.0, -1.0]).double(), -1)[1].item()
    (answer,) = task().decode(outputs, {}, [{}], None, ("a", "b", "c"))
    assert answer == {"label": "b", "score": pytest.approx(expected)}
    (several,) = task("multi", threshold=0.4).decode(outputs, {}, [{}], None, ("a", "b", "c"))
    assert several["labels"] == ["a", "b"]
    assert several["scores"] == pytest.approx({"a": 0.5, "b": 1 / (1 + np.exp(-2))})
    assert task("regression").decode([{"logits": np.array([0.25])}], {}, [{}], None, ("value",)) == [{"value": 0.25}]


@given(st.lists(st.sampled_from("abc"), min_size=3).filter(lambda values: set(values) == set("abc")))
def test_balanced_weights_are_scikit_learns(values: list[str]) -> None:
    reference = compute_class_weight("balanced", classes=np.array(list("abc")), y=np.array(values))
    assert balanced_weights(values, ("a", "b", "c")) == pytest.approx(tuple(reference))


def test_deciding_metric_suits_the_kind() -> None:
    assert [task(kind).decider() for kind in ("single", "multi", "regression")] == ["accuracy", "micro_f1", "mse"]
    assert "mse" in task().lower_is_better


@pytest.mark.parametrize(
    ("threshold", "p", "expected"), [(0.4, 0.45, ["a"]), (0.6, 0.55, []), (0.5, 0.45, []), (0.5, 0.55, ["a"])]
)
def test_a_label_is_given_from_the_threshold_on(threshold: float, p: float, expected: list[str]) -> None:
    outputs = [{"logits": np.log([p / (1 - p), 0.01])}]
    (answer,) = task("multi", threshold=threshold).decode(outputs, {}, [{}], None, ("a", "b"))
    assert answer["labels"] == expected
    assert answer["scores"] == pytest.approx(dict.fromkeys(expected, p))


def test_smoothing_of_several_labels_moves_targets_to_both_sides_alike() -> None:
    generator = torch.Generator().manual_seed(1)
    logits, targets = torch.randn(5, 3, generator=generator), torch.randint(0, 2, (5, 3), generator=generator).float()
    ours = task("multi").loss(type("Output", (), {"logits": logits}), {"labels": targets}, Weighting(0.2))
    smooth = torch.where(targets == 1, 0.9, 0.1)
    reference = torch.nn.functional.binary_cross_entropy_with_logits(logits, smooth, reduction="sum")
    assert ours.item() == pytest.approx(reference.item(), rel=1e-6)


def test_temperature_divides_the_logits_and_changes_no_label() -> None:
    outputs = [{"logits": np.array([0.0, 2.0, -1.0], dtype=np.float32)}]
    (answer,) = task(temperature=2.5).decode(outputs, {}, [{}], None, ("a", "b", "c"))
    expected = torch.softmax(torch.tensor([0.0, 2.0, -1.0]).double() / 2.5, -1)[1].item()
    assert answer == {"label": "b", "score": pytest.approx(expected)}


def test_unsure_label_is_withheld_and_scored_all_the_same() -> None:
    logits = [np.log([0.7, 0.3]), np.log([0.4, 0.6]), np.log([0.2, 0.8])]
    outputs = [{"logits": row} for row in logits]
    t, labels, examples = task(abstain=0.65), ("a", "b"), {"label": ["a", "b", "a"], "text": ["x", "y", "z"]}
    found = t.decode(outputs, {}, [{}] * 3, None, labels)
    assert [answer["label"] for answer in found] == ["a", None, "b"]
    assert found[1] == {"label": None, "score": pytest.approx(0.6), "withheld": "b"}
    assert t.answers(found, examples)[0] == ["a", "b", "b"]
    assert t.score(found, examples) == task().score(task().decode(outputs, {}, [{}] * 3, None, labels), examples)
    assert t.render({"text": "y"}, found[1]) == "(withheld: b, 0.60)  y"
    assert t.render({"text": "x"}, found[0]) == "a (0.70)  x"


def test_answer_as_sure_as_the_threshold_is_given() -> None:
    (answer,) = task(abstain=0.5).decode([{"logits": np.zeros(2)}], {}, [{}], None, ("a", "b"))
    assert answer == {"label": "a", "score": 0.5}


def test_a_row_is_a_decision_and_an_answer() -> None:
    outputs = [{"logits": np.array(row, dtype=np.float32)} for row in ([0, 2, 1], [3, 0, 0])]
    found = task(temperature=3, abstain=0.9).decisions(outputs, {}, [{"label": "b"}, {"label": "c"}], ("a", "b", "c"))
    assert found.logits.tolist() == [[0, 2, 1], [3, 0, 0]]
    assert (found.truth.tolist(), found.answer.tolist(), found.right.tolist()) == ([1, 2], [0, 1], [True, False])
    assert task().calibrates() and not task("multi").calibrates() and not task("regression").calibrates()


@pytest.mark.parametrize("kind", ["multi", "regression"])
@pytest.mark.parametrize(("name", "value", "usual"), [("temperature", 2.0, 1.0), ("abstain", 0.5, 0.0)])
def test_options_for_one_label_are_refused_elsewhere(kind: str, name: str, value: float, usual: float) -> None:
    with pytest.raises(RecipeError, match=rf"task\.{name}: is for one label a row, and the kind is {kind}"):
        resolve("task", Choice.model_validate({"name": "classification", "kind": kind, name: value}), Task)
    assert getattr(task(kind, **{name: usual}).options, name) == usual, "as a complete recipe has it"


def test_places_of_tokens_are_in_the_text_or_in_its_pair() -> None:
    example = {"text": "the river", "text_pair": "a  bridge!"}
    encoded = task().encode({name: [value] for name, value in example.items()}, TOKENIZER, ())
    (places,) = task().token_places(example, encoded, TOKENIZER) or ()
    assert len(places) == len(encoded["input_ids"][0])
    texts = {(column, word): "" for column, word, *_ in filter(None, places)}
    for column, word, start, end in filter(None, places):
        texts[column, word] += example[column][start:end]
    assert texts == {
        ("text", 0): "the",
        ("text", 1): "river",
        ("text_pair", 0): "a",
        ("text_pair", 1): "bridge",
        ("text_pair", 2): "!",
    }
    assert task().token_places({**example, "text_pair": None}, encoded, TOKENIZER) is None, "encoded otherwise"


def test_contrast_is_of_the_answers_logit_and_the_truths() -> None:
    labels = ("a", "b", "c")
    assert task().contrasts({}, {}, {}, labels, "c", "a") == [((2,), (0,))]
    assert task().contrasts({}, {}, {}, labels, "c", "other") == []


def test_tokens_of_a_text_that_was_cut_have_places() -> None:
    t, tokenizer = Classification(Classification.Options(max_length=6)), tiny_tokenizer("bert")
    row: Any = {"text": "The film was sharp and the price was fair."}
    encoded = t.encode({"text": [row["text"]]}, tokenizer, ())
    (places,) = t.token_places(row, encoded, tokenizer) or ()
    assert len(places) == 6 and places[1] and places[1][:2] == ("text", 0)
