"""Which words an answer came of: integrated gradients on the input embeddings (Sundararajan, Taly and Yan 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch

from ftkit.engine import infer
from ftkit.engine.model import Trained
from ftkit.engine.served import is_served
from ftkit.settings import EvaluateSpec
from ftkit.tasks._base import Batch, Contrast, Example, TokenPlace

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

    The number that is explained is the sum of the task's `contrasts`: the answer's logit less the truth's; for
    entities, whose answer and truth are told by the model and the row, so much at each word that is tagged wrongly.
    Of a text that is read in windows it is their mean.
    None where the task names no contrasts (the answer or the truth may be no label of the model's), where it can't
    tell the tokens' places, or where it would take too long.
    """
    found, work = [], 0.0
    size = sum(weight.numel() for weight in trained.model.parameters())
    size -= trained.model.get_input_embeddings().weight.numel()
    for example, said, true in examples:
        encoded = infer.encode(trained.task, [example], trained.tokenizer, trained.labels)
        work += 6.0 * size * STEPS * sum(map(len, encoded["input_ids"]))
        found.append(_explain(trained, example, encoded, said, true) if work <= _MOST_WORK else None)
    return found


def explain_new(trained: Trained, example: Example, settings: EvaluateSpec) -> Explained | None:
    """The same for an example of which nobody knows the truth: what speaks for its answer, and against the next likely.

    None also where the task names no next likely one (`Task.rival`), and for an export that is a graph.
    """
    if is_served(trained.model):  # a graph gives no gradients
        return None
    encoded = infer.encode(trained.task, [example], trained.tokenizer, trained.labels)
    outputs = infer.run(trained.model, trained.task, trained.tokenizer, encoded, settings)
    found = trained.task.rival(example, outputs, encoded, trained.labels)
    return explain(trained, [found])[0] if found else None


def _explain(trained: Trained, example: Example, encoded: Batch, said: str, true: str) -> Explained | None:
    task, model = trained.task, trained.model
    places = task.token_places(example, encoded, trained.tokenizer)
    if places is None or task.reads_otherwise:
        return None
    names = [name for name in trained.tokenizer.model_input_names if name in encoded]
    weights, changes = [], []
    for row in range(len(places)):
        inputs = {name: torch.tensor([encoded[name][row]], device=model.device) for name in names}
        with torch.no_grad():
            found = model(**inputs).items()
        output = {name: value[0].float().cpu().numpy() for name, value in found if name.endswith("logits")}
        contrasts = task.contrasts(example, encoded, output, trained.labels, said, true)
        if not contrasts:
            return None
        empty = _baseline(trained, inputs["input_ids"][0])
        each, change = integrated_gradients(model, inputs, _target(contrasts), empty)
        weights.append(each / len(places))
        changes.append(change / len(places))
    words = _words([place for row in places for place in row], np.concatenate(weights))
    return Explained(words, said, true, _gap(np.concatenate(weights), sum(changes)))


def _gap(weights: np.ndarray, change: float) -> float:
    return abs(float(weights.sum()) - change) / max(abs(change), 1e-6)


def _target(contrasts: Sequence[Contrast]) -> Target:
    """The sum of what the logits of the answer are more than those of the truth."""

    def target(outputs: Any) -> torch.Tensor:
        parts = [outputs.logits[:, *said] - outputs.logits[:, *true] for said, true in contrasts]
        return torch.stack(parts).sum(0)

    return target


def integrated_gradients(
    model: Any, inputs: Mapping[str, torch.Tensor], target: Target, baseline: torch.Tensor, steps: int = STEPS
) -> tuple[np.ndarray, float]:
    """What each token adds to the target, (tokens), and the target's change, which their sum should be.

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
    return weights.double().cpu().numpy(), float(edges[1] - edges[0])


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


def _words(places: Sequence[TokenPlace], weights: np.ndarray) -> list[Word]:
    """Tokens of one word added up."""
    words: dict[tuple[str, int], Word] = {}
    for place, weight in zip(places, weights.tolist(), strict=True):
        if place is None:
            continue
        column, number, start, end = place
        before = words.get((column, number), Word(column, start, end, 0.0))
        words[column, number] = Word(column, min(before.start, start), max(before.end, end), before.weight + weight)
    return list(words.values())
