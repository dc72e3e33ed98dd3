"""The model card of an export: what it does, what it was trained on, what it scored, how to use it."""

from __future__ import annotations

from typing import Any

from ftkit import exporters
from ftkit.engine.gate import Proof, told
from ftkit.engine.model import Trained
from ftkit.tasks._truncation import KEPT


def model_card(trained: Trained, scores: dict[str, Any], proof: Proof | None = None, program: str = "") -> str:
    """A README.md in the Hub's form; `proof` and `program` are an export's."""
    contract = trained.contract
    name, method = contract.task["name"], contract.method["name"]
    base = f", on top of `{contract.base['checkpoint']}`" if contract.base else ""
    library = exporters.find(proof.format).library if proof else "transformers"
    parts = [
        f"---\nlibrary_name: {library}\ntags:\n- ftkit\n---\n",
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
    if proof:
        parts.append(_proof(proof))
    parts.append('## Use\n\n```console\nftkit predict THIS_FOLDER "Some text."\n```\n')
    if program:
        parts.append(f"Without ftkit, as `example.py` does:\n\n```python\n{program}```\n")
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


def _proof(proof: Proof) -> str:
    """What was measured of the export beside its run."""
    found, run = proof.found, proof.run
    return "\n".join(
        [
            f"## Measured as `{proof.format}`, beside the run\n",
            f"On {found.rows} held-out rows, loaded in a fresh process; the run in PyTorch, float32.\n",
            "| | this folder | the run |",
            "|---|---|---|",
            f"| score | {told(found.scores, proof.metric)} | {told(run.scores, proof.metric)} |",
            f"| same answers | {found.agreement:.2%} | |",
            f"| largest difference of a logit | {found.difference:.3g} (allowed: {proof.tolerance:.3g}) | |",
            f"| size | {found.bytes / 1e6:.1f} MB | {run.bytes / 1e6:.1f} MB |",
            *(
                f"| time of {size} row{'s' * (size != '1')} | {1000 * found.seconds[size]:.1f} ms |"
                f" {1000 * run.seconds[size]:.1f} ms |"
                for size in found.seconds
            ),
            "",
        ]
    )


def _scores(scores: dict[str, Any]) -> str:
    rows = [
        f"| {split} | {metric} | {score['value']:.4f} | {score.get('n', '')} |"
        for split, found in scores.items()
        for metric, score in found.items()
    ]
    return "\n".join(["## Scores\n", "| split | metric | value | rows |", "|---|---|---|---|", *rows, ""])
