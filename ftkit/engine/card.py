"""The model card of an export: what it does, what it was trained on, what it scored, how to use it.

Its head is the Hub's metadata. Cards are made to be shown: they name no path of this machine.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from ftkit import checkpoints, exporters
from ftkit.data.hub import hub_name
from ftkit.engine.contract import head_of
from ftkit.engine.gate import Proof, score_text, size_text
from ftkit.engine.model import Trained
from ftkit.errors import counted
from ftkit.exporters._example import asked
from ftkit.recipe import Recipe
from ftkit.tasks._truncation import KEPT

FOLDER = "THIS_FOLDER"
"""What a card calls the folder that it lies in, where it has no name on the Hub."""


def model_card(
    trained: Trained,
    scores: dict[str, Any],
    proof: Proof | None = None,
    program: str = "",
    recipe: Recipe | None = None,
    called: str = FOLDER,
) -> str:
    """A README.md in the Hub's form; `proof` and `program` are an export's, `recipe` a run's.

    `called` is the folder's name where somebody is told to use it.
    """
    contract = trained.contract
    name, method = _public(contract.task["name"]), _public(contract.method["name"])
    base = f", on top of {_told_base(contract.base)}" if contract.base else ""
    library = exporters.find(proof.format).library if proof else "transformers"
    parts = [
        f"---\n{_metadata(trained, scores, library, recipe, called).to_yaml()}\n---\n",
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
    ask = asked(trained.task)
    told = f'"{ask}"' if isinstance(ask, str) else shlex.quote(json.dumps(ask))
    parts.append(f"## Use\n\n```console\nftkit predict {called} {told}\n```\n")
    if program:
        parts.append(f"Without ftkit, as `example.py` does:\n\n```python\n{program}```\n")
    return "\n".join(parts)


def _public(name: str) -> str:
    """A plug-in's name; of code of one's own its last part, which tells nothing of this machine."""
    return Path(name).stem if name.endswith(".py") else name


def _told_base(base: dict[str, Any]) -> str:
    """The checkpoint that an adapter builds on, by its name on the Hub or by its weights."""
    named = checkpoints.hub_id(base["checkpoint"])
    return f"`{named}`" if named else f"a checkpoint that is on no Hub, its weights' SHA-256 {base['sha256'][:12]}..."


def _metadata(
    trained: Trained, scores: dict[str, Any], library: str, recipe: Recipe | None, repo: str
) -> ModelCardData:
    """What the Hub lists and filters models by."""
    checkpoint = recipe.model.checkpoint if recipe else str((trained.contract.base or {}).get("checkpoint", ""))
    _, pipeline = head_of(type(trained.model).__name__)
    source = _data_set(recipe)
    theirs = {name for name in ("validation", "test") if recipe and not _is_own(recipe, name)} if source else set()
    results = list(_results(scores, pipeline or "other", source, theirs))
    return ModelCardData(
        library_name=library,
        pipeline_tag=pipeline,
        base_model=checkpoints.hub_id(checkpoint) or None,
        datasets=[source[0]] if source else None,
        metrics=sorted({result.metric_type for result in results}) or None,
        model_name=repo.rpartition("/")[2] if results else None,
        eval_results=results or None,
        tags=["ftkit"],
    )


def _data_set(recipe: Recipe | None) -> tuple[str, str | None] | None:
    """Name and configuration of the data set on the Hub that is learned from; of files not even the name is told."""
    return hub_name(recipe.data.train) if recipe and isinstance(recipe.data.train, str) else None


def _is_own(recipe: Recipe, split: str) -> bool:
    """Whether held-out rows are of a file of the trainer's, or may be a share of the training rows."""
    return bool(recipe.data.sources(split)) or isinstance(getattr(recipe.data, split), float)


def _results(
    scores: dict[str, Any], pipeline: str, source: tuple[str, str | None] | None, theirs: set[str]
) -> Iterator[EvalResult]:
    """The scores of held-out rows in the Hub's form; `theirs` are the splits that the data set itself has."""
    for split in ("validation", "test"):
        is_theirs = source is not None and split in theirs
        name, config = source if source and is_theirs else ("held-out rows of the trainer's own", None)
        for metric, score in scores.get(split, {}).items():
            if isinstance(score["value"], (int, float)) and math.isfinite(score["value"]):
                yield EvalResult(
                    task_type=pipeline,
                    dataset_type=name if is_theirs else "own",
                    dataset_name=name,
                    dataset_config=config,
                    dataset_split=split,
                    metric_type=metric,
                    metric_value=round(score["value"], 4),
                )


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


def _rows_of(proof: Proof) -> str:
    """The rows that an export was measured on."""
    if not proof.learned:
        return f"{proof.found.rows} held-out rows"
    which = "all of which" if proof.learned == proof.found.rows else f"{proof.learned} of which"
    return f"{proof.found.rows} rows, {which} the run has learned from (its score there says little of new texts)"


def _proof(proof: Proof) -> str:
    """What was measured of the export beside its run."""
    found, run = proof.found, proof.run
    return "\n".join(
        [
            f"## Measured as `{proof.format}`, beside the run\n",
            f"On {_rows_of(proof)}, loaded in a fresh process; the run in PyTorch, float32.\n",
            "| | this folder | the run |",
            "|---|---|---|",
            f"| score | {score_text(found.scores, proof.metric)} | {score_text(run.scores, proof.metric)} |",
            f"| same answers | {found.agreement:.2%} | |",
            f"| largest difference of a logit | {found.difference:.3g} (allowed: {proof.tolerance:.3g}) | |",
            f"| size | {size_text(found)} | {size_text(run)} |",
            *(
                f"| time of {counted(int(size), 'row')} | {1000 * found.seconds[size]:.1f} ms |"
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
