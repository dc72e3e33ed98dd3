"""Which tokens of a text that is too long are read: the first, the last, both ends, or all of them, in windows.

A row is made of an encoded text by leaving tokens out: what a tokenizer puts around a text stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from ftkit.tasks._base import TokenPlace

Truncation = Literal["head", "tail", "head+tail", "window"]
KEPT = {"head": "their first", "tail": "their last", "head+tail": "their first and last"}
"""Which tokens of a cut text are read, in words."""


def ends(length: int, room: int, how: Truncation) -> list[range]:
    """Runs of the tokens of a text of `length` that are read where there is room for `room`; of both ends, half each.

    Of an odd number the first end has one more.
    """
    if length <= room:
        return [range(length)]
    first = {"head": room, "tail": 0, "head+tail": (room + 1) // 2}[how]
    runs = [range(first), range(length - (room - first), length)]
    return [run for run in runs if run]


def windows(length: int, room: int, stride: int) -> list[range]:
    """Runs of `room` tokens, each beginning `stride` tokens before the last one ends; all tokens are in one or more."""
    starts = range(0, max(1, length - stride), room - stride)
    return [range(start, min(start + room, length)) for start in starts]


def rooms(lengths: Sequence[int], room: int) -> list[int]:
    """How many tokens of one text, or of each of two, are read: the longer is cut first, as `longest_first` does."""
    if sum(lengths) <= room or len(lengths) == 1:
        return [min(length, room) for length in lengths]
    short = min(*lengths, room // 2)
    return [room - short, short] if lengths[0] > lengths[1] else [short, room - short]


def read_rows(encoding: Any, how: Truncation, max_length: int, stride: int) -> tuple[list[list[int]], bool]:
    """The places of the tokens of each row that an encoded text (or pair) is read in, and whether some are in none.

    Of a pair the longer text is read in windows, and the other one is in each of them; where it would take more than
    half of a window, its end is cut.
    """
    sides = encoding.sequence_ids
    if len(sides) <= max_length:
        return [list(range(len(sides)))], False
    around = [i for i, side in enumerate(sides) if side is None]
    texts = [[i for i, side in enumerate(sides) if side == number] for number in sorted({*sides} - {None})]
    lengths = [len(text) for text in texts]
    own = rooms(lengths, max_length - len(around))
    runs = [ends(length, room, "head" if how == "window" else how) for length, room in zip(lengths, own, strict=True)]
    longest = max(range(len(texts)), key=lambda i: (lengths[i], i))
    rows, cut = [runs], True
    if how == "window":
        found = windows(lengths[longest], own[longest], min(stride, own[longest] // 2))
        rows = [[[run] if i == longest else runs[i] for i in range(len(texts))] for run in found]
        cut = any(length > room for i, (length, room) in enumerate(zip(lengths, own, strict=True)) if i != longest)
    return [sorted([*around, *_places(texts, row)]) for row in rows], cut


def _places(texts: Sequence[Sequence[int]], runs: Sequence[Sequence[range]]) -> Iterator[int]:
    return (text[i] for text, own in zip(texts, runs, strict=True) for run in own for i in run)


def encode(
    texts: Sequence[list[str]], tokenizer: Any, how: Truncation, max_length: int, stride: int
) -> dict[str, list[Any]]:
    """Columns of model inputs for texts (or pairs: two lists), with `example` and `truncated` of each row."""
    encoded = tokenizer(*texts, verbose=False)
    names = [name for name in tokenizer.model_input_names if name in encoded]
    columns: dict[str, list[Any]] = {name: [] for name in (*names, "example", "truncated")}
    for number, encoding in enumerate(encoded.encodings):
        rows, cut = read_rows(encoding, how, max_length, stride)
        for row in rows:
            for name in names:
                values = encoded[name][number]
                columns[name].append([values[i] for i in row])
            columns["example"].append(number)
            columns["truncated"].append(cut)
    never_empty(columns, tokenizer)
    return columns


def never_empty(columns: Mapping[str, list[Any]], tokenizer: Any) -> None:
    """Gives rows of no token one, which a model has to see: tokenizers that put nothing around a text make such."""
    ids = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    token = {"input_ids": next((known for known in ids if known is not None), 0), "attention_mask": 1}
    for i, row in enumerate(columns["input_ids"]):
        if not row:
            for name in tokenizer.model_input_names:
                if name in columns:
                    columns[name][i] = [token.get(name, 0)]


def token_places(
    texts: Mapping[str, str], tokenizer: Any, how: Truncation, max_length: int, stride: int
) -> list[list[TokenPlace]]:
    """Of each row of one text or pair, by column, where its tokens stand."""
    columns = list(texts)
    encoding = tokenizer(*([text] for text in texts.values()), verbose=False).encodings[0]  # alone, "" is no pair
    found = zip(encoding.word_ids, encoding.sequence_ids, encoding.offsets, strict=True)
    places = [None if word is None or side is None else (columns[side], word, *at) for word, side, at in found]
    return [[places[i] for i in row] for row in read_rows(encoding, how, max_length, stride)[0]]
