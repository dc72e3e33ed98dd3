"""Products of runs of queries in place of fused attention give the same states and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    OPTConfig,
    Qwen2Config,
)

from ftkit.engine import causal
from ftkit.engine.causal import ATTENTION, attend, plain_attention
from ftkit.engine.dropout import mask
from ftkit.engine.train import train
from tests.runs import Lab

MASKS = {
    "none": [[1] * 7] * 3,
    "left": [[1] * 7, [0] * 3 + [1] * 4, [0] * 6 + [1]],
    "right": [[1] * 7, [1] * 4 + [0] * 3, [1] + [0] * 6],
}


SIZES = {
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def model(**settings: Any) -> LlamaForCausalLM:
    torch.manual_seed(1)
    config = LlamaConfig(**SIZES, num_key_value_heads=2, **settings)
    return LlamaForCausalLM(config).train()


def gradients(model: torch.nn.Module, mask: list[list[int]], bf16: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits of real tokens, and all gradients of their sum of squares."""
    model.zero_grad()
    real = torch.tensor(mask)
    ids = torch.arange(real.numel()).reshape(real.shape) * 7 % 50
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = model(input_ids=ids, attention_mask=real).logits.float()[real.bool()]
    logits.square().sum().backward()
    return logits.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("run", [1, 3, 96])
@pytest.mark.parametrize("most", [0, 2**23], ids=["again", "kept"])
@pytest.mark.parametrize(("bf16", "near"), [(False, 1e-5), (True, 3e-2)])
def test_states_and_gradients_are_those_of_fused_attention(
    mask: list[list[int]], bf16: bool, near: float, run: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(causal, "_RUN", run)
    monkeypatch.setattr(causal, "_MOST", most)
    own = model()
    expected = gradients(own, mask, bf16)
    fused: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(causal, "sdpa_attention_forward", lambda *_, **__: fused.append(1))
        with plain_attention(own):
            assert own.config._attn_implementation == ATTENTION
            found = gradients(own, mask, bf16)
    assert not fused
    assert own.config._attn_implementation == "sdpa"
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= near * other.norm()


OTHERS = {
    "mistral": MistralConfig(sliding_window=3, num_key_value_heads=2, **SIZES),
    "gemma3": Gemma3TextConfig(sliding_window=3, num_key_value_heads=2, head_dim=8, **SIZES),
    "qwen2": Qwen2Config(num_key_value_heads=2, **SIZES),
    "gpt2": GPT2Config(n_embd=24, n_layer=2, n_head=4, vocab_size=50, attn_pdrop=0, resid_pdrop=0, embd_pdrop=0),
    "opt": OPTConfig(ffn_dim=32, word_embed_proj_dim=24, dropout=0.0, **SIZES),
    "deepseek": DeepseekV3Config(  # values of another size than keys
        num_key_value_heads=4,
        q_lora_rank=8,
        kv_lora_rank=8,
        qk_rope_head_dim=4,
        qk_nope_head_dim=8,
        v_head_dim=8,
        first_k_dense_replace=2,
        **SIZES,
    ),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("mask", ["left", "right"])
def test_other_architectures_are_computed_as_they_were(name: str, mask: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causal, "_RUN", 3)
    torch.manual_seed(1)
    own = AutoModelForCausalLM.from_config(OTHERS[name], attn_implementation="sdpa").train()
    expected = gradients(own, MASKS[mask])
    with plain_attention(own):
        assert own.config._attn_implementation == ATTENTION
        found = gradients(own, MASKS[mask])
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= 1e-4 * other.norm()


def states(length: int, keys: int | None = None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    query, key, value = (
        torch.randn(1, 2, size, 8, requires_grad=True) for size in (length, keys or length, keys or length)
    )
    return query, key, value


class Module(torch.nn.Module):
    is_causal = True


LEFT = [
    "more keys",
    "no gradient",
    "both ways",
    "looks ahead",
    "a mask of numbers",
    "a mask for each head",
    "many dropped",
]
THEIRS = ["is_causal", "position_bias", "softcap", "cache", "s_aux"]


@pytest.mark.parametrize("case", [*LEFT, *THEIRS])
def test_what_it_is_not_made_for_is_left_to_transformers(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causal, "sdpa_attention_forward", lambda *_, **__: "theirs")
    module = Module()
    given = states(5, 6 if case == "more keys" else None)
    if case == "no gradient":
        given = (given[0].detach(), *given[1:])
    if case == "many dropped":
        monkeypatch.setattr(causal, "_MOST", 2 * 5 * 5 - 1)
    if case == "both ways":
        module = torch.nn.Module()
    masks = {
        "a mask of numbers": torch.ones(1, 1, 5, 5).tril(),
        "a mask for each head": torch.ones(1, 2, 5, 5).bool().tril(),
        "looks ahead": torch.ones(1, 1, 5, 5).bool().tril(1),
    }
    told = {"dropout": 0.1} if case == "many dropped" else {case: True} if case in THEIRS else {}
    assert attend(module, *given, masks.get(case), **told) == "theirs"


@pytest.mark.parametrize("most", [0, 2**23], ids=["again", "kept"])
@pytest.mark.parametrize("length", [95, 96, 97, 250])
def test_rows_of_any_length_are_computed_here(length: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(causal, "_MOST", most)
    torch.manual_seed(length)
    given = states(length)
    found, _ = attend(Module(), *given, None)
    expected = torch.nn.functional.scaled_dot_product_attention(*given, is_causal=True).transpose(1, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    wanted = torch.autograd.grad(expected.square().sum(), given)
    for one, other in zip(torch.autograd.grad(found.square().sum(), given), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_are_computed_again_are_those_that_were(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, also where the way back is gone under autocast, as the Trainer goes it."""
    found = []
    for most, low in ((0, True), (2**23, True), (2**23, False)):
        monkeypatch.setattr(causal, "_MOST", most)
        torch.manual_seed(2)
        given = [part.detach().to(dtype).requires_grad_() for part in states(40)]
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss = attend(Module(), *given, None)[0].float().square().sum()
            found.append(torch.autograd.grad(loss, given))
    for one, *others in zip(*found, strict=True):
        assert all(torch.equal(one, other) for other in others)


def test_a_window_of_keys_is_kept_to() -> None:
    given, window = states(9), torch.ones(1, 1, 9, 9).bool().tril().triu(-3)
    found, _ = attend(Module(), *given, window)
    expected = torch.nn.functional.scaled_dot_product_attention(*given, attn_mask=window).transpose(1, 2)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_scales_as_told_and_computes_in_the_type_of_values(dtype: torch.dtype) -> None:
    query, key, value = states(8)
    value = value.to(dtype)
    found, _ = attend(Module(), query, key, value, None, scaling=0.5)
    wide = value.float()
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, wide, is_causal=True, scale=0.5)
    assert found.dtype == dtype
    torch.testing.assert_close(
        found.float(), expected.transpose(1, 2), rtol=0, atol=5e-2 if dtype != wide.dtype else 1e-6
    )


def test_dropout_drops_its_share_of_the_weights() -> None:
    query, key, _ = states(100)
    torch.manual_seed(3)
    seen = torch.eye(100).expand(1, 2, 100, 100)  # what is found is the weights themselves
    found, _ = attend(Module(), query, key, seen, None, dropout=0.3)
    weights = found.transpose(1, 2)[0, 0]
    allowed = torch.ones(100, 100).tril().bool()
    assert (weights[allowed] == 0).float().mean().item() == pytest.approx(0.3, abs=0.03)
    assert (weights[~allowed] == 0).all()


def test_gradients_go_through_what_dropout_left() -> None:
    given = states(9)
    torch.manual_seed(3)
    found, _ = attend(Module(), *given, None, dropout=0.3)
    query, key, value = given
    hidden = ~torch.ones(9, 9).tril().bool()
    weights = (query @ key.transpose(2, 3) / 8**0.5).masked_fill(hidden, -torch.inf).softmax(-1)
    torch.manual_seed(3)
    expected = (weights * mask(weights, 0.3)) @ value
    torch.testing.assert_close(found.transpose(1, 2), expected, rtol=0, atol=1e-6)
    wanted = torch.autograd.grad(expected.square().sum(), given)
    for one, other in zip(torch.autograd.grad(found.square().sum(), given), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_model_is_given_back_as_it_was_also_behind_an_error() -> None:
    own = model()
    with pytest.raises(ZeroDivisionError), plain_attention(own):
        raise ZeroDivisionError
    assert own.config._attn_implementation == "sdpa"


def test_a_causal_model_is_trained_so(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    weights = causal._weights

    def counted(*args: Any) -> torch.Tensor:
        calls.append(1)
        return weights(*args)

    monkeypatch.setattr(causal, "_weights", counted)
    train(lab.recipe("causal", "train.epochs=1"), lab.new())
    assert calls


def test_a_model_of_other_attention_is_left_alone() -> None:
    own = model(attn_implementation="eager")
    with plain_attention(own):
        assert own.config._attn_implementation == "eager"
