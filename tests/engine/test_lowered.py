"""Kept copies of weights give what autocast gives, forwards, backwards and after steps; nothing stays."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn

from ftkit.engine import infer
from ftkit.engine.adamw import RowAdamW
from ftkit.engine.lowered import LowWeights, Product, lowered
from ftkit.engine.train import train
from ftkit.methods.lora import Lora
from ftkit.settings import EvaluateSpec
from ftkit.tasks.classification import Classification
from tests.runs import Lab, curve
from tests.tiny import batch, learn, tiny, tiny_tokenizer

NAMES = ("bert", "roberta", "distilbert", "electra", "modernbert", "deberta_v2", "albert")


def low(model: Any, inputs: Any) -> Any:
    with torch.autocast("cpu", torch.bfloat16):
        return model(**inputs)


def gradients(model: Any) -> list[torch.Tensor | None]:
    return [None if weight.grad is None else weight.grad.clone() for weight in model.parameters()]


def together(kept: LowWeights) -> list[int]:
    """Of each product how many layers it holds."""
    return sorted(len(product.layers) for product in {id(p): p for p in kept.products.values()}.values())


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_gradients_are_autocasts(name: str) -> None:
    model, inputs = tiny(name, "TOKEN_CLS"), batch("TOKEN_CLS")
    wanted = low(model, inputs)
    wanted.loss.backward()
    expected = gradients(model)
    model.zero_grad()
    with lowered(model) as kept:
        kept.adopt(list(model.parameters()))
        for _ in range(2):  # the first pass meets the layers, the next has them in products
            model.zero_grad()
            found = low(model, inputs)
            found.loss.backward()
            torch.testing.assert_close(found.logits, wanted.logits, rtol=0, atol=2e-2)
            for one, other in zip(gradients(model), expected, strict=True):
                assert (one is None) == (other is None)
                if one is not None and other is not None:
                    assert (one.float() - other).abs().max() <= 0.02 * other.abs().max() + 1e-4
        assert {weight.grad.dtype for weight in kept.adopted if weight.grad is not None} == {torch.bfloat16}
    assert not kept.products and not kept.adopted


@pytest.mark.parametrize(("name", "triples"), [("bert", 3), ("distilbert", 3), ("roberta", 3), ("modernbert", 0)])
def test_query_key_and_value_are_one_product(name: str, triples: int) -> None:
    model, inputs = tiny(name, "TOKEN_CLS"), batch("TOKEN_CLS")
    with torch.no_grad(), lowered(model, still=True) as kept:
        for first in (True, False):
            low(model, inputs)
            assert together(kept).count(3) == (0 if first else triples)
        assert set(together(kept)) <= {1, 2, 3}


def test_of_a_product_the_layers_that_learn_have_gradients() -> None:
    model = tiny("bert", "TOKEN_CLS")
    for name, weight in model.named_parameters():
        weight.requires_grad = "query" in name
    with lowered(model) as kept:
        kept.adopt([weight for weight in model.parameters() if weight.requires_grad])
        low(model, batch("TOKEN_CLS")).loss.backward()
        with torch.no_grad():
            low(model, batch("TOKEN_CLS"))
        assert together(kept).count(3) == 3
        model.zero_grad()
        low(model, batch("TOKEN_CLS")).loss.backward()
        found = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    low(model, batch("TOKEN_CLS")).loss.backward()
    expected = {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}
    assert set(found) == set(expected) == {name for name in expected if "query" in name}
    for name, gradient in expected.items():
        assert (found[name].float() - gradient).abs().max() <= 0.02 * gradient.abs().max() + 1e-4


@pytest.mark.parametrize("still", [False, True])
def test_a_weight_that_others_move_is_read_as_it_is(still: bool) -> None:
    """Not adopted, or moved in place by somebody else: never a copy of what was."""
    model, inputs = tiny("bert", "TOKEN_CLS"), batch("TOKEN_CLS")
    with torch.no_grad(), lowered(model, still) as kept:
        low(model, inputs)
        for weight in model.parameters():
            weight.mul_(1.5)
        found = low(model, inputs).logits
        assert bool(kept.products) == still
    with torch.no_grad():
        torch.testing.assert_close(found, low(model, inputs).logits, rtol=0, atol=2e-2)


@pytest.mark.parametrize("micro", [1, 3])
def test_steps_are_those_of_autocast(micro: int) -> None:
    """The same weights after some clipped steps as with float32 gradients of autocast, micro-batches added up."""
    inputs = batch("TOKEN_CLS")
    ours, theirs = tiny("bert", "TOKEN_CLS"), tiny("bert", "TOKEN_CLS")
    mine = RowAdamW(ours.parameters(), lr=1e-3, weight_decay=0.1, fused=True)
    usual = torch.optim.AdamW(theirs.parameters(), lr=1e-3, weight_decay=0.1, fused=True)
    with lowered(ours) as kept:
        kept.adopt(list(ours.parameters()))
        mine.low = kept
        for _ in range(4):
            for part in range(micro):
                low(ours, inputs).loss.backward()
                if part < micro - 1:
                    kept.widen()
                low(theirs, inputs).loss.backward()
            norm = mine.clip(0.5)
            torch.testing.assert_close(norm, nn.utils.clip_grad_norm_(theirs.parameters(), 0.5), rtol=1e-2, atol=0)
            mine.step()
            usual.step()
            mine.zero_grad()
            usual.zero_grad()
        for product in kept.products.values():
            for layer, part in product.parts.items():
                assert torch.equal(part, layer.weight.to(torch.bfloat16))
    steps = {int(state["step"]) for state in mine.state.values()}
    assert steps == {4}
    moved, other, start = (dict(model.named_parameters()) for model in (ours, theirs, tiny("bert", "TOKEN_CLS")))
    for name in moved:
        if "key.bias" in name:  # it changes no attention: its gradient is rounding alone
            continue
        way = (other[name] - start[name]).abs().mean()
        assert (moved[name] - other[name]).abs().mean() <= 0.05 * way
        assert way > 1e-4 or "embeddings" in name


def test_tied_weights_keep_float32_gradients() -> None:
    model, inputs = tiny("llama", "CAUSAL_LM", tie_word_embeddings=True), batch("CAUSAL_LM")
    tied = model.get_input_embeddings().weight
    assert tied is model.get_output_embeddings().weight
    low(model, inputs).loss.backward()
    expected = tied.grad.clone()
    model.zero_grad()
    with lowered(model) as kept:
        kept.adopt(list(model.parameters()))
        assert tied not in kept.adopted and kept.adopted
        low(model, inputs).loss.backward()
        assert tied.grad.dtype == torch.float32
        assert (tied.grad - expected).abs().max() <= 0.02 * expected.abs().max()


def test_frozen_weights_are_copied_once() -> None:
    model = Lora(Lora.Options()).apply(tiny("bert", "TOKEN_CLS"), "TOKEN_CLS")
    inputs = batch("TOKEN_CLS")
    expected = low(model.eval(), inputs).logits
    with lowered(model) as kept:
        found = low(model, inputs)
        found.loss.backward()
        copies = [product.copy for product in kept.products.values()]
        for made in copies:
            made.zero_()  # whoever copied again would leave no zeros
        low(model, inputs)
        assert copies and not any(made.any() for made in copies)
        assert all(not layer.weight.requires_grad for layer in kept.products)
        torch.testing.assert_close(found.logits, expected, rtol=0, atol=2e-2)


def updates(kept: LowWeights) -> dict[int, int]:
    """Of products by how many layers they hold, how many there are."""
    return dict(Counter(len(product.layers) for product in {id(p): p for p in kept.products.values()}.values()))


@pytest.mark.parametrize(
    "settings", [{}, {"dropout": 0.3}, {"variant": "rslora"}, {"variant": "dora"}, {"bias": "all"}, {"bias": "none"}]
)
def test_low_rank_updates_are_part_of_the_product_beside_them(settings: dict[str, Any]) -> None:
    """And give autocast's states and gradients, before and after, in training and out of it."""
    torch.manual_seed(0)
    base = tiny("llama", "CAUSAL_LM", attention_bias="bias" in settings)
    model = Lora(Lora.Options(**settings)).apply(base, "CAUSAL_LM")
    inputs, weights = batch("CAUSAL_LM"), [weight for weight in model.parameters() if weight.requires_grad]
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)  # zeros would hide the other matrix from its gradient

    def once() -> tuple[torch.Tensor, list[torch.Tensor]]:
        torch.manual_seed(5)
        model.zero_grad()
        found = low(model, inputs)
        found.loss.backward()
        return found.logits.detach().float(), [weight.grad.float() for weight in weights if weight.grad is not None]

    expected, slopes = once()
    with lowered(model) as kept:
        kept.adopt(weights)
        kept.meet(lambda: low(model.eval(), inputs))
        model.train()
        for _ in range(2):
            found, ours = once()
            assert (found - expected).norm() <= 0.02 * expected.norm()
            for one, other in zip(ours, slopes, strict=True):
                assert (one - other).norm() <= 0.03 * other.norm() + 1e-4
        joined = updates(kept)
        with lowered(model.eval(), still=True), torch.no_grad():  # as a validation in the midst of it does
            low(model, inputs)
        assert not any(module.cast_input_dtype_enabled for module in kept.updates)
        assert bool(kept.updates) == (settings.get("variant") != "dora")  # its weights' norms are of float32
    layers = model.config.num_hidden_layers
    if "dropout" in settings:  # what updates them reads what dropout left
        assert joined.get(3, 0) == layers and max(joined) == 3
    elif settings.get("variant") == "dora":
        assert set(joined) == {1}
    else:
        assert joined[6] == joined[4] == layers  # query, key, value, and what updates each; gate, up, and theirs
    assert all(module.cast_input_dtype_enabled for module in model.modules() if hasattr(module, "lora_A"))


def test_without_autocast_nothing_is_lowered() -> None:
    model, inputs = tiny("bert", "TOKEN_CLS"), batch("TOKEN_CLS")
    with torch.no_grad():
        expected = model(**inputs).logits
        with lowered(model, still=True) as kept:
            assert torch.equal(model(**inputs).logits, expected)
            assert not kept.products


def test_checkpointed_layers_are_computed_again_as_they_were() -> None:
    """A layer is met in the pass forward, and met again on the way back: no other product then."""
    inputs, found = batch("TOKEN_CLS"), []
    for switch in ("activation_checkpointing_disable", "activation_checkpointing_enable"):
        model = tiny("bert", "TOKEN_CLS").train()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        getattr(model, switch)()
        with lowered(model) as kept:
            weights = list(model.parameters())
            optimizer = RowAdamW(weights, lr=1e-3, fused=True)
            kept.adopt(weights)
            optimizer.low = kept
            losses = []
            for _ in range(3):
                loss = low(model, inputs).loss
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                losses.append(loss.item())
            assert together(kept).count(3) == 3
            found.append(losses)
    assert found[0] == pytest.approx(found[1], abs=2e-3)
    assert found[0][0] > found[0][-1]


def test_nothing_is_held_from_one_pass_to_the_next() -> None:
    model, inputs = tiny("bert", "TOKEN_CLS"), batch("TOKEN_CLS")
    with torch.no_grad(), lowered(model, still=True) as kept:
        for _ in range(3):
            low(model, inputs)
            assert all(not product.waiting and product.states is None for product in kept.products.values())


def test_of_a_product_the_biases_that_learn_have_gradients() -> None:
    model = tiny("bert", "TOKEN_CLS")
    for name, weight in model.named_parameters():
        weight.requires_grad = "query.bias" in name
    with lowered(model):
        for _ in range(2):
            low(model, batch("TOKEN_CLS")).loss.backward()
            assert all((weight.grad is not None) == ("query.bias" in name) for name, weight in model.named_parameters())
            model.zero_grad()


def test_copies_made_while_answering_serve_training() -> None:
    model, inputs = tiny("bert", "TOKEN_CLS"), batch("TOKEN_CLS")
    with lowered(model) as kept:
        kept.adopt(list(model.parameters()))
        with torch.inference_mode():
            low(model, inputs)
        low(model, inputs).loss.backward()


def test_nothing_stays() -> None:
    model, inputs = tiny("bert", "TOKEN_CLS"), batch("TOKEN_CLS")
    before = [sorted(vars(module)) for module in model.modules()]
    with pytest.raises(ZeroDivisionError), lowered(model) as kept:
        kept.adopt(list(model.parameters()))
        low(model, inputs).loss.backward()
        with lowered(model) as inner:  # a second one inside has nothing to do
            assert not inner.layers
        raise ZeroDivisionError
    assert [sorted(vars(module)) for module in model.modules()] == before
    assert all(weight.grad_dtype == torch.float32 for weight in model.parameters())
    copy.deepcopy(model)
    learn(model, "TOKEN_CLS")


def test_training_in_bf16_is_what_it_was_with_autocast(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = ("train.precision=bf16", "train.epochs=2", "train.learning_rate=0.002")
    kept = lab.train("single", *settings)
    monkeypatch.setattr(LowWeights, "install", lambda self: setattr(self, "layers", []))
    cast = train(lab.recipe("single", *settings), lab.new())
    ours, theirs = curve(kept.run), curve(cast.run)
    assert ours["loss"] == pytest.approx(theirs["loss"], abs=0.02)
    assert ours["loss"] != theirs["loss"] or ours["grad_norm"] != theirs["grad_norm"]


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.one(first), self.other(second)


def test_an_update_of_weights_in_low_precision_casts_as_it_did() -> None:
    model = Lora(Lora.Options()).apply(tiny("llama", "CAUSAL_LM").to(torch.bfloat16), "CAUSAL_LM")
    with lowered(model) as kept:
        assert not kept.updates
        assert all(module.cast_input_dtype_enabled for module in model.modules() if hasattr(module, "lora_A"))


class Far(nn.Module):
    """One layer is asked twice for the same states; another reads them after two others."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three, self.last = (nn.Linear(8, 8) for _ in range(4))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        behind: torch.Tensor = self.three(self.two(self.one(states)))
        return behind + self.last(states) + self.last(states)


def test_layers_far_from_each_other_and_a_layer_met_twice_are_no_product() -> None:
    """What is computed with a layer waits for the other, which may be many layers away."""
    model, states = Far(), torch.randn(3, 8)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        wanted = model(states)
        with lowered(model, still=True) as kept:
            for _ in range(2):
                found = model(states)
            assert together(kept) == [1, 1, 1, 1]
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-2)


def test_layers_that_read_the_same_at_first_may_read_different_states_later() -> None:
    model, first, second = Two(), torch.randn(3, 8), torch.randn(3, 8)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        wanted = model(first, second)
        with lowered(model, still=True) as kept:
            for _ in range(2):
                model(first, first)
            assert together(kept) == [2]
            found = model(first, second)
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-2)


def test_micro_batches_add_up_in_float32() -> None:
    model, given = tiny("bert", "TOKEN_CLS"), batch("TOKEN_CLS")
    with lowered(model) as kept:
        kept.adopt(list(model.parameters()))
        low(model, given).loss.backward()
        kept.widen()
        low(model, given).loss.backward()
        assert {weight.grad.dtype for weight in kept.adopted if weight.grad is not None} == {torch.float32}


def test_products_are_made_once() -> None:
    model, given = tiny("bert", "TOKEN_CLS"), batch("TOKEN_CLS")
    with torch.no_grad(), lowered(model, still=True) as kept:
        for _ in range(2):
            low(model, given)
        made = dict(kept.products)
        low(model, given)
        assert kept.products == made


def test_a_step_without_autocast_has_no_copies_to_write() -> None:
    model = tiny("bert", "TOKEN_CLS")
    optimizer = RowAdamW(model.parameters(), lr=1e-3, fused=True)
    with lowered(model) as kept:
        kept.adopt(list(model.parameters()))
        optimizer.low = kept
        model(**batch("TOKEN_CLS")).loss.backward()
        optimizer.step()
        assert not kept.products


def test_answers_in_bf16_read_copies_that_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many batches: a copy when a layer is met, and one when it joins others."""
    t, tokenizer, made, write = Classification(Classification.Options()), tiny_tokenizer("bert"), [], Product.write
    monkeypatch.setattr(Product, "write", lambda self, layer: made.append(layer) or write(self, layer))
    model = tiny("bert", "SEQ_CLS", vocab_size=len(tokenizer))
    encoded = dict(tokenizer(["The film was sharp."] * 6))
    infer.run(model, t, tokenizer, encoded, EvaluateSpec(precision="bf16", batch_tokens=1))
    assert made and max(made.count(layer) for layer in made) <= 2
