"""A run's model as a folder that others can use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ftkit.engine import model as models
from ftkit.engine.card import model_card
from ftkit.errors import RunError
from ftkit.methods._base import Method
from ftkit.plugins import Choice, resolve
from ftkit.run import RunDirectory, replacing


def export(source: str | Path, to: Path, format: str = "checkpoint") -> Path:
    """Write the model of a run (or of an earlier export) to the folder `to`, which must not exist.

    `checkpoint` is a plain transformers folder, LoRA and IA3 merged; `adapter` is only what was trained. Raises
    RunError for an unknown format or an existing folder, CheckpointError where the method can't be exported so.
    """
    if format not in FORMATS:
        raise RunError(f"there is no format {format!r}", f"there are: {', '.join(FORMATS)}")
    if to.exists():
        raise RunError(f"{to} exists already", "name another folder with --to, or remove it")
    trained = models.load(source)
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with replacing(to) as beside:
            beside.mkdir()
            FORMATS[format](trained, beside)
            (beside / "README.md").write_text(model_card(trained, _scores(source)), encoding="utf-8")
    except OSError as error:
        raise RunError(f"{to} can't be written: {error.strerror or error}") from error
    return to


def _checkpoint(trained: models.Trained, folder: Path) -> None:
    merged = trained.method.merge(trained.model)
    full: Method = resolve("method", Choice(name="full"), Method)
    contract = trained.contract.model_copy(update={"method": {"name": "full"}, "base": None})
    models.save(folder, merged, trained.tokenizer, full, contract)


def _adapter(trained: models.Trained, folder: Path) -> None:
    if trained.method.standalone:
        name = trained.contract.method["name"]
        raise RunError(f"method {name} has no adapter: its weights are the checkpoint", "--format checkpoint")
    models.save(folder, trained.model, trained.tokenizer, trained.method, trained.contract)


FORMATS: dict[str, Callable[[models.Trained, Path], None]] = {"checkpoint": _checkpoint, "adapter": _adapter}


def _scores(source: str | Path) -> dict[str, Any]:
    if not RunDirectory.is_run(source) or not (Path(source) / "scores.json").is_file():
        return {}  # an export, or a run that was interrupted after its best epoch was saved
    scores: dict[str, Any] = RunDirectory.open(source).read_json("scores")["scores"]
    return scores
