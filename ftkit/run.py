"""A run is its directory: every file of it, by name, is read and written here."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit import trust
from ftkit.errors import RunError
from ftkit.files import expanded, is_sealed, locked, owner, previous, replacing, seal, sha256, tidy, write_json
from ftkit.recipe import Recipe, parse_recipe, read_raw
from ftkit.terminal import Say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ftkit.metrics.evidence import Evidence

RECIPE = "recipe.yaml"

# JSON files, by the names that `write_json`, `read_json` and `has` take
BEGUN = "begun"
"""What the run is begun with, by which it is known again where it goes on."""
ENVIRONMENT = "environment"
DATA = "data"
MEMORY = "memory"
"""The batch that fits, where the machine has not memory for the one that was asked for."""
TEACHER = "teacher"
"""What a teacher has kept of the variants; its folder has this name too, while it is there."""
SELF_TRAINING = "self_training"
FITTED = "fitted"
"""What the training came to: what is left is to score the model."""
SCORES = "scores"
"""The last: with it the run is complete."""
GIVEN = "given"
"""How many rows a training of a study was given."""
CURVE = "curve"
"""What a study of fewer rows found."""
LIFT = "lift"
"""What a study of variants found."""

STARTING = "starting-"
_LEARNED = "learned.npy"


class RunDirectory:
    """One run's files.

    A new run is written in a hidden folder beside its final place and moved there by `publish`, with the first
    training step: a run that is refused before leaves nothing behind.
    """

    def __init__(self, path: Path, final: Path | None = None, outer: RunDirectory | None = None) -> None:
        self.path = path
        self.final = final or path
        self.outer = outer
        self.made: tuple[Path, ...] = ()

    @classmethod
    def create(cls, recipe: Recipe, path: Path) -> RunDirectory:
        """A new run in waiting, with its complete recipe. Raises RunError where `path` exists or can't be made."""
        path = absolute(path)
        refuse_existing(path)
        staging = path.parent / f".{path.name}.{STARTING}{owner()}-{secrets.token_hex(4)}"
        run = cls(staging, path)
        run.made = tuple(parent for parent in path.parents if not parent.exists())
        tidy(path.parent, STARTING)
        try:
            staging.mkdir(parents=True)
            _write_recipe(staging, recipe.dump())
        except OSError as error:
            run.discard()
            raise RunError(
                f"the run directory {path} can't be made: {error.strerror}", "name another with --run"
            ) from error
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """A run that is there. Raises RunError where the folder is none."""
        path = absolute(path)
        if not cls.is_run(path):
            what = "is not a run: it holds no recipe.yaml" if path.exists() else "is not there: no run has begun in it"
            raise RunError(f"{path} {what}", "`ftkit train RECIPE --run DIR` makes one")
        return cls(path)

    @staticmethod
    def is_run(path: str | Path) -> bool:
        """Whether the folder holds a run, trained or not."""
        return (Path(os.path.expanduser(path)) / RECIPE).is_file()

    @property
    def published(self) -> bool:
        """Whether the run stands in its final place."""
        return self.path == self.final

    def publish(self) -> None:
        """Move a run in waiting to its final place. Raises RunError where something has come to stand there."""
        if self.published:
            return
        if self.outer:
            self.outer.publish()
        else:
            refuse_existing(self.final)
            try:
                os.rename(self.path, self.final)
            except OSError:
                refuse_existing(self.final)  # another training's, that came to stand there just now
                raise
        self.path = self.final

    def follow(self) -> None:
        """Find the run where another process has published it."""
        if not self.path.is_dir():
            self.path = self.final

    def discard(self) -> None:
        """Remove a run in waiting and the folders that were made for it; a published one stays."""
        if self.published:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        for folder in self.made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    @property
    def recipe(self) -> Recipe:
        """The complete recipe. Raises RunError where it names code that is not known to be one's own."""
        path = self.path / RECIPE
        raw = read_raw(path)
        trust.refuse_foreign(self.path, raw)
        return parse_recipe(raw, str(path))

    def refuse_outside(self) -> None:
        """Raises RunError where the recipe names data outside of the run that no recipe of one's own has named."""
        trust.refuse_outside(self.path, read_raw(self.path / RECIPE))

    @property
    def edited(self) -> bool:
        """Whether the recipe's file is not the one that the run was made with."""
        kept = self.path / f"{RECIPE}.sha256"
        return kept.is_file() and kept.read_text(encoding="utf-8").split() != [self.recipe_sha256(), RECIPE]

    def warn_if_edited(self, say: Say) -> None:
        """Say so where the recipe was edited."""
        if self.edited:
            say(f"warning: {self.path / RECIPE} has changed since the run was trained; the model has not")

    def recipe_sha256(self) -> str:
        """The SHA-256 of the recipe's file."""
        return sha256(self.path / RECIPE)

    def refuse_edited(self, known: str) -> None:
        """Raises RunError where the recipe's file has another SHA-256 than the one that is known."""
        if self.recipe_sha256() != known:
            raise RunError(
                f"{self.path / RECIPE} has changed since the run began, and half of the run is of the old one",
                "put it back as it was, or train anew with it in another --run",
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else goes on with the run while this lasts, in its training processes either.

        Raises RunError where somebody does. The folder is locked, and no file in it: an editor may exchange that.
        """
        fault = RunError(f"another process is at work on the run {self.path}", "wait until it ends, or end it")
        with locked(self.path, fault):
            yield

    @property
    def begun(self) -> dict[str, Any]:
        """What it began with; nothing where an older version does not tell."""
        found: dict[str, Any] = self.read_json(BEGUN) if self.has(BEGUN) else {}
        return found

    @property
    def model(self) -> Path:
        """The trained model's folder. Raises RunError where there is none yet.

        A process that is killed while it replaces the model leaves the one before under another name: that one is
        put back, as it is whole.
        """
        folder = self.path / "model"
        if not folder.is_dir() and previous(folder):
            time.sleep(1)  # long enough for a process that still runs to bring the new one
            if not folder.is_dir():
                os.rename(previous(folder)[0], folder)
        if not folder.is_dir():
            if self.has(SCORES):
                raise RunError(
                    f"the run {self.path} is complete, and its model is gone", "train anew, in another --run"
                )
            raise RunError(
                f"the run {self.path} has no model: its training did not finish an epoch",
                f"`ftkit train --resume --run {self.path}` goes on with it",
            )
        return folder

    def part(self, kind: str, name: str, recipe: Recipe | None = None) -> RunDirectory:
        """One of several trainings of this run (`folds/3`, `seeds/14`): a run inside of it, published with it."""
        path = self.path / kind / name
        path.mkdir(parents=True, exist_ok=True)
        _write_recipe(path, recipe.dump() if recipe else (self.path / RECIPE).read_text(encoding="utf-8"))
        return RunDirectory(path, self.final / kind / name, outer=self)

    def write_json(self, name: str, value: Any) -> None:
        """Write one of the run's JSON files (`ENVIRONMENT`, `DATA`, `SCORES`), whole or not at all."""
        write_json(self.path / f"{name}.json", value)

    def read_json(self, name: str, needs: Iterable[str] = ()) -> Any:
        """One of the run's JSON files. Raises RunError where it is missing or torn, or lacks a name that it `needs`."""
        path = self.path / f"{name}.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunError(f"{path} is missing", "train anew, in another --run") from error
        except (OSError, ValueError) as error:
            raise RunError(f"{path} can't be read: {error}", "train anew, in another --run") from error
        lacking = [need for need in needs if not isinstance(found, dict) or need not in found]
        if lacking:
            raise RunError(
                f"{path} lacks {', '.join(lacking)}: it is damaged, or of another version of ftkit",
                "train anew, in another --run",
            )
        return found

    def has(self, name: str) -> bool:
        """Whether there is a JSON file of this name."""
        return (self.path / f"{name}.json").is_file()

    @property
    def checkpoints(self) -> Path:
        """The folder of what the training can be gone on from, which is there only while it lasts."""
        return self.path / "checkpoints"

    def rewind_log(self, step: int) -> None:
        """Forget the entries of log.jsonl after a step, and one that was torn."""
        path = self.path / "log.jsonl"
        if not path.is_file():
            return
        kept = [line for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if _until(line, step)]
        with replacing(path) as beside:
            beside.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def log(self, entry: dict[str, Any]) -> None:
        """Add a line to log.jsonl."""
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def take_record(self, other: RunDirectory) -> None:
        """Tell of `other`'s training as one's own: its log, environment and data, as far as there are."""
        for name in (f"{ENVIRONMENT}.json", f"{DATA}.json", "log.jsonl"):
            if (other.path / name).is_file():
                shutil.copy(other.path / name, self.path / name)

    def take_model(self, other: RunDirectory) -> None:
        """Keep a copy of `other`'s model as one's own."""
        self.write_model(lambda folder: shutil.copytree(other.model, folder, dirs_exist_ok=True))

    def write_predictions(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """Write predictions/<name>.jsonl, whole or not at all."""
        folder = self.path / "predictions"
        folder.mkdir(exist_ok=True)
        with replacing(folder / f"{name}.jsonl") as beside:
            write_jsonl(beside, rows)

    def read_predictions(self, name: str) -> list[dict[str, Any]]:
        """Those that `write_predictions` wrote."""
        with (self.path / "predictions" / f"{name}.jsonl").open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def write_augmented(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write augmented.jsonl, the variants that were learned from, whole or not at all."""
        with replacing(self.path / "augmented.jsonl") as beside:
            write_jsonl(beside, rows)

    def write_evidence(self, split: str, evidence: Evidence) -> None:
        """Write evidence/<split>.npz, whole or not at all."""
        folder = self.path / "evidence"
        folder.mkdir(exist_ok=True)
        with replacing(folder / f"{split}.npz") as beside:
            evidence.save(beside)

    def write_learned(self, hashes: NDArray[np.uint64]) -> None:
        """Write learned.npy, hashes of the rows that were learned from, whole or not at all."""
        import numpy as np

        with replacing(self.path / _LEARNED) as beside, beside.open("wb") as file:
            np.save(file, hashes)

    def learned(self) -> NDArray[np.uint64] | None:
        """What `write_learned` wrote; None where it is not there. Raises RunError where it can't be read."""
        import numpy as np

        path = self.path / _LEARNED
        try:
            found: NDArray[np.uint64] = np.load(path, allow_pickle=False)
            if found.dtype != np.uint64 or found.ndim != 1:
                raise ValueError("it holds no hashes")
        except FileNotFoundError:
            return None
        except (OSError, EOFError, ValueError) as error:  # whose words are about pickles
            hint = "copy it anew, or remove it: nothing then tells which rows the run has learned from"
            raise RunError(f"{path} is damaged", hint) from error
        return found

    def write_analysis(self, split: str, value: dict[str, Any]) -> None:
        """Write analysis/<split>.json, whole or not at all."""
        (self.path / "analysis").mkdir(exist_ok=True)
        self.write_json(f"analysis/{split}", value)

    def evidence(self, split: str) -> Path:
        """The file with what the scores of a split were taken of, which a run of another version may lack."""
        return self.path / "evidence" / f"{split}.npz"

    def write_model(self, write: Callable[[Path], object]) -> None:
        """Replace the model's folder with what `write` puts into an empty one, sealed; a copy brings its seal along."""
        with replacing(self.path / "model") as beside:
            beside.mkdir()
            write(beside)
            if not is_sealed(beside):
                seal(beside)


def _until(line: str, step: int) -> bool:
    """Whether a line of the log is whole, and of a step up to this one."""
    try:
        return bool(json.loads(line)["step"] <= step)
    except (ValueError, KeyError, TypeError):
        return False


def _write_recipe(folder: Path, text: str) -> None:
    """The recipe, and its hash, by which it is noticed that somebody has edited it."""
    (folder / RECIPE).write_text(text, encoding="utf-8")
    (folder / f"{RECIPE}.sha256").write_text(f"{sha256(folder / RECIPE)}  {RECIPE}\n", encoding="utf-8")


def refuse_existing(path: Path) -> None:
    """Raises RunError where something stands at `path`: a run is never overwritten."""
    if RunDirectory.is_run(path) and not RunDirectory(absolute(path)).has(SCORES):
        raise RunError(
            f"{path} exists already: a run that was stopped, or is at work",
            f"`ftkit train --resume --run {path}` goes on with it; or name another directory with --run",
        )
    if os.path.lexists(absolute(path)):
        raise RunError(
            f"{path} exists already",
            "name another directory with --run, or remove it; a run is never overwritten",
        )


def absolute(path: str | Path) -> Path:
    """The whole path of a run's folder, `~` included. Raises RunError for a user that there is not."""
    return Path(os.path.abspath(expanded(path, RunError)))


def default_path(source: str) -> Path:
    """runs/<recipe>-<time>, for a run that was given no directory."""
    name = Path(source).stem if Path(source).suffix else source.replace("/", "-")
    return Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]], default: Callable[[Any], Any] | None = None) -> int:
    """Write a JSON object a line; how many. `default` says what stands for a value that JSON has no form for."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False, default=default) + "\n")
            count += 1
    return count
