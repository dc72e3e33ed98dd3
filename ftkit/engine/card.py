"""The model card of an export: what it does, what it was trained on, what it scored, how to use it."""

from __future__ import annotations

from typing import Any

from ftkit.engine.model import Trained
from ftkit.tasks._truncation import KEPT

_USE = {
    "classification": 'pipeline("text-classification", model=folder)("Some text.")',
    "ner": 'pipeline("token-classification", model=folder, aggregation_strategy="first")("Some text.")',
}


def model_card(trained: Trained, scores: dict[str, Any]) -> str:
    """A README.md in the Hub's form."""
    contract = trained.contract
    name, method = contract.task["name"], contract.method["name"]
    base = f", on top of `{contract.base['checkpoint']}`" if contract.base else ""
    parts = [
        "---\nlibrary_name: transformers\ntags:\n- ftkit\n---\n",
        f"# {type(trained.model).__name__} for {name}\n",
        f"{trained.task.summary[0].upper()}{trained.task.summary[1:]}. Fine-tuned with ftkit {contract.ftkit},"
        f" method `{method}`{base}.\n",
    ]
    if contract.labels:
        parts.append(
            "Labels, in the order of the outputs: " + ", ".join(f"`{label}`" for label in contract.labels) + ".\n"
        )
    parts += _done_by_ftkit(trained)
    if scores:
        parts.append(_scores(scores))
    parts.append('## Use\n\n```console\nftkit predict THIS_FOLDER "Some text."\n```\n')
    kind = "classification" if name == "sentiment" else name
    if contract.base is None and kind in _USE:
        parts.append(f'```python\nfrom transformers import pipeline\n\nfolder = "."\nprint({_USE[kind]})\n```\n')
    return "\n".join(parts)


def _done_by_ftkit(trained: Trained) -> list[str]:
    """What is done to texts and to probabilities, which other software that reads the weights does not do."""
    told = [*_reading(trained), *_probabilities(trained)]
    return [" ".join([*told, "`ftkit` does so; plain transformers does not.\n"])] if told else []


def _reading(trained: Trained) -> list[str]:
    options, steps = trained.task.options, trained.contract.data.get("clean")
    told = [f"Texts are cleaned before they are read: {', '.join(steps)}."] if steps else []
    how = getattr(options, "truncate", "head")
    if how == "window":
        joined = "highest logit of each label" if options.kind == "multi" else "mean of their logits"
        told.append(
            f"Longer texts are read in windows of {options.max_length} tokens that share {options.stride}; the answer"
            f" comes of the {joined}."
        )
    elif how != "head":
        told.append(f"Of texts longer than {options.max_length} tokens {KEPT[how]} ones are read.")
    return told


def _probabilities(trained: Trained) -> list[str]:
    if not trained.task.calibrates():
        return []
    options, told = trained.task.options, []
    if options.temperature != 1:
        told.append(f"Logits are divided by {options.temperature:.4f} before they become probabilities.")
    if options.abstain:
        told.append(f"Answers with a probability below {options.abstain:.4f} are withheld.")
    return told


def _scores(scores: dict[str, Any]) -> str:
    rows = [
        f"| {split} | {metric} | {score['value']:.4f} | {score.get('n', '')} |"
        for split, found in scores.items()
        for metric, score in found.items()
    ]
    return "\n".join(["## Scores\n", "| split | metric | value | rows |", "|---|---|---|---|", *rows, ""])
