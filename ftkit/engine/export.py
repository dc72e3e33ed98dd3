"""A run's model as folders that others can use, each proven to answer as the run does."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from ftkit import exporters
from ftkit.checkpoints.folder import CARD
from ftkit.engine import gate, infer, learned, machine, served
from ftkit.engine import model as models
from ftkit.engine.asking import data_spec, judged_by, read_rows, recipe_of
from ftkit.engine.card import FOLDER, model_card
from ftkit.engine.evaluate import held_out
from ftkit.engine.graphs import graphs
from ftkit.engine.prepare import check
from ftkit.errors import DataError, FTKitError, RunError, every, problems
from ftkit.exporters._base import Exporter
from ftkit.exporters._example import example
from ftkit.files import parents, replacing, seal, sha256, write_json
from ftkit.methods._layers import plain_model
from ftkit.metrics.evidence import asked
from ftkit.recipe import Recipe
from ftkit.run import SCORES, RunDirectory
from ftkit.terminal import Say, silence

ROWS, WRITTEN = 1000, 32
"""Held-out rows that exports are proven on, unless told otherwise: of models that read, and of those that write."""
MANIFEST, EXAMPLE = "manifest.json", "example.py"


def export(
    source: str | Path,
    to: Path,
    format: str | Iterable[str] = "checkpoint",
    say: Say = silence,
    *,
    data: str | None = None,
    rows: int | None = None,
    allowed: gate.Allowed | None = None,
    called: str = FOLDER,
) -> Path:
    """Write the model of a run, or of an earlier export, to the folder `to`; of several formats each below it.

    `to` must not exist. Each folder is loaded again by its own runtime in another process and must answer held-out
    rows as the source does: `rows` of them, evenly of the run's test split, or of the file `data`. `say` is told what
    was found; their cards call each `called`. Raises GateError where one differs by more than is `allowed`; then
    there is none.
    """
    names = list(dict.fromkeys([format] if isinstance(format, str) else format))
    chosen = dict(zip(names, every([partial(exporters.find, name) for name in names]), strict=True))
    if not chosen:
        raise RunError("no format is named", f"there are: {', '.join(exporters.names())}")
    if os.path.lexists(to):
        raise RunError(f"{to} exists already", "name another folder with --to, or remove it")
    trained, recipe = models.load(source), recipe_of(source, say)
    _refuse(trained, chosen)
    proving = held_out_rows(trained, recipe, source, data, rows, say)
    hashes = asked(proving, trained.task.texts)
    known = len(learned.places(learned.by(source), hashes))
    if data is not None or known:
        learned.warn(source, hashes, data or "its held-out rows", say)
    settings, metric = judged_by(trained, recipe)
    try:
        with parents(to), replacing(to) as beside:
            folders = [(each, name, beside / name if len(chosen) > 1 else beside) for name, each in chosen.items()]
            material = Material(source, proving)
            for exporter, kind, folder in folders:
                write(exporter, kind, material, trained, folder)
            proofs = gate.prove(trained, folders, proving, settings, metric, allowed or gate.Allowed())
            gate.refuse(proofs)
            proofs = [replace(proof, learned=known) for proof in proofs]
            for (exporter, _, folder), proof in zip(folders, proofs, strict=True):
                program = example(trained, exporter, proof.format)
                card = model_card(trained, _scores(source), proof, program, recipe, called)
                _describe(trained, exporter, proof, folder, card, program)
                say(proof.sentence())
    except OSError as error:
        raise RunError(f"{to} can't be written: {error.strerror or error}") from error
    return to


def write(exporter: Exporter, name: str, material: Material, trained: models.Trained, folder: Path) -> None:
    """Write a model in the format `name` to a new folder, unproven, with all that it needs to be loaded."""
    folder.mkdir(parents=True)
    contract = exporter.write(material, folder)
    models.save_beside(folder, trained.tokenizer, contract.model_copy(update={"format": name}))


def refuse_served(trained: models.Trained) -> None:
    """Raises RunError for an export that another runtime answers, of which no other can be made."""
    if served.is_served(trained.model):
        raise RunError(
            f"{trained.source} is an export as {trained.contract.format}, of which no other can be made",
            "name the run that it comes of, or an export as checkpoint",
        )


def _refuse(trained: models.Trained, chosen: dict[str, Exporter]) -> None:
    """Raises RunError for formats that can't be had, all at once."""
    refuse_served(trained)
    found, extras = [], []
    for name, exporter in chosen.items():
        if missing := exporter.missing():
            found.append(f"{name} needs {', '.join(missing)}, not installed")
            extras.append(exporter.extra)
        elif why := exporter.refuses(trained):
            found.append(f"{name}: {why}")
    if found:
        hint = f"pip install 'ftkit[{','.join(dict.fromkeys(extras))}]'" if extras else "leave it out"
        raise problems(RunError, "", found, hint)


def held_out_rows(
    trained: models.Trained,
    recipe: Recipe | None,
    source: str | Path,
    data: str | None,
    rows: int | None,
    say: Say,
    usual: int | None = ROWS,
) -> Dataset:
    """The rows that exports are proven on: `rows` of them, else as many as `usual`, or all.

    Raises DataError or RunError where there are none.
    """
    if rows is not None and rows < 1:
        raise RunError(f"--rows {rows}: one or more are needed", "leave it out for the usual number")
    if data is not None:
        found = read_rows(trained, data, data_spec(trained, recipe, ()), targets=True, say=say)
    elif recipe is None:
        raise RunError(
            f"{source} is no run and remembers no rows to prove an export on", "name a file with --data FILE"
        )
    else:
        found = held_out(trained, source, say)
    check(trained.task, {"held-out": found}, trained.labels)
    if not len(found):
        raise DataError("there are no held-out rows to prove an export on", "name a file with --data FILE")
    writes = trained.task.writes(trained.model.config, trained.tokenizer)
    most = min(len(found), rows or (WRITTEN if writes else usual) or len(found))
    return found.select(np.linspace(0, len(found) - 1, most).astype(int))


@dataclass
class Material:
    """The model of a run, for exporters."""

    source: str | Path
    rows: Dataset
    _graphs: dict[str, Any] | None = None

    def trained(self) -> models.Trained:
        return models.load(self.source)

    def graphs(self) -> dict[str, Any]:
        """Traced once for all formats, with LoRA and IA3 merged; bottlenecks are traced as they are."""
        if self._graphs is None:
            t = self.trained()
            merged = t.method.merge(t.model) if t.method.peft else t.model
            model = plain_model(merged).cpu()
            writes = t.task.writes(model.config, t.tokenizer)
            traced = graphs(model, t.task, _few(t, self.rows), writes)
            self._graphs = {name: graph.onnx() for name, graph in traced.items()}
        return self._graphs


def _few(trained: models.Trained, rows: Dataset) -> dict[str, Any]:
    """The shortest and the longest of some rows as tensors: lengths differ, unless all are alike."""
    task, tokenizer = trained.task, trained.tokenizer
    encoded = infer.encode(task, list(rows.select(range(min(64, len(rows))))), tokenizer, trained.labels)
    order = sorted(range(len(encoded["input_ids"])), key=lambda i: len(encoded["input_ids"][i]))
    names = [name for name in tokenizer.model_input_names if name in encoded]
    chosen = [{name: encoded[name][i] for name in names} for i in (order[0], order[-1])]
    return task.collate(chosen, tokenizer)


def _describe(
    trained: models.Trained, exporter: Exporter, proof: gate.Proof, folder: Path, card: str, program: str
) -> None:
    """Write example, card, manifest and seal."""
    (folder / EXAMPLE).write_text(program, encoding="utf-8")
    (folder / CARD).write_text(card, encoding="utf-8")
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    manifest = {
        "ftkit": trained.contract.ftkit,
        "format": proof.format,
        "libraries": {**machine.environment()["libraries"], **{name: version(name) for name in exporter.packages}},
        "parity": proof.as_json(),
        "files": {
            file.relative_to(folder).as_posix(): {"sha256": sha256(file), "bytes": file.stat().st_size}
            for file in files
        },
    }
    write_json(folder / MANIFEST, manifest)
    seal(folder)


def _scores(source: str | Path) -> dict[str, Any]:
    if not RunDirectory.is_run(source):
        return {}
    try:
        scores: dict[str, Any] = RunDirectory.open(source).read_json(SCORES)["scores"]
    except FTKitError:
        return {}  # it was interrupted after its best epoch was saved
    return scores
