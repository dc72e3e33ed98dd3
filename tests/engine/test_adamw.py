"""AdamW by rows is torch's AdamW, whether rows are read or rest."""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import clip_grad_norm_

from ftkit.engine import adamw
from ftkit.engine.adamw import REACH, RowAdamW, sparsify
from ftkit.engine.train import train
from ftkit.methods.head import Head
from ftkit.methods.lora import Lora
from tests.runs import Lab, curve, weights
from tests.tiny import tiny

ROWS, WIDTH = 12, 3
SIZE = 0.05
"""Of an embedding's weights, as checkpoints have them."""
NO_CLIPPING = 1e9


class Twins:
    """One table that RowAdamW moves by rows, and the same one that torch's AdamW moves whole."""

    tolerance = 2e-6

    def __init__(self, lr: float = 1e-2, decay: float = 0.1, rows: int = ROWS, seed: int = 0) -> None:
        self.random = torch.Generator().manual_seed(seed)
        start = torch.randn(rows, WIDTH, generator=self.random) * SIZE
        self.ours, self.theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
        self.by_rows = RowAdamW([self.ours], lr=lr, weight_decay=decay, fused=True)
        self.dense = torch.optim.AdamW([self.theirs], lr=lr, weight_decay=decay, fused=True)

    def step(self, read: Sequence[int], most: float = NO_CLIPPING) -> None:
        """One step with a random gradient for each row that is named, added up where it is named twice."""
        values = torch.randn(len(read), WIDTH, generator=self.random)
        numbers = torch.tensor(list(read), dtype=torch.int64)
        self.by_rows.catch_up(self.ours, numbers)
        assert self.apart(numbers) <= self.tolerance
        self.ours.grad = torch.sparse_coo_tensor(numbers[None], values, self.ours.shape, check_invariants=True)
        self.theirs.grad = torch.zeros_like(self.theirs).index_add_(0, numbers, values)
        norm = self.by_rows.clip(most)
        torch.testing.assert_close(norm, clip_grad_norm_([self.theirs], most), rtol=1e-6, atol=0)
        self.by_rows.step()
        self.dense.step()

    def rate(self, lr: float) -> None:
        """The learning rate from now on."""
        self.by_rows.param_groups[0]["lr"] = self.dense.param_groups[0]["lr"] = lr

    def apart(self, rows: Any = slice(None)) -> float:
        """The largest difference between the two tables."""
        return (self.ours - self.theirs)[rows].abs().max().item() if len(self.ours[rows]) else 0.0

    def apart_in_all(self) -> float:
        """The largest difference, once all rows have made up for their rest."""
        self.by_rows.catch_up(self.ours)
        return self.apart()

    def moment(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        return self.by_rows.state[self.ours][name], self.dense.state[self.theirs][name]


# ---------------------------------------------------------------------- rows that are read, and rest


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    steps=st.integers(1, 150),
    share=st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
    rates=st.lists(st.sampled_from([0.0, 1e-5, 1e-3, 5e-3]), min_size=1, max_size=4),
    decay=st.sampled_from([0.0, 0.01, 0.3]),
    most=st.sampled_from([0.1, 1.0, NO_CLIPPING]),
)
def test_rows_read_now_and_then_move_as_all_do(
    seed: int, steps: int, share: float, rates: list[float], decay: float, most: float
) -> None:
    """Any rows, twice too, after any rest; the rate changes on the way. `step` compares each row that it reads."""
    twins = Twins(decay=decay, seed=seed)
    for now in range(1, steps + 1):
        twins.rate(rates[now * len(rates) // (steps + 1)])
        drawn = (torch.rand(2 * ROWS, generator=twins.random) < share).nonzero().squeeze(1) % ROWS
        twins.step(drawn.tolist() or [0], most)
    assert twins.apart_in_all() <= twins.tolerance
    for name in ("exp_avg", "exp_avg_sq"):
        torch.testing.assert_close(*twins.moment(name), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("gap", [1, 2, 40, REACH - 1, REACH, REACH + 1, 1100])
@pytest.mark.parametrize("start", [1, 5, 60])
def test_a_row_makes_up_for_any_rest(start: int, gap: int) -> None:
    """1100 steps are more than the table of ways begins with."""
    twins = Twins()
    for _ in range(start - 1):
        twins.step([1])
    twins.step([0, 1])
    for _ in range(gap - 1):
        twins.step([1])
    before = twins.ours[0].clone()
    twins.step([0])
    assert gap == 1 or not torch.equal(twins.ours[0], before)
    assert twins.apart_in_all() <= twins.tolerance


def test_a_row_rests_until_it_is_read() -> None:
    twins = Twins(decay=0.3)
    twins.step(range(ROWS))
    resting = [row for row in range(ROWS) if row > 1]
    before = twins.ours.detach().clone()
    twins.step([1])
    assert torch.equal(twins.ours[resting], before[resting])
    twins.by_rows.catch_up(twins.ours, torch.tensor([[3, 4], [4, 3]]))
    assert [row for row in resting if not torch.equal(twins.ours[row], before[row])] == [3, 4]
    once = twins.ours.detach().clone()
    twins.by_rows.catch_up(twins.ours, torch.tensor([3, 4]))
    assert torch.equal(twins.ours, once)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**20), steps=st.integers(1, 200), decay=st.floats(0, 1))
def test_weights_that_rest_decay_with_the_rate_of_each_step(seed: int, steps: int, decay: float) -> None:
    twins = Twins(decay=decay, seed=seed)
    for rate in (torch.rand(steps, generator=twins.random) * 0.01).tolist():
        twins.rate(rate)
        twins.step([1])
    assert twins.apart_in_all() <= twins.tolerance


def test_an_embedding_is_up_to_date_when_it_is_read_or_saved() -> None:
    model = nn.Sequential(nn.Embedding(5000, WIDTH))
    sparsify(model)
    table = model[0].weight
    optimizer = RowAdamW(model.parameters(), lr=0.01, fused=True)
    optimizer.watch(model)
    for ids in ([1, 2, 3], [1], [1]):
        model(torch.tensor(ids)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    stale = table.detach().clone()
    with torch.inference_mode():
        model(torch.tensor([[2, 2]]))
    assert [row for row in range(5) if not torch.equal(table[row], stale[row])] == [2]
    assert not torch.equal(model.state_dict()["0.weight"][3], stale[3])


# ---------------------------------------------------------------------- clipping


def gradients(optimizer_of: type[torch.optim.AdamW], sparse: bool) -> tuple[Any, list[nn.Parameter]]:
    random = torch.Generator().manual_seed(4)
    shapes = [(ROWS, WIDTH), (5, 5), (7,), (ROWS, WIDTH), (2,)]
    found = [nn.Parameter(torch.randn(shape, generator=random)) for shape in shapes]
    for weight in found[:-1]:
        weight.grad = torch.randn(weight.shape, generator=random)
    if sparse:
        for place in (0, 3):
            twice = torch.cat([found[place].grad * 3, found[place].grad * -2])  # type: ignore[operator]
            numbers = torch.arange(ROWS).repeat(2)[None]
            found[place].grad = torch.sparse_coo_tensor(numbers, twice, (ROWS, WIDTH), check_invariants=True)
    return optimizer_of(found, lr=0.01, fused=True), found


@pytest.mark.parametrize("most", [1e-3, 1.0, 10.0, 1e4])
def test_clipping_is_that_of_torch(most: float) -> None:
    """Over sparse gradients with repeated rows, dense ones, and a weight without one."""
    ours, our_weights = gradients(RowAdamW, sparse=True)
    theirs, their_weights = gradients(torch.optim.AdamW, sparse=False)
    norm = ours.clip(most)
    torch.testing.assert_close(norm, clip_grad_norm_(their_weights, most), rtol=1e-6, atol=0)
    ours.step()
    theirs.step()
    for one, other in zip(our_weights, their_weights, strict=True):
        assert (one - other).abs().max() <= 1e-6
        for name in ("exp_avg", "exp_avg_sq"):
            if other in theirs.state:
                torch.testing.assert_close(ours.state[one][name], theirs.state[other][name], rtol=1e-4, atol=1e-12)


def test_a_step_is_clipped_once() -> None:
    (ours, our_weights), (theirs, their_weights) = (gradients(kind, False) for kind in (RowAdamW, torch.optim.AdamW))
    kept = [None if weight.grad is None else weight.grad.clone() for weight in our_weights]
    ours.clip(0.1)
    clip_grad_norm_(their_weights, 0.1)
    for found in ((ours, our_weights), (theirs, their_weights)):
        found[0].step()
        for weight, gradient in zip(found[1], kept, strict=True):
            weight.grad = None if gradient is None else gradient.clone()
        found[0].step()
    for one, other in zip(our_weights, their_weights, strict=True):
        assert (one - other).abs().max() <= 1e-6


@pytest.mark.parametrize("sparse", [True, False])
def test_a_step_needs_no_clipping(sparse: bool) -> None:
    ours, our_weights = gradients(RowAdamW, sparse)
    theirs, their_weights = gradients(torch.optim.AdamW, sparse=False)
    ours.step()
    theirs.step()
    assert max((one - other).abs().max().item() for one, other in zip(our_weights, their_weights, strict=True)) <= 1e-6


# ---------------------------------------------------------------------- whole models


def dense_twin(model: nn.Module) -> nn.Module:
    twin = copy.deepcopy(model)
    for module in twin.modules():
        if isinstance(module, nn.Embedding):
            module.sparse = False
    return twin


def classifier() -> Any:
    model = tiny("bert", vocab_size=5000)
    sparsify(model)
    return model


def examples(seed: int, padded: bool = True) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 5000, (8, 10), generator=random)
    mask = torch.ones_like(ids)
    if padded:
        mask[1::2, 6:], ids[1::2, 6:] = 0, 0
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.randint(0, 3, (8,), generator=random)}


@pytest.mark.parametrize(("parts", "decay"), [(1, 0.0), (4, 0.0), (1, 0.1)])
def test_a_model_learns_as_with_torchs_adamw(parts: int, decay: float) -> None:
    """With micro-batches, padding, clipping, two groups and a rate that falls."""
    ours = classifier()
    theirs = dense_twin(ours)
    assert ours.get_input_embeddings().sparse and ours.get_input_embeddings().padding_idx == 0
    pairs = []
    for model, kind in ((ours, RowAdamW), (theirs, torch.optim.AdamW)):
        groups = [
            {"params": list(model.bert.parameters()), "lr": 1e-3, "weight_decay": decay},
            {"params": list(model.classifier.parameters()), "lr": 5e-3, "weight_decay": 0.0},
        ]
        optimizer = kind(groups, fused=True)
        pairs.append((model, optimizer, torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=60)))
    pairs[0][1].watch(ours)
    for step in range(48):
        for model, optimizer, schedule in pairs:
            batch = examples(step % 5)
            for part in range(parts):
                (model(**{name: value[part::parts] for name, value in batch.items()}).loss / parts).backward()
            if model is ours:
                assert model.get_input_embeddings().weight.grad.is_sparse
                optimizer.clip(0.5)
            else:
                clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    state, other = ours.state_dict(), theirs.state_dict()
    learned = [name for name in other if not name.endswith("key.bias")]  # whose gradients are rounding errors
    assert max((state[name] - other[name]).abs().max().item() for name in learned) <= 5e-5
    start = classifier().state_dict()
    assert (start["bert.embeddings.word_embeddings.weight"] != state["bert.embeddings.word_embeddings.weight"]).any()


def test_padding_gets_no_gradient() -> None:
    model = classifier()
    table = model.get_input_embeddings()
    start = table.weight.detach().clone()
    model(**examples(0)).loss.backward()
    assert 0 not in table.weight.grad.coalesce().indices()
    optimizer = RowAdamW(model.parameters(), lr=0.01, weight_decay=0.0, fused=True)
    optimizer.clip(1.0)
    optimizer.step()
    moved = (table.weight != start).any(1).nonzero().squeeze(1).tolist()
    assert moved == sorted(set(examples(0)["input_ids"].flatten().tolist()) - {0})


def test_a_step_that_reads_no_row_moves_on() -> None:
    twins = Twins()
    for read in ([0, 1], [], [0], []):
        twins.step(read)
        assert twins.apart_in_all() <= twins.tolerance


def test_weights_without_rows_move_as_with_torchs_adamw() -> None:
    (ours, our_weights), (theirs, their_weights) = (gradients(kind, False) for kind in (RowAdamW, torch.optim.AdamW))
    ours.clip(NO_CLIPPING)
    ours.step()
    theirs.step()
    assert all(torch.equal(one, other) for one, other in zip(our_weights, their_weights, strict=True))


def test_a_closure_is_called_once_and_its_loss_given_back() -> None:
    twins, calls = Twins(), []
    twins.step([0])
    twins.ours.grad = torch.sparse_coo_tensor([[0]], torch.ones(1, WIDTH), twins.ours.shape, check_invariants=True)
    twins.by_rows.clip(1.0)
    assert twins.by_rows.step(lambda: calls.append(1) or 7.0) == 7.0
    assert calls == [1]


# ---------------------------------------------------------------------- stopped and gone on


@pytest.mark.parametrize("stop", [1, 47, 70])
def test_a_stored_state_goes_on_to_the_bit(stop: int) -> None:
    def reads(twins: Twins, first: int, last: int) -> None:
        for now in range(first, last):
            twins.rate(1e-2 / (1 + now % 7))
            twins.step([1, now % 5] if now % 60 else range(ROWS))

    through = Twins()
    reads(through, 1, 200)
    halted = Twins()
    reads(halted, 1, stop)
    halted.step([2])
    resumed = Twins()
    resumed.random.set_state(halted.random.get_state())
    for name in ("ours", "theirs"):
        getattr(resumed, name).data.copy_(getattr(halted, name).data)
    file = io.BytesIO()
    torch.save([halted.by_rows.state_dict(), halted.dense.state_dict()], file)
    file.seek(0)
    for optimizer, state in zip((resumed.by_rows, resumed.dense), torch.load(file), strict=True):
        optimizer.load_state_dict(state)
    reads(halted, stop, 200)
    reads(resumed, stop, 200)
    assert torch.equal(resumed.theirs, halted.theirs)
    assert torch.equal(resumed.ours, halted.ours)
    for name, value in halted.by_rows.state[halted.ours].items():
        assert torch.equal(resumed.by_rows.state[resumed.ours][name], value), name


# ---------------------------------------------------------------------- which embeddings


def by_rows(model: nn.Module) -> list[str]:
    sparsify(model)
    return [name for name, module in model.named_modules() if isinstance(module, nn.Embedding) and module.sparse]


def test_large_embeddings_that_learn_are_read_by_rows() -> None:
    assert by_rows(tiny("bert", vocab_size=5000)) == ["bert.embeddings.word_embeddings"]
    assert by_rows(tiny("distilbert", vocab_size=5000)) == ["distilbert.embeddings.word_embeddings"]
    assert by_rows(tiny("modernbert", vocab_size=5000)) == ["model.embeddings.tok_embeddings"]
    assert by_rows(tiny("llama", "CAUSAL_LM", vocab_size=5000, tie_word_embeddings=False)) == ["model.embed_tokens"]


@pytest.mark.parametrize("count", [adamw._WORTH - 1, adamw._WORTH])
def test_small_embeddings_are_not(count: int) -> None:
    assert bool(by_rows(tiny("bert", vocab_size=count))) == (count == adamw._WORTH)


@pytest.mark.parametrize(("architecture", "kind"), [("llama", "CAUSAL_LM"), ("gpt2", "CAUSAL_LM")])
def test_embeddings_that_the_output_shares_are_not(architecture: str, kind: str) -> None:
    model = tiny(architecture, kind, vocab_size=5000)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert not by_rows(model)
    ids = torch.randint(1, 5000, (2, 6))
    model(input_ids=ids, labels=ids).loss.backward()
    assert not model.get_input_embeddings().weight.grad.is_sparse


@pytest.mark.parametrize("architecture", ["t5", "bart"])
def test_embeddings_that_encoder_decoder_and_output_share_are_not(architecture: str) -> None:
    assert not by_rows(tiny(architecture, "SEQ_2_SEQ_LM", vocab_size=5000))


def test_frozen_embeddings_are_not() -> None:
    model = tiny("bert", vocab_size=5000)
    assert by_rows(model)
    model.get_input_embeddings().requires_grad_(False)
    assert not by_rows(model)
    assert not by_rows(Head(Head.Options()).apply(tiny("bert", vocab_size=5000), "SEQ_CLS"))
    assert not by_rows(Lora(Lora.Options()).apply(tiny("bert", vocab_size=5000), "SEQ_CLS"))


def test_embeddings_with_a_norm_of_their_own_are_not() -> None:
    assert not by_rows(nn.Sequential(nn.Embedding(5000, 2, max_norm=1.0)))
    assert by_rows(nn.Sequential(nn.Embedding(5000, 2))) == ["0"]


# ---------------------------------------------------------------------- in a training


@pytest.mark.parametrize("extra", [[], ["train.max_grad_norm=0"], ["train.accumulate=2", "train.layer_decay=0.8"]])
def test_a_training_by_rows_is_the_one_without(lab: Lab, monkeypatch: pytest.MonkeyPatch, extra: list[str]) -> None:
    recipe = lab.recipe("single", "data.validation=null", "data.test=null", "train.epochs=3", *extra)
    runs, tables = [], []
    original = adamw.RowAdamW._step_rows
    monkeypatch.setattr(RowAdamW, "_step_rows", lambda *given: tables.append(given[2].shape) or original(*given))
    for worth in (10**9, 64):
        monkeypatch.setattr(adamw, "_WORTH", worth)
        runs.append(train(recipe, lab.new(), 1))
        assert bool(tables) == (worth == 64)
    whole, rows = runs
    for name, values in curve(whole.run).items():
        assert curve(rows.run)[name] == pytest.approx(values, rel=1e-4, abs=1e-6), name
    ours, theirs = weights(rows.run), weights(whole.run)
    learned = [name for name in ours if not name.endswith("key.bias")]  # whose gradients are rounding errors
    assert max((ours[name] - theirs[name]).abs().max().item() for name in learned) < 1e-4


class Copies:
    """Adopted weights, and no copies of them to write."""

    wide = False

    def __init__(self, weights: list[nn.Parameter]) -> None:
        self.adopted = set(weights)

    def written(self, weights: Any) -> None: ...


def test_gradients_in_bfloat16_move_weights_as_torchs_adamw_does() -> None:
    """Two groups with settings of their own, clipped: the norm and the weights are torch's of the same gradients."""
    random = torch.Generator().manual_seed(0)
    start, sides = [torch.randn(5, 3, generator=random) for _ in range(4)], []
    for kind in (RowAdamW, torch.optim.AdamW):
        weights = [nn.Parameter(each.clone()) for each in start]
        groups = [
            {"params": weights[:2], "lr": 1e-2, "weight_decay": 0.3, "betas": (0.8, 0.95), "eps": 1e-3},
            {"params": weights[2:], "lr": 1e-3, "weight_decay": 0.0},
        ]
        sides.append((kind(groups, fused=True), weights))
    (mine, own), (theirs, usual) = sides
    mine.low = Copies(own)
    for weight in own:
        weight.grad_dtype = None
    for _ in range(5):
        for one, other in zip(own, usual, strict=True):
            one.grad = torch.randn(5, 3, generator=random).bfloat16()
            other.grad = one.grad.float()
        torch.testing.assert_close(mine.clip(2.0), clip_grad_norm_(usual, 2.0), rtol=1e-5, atol=0)
        mine.step()
        theirs.step()
        for one, other in zip(own, usual, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
