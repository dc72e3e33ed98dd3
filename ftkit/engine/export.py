"""A run's model as a folder that others can use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ftkit.engine import model as models
from ftkit.engine.card import model_card
from ftkit.errors import RunError
from ftkit.files import replacing, seal
from ftkit.methods._base import Method
from ftkit.plugins import Choice, resolve
from ftkit.run import RunDirectory
from ftkit.terminal import Say, silence


def export(source: str | Path, to: Path, format: str = "checkpoint", say: Say = silence) -> Path:
    """Write the model of a run (or of an earlier export) to the folder `to`, which must not exist.

    `checkpoint` is a plain transformers folder, LoRA and IA3 merged; `adapter` is only what was trained. `say` is
    told where the run's recipe was edited. Raises RunError for an unknown format or an existing folder,
    CheckpointError where the method can't be exported so.
    """
    if format not in FORMATS:
        raise RunError(f"there is no format {format!r}", f"there are: {', '.join(FORMATS)}")
    if os.path.exists(to):
        raise RunError(f"{to} exists already", "name another folder with --to, or remove it")
    trained = models.load(source)
    run = RunDirectory.open(source) if RunDirectory.is_run(source) else None
    if run:
        run.warn_if_edited(say)
    parts = FORMATS[format](trained)
    card = model_card(trained, _scores(run) if run else {})
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with replacing(to) as beside:
            beside.mkdir()
            models.save(beside, *parts)
            (beside / "README.md").write_text(card, encoding="utf-8")
            seal(beside)
    except OSError as error:
        raise RunError(f"{to} can't be written: {error.strerror or error}") from error
    return to


Parts = tuple[Any, Any, Method, Any]
"""Model, tokenizer, method and contract, as `models.save` takes them."""


def _checkpoint(trained: models.Trained) -> Parts:
    merged = trained.method.merge(trained.model)
    full: Method = resolve("method", Choice(name="full"), Method)
    contract = trained.contract.model_copy(update={"method": {"name": "full"}, "base": None})
    return merged, trained.tokenizer, full, contract


def _adapter(trained: models.Trained) -> Parts:
    if trained.method.standalone:
        name = trained.contract.method["name"]
        raise RunError(f"method {name} has no adapter: its weights are the checkpoint", "--format checkpoint")
    return trained.model, trained.tokenizer, trained.method, trained.contract


FORMATS: dict[str, Callable[[models.Trained], Parts]] = {"checkpoint": _checkpoint, "adapter": _adapter}


def _scores(run: RunDirectory) -> dict[str, Any]:
    if not (run.path / "scores.json").is_file():
        return {}  # it was interrupted after its best epoch was saved
    scores: dict[str, Any] = run.read_json("scores")["scores"]
    return scores
