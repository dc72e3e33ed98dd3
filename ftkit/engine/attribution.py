"""Which words an answer came of: integrated gradients on the input embeddings (Sundararajan, Taly and Yan 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch

from ftkit.engine import infer
from ftkit.engine.model import Trained
from ftkit.tasks._base import Batch, Example
from ftkit.tasks.classification import Classification
from ftkit.tasks.ner import NamedEntities

STEPS = 32
"""Points on the way from the empty text to the text, at Gauss-Legendre's places."""
_AT_ONCE = 2048
"""Tokens that go through the model together."""
_MOST_WORK = 5e12
"""Products for all examples of one call, about half a minute on two cores; those beyond are left out."""

Target = Callable[[Any], torch.Tensor]
"""The number that is explained, (rows), from a model's outputs for so many copies of one row."""


class Word(NamedTuple):
    """What a word adds to the number that is explained: `column` is its text's, from `start` to `end`."""

    column: str
    start: int
    end: int
    weight: float


class Explained(NamedTuple):
    """The words of one example, what the weights speak for and against, and how far they fall short of adding up."""

    words: list[Word]
    said: str
    instead_of: str
    gap: float
    """Share of the whole difference that the weights' sum misses."""


def explain(trained: Trained, examples: Sequence[tuple[Example, str, str]]) -> list[Explained | None]:
    """What speaks for an answer and against the truth, word by word, for (example, answer, truth) each.

    The number that is explained is the answer's logit less the truth's; for entities, whose answer and truth are told
    by the model and the row, the tags' at all words of the first window that are tagged otherwise than they should be.
    None where that is none, where the answer or the truth is no label of the model's, where the task's encoding is its
    own and tells no places, or where it would take too long.
    """
    found, work = [], 0.0
    size = sum(weight.numel() for weight in trained.model.parameters())
    size -= trained.model.get_input_embeddings().weight.numel()
    for example, said, true in examples:
        encoded = infer.encode(trained.task, [example], trained.tokenizer, trained.labels)
        work += 6.0 * size * STEPS * len(encoded["input_ids"][0])
        found.append(_explain(trained, example, encoded, said, true) if work <= _MOST_WORK else None)
    return found


def _explain(trained: Trained, example: Example, encoded: Batch, said: str, true: str) -> Explained | None:
    places = _places(trained, example, encoded)
    if places is None:
        return None
    names = [name for name in trained.tokenizer.model_input_names if name in encoded]
    inputs = {name: torch.tensor([encoded[name][0]], device=trained.model.device) for name in names}
    if isinstance(trained.task, NamedEntities):
        wrong = _wrong_tags(trained, example, encoded, inputs)
        if not wrong:
            return None
        target = _of_tags(wrong)
    elif not {said, true} <= set(trained.labels):
        return None
    else:
        target = _of_labels(trained.labels.index(said), trained.labels.index(true))
    weights, gap = integrated_gradients(trained.model, inputs, target, _baseline(trained, inputs["input_ids"][0]))
    return Explained(_words(places, weights), said, true, gap)


def _of_labels(said: int, true: int) -> Target:
    def target(outputs: Any) -> torch.Tensor:
        found: torch.Tensor = outputs.logits[:, said] - outputs.logits[:, true]
        return found

    return target


def _wrong_tags(
    trained: Trained, example: Example, encoded: Batch, inputs: Mapping[str, torch.Tensor]
) -> list[tuple[int, int, int]]:
    """Of each word of the first window that is tagged otherwise than it should be: its token, the tag, the true tag."""
    number = {name: i for i, name in enumerate(trained.labels)}
    with torch.no_grad():
        answered = trained.model(**inputs).logits[0].argmax(-1).tolist()
    firsts = [(place, word) for place, word in enumerate(encoded["words"][0]) if word is not None]
    wrong = [(p, answered[p], number[example["tags"][w]]) for p, w in firsts if example["tags"][w] in number]
    return [(place, said, true) for place, said, true in wrong if said != true]


def _of_tags(wrong: Sequence[tuple[int, int, int]]) -> Target:
    def target(outputs: Any) -> torch.Tensor:
        parts = [outputs.logits[:, place, said] - outputs.logits[:, place, true] for place, said, true in wrong]
        return torch.stack(parts).sum(0)

    return target


def integrated_gradients(
    model: Any, inputs: Mapping[str, torch.Tensor], target: Target, baseline: torch.Tensor, steps: int = STEPS
) -> tuple[np.ndarray, float]:
    """What each token adds to the target, (tokens), and the share of the target's change that their sum misses.

    inputs: one row, (1, tokens). baseline: token ids, (tokens), of a text that says nothing; tokens that are the same
    in both add nothing. Embeddings go in a straight line from one to the other; positions and segments stay.
    """
    embed = model.get_input_embeddings()
    ids = inputs["input_ids"]
    points, widths = np.polynomial.legendre.leggauss(steps)
    along = torch.tensor((points + 1) / 2, dtype=torch.float32, device=ids.device)[:, None, None]
    shares = torch.tensor(widths / 2, dtype=torch.float32, device=ids.device)[:, None, None]
    with torch.no_grad():
        begin, end = _embedded(embed, baseline[None]), _embedded(embed, ids)
        edges = _asked(model, embed, inputs, torch.cat([begin, end]), target)
    gradient = torch.zeros_like(end[0])
    at_once = max(1, _AT_ONCE // ids.shape[1])
    for first in range(0, steps, at_once):
        part = slice(first, first + at_once)
        states = (begin + along[part] * (end - begin)).detach().requires_grad_()
        with torch.enable_grad():
            value = _asked(model, embed, inputs, states, target)
            (slopes,) = torch.autograd.grad(value.sum(), states)
        gradient += (slopes * shares[part]).sum(0)
    weights = ((end - begin)[0] * gradient).sum(-1)
    change = float(edges[1] - edges[0])
    missed = abs(float(weights.sum()) - change) / max(abs(change), 1e-6)
    return weights.double().cpu().numpy(), missed


def _asked(
    model: Any, embed: torch.nn.Module, inputs: Mapping[str, torch.Tensor], states: torch.Tensor, target: Target
) -> torch.Tensor:
    """The target for each of `states`, (rows, tokens, width), in place of what the embeddings give."""
    copies = {name: value.expand(len(states), -1) for name, value in inputs.items()}
    with _replaced(embed, states):
        found: torch.Tensor = target(model(**copies)).float()
    return found


@contextmanager
def _replaced(embed: torch.nn.Module, states: torch.Tensor) -> Iterator[None]:
    # A hook, not `inputs_embeds`: some architectures number positions by the ids, and wrapped models drop the keyword.
    handle = embed.register_forward_hook(lambda module, args, output: states.to(output.dtype))
    try:
        yield
    finally:
        handle.remove()


def _embedded(embed: Any, ids: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = embed(ids).detach().float()
    return found


def _baseline(trained: Trained, ids: torch.Tensor) -> torch.Tensor:
    """The ids of a text of the same length that says nothing: masks (padding, where there is none) for its words."""
    tokenizer = trained.tokenizer
    nothing = tokenizer.pad_token_id if tokenizer.mask_token_id is None else tokenizer.mask_token_id
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids, device=ids.device))
    return torch.where(special, ids, torch.full_like(ids, nothing))


Place = tuple[str, int, int, int] | None
"""Of a token: the column of its text, the number of its word there, and its first and last character."""


def _places(trained: Trained, example: Example, encoded: Batch) -> list[Place] | None:
    """Where each token of the first encoded row stands; None where the task has an encoding of its own."""
    task, tokenizer = trained.task, trained.tokenizer
    room = {"truncation": True, "max_length": task.options.max_length, "return_offsets_mapping": True}
    if isinstance(task, NamedEntities):
        again = tokenizer(example["tokens"], is_split_into_words=True, **room)
        spans = example["spans"]
        places: list[Place] = [None if w is None else ("text", w, *spans[w]) for w in again.word_ids()]
    elif isinstance(task, Classification):
        columns = ["text", "text_pair"] if example.get("text_pair") else ["text"]
        again = tokenizer(*(example[name] for name in columns), **{**room, "truncation": "longest_first"})
        found = zip(again.word_ids(), again.sequence_ids(), again["offset_mapping"], strict=True)
        places = [None if w is None or s is None else (columns[s], w, *at) for w, s, at in found]
    else:
        return None
    return places if again["input_ids"] == encoded["input_ids"][0] else None


def _words(places: Sequence[Place], weights: np.ndarray) -> list[Word]:
    """Tokens of one word added up."""
    words: dict[tuple[str, int], Word] = {}
    for place, weight in zip(places, weights.tolist(), strict=True):
        if place is None:
            continue
        column, number, start, end = place
        before = words.get((column, number), Word(column, start, end, 0.0))
        words[column, number] = Word(column, min(before.start, start), max(before.end, end), before.weight + weight)
    return list(words.values())
