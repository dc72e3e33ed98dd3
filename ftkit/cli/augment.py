"""`ftkit augment`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ftkit.engine.augment import Augmentation


def _get_wordnet(wanted: bool) -> None:
    if wanted:
        from ftkit.augmenters import _wordnet

        print(_wordnet.download())
        raise typer.Exit()


def augment(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or a shelf name as sentiment/augmented.")],
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a setting.")] = None,
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
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")] = False,
) -> None:
    """Show the variants of training rows that a recipe would learn from, or write them to a file.

    Example: ftkit augment ner/augmented --set data.train=train.conll --show 20
    """
    import json

    from ftkit import api, terminal

    found = api.augment(recipe, settings or (), say=terminal.say)
    result: dict[str, Any] = found.as_json()
    if to:
        result |= {"to": str(to), "written": found.write(to)}
    if as_json:
        shown = (0 if to else 10) if show is None else show
        print(json.dumps({**result, "pairs": found.pairs(shown)}, ensure_ascii=False))
        return
    if show or not to:
        _print(found, 10 if show is None else show)
    print(terminal.variants_sentence(result))
    if to:
        print(f"{result['written']} rows are in {to}; data.group=group keeps a row and its variants in one split")


def _print(found: Augmentation, most: int) -> None:
    from ftkit import terminal

    colour = terminal.in_colour()
    for title, texts in found.shown(most):
        print(title)
        for column, before, after in texts:
            print(f"  {column}")
            print(f"    - {terminal.marked(before, colour)}")
            print(f"    + {terminal.marked(after, colour)}")
        print()
