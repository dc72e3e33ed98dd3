"""`ftkit init`: a recipe for a person's own file, with the shelf's settings; what was recognised is said."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ftkit import checks, plugins
from ftkit.checks.variants import Variants
from ftkit.data.load import load, load_file
from ftkit.data.read import Table
from ftkit.data.several import is_pattern
from ftkit.data.split import SPLITS, split_named
from ftkit.errors import DataError, RecipeError, nearest, some
from ftkit.findings import located
from ftkit.recipe import Recipe, parse_data, parse_recipe, read_raw
from ftkit.recognise import DELIMITER, Guess, read_table, recognise, shelf_name
from ftkit.settings import DataSpec
from ftkit.shelf import find_recipe
from ftkit.tasks._base import Labels, Task
from ftkit.terminal import Say

AUTO = DataSpec().encoding
LEAST_ROWS = 50
"""From this many rows on, validation and test rows are set aside."""
SHARE = 0.1
MOST_LISTED = 12
"""More labels than these are counted, not listed."""


class Proof(NamedTuple):
    """The data read as training reads it."""

    rows: dict[str, int]
    """Of each split."""
    labels: Labels
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    """Of the task, and of labels that seem to be other labels: each would be a class of its own."""


def write_recipe(
    file: Path, task: str | None, to: Path | None, say: Say, more: Sequence[Path] = (), encoding: str = AUTO
) -> Path:
    """Write a recipe that trains on `file` (to `to`, or beside the file), and return its path.

    file: may be a folder or a pattern; `more` are read with it. task: a shipped task; recognised when None.
    encoding: of text files, as `data.encoding` has it.
    What was recognised is said, with the setting that changes it.
    Raises RecipeError for an unknown task, columns that don't tell and a recipe that exists; DataError for a
    file that can't be read or trained on. Nothing is written then.
    """
    _refuse_task(task)
    encoding = parse_data({"encoding": encoding}).encoding
    table, numbered = read_table([str(one) for one in (file, *more)], task, encoding)
    path = to or _beside(file)
    if os.path.lexists(path):
        raise RecipeError(f"{path} exists already", "name another file: --to RECIPE.yaml")
    guess = recognise(table, task, file)
    data = _data(guess, numbered, encoding, file, more)
    data |= dict(_held_out(table, guess, data, file, say))
    proof = _prove(_recipe(guess, data))
    _tell(table, guess, data, proof, say)
    _write(path, _text(guess, data, _listed(guess, proof.labels), path))
    return path


def recognised(file: Path, task: str | None, encoding: str, say: Say) -> Recipe:
    """The recipe that `write_recipe` would write, its labels left to the data; nothing is read but the file's rows.

    Lines that can't be read are passed over: who goes by the recipe will tell of them.
    """
    _refuse_task(task)
    table, numbered = read_table([str(file)], task, encoding, past=True)
    guess = recognise(table, task, file)
    data = _data(guess, numbered, encoding, file)
    data |= dict(_held_out(table, guess, data, file, say))
    say(f"task: {guess.task}{_KINDS.get(guess.kind, '')} (--set task=NAME changes it)")
    for name, home in guess.columns.items():
        say(f"{name}: column {home!r} (data.columns.{name} changes it)")
    return _recipe(guess, data)


def _refuse_task(task: str | None) -> None:
    known = plugins.names("task")
    if task is not None and task not in known:
        near = nearest(task, known)
        meant = f"did you mean {near}?" if near else f"there are: {', '.join(known)}"
        raise RecipeError(f"there is no task called {task!r}", meant)


def _beside(file: Path) -> Path:
    """Where the recipe for a file goes: beside it, under its name; for a pattern, under that of its folder."""
    file = file if file.name.strip(".") else file.resolve()
    stem = Path(file.name.removesuffix(".gz")).stem
    return file.with_name(f"{file.resolve().parent.name if is_pattern(stem) else stem}.yaml")


def _data(guess: Guess, numbered: bool, encoding: str, file: Path, more: Sequence[Path] = ()) -> dict[str, Any]:
    """The settings under `data` that say how the files are read."""
    files = [str(one.resolve()) for one in (file, *more)]
    data: dict[str, Any] = {"train": files if more else files[0]}
    if any(name != home for name, home in guess.columns.items()):
        data["columns"] = {name: int(home) if numbered else home for name, home in guess.columns.items()}
    if guess.delimiter != DELIMITER:
        data["delimiter"] = guess.delimiter
    if encoding != AUTO:
        data["encoding"] = encoding
    return data


def _recipe(guess: Guess, data: Mapping[str, Any]) -> Recipe:
    """The closest recipe on the shelf for this file's data, as `_text` writes it."""
    raw = read_raw(find_recipe(_shelf(guess)))
    if guess.kind != "single":
        raw["task"] = {"name": guess.task, "kind": guess.kind}
    if guess.kind == "regression":
        raw["train"] = {**raw["train"], "metric": "pearson"}
    return parse_recipe({**raw, "data": dict(data)}, "for the file")


def _shelf(guess: Guess) -> str:
    return shelf_name(guess.task, guess.kind, "text_pair" in guess.columns)


def _prove(recipe: Recipe) -> Proof:
    """Read and check the data as training does. Raises DataError with everything that training would refuse."""
    task = plugins.resolve("task", recipe.task, Task)
    loaded = load(recipe.data, task.shapes(), stratify=task.stratify(), groups=task.groups)
    own = checks.checked(task, dict(loaded.items()), recipe.data)
    found = checks.usable(own.findings, loaded.numbering)
    rows = {name: len(split) for name, split in own.splits.items()}
    slips = Variants().find(checks.as_data(loaded, own.labels, ()))
    warnings = map(str, (*found, *located(slips, loaded.numbering)))
    return Proof(rows, own.labels, loaded.notes, tuple(warnings))


def _listed(guess: Guess, labels: Labels) -> list[str]:
    """The labels as `data.labels` has them."""
    if guess.task == "ner":
        return [label[2:] for label in labels if label.startswith("B-")]
    return [] if guess.kind == "regression" else list(labels)


# ---------------------------------------------------------------------- held-out rows


def _held_out(table: Table, guess: Guess, data: Mapping[str, Any], file: Path, say: Say) -> Iterator[tuple[str, Any]]:
    """Where validation and test rows come from: the file's own column, files beside it, or shares."""
    marked = {split_named(row.get("split")) for row in table.rows} - {None}
    if marked:
        yield "split", "split"
    for name in ("validation", "test"):
        beside = None if isinstance(data["train"], list) else _sibling(file, name)
        if name in marked:
            continue
        if beside is not None and _fits(beside, guess, data, say):
            yield name, str(beside)
        else:
            yield name, SHARE if len(table.rows) >= LEAST_ROWS else None


_TRAIN = re.compile(r"(?<![a-z])train(ing)?(?![a-z])", re.IGNORECASE)


def _sibling(file: Path, name: str) -> Path | None:
    """The file beside this one that has the split's name, or what people call it, in place of `train`."""
    found = _TRAIN.search(file.name)
    if found is None:
        return None
    folder = file.resolve().parent
    beside = {path.name.casefold(): path for path in sorted(folder.iterdir())}
    before, after = file.name[: found.start()], file.name[found.end() :]
    wanted = [f"{before}{own}{after}" for own, split in SPLITS.items() if split == name]
    if is_pattern(str(file)):
        return next((folder / other for other in wanted if any(folder.glob(other))), None)
    exact = next((folder / other for other in wanted if (folder / other).exists()), None)
    return exact or next((beside[other.casefold()] for other in wanted if other.casefold() in beside), None)


def _fits(beside: Path, guess: Guess, data: Mapping[str, Any], say: Say) -> bool:
    """Whether a file can be read as the one it lies beside; if not, that is said."""
    recipe = _recipe(guess, data)
    try:
        load_file(str(beside), recipe.data, plugins.resolve("task", recipe.task, Task).shapes())
    except DataError as error:
        say(f"{beside.name} lies beside it and can't be used: {error.message.splitlines()[0]}")
        return False
    return True


# ---------------------------------------------------------------------- what is said


_KINDS = {"multi": ", any number of labels a row", "regression": ", a number a row"}


def _tell(table: Table, guess: Guess, data: Mapping[str, Any], proof: Proof, say: Say) -> None:
    say(f"task: {guess.task}{_KINDS.get(guess.kind, '')} (--task changes it)")
    for remark in guess.remarks:
        say(f"  {remark}")
    for name, home in guess.columns.items():
        say(f"{name}: column {home!r} (data.columns.{name} changes it)")
    unread = [column for column in table.columns if column not in {*guess.columns.values(), "split"}]
    if unread:
        say(f"not read: {some([repr(name) for name in unread], MOST_LISTED)}")
    if guess.delimiter != DELIMITER:
        say(f"between the labels of a row: {guess.delimiter!r} (data.delimiter changes it)")
    labels = _listed(guess, proof.labels)
    if labels:
        say(f"labels: {some(labels, MOST_LISTED)} (data.labels orders and renames them)")
    for name in ("validation", "test"):
        if name in data:
            say(f"{name} rows: {_source(data[name])} (data.{name} changes it)")
    say(f"rows: {', '.join(f'{count} {name}' for name, count in proof.rows.items())}")
    for note in proof.notes:
        say(f"note: {note}")
    for warning in proof.warnings:
        say(f"warning: {warning}")


def _source(held: Any) -> str:
    if held is None:
        return f"none; of fewer than {LEAST_ROWS} none are set aside"
    return f"{Path(held).name}, which lies beside it" if isinstance(held, str) else f"a share of {held:g}"


# ---------------------------------------------------------------------- the recipe's text


def _text(guess: Guess, data: Mapping[str, Any], labels: list[str], path: Path) -> str:
    """The closest recipe on the shelf, with this file's data in it."""
    name = _shelf(guess)
    shelf = find_recipe(name).read_text(encoding="utf-8")
    body = re.sub(r"\A(#.*\n)+", "", shelf).strip()
    sections = {block.partition(":")[0]: block for block in re.split(r"\n{2,}", body)}
    if guess.kind != "single":
        sections["task"] = f"task:\n  name: {guess.task}\n  kind: {guess.kind}"
    if guess.kind == "regression":
        sections["train"] += "\n  metric: pearson"
    listed = {"labels": labels} if 0 < len(labels) <= MOST_LISTED else {}
    sections["data"] = "\n".join(["data:", *_data_lines({**data, **listed}, path)])
    order = dict.fromkeys(["task", "model", "data", *sections])
    return _header(guess, data, name, path) + "\n\n".join(sections[section] for section in order) + "\n"


def _header(guess: Guess, data: Mapping[str, Any], name: str, path: Path) -> str:
    train = data["train"]
    file = Path(train).name if isinstance(train, str) else f"{Path(train[0]).name} and {len(train) - 1} more"
    what = f"A recipe for {file}: {guess.task}, trained as {name} does."
    lines = (what, "", f"  ftkit train {shlex.quote(str(path))}", "")
    return "".join(f"# {line.replace(chr(10), ' ')}".rstrip() + "\n" for line in lines)


_COMMENTS = {
    "columns": "the task's column: the file's",
    "delimiter": "stands between the labels of one row",
    "split": "the column that tells training, validation and test rows apart",
    "validation": "chooses the best epoch",
    "test": "scored once, at the end",
}


def _data_lines(data: Mapping[str, Any], path: Path) -> Iterator[str]:
    for name in (name for name in DataSpec.model_fields if name in data):
        value = data[name]
        line = f"  {name}: {as_yaml(_portable(value, path.resolve().parent) if name in _PATHS else value)}"
        yield f"{line:<26}  # {comment}" if (comment := _comment(name, value)) else line


def _comment(name: str, value: Any) -> str:
    if name == "labels":
        numbers = all(label.lstrip("-").isdecimal() for label in value)
        renamed = ", ".join(f"{label}: NAME" for label in value)
        return f"{{{renamed}}} names them" if numbers else "in the model's order"
    if value is None:
        return "too few rows to set some aside; a file or a share"
    return _COMMENTS.get(name, "") + ("; a share of the rows" if value == SHARE else "")


_PATHS = ("train", "validation", "test")


def _portable(value: Any, folder: Path) -> Any:
    """A path, or each of a list, as it counts from the recipe's folder where it lies in it, else the absolute one."""
    if isinstance(value, list):
        return [_portable(one, folder) for one in value]
    if not isinstance(value, str) or not Path(value).is_relative_to(folder):
        return value
    inside = Path(value).relative_to(folder).as_posix()
    return f"./{inside}" if ":" in inside or inside.startswith("~") else inside


_PLAIN = re.compile(r"[^\W\d_]([\w./ -]*[\w./-])?|/[\w./-]+")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def as_yaml(value: Any) -> str:
    """A value as YAML on one line, texts in quotation marks only where they need them."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {as_yaml(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_yaml, value)) + "]"
    if not isinstance(value, str):
        return "null" if value is None else str(value)
    if _PLAIN.fullmatch(value) and value.casefold() not in _WORDS:
        return value
    return str(yaml.safe_dump(value, default_style='"', allow_unicode=True, width=float("inf"))).strip()


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as recipe:
            recipe.write(text)
    except OSError as error:
        raise RecipeError(
            f"{path} can't be written: {error.strerror}", "name another place: --to RECIPE.yaml"
        ) from error
