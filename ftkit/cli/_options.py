"""Flags that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Source = Annotated[str, typer.Argument(help="A run, an export, or a fine-tuned checkpoint (a folder or a Hub id).")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change a setting.")]
DataSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="data.NAME=VALUE", help="How to read the file, as in a recipe."),
]


def _allow_code(wanted: bool) -> None:
    if wanted:
        from ftkit import trust

        trust.allow()


AllowCode = Annotated[
    bool, typer.Option("--allow-code", callback=_allow_code, help="Let the folder run code of its own that it names.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]

Precision = Annotated[
    str | None, typer.Option(help="fp32, bf16 (faster, other in the third digit) or auto.", show_default="the recipe's")
]

DeviceMap = Annotated[
    str | None,
    typer.Option(
        help="Lay the model over GPUs, main memory and disk: auto, or {MODULE: DEVICE, ...}.", show_default="one device"
    ),
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        metavar="{DEVICE: SIZE, ...}", help="What `--device-map auto` takes at most, as {0: 10GiB, cpu: 30GiB}."
    ),
]
