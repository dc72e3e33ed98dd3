"""The fast dropout is dropout: its rate, its scale, its gradient and its seed; and it takes the place of no other."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ftkit.engine.dropout import FastDropout, dropout, install, mask
from ftkit.methods.lora import Lora
from tests.tiny import batch, tiny

LEVELS = 65536
TYPES = [torch.float32, torch.bfloat16, torch.float64]
RATES = [0.01, 0.1, 0.25, 0.5, 0.9, 0.999]


def ones(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.ones(shape, dtype=dtype)


def within(count: float, trials: int, rate: float) -> bool:
    """Whether a count of hits lies within five standard errors of what is expected."""
    return abs(count - trials * rate) <= 5 * math.sqrt(trials * rate * (1 - rate)) + 1


# ---------------------------------------------------------------------- rate and scale


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("rate", RATES)
def test_values_are_dropped_at_the_rate_and_the_others_keep_the_mean(rate: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    size = 400_003
    found = dropout(ones(size, dtype=dtype), rate)
    assert found.dtype == dtype and found.shape == (size,)
    kept = found[found != 0].float()
    assert within(size - len(kept), size, rate)
    assert len(set(kept.tolist())) == 1
    exact = LEVELS / (LEVELS - round(rate * LEVELS))
    assert kept[0].item() == pytest.approx(exact, rel=2**-8 if dtype == torch.bfloat16 else 1e-6)
    assert exact == pytest.approx(1 / (1 - rate), rel=1e-2)


@pytest.mark.parametrize("dropped", [1, 2, 32768, 65535])
def test_all_of_the_sixteen_bits_count(dropped: int) -> None:
    torch.manual_seed(0)
    size = 2_000_000
    found = mask(ones(size), dropped / LEVELS)
    assert within((found == 0).sum().item(), size, dropped / LEVELS)
    assert found.max().item() == pytest.approx(LEVELS / (LEVELS - dropped))


def test_each_place_is_dropped_as_often_as_any_other_and_on_its_own() -> None:
    """Four values come of one draw: neither their places nor their neighbours matter."""
    torch.manual_seed(0)
    rounds = 100_000
    gone = (dropout(ones(rounds, 8), 0.3) == 0).double()
    for place in range(8):
        assert within(gone[:, place].sum().item(), rounds, 0.3)
        for other in range(place):
            assert within((gone[:, place] * gone[:, other]).sum().item(), rounds, 0.09)


@pytest.mark.parametrize("dtype", TYPES)
def test_values_keep_their_signs_and_sizes(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    values = torch.randn(1001, dtype=dtype)
    found = dropout(values, 0.5)
    assert torch.equal(found, torch.where(found == 0, 0, values * 2))


# ---------------------------------------------------------------------- rates at the ends


def test_a_rate_of_zero_is_the_identity() -> None:
    assert torch.equal(dropout(values := torch.randn(99), 0.0), values)
    assert torch.equal(FastDropout(0.0).train()(values), values)


def test_a_rate_of_one_drops_everything() -> None:
    values = torch.randn(99, requires_grad=True)
    found = dropout(values, 1.0)
    assert not found.any()
    assert not torch.autograd.grad(found.sum(), values)[0].any()


@pytest.mark.parametrize("rate", [1e-7, 1e-5, 3e-5])
def test_a_tiny_rate_is_kept(rate: float) -> None:
    torch.manual_seed(0)
    size = 4_000_000
    assert within((dropout(ones(size), rate) == 0).sum().item(), size, max(rate, round(rate * LEVELS) / LEVELS))


@pytest.mark.parametrize("rate", [1 - 1e-4, 1 - 1e-5, 1 - 1e-7])
def test_a_rate_near_one_keeps_the_mean_in_a_step_of_65536(rate: float) -> None:
    torch.manual_seed(0)
    size = 4_000_000
    found = dropout(ones(size), rate)
    kept = found[found != 0]
    assert torch.isfinite(found).all()
    assert abs(len(kept) / size - (1 - rate)) <= 1 / LEVELS + 5 * math.sqrt((1 - rate) / size)
    assert found.double().mean().item() == pytest.approx(1, abs=5 / math.sqrt(size * (1 - rate)))


@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_no_rate_outside_of_zero_and_one(rate: float) -> None:
    with pytest.raises(ValueError, match="dropout probability"):
        dropout(ones(3), rate)
    with pytest.raises(ValueError, match="dropout probability"):
        FastDropout(rate)


# ---------------------------------------------------------------------- shapes


@settings(max_examples=60, deadline=None)
@given(shape=st.lists(st.integers(0, 7), max_size=4), rate=st.floats(0.01, 0.99))
def test_any_shape(shape: list[int], rate: float) -> None:
    values = torch.randn(shape, requires_grad=True)
    found = dropout(values, rate)
    assert found.shape == values.shape
    scale = LEVELS / (LEVELS - round(rate * LEVELS))
    torch.testing.assert_close(found, torch.where(found == 0, 0, values * scale), rtol=1e-5, atol=0)
    (gradient,) = torch.autograd.grad(found.sum(), values)
    assert gradient.shape == values.shape


@pytest.mark.parametrize("make", [lambda x: x.t(), lambda x: x[::2, 1::3], lambda x: x[:1].expand(40, 33)])
def test_values_that_lie_scattered(make: object) -> None:
    base = torch.randn(40, 33)
    values = make(base)  # type: ignore[operator]
    assert not values.is_contiguous()
    before = base.clone()
    torch.manual_seed(1)
    found = dropout(values, 0.4)
    torch.manual_seed(1)
    assert torch.equal(found, dropout(values.contiguous(), 0.4))
    assert torch.equal(base, before)


# ---------------------------------------------------------------------- gradient


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 50), rate=st.floats(0.01, 0.99), seed=st.integers(0, 2**32))
def test_the_gradient_goes_through_the_same_mask(size: int, rate: float, seed: int) -> None:
    torch.manual_seed(seed)
    values = torch.rand(size, dtype=torch.float64).add(1).requires_grad_()
    pull = torch.randn(size, dtype=torch.float64)
    found = dropout(values, rate)
    (gradient,) = torch.autograd.grad(found, values, pull)
    torch.testing.assert_close(gradient, pull * (found / values).detach())


def test_gradients_of_several_calls_do_not_mix() -> None:
    values = torch.ones(1000, requires_grad=True)
    first, second = dropout(values, 0.5), dropout(values, 0.5)
    assert not torch.equal(first, second)
    (one,) = torch.autograd.grad(first.sum(), values, retain_graph=True)
    (other,) = torch.autograd.grad(second.sum(), values)
    assert torch.equal(one, first) and torch.equal(other, second)


def test_gradients_of_the_type_of_the_values() -> None:
    values = torch.ones(1000, dtype=torch.bfloat16, requires_grad=True)
    found = dropout(values, 0.5)
    found.sum().backward()
    assert values.grad is not None and values.grad.dtype == torch.bfloat16
    assert torch.equal(values.grad, found)


# ---------------------------------------------------------------------- seed


def test_the_seed_decides() -> None:
    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return torch.stack([dropout(ones(999), 0.5), dropout(ones(999), 0.5)])

    assert torch.equal(draw(5), draw(5))
    assert not torch.equal(draw(5), draw(6))
    assert not torch.equal(*draw(5))


def test_the_state_of_the_generator_goes_on_where_it_was() -> None:
    torch.manual_seed(0)
    dropout(ones(7), 0.5)
    state = torch.get_rng_state()
    expected = dropout(ones(999), 0.5)
    torch.set_rng_state(state)
    assert torch.equal(dropout(ones(999), 0.5), expected)


# ---------------------------------------------------------------------- the layer


def test_evaluation_is_the_identity_and_draws_nothing() -> None:
    layer, values = FastDropout(0.5).eval(), torch.randn(9)
    state = torch.get_rng_state()
    assert layer(values) is values
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", TYPES)
def test_autocast_leaves_the_type_as_it_is(dtype: torch.dtype) -> None:
    layer = FastDropout(0.5).train()
    values = torch.ones(4000, dtype=dtype, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(values)
        assert found.dtype == nn.functional.dropout(values, 0.5).dtype == dtype
    found.sum().backward()
    assert values.grad is not None and torch.equal(values.grad, found.detach())
    assert set(found.tolist()) == {0.0, 2.0}


def test_training_in_autocast_moves_all_weights() -> None:
    model = nn.Sequential(nn.Linear(8, 64), FastDropout(0.5), nn.Linear(64, 8)).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(torch.randn(16, 8)).square().mean()
    loss.backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in model.parameters())


# ---------------------------------------------------------------------- installing


class Other(nn.Dropout):
    """Somebody's own."""


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.plain = nn.Dropout(0.2)
        self.alpha, self.own, self.wide = nn.AlphaDropout(0.3), Other(0.4), nn.Dropout2d(0.5)
        self.fast = FastDropout(0.6)
        self.list = nn.ModuleList([nn.Dropout(0.7).eval(), nn.ModuleDict({"a": nn.Identity(), "b": nn.Dropout(0.8)})])


def test_exactly_the_plain_dropout_is_exchanged() -> None:
    model = Nested()
    before = [name for name, _ in model.named_modules()]
    fast = model.fast
    install(model)
    assert [name for name, _ in model.named_modules()] == before
    kinds = {name: type(module) for name, module in model.named_modules() if hasattr(module, "p")}
    assert kinds == {
        "plain": FastDropout,
        "alpha": nn.AlphaDropout,
        "own": Other,
        "wide": nn.Dropout2d,
        "fast": FastDropout,
        "list.0": FastDropout,
        "list.1.b": FastDropout,
    }
    assert model.fast is fast
    rates = {name: (module.p, module.training) for name, module in model.named_modules() if hasattr(module, "p")}
    assert rates["plain"] == (0.2, True) and rates["list.0"] == (0.7, False) and rates["list.1.b"] == (0.8, True)


def test_a_layer_that_has_two_names_is_exchanged_under_both() -> None:
    model = nn.Module()
    model.one = model.two = nn.Dropout(0.5)
    install(model)
    assert type(model.one) is FastDropout and model.two is model.one


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "modernbert", "t5", "gpt2", "albert"])
def test_no_plain_dropout_is_left_in_a_model_and_its_answers_stay(architecture: str) -> None:
    model = tiny(architecture, "BASE" if architecture == "t5" else "SEQ_CLS")
    inputs = {name: value for name, value in batch().items() if name != "labels"}
    if architecture == "t5":
        inputs["decoder_input_ids"] = inputs["input_ids"]
    names, weights = [name for name, _ in model.named_modules()], list(model.state_dict())
    with torch.no_grad():
        before = model(**inputs)[0]
        install(model)
        assert torch.equal(model(**inputs)[0], before)
    assert [name for name, _ in model.named_modules()] == names
    assert list(model.state_dict()) == weights
    left = [name for name, module in model.named_modules(remove_duplicate=False) if type(module) is nn.Dropout]
    assert not left


def test_dropout_inside_of_lora_is_exchanged() -> None:
    model = Lora(Lora.Options(dropout=0.1)).apply(tiny("bert"), "SEQ_CLS")
    install(model)
    found = [module.p for name, module in model.named_modules() if type(module) is FastDropout and "lora" in name]
    assert found and set(found) == {0.1}
    assert not any(type(module) is nn.Dropout for module in model.modules())
