"""What a run, or a study, is begun with and has to find again where it goes on: data, checkpoint, code, versions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from ftkit import trust
from ftkit.data.identity import changed_files, fingerprint
from ftkit.data.read import parted
from ftkit.engine.prepare import Prepared
from ftkit.files import sha256_together
from ftkit.plugins import sha256_of
from ftkit.recipe import Recipe

_LIBRARIES = ("ftkit", "torch", "transformers")


def identity(prepared: Prepared) -> dict[str, Any]:
    """What is written down where it begins."""
    return {
        "sha256": prepared.files,
        "modified": _written(prepared),
        "checkpoint": prepared.base.sha256,
        "teacher": prepared.teacher,
        "labels": list(prepared.labels),
        "reads": reads(prepared),
        "variants": _variants(prepared),
        "code": code_hashes(prepared.recipe),
        "versions": _versions(),
    }


_READS = (
    *("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model"),
)
"""Files of a checkpoint by which texts become numbers and its weights a model."""


def reads(prepared: Prepared) -> str:
    """A SHA-256 of what a checkpoint reads texts by: its tokenizer and its config."""
    return sha256_together(file for name in _READS if (file := prepared.base.path / name).is_file())


def _variants(prepared: Prepared) -> str:
    """A SHA-256 of the variants of the training rows; empty where there are none."""
    return fingerprint(prepared.augmented.rows) if prepared.augmented else ""


def _written(prepared: Prepared) -> dict[str, int]:
    """When each file of a stream was written, of which the SHA-256 is not taken as a whole."""
    return dict(prepared.stream.written) if prepared.stream else {}


def code_hashes(recipe: Recipe) -> dict[str, str]:
    """The SHA-256 of each file of one's own code that a recipe names, as it was loaded."""
    found = {name: sha256_of(name) for name in trust.code(recipe.model_dump())}
    return {name: digest for name, digest in found.items() if digest}


def gone(begun: Mapping[str, Any]) -> list[str]:
    """What was read where it began and is not there any more, a sentence for each."""
    files = dict.fromkeys(parted(name)[0] for name in (*begun["sha256"], *begun.get("modified", {})))
    return [f"{file} is gone" for file in files if os.path.isabs(file) and not os.path.exists(file)]


def changes(begun: Mapping[str, Any], prepared: Prepared) -> list[str]:
    """What is not as it was, a sentence for each."""
    recipe, code = prepared.recipe, code_hashes(prepared.recipe)
    files = changed_files(recipe.data, begun["sha256"], prepared.files)
    then, now = begun.get("modified", {}), _written(prepared)
    again = [name for name in now if then.get(name) != now[name] and not {name, f"train: {name}"} & {*files}]
    found = [f"{name} {happened} since it began" for name, happened in files.items()]
    found += [f"{name} has changed since it began" for name in code if begun["code"].get(name) != code[name]]
    found += [
        f"{name} was written again since it began, though its size, beginning and end are the same" for name in again
    ]
    if begun["checkpoint"] != prepared.base.sha256:
        found.append(f"the checkpoint {recipe.model.checkpoint} has other weights than when it began")
    if begun.get("teacher", "") != prepared.teacher:
        found.append(f"the teacher {prepared.objective.teacher} is not as it was when it began")
    if begun.get("reads", known := reads(prepared)) != known:
        found.append(f"the checkpoint {recipe.model.checkpoint} has another tokenizer or config than when it began")
    if begun.get("variants", made := _variants(prepared)) != made:
        found.append(
            "the variants of the training rows are other ones than when it began (what makes them has changed)"
        )
    if begun.get("labels", list(prepared.labels)) != list(prepared.labels):
        found.append(f"the labels are {', '.join(prepared.labels)}, and were {', '.join(begun['labels'])}")
    return found


def version_note(begun: Mapping[str, Any]) -> str:
    """The sentence about libraries that are of another version now; empty where none is."""
    then, now = begun["versions"], _versions()
    other = [f"{name} {then[name]}, now {now[name]}" for name in now if then[name] != now[name]]
    return f"note: it began with {' and '.join(other)}: the last digits may differ" if other else ""


def _versions() -> dict[str, str]:
    return {name: version(name) for name in _LIBRARIES}
