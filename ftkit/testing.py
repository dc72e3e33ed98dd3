"""The contract of a task, as a check that a person runs on their own: `check_task(Stance, examples)`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from ftkit.checkpoints import locate
from ftkit.settings import EvaluateSpec
from ftkit.tasks._base import INPUT_KINDS, Labels, Prediction, Task, Weighting

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["check_task"]

CLOSE = 1e-4
"""How far apart two computations of the same real number may lie, relative to it."""


def check_task(
    task_class: type[Task],
    examples: Sequence[Mapping[str, Any]],
    *,
    options: Mapping[str, Any] | None = None,
    checkpoint: str | Path | None = None,
    truth: Sequence[Prediction] | None = None,
) -> list[Prediction]:
    """Hold a task to everything that training, `eval`, `predict` and `export` rely on; its predictions are returned.

    `examples` are rows as a data file has them, four or more, with a few different answers. `checkpoint` is a
    folder or a name, as in a recipe; without it a random model of two small layers is made on the spot. `truth`
    are the predictions that a perfect model would give for the examples; their score must be perfect then.
    Raises AssertionError with the promise that is broken, DataError for examples that the task can't read,
    CheckpointError for a checkpoint that is none.
    """
    _promise(len(examples) >= 4, f"check_task needs four examples or more, and got {len(examples)}")
    _check_description(task_class)
    task = task_class(task_class.Options(**dict(options or {})))
    with TemporaryDirectory() as folder:
        place = locate(str(checkpoint)).path if checkpoint else _tiny_checkpoint(Path(folder) / "tiny", task, examples)
        task, rows, labels = _check_data(task, examples, place, Path(folder))
        tokenizer = _tokenizer(place, task)
        _check_encoding(task, rows, tokenizer, labels)
        model = _check_learning(task, rows, tokenizer, labels, place)
        predictions = _check_answers(task, rows, tokenizer, labels, model)
        _check_reload(task, rows, tokenizer, labels, model, predictions, Path(folder))
    _check_scores(task, rows, predictions, truth)
    return predictions


def _promise(kept: Any, words: str) -> None:
    """Unlike `assert`, it holds under `python -O` too."""
    if not kept:
        raise AssertionError(words)


# ---------------------------------------------------------------------- what the task says of itself


def _check_description(task_class: type[Task]) -> None:
    import transformers

    name = task_class.__name__
    for attribute in ("summary", "columns", "auto_class", "peft_type", "best_metric"):
        _promise(getattr(task_class, attribute, None), f"{name}.{attribute} must be set")
    known = hasattr(transformers, task_class.auto_class)
    _promise(known, f"{name}.auto_class: transformers has no {task_class.auto_class}")
    kinds = [column.kind for column in task_class.columns]
    _promise(INPUT_KINDS & set(kinds), f"{name}.columns has no column that a model reads ({', '.join(INPUT_KINDS)})")
    _promise(set(kinds) - INPUT_KINDS, f"{name}.columns has nothing to answer")
    for field, setting in task_class.Options.model_fields.items():
        _promise(setting.description, f"{name}.Options.{field} needs a sentence under it")


def _check_data(
    task: Task, examples: Sequence[Mapping[str, Any]], place: Path, folder: Path
) -> tuple[Task, Dataset, Labels]:
    """The task as the rows and the checkpoint settle it, its rows and its labels."""
    from ftkit.engine import pretrained
    from ftkit.engine.prepare import check

    rows = _rows(task, examples, folder / "examples.jsonl")
    _promise(len(rows) == len(examples), f"unify made {len(rows)} rows of {len(examples)} examples")
    task = task.settle(rows, pretrained.read_config(place))
    labels = task.labels(rows)
    backwards = _rows(task, examples[::-1], folder / "backwards.jsonl")
    _promise(task.labels(backwards) == labels, "the order of the labels depends on the order of the rows")
    _promise(isinstance(labels, tuple) and all(isinstance(label, str) for label in labels), "labels must be names")
    check(task, {"examples": rows}, labels)
    return task, rows, labels


def _rows(task: Task, examples: Sequence[Mapping[str, Any]], path: Path) -> Dataset:
    from ftkit.data.load import load_file, unified
    from ftkit.run import write_jsonl
    from ftkit.settings import DataSpec

    write_jsonl(path, map(dict, examples))
    rows, _ = load_file(str(path), DataSpec(), task.shapes())
    return unified(task, rows)


# ---------------------------------------------------------------------- encoding and learning


def _check_encoding(task: Task, rows: Dataset, tokenizer: Any, labels: Labels) -> None:
    from ftkit.engine import infer

    examples = rows.to_list()
    encoded = infer.encode(task, examples, tokenizer, labels)
    given = [name for name in task.targets if name in encoded]
    _promise(not given, f"encode makes up targets ({', '.join(given)}) for rows that have no answers")
    _check_columns(encoded, "encode")
    order = list(encoded["example"])
    _promise(
        order == sorted(order) and set(order) == set(range(len(examples))),
        "encode must keep the examples' order, and leave none out; `example` says which a row belongs to",
    )
    alone = [infer.encode(task, [example], tokenizer, labels)["input_ids"] for example in examples]
    _promise(
        [ids for rows in alone for ids in rows] == list(encoded["input_ids"]),
        "encode gives a row other inputs alone than among others",
    )
    taught = _taught(task, rows, tokenizer, labels)
    missing = [name for name in task.targets if name not in taught]
    _promise(not missing, f"encode makes no {', '.join(missing)} for rows that have answers")
    _check_columns(taught, "encode, for rows that have answers,")


def _check_columns(encoded: Mapping[str, Any], what: str) -> None:
    sizes = {name: len(values) for name, values in encoded.items()}
    _promise(len(set(sizes.values())) == 1, f"{what} gives columns of unequal length: {sizes}")


def _taught(task: Task, rows: Dataset, tokenizer: Any, labels: Labels) -> dict[str, list[Any]]:
    return dict(task.encode(rows.to_dict(), tokenizer, labels))


def _check_learning(task: Task, rows: Dataset, tokenizer: Any, labels: Labels, place: Path) -> Any:
    """The model in evaluation mode, after its loss was found to be a sum that has gradients."""
    import torch

    from ftkit.engine import pretrained

    torch.manual_seed(13)
    model = pretrained.build(place, task, labels).eval()
    taught = _taught(task, rows, tokenizer, labels)
    names = [name for name in (*tokenizer.model_input_names, *task.targets) if name in taught]
    encoded = [{name: taught[name][i] for name in names} for i in range(len(taught["input_ids"]))]
    whole, size = _loss(model, task, encoded, tokenizer)
    _promise(whole.ndim == 0 and bool(torch.isfinite(whole)), f"the loss must be one finite number, and it is {whole}")
    whole.backward()
    norm = sum(float(weight.grad.norm()) for weight in model.parameters() if weight.grad is not None)
    _promise(norm > 0, "the loss moves no weight")
    half = len(encoded) // 2
    parts = [_loss(model, task, part, tokenizer) for part in (encoded[:half], encoded[half:])]
    _promise(
        _close(float(whole.detach()), sum(float(loss.detach()) for loss, _ in parts)),
        "the loss of a batch must be the sum of its parts' losses: sum it over the targets, and let `loss_size` divide",
    )
    _promise(_close(float(size), sum(float(size) for _, size in parts)), "loss_size of a batch must be its parts' sum")
    _promise(float(size) > 0, "loss_size must be more than 0")
    return model


def _loss(model: Any, task: Task, rows: list[dict[str, Any]], tokenizer: Any) -> tuple[Any, Any]:
    batch = task.collate(rows, tokenizer)
    return task.loss(task.forward(model, batch), batch, Weighting()), task.loss_size(batch, Weighting())


# ---------------------------------------------------------------------- answers and scores


def _check_answers(task: Task, rows: Dataset, tokenizer: Any, labels: Labels, model: Any) -> list[Prediction]:
    from ftkit.engine import infer

    examples = rows.to_list()
    predictions = list(infer.predict(model, task, tokenizer, labels, examples, EvaluateSpec()))
    _promise(len(predictions) == len(examples), f"decode gives {len(predictions)} answers for {len(examples)} examples")
    try:
        again = json.loads(json.dumps(predictions))
    except TypeError as error:
        raise AssertionError(f"predictions must be plain values that JSON can hold: {error}") from error
    _promise(again == predictions, "predictions must come back from JSON as they were (no tuples, no numbers as names)")
    backwards = list(infer.predict(model, task, tokenizer, labels, examples[::-1], EvaluateSpec()))
    _promise(_close(backwards[::-1], predictions), "an example's answer depends on where it stands")
    for example, prediction in zip(examples, predictions, strict=True):
        _promise(isinstance(task.render(example, prediction), str), "render must give text")
    return predictions


def _check_reload(
    task: Task, rows: Dataset, tokenizer: Any, labels: Labels, model: Any, predictions: list[Prediction], folder: Path
) -> None:
    from ftkit.engine import infer, pretrained

    model.save_pretrained(folder / "saved")
    tokenizer.save_pretrained(folder / "saved")
    again = pretrained.build(folder / "saved", task, labels).eval()
    found = list(infer.predict(again, task, _tokenizer(folder / "saved", task), labels, rows.to_list(), EvaluateSpec()))
    _promise(_close(found, predictions), "the model answers otherwise once it was saved and loaded again")


def _check_scores(task: Task, rows: Dataset, predictions: list[Prediction], truth: Sequence[Prediction] | None) -> None:
    metric = task.decider()
    scores = task.score(predictions, rows)
    _promise(metric in scores, f"score gives no {metric}, which decides which epoch is kept")
    for name, score in scores.items():
        _promise(isinstance(score["value"], float) and score["n"] > 0, f"score {name} must have a value (float) and n")
    json.dumps([scores, task.breakdown(predictions, rows)])
    if truth is None:
        return
    best = 0.0 if metric in task.lower_is_better else 1.0
    value = task.score(list(truth), rows)[metric]["value"]
    _promise(_close(value, best), f"the truth gets {metric} {value}, and should get {best}")


def _close(one: Any, other: Any) -> bool:
    """Whether two plain values are the same, but for real numbers, which may differ a little."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_close, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= CLOSE * max(1.0, abs(one), abs(other))
    return bool(one == other)


# ---------------------------------------------------------------------- a model on the spot


def _tokenizer(place: Path, task: Task) -> Any:
    from ftkit.engine import pretrained

    return pretrained.read_tokenizer(place, task)


def _tiny_checkpoint(folder: Path, task: Task, examples: Sequence[Mapping[str, Any]]) -> Path:
    """A random checkpoint of the task's family: width 32, two layers, a vocabulary of the examples' words."""
    import torch
    import transformers

    tokenizer = _word_tokenizer(examples)
    width = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    t5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0}
    writers = {"AutoModelForSeq2SeqLM": ("T5Config", t5), "AutoModelForCausalLM": ("LlamaConfig", width)}
    name, sizes = writers.get(task.auto_class, ("BertConfig", width))
    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    config: Any = getattr(transformers, name)(vocab_size=len(tokenizer), **special, **sizes)
    maker: Any = getattr(transformers, task.auto_class if task.auto_class in writers else "AutoModel")
    with torch.random.fork_rng():
        torch.manual_seed(13)
        maker.from_config(config, dtype=torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _word_tokenizer(examples: Sequence[Mapping[str, Any]]) -> Any:
    """A fast tokenizer of the examples' words, which spells words that it does not know."""
    import string

    import transformers
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    splitter, special = pre_tokenizers.BertPreTokenizer(), ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [word for text in _texts(list(examples)) for word, _ in splitter.pre_tokenize_str(text.casefold())]
    signs = sorted({*string.ascii_lowercase, *string.digits, *string.punctuation, *(c for word in words for c in word)})
    pieces = dict.fromkeys([*special, *signs, *(f"##{sign}" for sign in signs), *words])
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), splitter
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "bos_token", "eos_token", "mask_token"), special, strict=True))
    fast: Any = transformers.PreTrainedTokenizerFast
    return fast(tokenizer_object=tokenizer, cls_token="[CLS]", sep_token="[SEP]", model_max_length=512, **names)


def _texts(value: Any) -> list[str]:
    """Every text inside a plain value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return _texts(list(value.values()))
    return [text for item in value for text in _texts(item)] if isinstance(value, (list, tuple)) else []
