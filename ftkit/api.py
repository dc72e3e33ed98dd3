"""The commands as functions, which are `ftkit`'s own: `ftkit.train`, `ftkit.evaluate`, `ftkit.check_data` and so on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftkit.engine.world import alone, environment_kept
from ftkit.errors import RunError
from ftkit.files import expanded
from ftkit.jobs import Launcher, job
from ftkit.plugins import forget_changed
from ftkit.recipe import Recipe, changed, load_recipe, refuse_stream
from ftkit.run import RunDirectory, absolute, default_path, refuse_existing
from ftkit.terminal import Progress, Say, silence

if TYPE_CHECKING:
    from ftkit.engine.augment import Augmentation
    from ftkit.engine.compare import Comparison
    from ftkit.engine.curve import Found
    from ftkit.engine.evaluate import Evaluation
    from ftkit.engine.finish import Finished
    from ftkit.engine.lift import Lifted
    from ftkit.engine.push import Pushed
    from ftkit.engine.survey import Survey
    from ftkit.engine.world import World
    from ftkit.inspection import Inspection


@environment_kept()
def train(
    recipe: str | Path | Recipe,
    settings: Iterable[str] = (),
    run: str | Path | None = None,
    processes: int | None = None,
    *,
    machines: int | None = None,
    rank: int | None = None,
    address: str | None = None,
    say: Say = silence,
    progress: Progress | None = None,
) -> Finished | None:
    """Fine-tune as `recipe` says (a file, a shelf name such as `sentiment/lora`, or a Recipe).

    `settings` are laid over it as `--set` does: `["data.train=reviews.csv", "train.epochs=1"]`. The run directory
    `run` must not exist; `runs/<recipe>-<time>` when not given. On several `machines` each calls this with its `rank`
    and the `address` (`host:port`) of machine 0; under torchrun and srun, these are taken from the environment. `say`
    is told notes and warnings. Returns the run's path and scores; None where it trained with another machine or
    process, which returns them. Raises FTKitError for whatever a person can mend.
    """
    place = _place(processes, machines, rank, address, say)
    if place.node:
        _follow(place, _checked(recipe, settings)[0], say)
        return None
    checked, path = _ready(recipe, settings, run)
    from ftkit.engine.train import train as run_training

    return run_training(checked, path, processes, say, progress, place)


@environment_kept()
def resume(
    run: str | Path,
    recipe: str | Path | Recipe | None = None,
    settings: Iterable[str] = (),
    processes: int | None = None,
    *,
    machines: int | None = None,
    rank: int | None = None,
    address: str | None = None,
    say: Say = silence,
    progress: Progress | None = None,
) -> Finished | None:
    """Go on with a run that was stopped, in whatever way, to the weights that it would have had.

    It needs nothing but its directory: recipe, number of processes and all that is done stand there. A complete run is
    told of as it is. With a `recipe`, which has to be the run's, a run that is not there yet is begun. On several
    machines as `train`.

    Raises FTKitError for whatever a person can mend.
    """
    if recipe is None and list(settings):
        raise RunError("a run goes on as its recipe says", "leave the settings out, or begin another run")
    run = absolute(run)
    if recipe is not None and not run.exists():
        where = {"machines": machines, "rank": rank, "address": address}
        return train(recipe, settings, run, processes, **where, say=say, progress=progress)  # type: ignore[arg-type]
    if recipe is None:
        forget_changed()
    known = None if recipe is None else _checked(recipe, settings)[0]
    place = _place(processes, machines, rank, address, say)
    if place.node:
        _follow(place, known or RunDirectory.open(run).recipe, say)
        return None
    from ftkit.engine.train import resume as resume_training

    return resume_training(run, processes, say, progress, known, place)


def _follow(place: World, recipe: Recipe, say: Say) -> None:
    from ftkit.engine.follow import follow

    follow(place, recipe, say)


@environment_kept()
def plan(
    recipe: str | Path | Recipe,
    settings: Iterable[str] = (),
    run: str | Path | None = None,
    processes: int | None = None,
    *,
    machines: int | None = None,
    rank: int | None = None,
    address: str | None = None,
) -> dict[str, Any] | None:
    """What `train` would do: rows, labels, steps, and, measured on a few steps, time and memory.

    None where `train` would train with another machine or process. Leaves nothing behind. Raises FTKitError as `train`
    would.
    """
    place = _place(processes, machines, rank, address, silence)
    if place.node:
        return None
    checked, _ = _ready(recipe, settings, run)
    from ftkit.engine.train import plan as make_plan

    return make_plan(checked, processes, place)


def _place(processes: int | None, machines: int | None, rank: int | None, address: str | None, say: Say) -> World:
    """Which of the nodes of a training this process is."""
    from ftkit.engine import world

    found = world.find(processes, machines, rank, address)
    if found.note and not found.local_rank:
        say(f"note: {found.note}")
    return found


def launch(
    recipe: str | Path,
    launcher: Launcher,
    settings: Iterable[str] = (),
    run: str | Path | None = None,
    *,
    machines: int = 1,
    processes: int = 1,
    address: str | None = None,
    gpus: bool = True,
    cpus: int | None = None,
) -> str:
    """The job file or command by which `launcher` trains a recipe in `processes` processes on each of `machines`.

    Raises FTKitError for a recipe that can't be used, or a step that so many processes can't share.
    """
    checked, _ = _checked(recipe, settings)
    from ftkit.engine.arguments import micro_batch

    name = Path(recipe).resolve() if Path(recipe).exists() else recipe
    path, titled = str(run) if run else None, f"ftkit-{Path(recipe).stem}"
    text = job(launcher, str(name), settings, path, machines, processes, address, gpus, cpus, titled)
    micro_batch(checked.train, machines * processes)
    return text


def check_data(
    recipe: str | Path | Recipe,
    settings: Iterable[str] = (),
    fix: str | Path | None = None,
    *,
    noise: bool = False,
    say: Say = silence,
    progress: Progress | None = None,
) -> Inspection:
    """Look through the rows of a recipe, or of a file whose columns are recognised, and tell what is wrong with them.

    `settings` are laid over the recipe as `--set` does. A repaired copy is written to the folder `fix`, which must not
    exist, and looked through as well (`copy`). With `noise`, labels that are likely wrong are looked for too, by the
    recipe's checkpoint. Raises FTKitError for a recipe that can't be used and files that can't be read at all.
    """
    from dataclasses import replace

    from ftkit.inspection import inspect, recipe_for

    forget_changed()
    checked = changed(recipe, settings) if isinstance(recipe, Recipe) else recipe_for(recipe, settings, say)
    for name in [name for name, asked in (("--noise", noise), ("--fix", fix)) if asked]:
        refuse_stream(checked, f"`ftkit data check {name}`")
    found = inspect(checked)
    if noise:
        from ftkit.engine.noise import with_suspects

        found = with_suspects(found, progress or Progress(show=False))
    if fix is not None:
        from ftkit.repair import write_repaired

        say(write_repaired(found, Path(fix)))
        found = replace(found, copy=inspect(load_recipe(Path(fix).expanduser() / "recipe.yaml")))
    return found


def _ready(recipe: str | Path | Recipe, settings: Iterable[str], run: str | Path | None) -> tuple[Recipe, Path]:
    """The recipe and the run's path, checked before anything slow is imported."""
    checked, name = _checked(recipe, settings)
    path = absolute(run) if run else default_path(name)
    try:
        refuse_existing(path)
    except OSError as error:  # a name that the file system does not take
        raise RunError(
            f"the run directory {path} can't be made: {error.strerror}", "name another with --run"
        ) from error
    return checked, path


@environment_kept()
def curve(
    recipe: str | Path | Recipe,
    settings: Iterable[str] = (),
    run: str | Path | None = None,
    more: Iterable[int] = (),
    seeds: int = 3,
    *,
    say: Say = silence,
    progress: Progress | None = None,
) -> Found:
    """Train on growing parts of the training rows, `seeds` times on each, and say what `more` rows would buy.

    The trainings are kept in the folder `run`; called again with it, they go on where they were stopped. Raises
    FTKitError for whatever a person can mend.
    """
    checked, path = _study(recipe, settings, run, "curve", "`ftkit data curve`")
    from ftkit.engine.curve import learning_curve
    from ftkit.reporting.curve import write_curve

    found = learning_curve(checked, path, list(more), seeds, say, progress)
    say(f"drawn in {write_curve(found.as_json(), found.study / 'curve.html')}")
    return found


def _checked(recipe: str | Path | Recipe, settings: Iterable[str]) -> tuple[Recipe, str]:
    """The recipe with its settings, and what a run of it is called by."""
    forget_changed()
    if isinstance(recipe, Recipe):
        return changed(recipe, settings), "recipe"
    return load_recipe(recipe, settings), str(recipe)


def _study(
    recipe: str | Path | Recipe, settings: Iterable[str], run: str | Path | None, kind: str, command: str
) -> tuple[Recipe, Path]:
    """The recipe and the folder of a study, which may be there already; its trainings are this process's alone."""
    alone()
    checked, name = _checked(recipe, settings)
    refuse_stream(checked, command)
    default = default_path(name)
    return checked, absolute(run) if run else default.with_name(f"{kind}-{default.name}")


def augment(recipe: str | Path | Recipe, settings: Iterable[str] = (), *, say: Say = silence) -> Augmentation:
    """The variants of a recipe's training rows that `train` would learn from beside them.

    `made.variants` of what is returned are they, each with the place of its original among its `rows`. `say` is told
    notes. Raises FTKitError for whatever a person can mend.
    """
    checked, _ = _checked(recipe, settings)
    refuse_stream(checked, "`ftkit augment`")
    from ftkit.engine.augment import augmentation

    found = augmentation(checked)
    for note in found.notes:
        say(f"note: {note}")
    return found


@environment_kept()
def lift(
    recipe: str | Path | Recipe,
    settings: Iterable[str] = (),
    run: str | Path | None = None,
    *,
    each: bool = False,
    seeds: int = 3,
    per_label: int | None = None,
    rows: int | None = None,
    say: Say = silence,
    progress: Progress | None = None,
) -> Lifted:
    """Train with and without the recipe's variants, `seeds` times each, and say whether they help.

    each: every augmenter alone. per_label, rows: on so many training rows of each label, or in all; every seed draws
    others. The trainings are kept in the folder `run`; called again with it, they go on where they were stopped.
    Raises FTKitError for whatever a person can mend.
    """
    checked, path = _study(recipe, settings, run, "lift", "`ftkit augment --lift`")
    from ftkit.engine.lift import lift as measure

    return measure(checked, path, each=each, seeds=seeds, per_label=per_label, rows=rows, say=say, progress=progress)


def evaluate(
    source: str | Path,
    split: str = "test",
    data: str | Path | None = None,
    settings: Iterable[str] = (),
    *,
    precision: str | None = None,
    device_map: str | None = None,
    max_memory: str | None = None,
    say: Say = silence,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a run, an export or a fine-tuned checkpoint on a split of its run, or on the file `data`.

    `settings` say how to read the file where it differs from the run's: `["data.columns={text: review}"]`;
    `precision` is `fp32`, `bf16` or `auto`; the recipe's when not given. `device_map` and `max_memory` lay a model over
    several devices that one can't hold, as `ftkit eval` takes them.
    Raises FTKitError for a source that can't answer or rows that can't be scored.
    """
    from ftkit.engine.device_map import read
    from ftkit.engine.evaluate import evaluate as run_evaluation

    over = read(device_map, max_memory)
    return run_evaluation(source, split, str(data) if data else None, settings, say, progress, precision, over)


def compare(
    sources: Iterable[str | Path],
    split: str = "test",
    metric: str | None = None,
    *,
    say: Say = silence,
    progress: Progress | None = None,
) -> Comparison:
    """Compare models with the first of `sources` on the same rows of `split`, and say whether so many rows can tell.

    A source is a run, a run's baseline (`runs/full:majority`, or `majority` for the first run's), an export or a
    checkpoint; the last two are scored on the first run's rows. `metric` decides, the first run's own when not given.
    Raises FTKitError for what can't be compared.
    """
    from ftkit.engine.compare import compare as run_comparison

    return run_comparison(sources, split, metric, say, progress)


def export(
    source: str | Path,
    to: str | Path,
    format: str | Iterable[str] = "checkpoint",
    *,
    data: str | Path | None = None,
    rows: int | None = None,
    tolerance: float | None = None,
    allow_drop: float | None = None,
    say: Say = silence,
) -> Path:
    """Write a run's model to the folder `to`, which must not exist; of several formats each below it.

    Each is loaded again in a fresh process, and must answer held-out rows as the run does: the run's test rows, or
    those of `data`, so many `rows`. `tolerance` is how far a logit may lie from the run's, `allow_drop` how much worse
    the deciding score may be; the format's own where not given. `say` is told what was found. Raises GateError where
    one differs by more, and other FTKitErrors where it can't be done; then nothing is written.
    """
    from ftkit.engine.export import export as run_export
    from ftkit.engine.gate import Allowed

    allowed = Allowed(tolerance, allow_drop)
    place = expanded(to, RunError)
    return run_export(source, place, format, say, data=str(data) if data else None, rows=rows, allowed=allowed)


def push(
    source: str | Path,
    repo: str,
    *,
    public: bool = False,
    revision: str | None = None,
    message: str | None = None,
    force: bool = False,
    dry_run: bool = False,
    data: str | Path | None = None,
    rows: int | None = None,
    say: Say = silence,
) -> Pushed:
    """Put a run's model, or an export as it is, into a repository of the Hugging Face Hub, as one commit.

    A run is pushed as `export` writes it as a checkpoint, through the same proof (`data`, `rows`). A repository that is
    new is private unless `public`; one that holds what ftkit has not pushed is changed with `force` alone. Whoever is
    logged in (`hf auth login`, HF_TOKEN) owns a `repo` without an organization. With `dry_run`, `say` is told each
    file, its size and where it would go, and nothing is changed. Raises FTKitError for whatever a person can mend.
    """
    from ftkit.engine.push import push as run_push

    flags = {"public": public, "revision": revision, "message": message, "force": force, "dry_run": dry_run}
    return run_push(source, repo, say, **flags, data=str(data) if data else None, rows=rows)  # type: ignore[arg-type]


def pull(repo: str, to: str | Path, *, revision: str | None = None, say: Say = silence) -> Path:
    """Fetch what `push` has put into a repository of the Hub into the folder `to`, which must not exist.

    Raises FTKitError where it is not whole, or names code or paths outside of it (but for `ftkit.trust.allow()`); then
    there is no folder.
    """
    from ftkit.engine.pull import pull as run_pull

    return run_pull(repo, expanded(to, RunError), say, revision=revision)


def survey(
    source: str | Path,
    beside: Iterable[str | Path] = (),
    formats: Iterable[str] = (),
    to: str | Path | None = None,
    *,
    data: str | Path | None = None,
    rows: int | None = None,
    tolerance: float | None = None,
    allow_drop: float | None = None,
    say: Say = silence,
) -> Survey:
    """Size, speed and score of a run as it is and in each of `formats` (all that are installed), and of runs `beside`.

    All are measured by turns in one process, on the run's test rows or those of `data`, so many `rows`. The exports of
    the run are kept in the folder `to` where it is named, proven as `export` does with `tolerance` and `allow_drop`.
    Raises FTKitError for what can't be measured together.
    """
    from ftkit.engine.gate import Allowed
    from ftkit.engine.survey import survey as run_survey

    place, file = None if to is None else expanded(to, RunError), None if data is None else str(data)
    allowed = Allowed(tolerance, allow_drop)
    return run_survey(source, list(beside), list(formats), place, say, data=file, rows=rows, allowed=allowed)


def report(runs: str | Path | Iterable[str | Path], to: str | Path | None = None) -> Path:
    """Write one HTML file that shows a run, or several side by side, and opens offline; returns its path.

    It is report.html in the run (for several runs, in the current folder) when `to` is not given.
    Raises FTKitError for what is no run, and where the file can't be written.
    """
    from ftkit.reporting import write_report

    return write_report([runs] if isinstance(runs, (str, Path)) else list(runs), to)
