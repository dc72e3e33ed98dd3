"""`ftkit augment`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from ftkit.cli._options import AsJson, Settings

if TYPE_CHECKING:
    from ftkit.engine.augment import Augmentation, Mark
    from ftkit.engine.lift import Lifted


def _get_wordnet(wanted: bool) -> None:
    if wanted:
        from ftkit.augmenters import _wordnet

        print(_wordnet.download())
        raise typer.Exit()


def augment(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or a shelf name as sentiment/augmented.")],
    settings: Settings = None,
    show: Annotated[int | None, typer.Option(min=0, help="How many variants to show; 10 by default.")] = None,
    to: Annotated[Path | None, typer.Option(help="Write originals and variants to this file, as JSON Lines.")] = None,
    get_wordnet: Annotated[
        bool,
        typer.Option(
            "--get-wordnet",
            callback=_get_wordnet,
            is_eager=True,
            help="Download WordNet (10 MB of NLTK's data on GitHub) into ftkit's cache, and do no more.",
        ),
    ] = False,
    lift: Annotated[
        bool, typer.Option("--lift", help="Train with and without the variants, and say whether they help.")
    ] = False,
    each: Annotated[bool, typer.Option("--each", help="With --lift: each augmenter alone, not all together.")] = False,
    seeds: Annotated[int | None, typer.Option(min=2, help="With --lift: trainings of each kind; 3 by default.")] = None,
    per_label: Annotated[
        int | None, typer.Option(min=1, help="With --lift: training rows of each label, others for each seed.")
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="With --lift: training rows, others for each seed.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="With --lift: folder of the trainings, gone on with where it is there.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the variants of training rows that a recipe would learn from, write them to a file, or measure their worth.

    Example: ftkit augment ner/augmented --set data.train=train.conll --show 20
    """
    import json

    from ftkit import api, terminal

    _refuse_mixed(
        lift,
        of_lift={"--each": each, "--seeds": seeds, "--per-label": per_label, "--rows": rows, "--run": run},
        of_variants={"--show": show, "--to": to},
    )
    if not lift:
        _variants(api.augment(recipe, settings or (), say=terminal.say), show, to, as_json)
        return
    found = api.lift(
        recipe,
        settings or (),
        run,
        each=each,
        seeds=seeds or 3,
        per_label=per_label,
        rows=rows,
        say=terminal.say,
        progress=terminal.Progress(),
    )
    print(json.dumps(found.as_json(), ensure_ascii=False) if as_json else _lift_text(found))


def _refuse_mixed(lift: bool, of_lift: dict[str, Any], of_variants: dict[str, Any]) -> None:
    """Raises RecipeError for a flag that does nothing with, or without, --lift."""
    from ftkit.errors import RecipeError

    given = [name for name, value in (of_variants if lift else of_lift).items() if value not in (None, False)]
    if given:
        raise RecipeError(f"{given[0]} {'does not go' if lift else 'goes'} with --lift", "call one or the other")


def _variants(found: Augmentation, show: int | None, to: Path | None, as_json: bool) -> None:
    """Show some variants, write them to a file, or both."""
    import json

    from ftkit.engine.variants import sentence

    result: dict[str, Any] = found.as_json()
    if to:
        result |= {"to": str(to), "written": found.write(to)}
    shown = (0 if to else 10) if show is None else show
    if as_json:
        print(json.dumps({**result, "pairs": found.pairs(shown)}, ensure_ascii=False))
        return
    if shown or not to:
        _print(found, shown)
    print(sentence(result))
    if to:
        print(f"{result['written']} rows are in {to}; data.group=group keeps a row and its variants in one split")
        if found.held:
            left = " and ".join(f"{count} {name} rows" for name, count in found.held.items())
            print(f"the {left} are not among them")


def _lift_text(found: Lifted) -> str:
    """A row for each kind of variants: score without, what is added with its interval, each seed's, the verdict."""
    from ftkit import terminal
    from ftkit.metrics import percent

    rows = []
    for one in found.lifts:
        added = f"{one.found.value:+.4f} [{one.found.low:+.4f}, {one.found.high:+.4f}]"
        by_seed = ", ".join(f"{value:+.4f}" for value in one.found.each)
        rows.append([one.by, f"{one.variants:.0f}", f"{one.found.without:.4f}", added, by_seed, one.verdict])
    header = ["variants by", "variants", f"{found.metric} without", "with them", "each seed", "verdict"]
    note = (
        f"[low, high]: {percent(found.level)} intervals over {found.seeds} pairs of trainings on"
        f" {found.training_rows} rows and {found.test_rows} {found.split} rows"
    )
    return f"{terminal.table(header, rows)}\n{note}\nthe trainings are in {found.study}"


def _print(found: Augmentation, most: int) -> None:
    colour = in_colour(sys.stdout)
    for title, texts in found.shown(most):
        print(title)
        for column, before, after in texts:
            print(f"  {column}")
            print(f"    - {marked(before, colour)}")
            print(f"    + {marked(after, colour)}")
        print()


_COLOURS = {"changed": "1;33", "kept": "4"}
_SIGNS = {"changed": "[]", "kept": "{}"}


def marked(parts: Sequence[Mark], colour: bool) -> str:
    """A text with its marks, in colour or in brackets; long parts without a mark are shortened."""
    return "".join(_marked(text, mark, colour) for text, mark in parts)


def _marked(text: str, mark: str, colour: bool) -> str:
    if not mark:
        return text if len(text) <= _LONG else f"{text[: _LONG // 2]} ... {text[-_LONG // 2 :]}"
    return f"\x1b[{_COLOURS[mark]}m{text}\x1b[0m" if colour else f"{_SIGNS[mark][0]}{text}{_SIGNS[mark][1]}"


_LONG = 120


def in_colour(stream: TextIO) -> bool:
    """Whether a stream is a terminal that shows colours."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
