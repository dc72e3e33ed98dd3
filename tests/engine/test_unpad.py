"""Encoders answer and learn without padding as with it, models of other kinds are left alone, and nothing stays."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ftkit.engine import dropout, unpad
from ftkit.engine.unpad import ATTENTION, Packing, attend, rounded, unpadded
from ftkit.methods._base import Method
from ftkit.methods._layers import plain_model
from ftkit.methods.adapter import Adapter
from ftkit.methods.ia3 import IA3
from ftkit.methods.lora import Lora
from tests.tiny import build, learn, tiny

ENCODERS = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "modernbert")
ALSO = (
    "data2vec-text",
    "ernie",
    "esm",
    "eurobert",
    "jina_embeddings_v3",
    "megatron-bert",
    "mobilebert",
    "nomic_bert",
    "roberta-prelayernorm",
    "xlm-roberta-xl",
    "xmod",
)
"""Further encoders whose attention transformers lets one exchange."""
HEADS = ("SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS")
Mask = torch.Tensor | None


def encoder(name: str, kind: str, **changes: Any) -> Any:
    """A tiny model; ModernBERT's attention is local in its second layer, and its window shorter than most rows."""
    if name == "modernbert":
        changes = {"local_attention": 6, "global_attn_every_n_layers": 2} | changes
    if name in ("xlm-roberta", "camembert"):
        return alike(name, "roberta", kind, **changes)
    return tiny(name, kind, **changes)


def alike(name: str, architecture: str, kind: str, **changes: Any) -> Any:
    """A tiny model of a name that `tiny` does not know, with the settings of one that it does."""
    given = tiny(architecture, kind).config.to_dict()
    own = {key: value for key, value in given.items() if key not in ("model_type", "architectures", "dtype")}
    return build(transformers.AutoConfig.for_model(name, **(own | changes)), kind)


@cache
def shared(name: str, kind: str) -> Any:
    """The same model for all examples; whoever asks must leave it as it was."""
    return encoder(name, kind)


def without_dropout(model: Any) -> Any:
    """In training mode, where nothing is drawn at random."""
    for module in model.modules():
        for name in ("p", "dropout_prob", "attention_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return model.train()


@st.composite
def masks(draw: st.DrawFn, first: bool = False) -> tuple[int, int, Mask]:
    """Rows, width and a mask, or none, with a real token in each row; with `first`, at its start."""
    rows, width = draw(st.integers(1, 4)), draw(st.integers(1, 20))
    lengths = draw(st.lists(st.integers(1, width), min_size=rows, max_size=rows))
    right = torch.arange(width) < torch.tensor(lengths)[:, None]
    style = draw(st.sampled_from(["none", "ones", "right", "holes"] + ([] if first else ["left"])))
    if style == "none":
        return rows, width, None
    if style == "holes":
        holes = draw(st.lists(st.booleans(), min_size=rows * width, max_size=rows * width))
        mask = torch.tensor(holes).view(rows, width)
        mask[:, 0] |= torch.tensor(True) if first else ~mask.any(1)
    else:
        mask = {"ones": torch.ones_like(right), "right": right, "left": right.flip(1)}[style]
    return rows, width, mask.long()


def inputs(rows: int, width: int, mask: Mask) -> dict[str, Any]:
    ids = torch.randint(6, 99, (rows, width), generator=torch.Generator().manual_seed(rows * 1000 + width))
    return {"input_ids": ids, "attention_mask": mask}


def readable(outputs: Any, kind: str, mask: Mask) -> torch.Tensor:
    """The logits that anybody reads: of rows, or of real tokens."""
    if kind == "SEQ_CLS":
        return outputs.logits
    logits = torch.stack([outputs.start_logits, outputs.end_logits], -1) if kind == "QUESTION_ANS" else outputs.logits
    return logits if mask is None else logits[mask.bool()]


def answer(model: Any, kind: str, batch: dict[str, Any]) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Logits, and the gradients of a random mean of them."""
    logits = readable(model(**batch), kind, batch["attention_mask"])
    pull = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad((logits * pull).mean(), weights, materialize_grads=True)
    return logits.detach(), list(gradients)


def assert_same(model: Any, kind: str, batch: dict[str, Any], logits: float = 1e-6, gradient: float = 1e-5) -> None:
    """Logits and gradients without padding equal those with it."""
    before, gradients = answer(model, kind, batch)
    with unpadded(model) as does:
        assert does
        after, others = answer(model, kind, batch)
    assert torch.isfinite(after).all()
    assert (after - before).abs().max() <= logits
    assert max(found.abs().max().item() for found in gradients) > 1e-3
    assert max((one - other).abs().max().item() for one, other in zip(gradients, others, strict=True)) <= gradient


# ---------------------------------------------------------------------- the same results


@pytest.mark.parametrize(("name", "kind"), [*product(ENCODERS, HEADS)])
def test_logits_and_gradients_are_the_padded_ones(name: str, kind: str) -> None:
    @settings(max_examples=12, deadline=None)
    @given(shape=masks(first=kind == "SEQ_CLS"))
    def check(shape: tuple[int, int, Mask]) -> None:
        assert_same(shared(name, kind), kind, inputs(*shape))

    check()


@pytest.mark.parametrize("name", ENCODERS)
def test_layers_see_real_tokens_alone(name: str) -> None:
    model, seen = encoder(name, "TOKEN_CLS"), []
    layers = unpad.stack_of(model)
    assert layers is not None
    linear = next(module for module in layers[1].modules() if isinstance(module, nn.Linear))
    linear.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[:2]))
    with unpadded(model):
        logits = model(**inputs(3, 10, (torch.arange(10) < torch.tensor([[10], [4], [1]])).long())).logits
    assert seen[-1] == (1, 15)
    assert logits.shape == (3, 10, 3)


NARROWED = ("bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert")
"""Encoders whose norms stand behind what they norm: past the last attention, first tokens go on alone."""


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("whole", [False, True])
def test_past_the_last_attention_only_what_the_head_reads_is_computed(name: str, whole: bool) -> None:
    model = encoder(name, "SEQ_CLS")
    assert last_tokens(model, whole) == (3 if name in NARROWED and not whole else 15)
    assert last_tokens(encoder(name, "TOKEN_CLS"), whole) == 15


def test_a_head_that_reads_a_mean_gets_all_tokens() -> None:
    assert last_tokens(encoder("modernbert", "SEQ_CLS", classifier_pooling="mean"), whole=False) == 15


def last_tokens(model: Any, whole: bool) -> int:
    """The tokens that go through the last linear layer of the last layer; 15 in three rows are real."""
    layers, seen = unpad.stack_of(model), []
    assert layers is not None
    linear = [module for module in layers[-1].modules() if isinstance(module, nn.Linear)][-1]
    linear.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    with torch.inference_mode(), unpadded(model, whole):
        model(**inputs(3, 10, (torch.arange(10) < torch.tensor([[10], [4], [1]])).long()))
    return int(seen[-1])


def test_first_tokens_alone_train_as_all_do() -> None:
    """With dropout, checkpointed layers and PEFT's weights, gradients are those of the whole rows."""
    for method in (None, "lora", "adapter"):
        model = without_dropout(encoder("bert", "SEQ_CLS"))
        if method:
            model = without_dropout(learn(METHODS[method].apply(model, "SEQ_CLS"), "SEQ_CLS"))
        batch, found = inputs(3, 10, (torch.arange(10) < torch.tensor([[10], [4], [1]])).long()), []
        for whole, switch in product(
            (True, False), ("activation_checkpointing_disable", "activation_checkpointing_enable")
        ):
            with unpadded(model, whole):
                getattr(plain_model(model), switch)()
                found.append(answer(model, "SEQ_CLS", batch))
        for logits, gradients in found[1:]:
            torch.testing.assert_close(logits, found[0][0], rtol=0, atol=2e-6)
            for one, other in zip(gradients, found[0][1], strict=True):
                torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(shape=masks())
def test_a_mean_over_tokens_is_the_padded_one(shape: tuple[int, int, Mask]) -> None:
    assert_same(modernbert_mean(), "SEQ_CLS", inputs(*shape))


@cache
def modernbert_mean() -> Any:
    return encoder("modernbert", "SEQ_CLS", classifier_pooling="mean")


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", ENCODERS)
def test_training_mode_gives_the_padded_gradients(name: str, attention: str) -> None:
    model = without_dropout(encoder(name, "TOKEN_CLS"))
    model.set_attn_implementation(attention)
    dropout.install(model)
    mask = (torch.arange(15) < torch.tensor([[15], [9], [2]])).long()
    assert_same(model, "TOKEN_CLS", inputs(3, 15, mask))


@pytest.mark.parametrize("width", [unpad._LONG - 1, unpad._LONG, unpad._LONG + 13])
@pytest.mark.parametrize("name", ENCODERS)
def test_long_rows(name: str, width: int) -> None:
    """Of the one token of the last row, ModernBERT's window shows to most padding only padding."""
    mask = (torch.arange(width) < torch.tensor([[width], [60], [1]])).long()
    assert_same(shared(name, "TOKEN_CLS"), "TOKEN_CLS", inputs(3, width, mask))
    assert_same(shared(name, "SEQ_CLS"), "SEQ_CLS", inputs(1, width, None))


@pytest.mark.parametrize("name", ALSO)
def test_further_encoders_are_the_same_or_left_alone(name: str) -> None:
    extra = {"xmod": {"languages": ["en_XX", "de_DE"], "default_language": "en_XX"}, "esm": {"mask_token_id": 3}}
    model = alike(name, "roberta", "TOKEN_CLS", hidden_act="gelu", **extra.get(name, {}))
    mask = (torch.arange(12) < torch.tensor([[12], [12], [5], [1]])).long()
    batch = inputs(4, 12, mask)
    with torch.no_grad():
        before = readable(model(**batch), "TOKEN_CLS", mask)
        with unpadded(model) as does:
            assert does == (name not in ("xmod", "megatron-bert"))
            after = readable(model(**batch), "TOKEN_CLS", mask)
    assert (after - before).abs().max() <= 1e-6


def test_segments_and_given_positions_stay_with_their_tokens() -> None:
    mask = (torch.arange(9) < torch.tensor([[9], [3]])).long()
    batch = inputs(2, 9, mask) | {"token_type_ids": torch.tensor([[0] * 4 + [1] * 5, [0, 1, 1] + [0] * 6])}
    assert_same(shared("bert", "TOKEN_CLS"), "TOKEN_CLS", batch)
    places = {"position_ids": torch.arange(9).flip(0).expand(2, 9)}
    assert_same(shared("bert", "TOKEN_CLS"), "TOKEN_CLS", batch | places)
    assert_same(shared("modernbert", "TOKEN_CLS"), "TOKEN_CLS", inputs(2, 9, mask) | places)


def test_hidden_states_have_the_shape_of_the_batch() -> None:
    mask = (torch.arange(9) < torch.tensor([[9], [3]])).long()
    batch = inputs(2, 9, mask) | {"output_hidden_states": True}
    model = shared("bert", "TOKEN_CLS")
    with torch.no_grad():
        before = model(**batch).hidden_states
        with unpadded(model):
            after = model(**batch).hidden_states
    for one, other in zip(before, after, strict=True):
        assert one.shape == other.shape
        assert (one - other)[mask.bool()].abs().max() <= 1e-5


def test_autocast_to_bf16_is_as_near_as_the_padded_path() -> None:
    model, mask = shared("bert", "TOKEN_CLS"), (torch.arange(12) < torch.tensor([[12], [5]])).long()
    exact, _ = answer(model, "TOKEN_CLS", inputs(2, 12, mask))
    with torch.autocast("cpu", dtype=torch.bfloat16), unpadded(model):
        logits, gradients = answer(model, "TOKEN_CLS", inputs(2, 12, mask))
    assert (logits.float() - exact).abs().max() < 0.03 * exact.abs().max()
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_half_precision_weights() -> None:
    mask = (torch.arange(140) < torch.tensor([[140], [5]])).long()
    for width in (12, 140):
        model, batch = encoder("modernbert", "TOKEN_CLS").to(torch.bfloat16), inputs(2, width, mask[:, :width])
        with torch.no_grad():
            before = readable(model(**batch), "TOKEN_CLS", mask[:, :width])
            with unpadded(model):
                after = readable(model(**batch), "TOKEN_CLS", mask[:, :width])
        assert after.dtype == torch.bfloat16
        assert (after - before).abs().max() < 0.05 * before.abs().max()


# ---------------------------------------------------------------------- on top of it

METHODS: dict[str, Method] = {
    "lora": Lora(Lora.Options()),
    "dora": Lora(Lora.Options(variant="dora")),
    "ia3": IA3(IA3.Options()),
    "adapter": Adapter(Adapter.Options()),
}


@pytest.mark.parametrize(("name", "method"), [*product(["bert", "distilbert", "modernbert"], METHODS)])
def test_methods_learn_the_same(name: str, method: str) -> None:
    model = learn(METHODS[method].apply(encoder(name, "TOKEN_CLS"), "TOKEN_CLS"), "TOKEN_CLS")
    mask = (torch.arange(15) < torch.tensor([[15], [9], [2]])).long()
    assert_same(model, "TOKEN_CLS", inputs(3, 15, mask), logits=5e-6)


@pytest.mark.parametrize("name", ["bert", "distilbert", "modernbert"])
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_checkpointed_layers_give_the_same_gradients(name: str, rate: float) -> None:
    """With dropout too: the layers that are computed again draw the same masks."""
    model = without_dropout(encoder(name, "TOKEN_CLS"))
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
    dropout.install(model)
    batch = inputs(3, 15, (torch.arange(15) < torch.tensor([[15], [9], [2]])).long())
    with unpadded(model):
        found = []
        for switch in (model.activation_checkpointing_disable, model.activation_checkpointing_enable):
            switch()
            torch.manual_seed(3)
            found.append(answer(model, "TOKEN_CLS", batch))
    assert model.is_activation_checkpointing
    (logits, gradients), (others, again) = found
    assert torch.equal(logits, others)
    assert max((one - other).abs().max().item() for one, other in zip(gradients, again, strict=True)) <= 1e-6


def test_checkpointed_layers_of_two_batches_do_not_mix() -> None:
    model, found = without_dropout(encoder("bert", "TOKEN_CLS")), []
    long, short = inputs(2, 9, torch.tensor([[1] * 9, [1] * 4 + [0] * 5])), inputs(3, 5, None)
    with unpadded(model):
        for switch in (model.activation_checkpointing_disable, model.activation_checkpointing_enable):
            switch()
            loss = model(**long).logits.mean() + model(**short).logits.square().mean()
            found.append(torch.autograd.grad(loss, list(model.parameters())))
    assert max((one - other).abs().max().item() for one, other in zip(*found, strict=True)) <= 1e-6


# ---------------------------------------------------------------------- attention dropout


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_attention_drops_weights_at_its_rate(rate: float) -> None:
    """Queries of zero weigh all tokens alike, and values that are unit vectors show the weights."""
    lengths = torch.tensor([60, 25])
    packing = Packing.of(2, 60, torch.arange(60) < lengths[:, None])
    values = packing.pack(torch.eye(60).expand(2, 60, 60))[:, None].expand(1, 30, -1, 60)
    blank = torch.zeros_like(values)
    torch.manual_seed(0)
    weights = packing.unpack(attend(nn.Identity(), blank, blank, values, packing, dropout=rate)[0])
    for row, length in enumerate(lengths.tolist()):
        shown = weights[row, :length]
        assert not shown[..., length:].any()
        kept = shown[..., :length] > 0
        torch.testing.assert_close(
            shown[..., :length][kept], torch.full((int(kept.sum()),), 1 / length / (1 - rate)), rtol=1e-4, atol=0
        )
        count = kept.numel()
        assert abs(kept.sum().item() - count * (1 - rate)) < 5 * (count * rate * (1 - rate)) ** 0.5


@pytest.mark.parametrize("name", ENCODERS)
def test_attention_dropout_is_for_training(name: str) -> None:
    keys = {"distilbert": "attention_dropout", "modernbert": "attention_dropout"}
    model = without_dropout(encoder(name, "SEQ_CLS"))
    batch = inputs(3, 15, (torch.arange(15) < torch.tensor([[15], [9], [2]])).long())
    key = keys.get(name, "attention_probs_dropout_prob")
    random = without_others(encoder(name, "SEQ_CLS", **{key: 0.5}))
    with torch.no_grad(), unpadded(random), unpadded(model):
        calm = model(**batch).logits
        assert torch.equal(random.eval()(**batch).logits, calm)
        random.train()
        first, again, other = (seeded(random, batch, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert (first - calm).abs().max() > 1e-4 < (first - other).abs().max()


def without_others(model: Any) -> Any:
    """No dropout but the attention's."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout) and not name.endswith(("attention.dropout", "self.dropout")):
            module.p = 0.0
    return model


def seeded(model: Any, batch: dict[str, Any], seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    return model(**batch).logits


# ---------------------------------------------------------------------- who is left alone


def other(name: str, kind: str) -> Any:
    if name == "bert-decoder":
        return tiny("bert", kind, is_decoder=True)
    if name in ("mpnet", "convbert"):
        return alike(name, "bert", kind)
    return tiny(name, kind)


OTHERS = [
    *product(["deberta_v2", "albert", "mpnet", "convbert"], HEADS),
    *product(["llama", "gpt2"], ["CAUSAL_LM", "BASE", *HEADS]),
    *product(["t5"], ["SEQ_2_SEQ_LM", *HEADS]),
    *product(["bart"], ["SEQ_2_SEQ_LM", "SEQ_CLS", "QUESTION_ANS"]),
    ("bert-decoder", "SEQ_CLS"),
]


@pytest.mark.parametrize(("name", "kind"), OTHERS)
def test_models_of_other_kinds_are_left_alone(name: str, kind: str) -> None:
    model = other(name, kind)
    batch = inputs(2, 9, torch.tensor([[1] * 9, [1] * 5 + [0] * 4]))
    batch["input_ids"][1, 5:] = model.config.pad_token_id
    if name in ("t5", "bart"):  # their classifiers read the one `</s>` of a row
        batch["input_ids"][[0, 1], [8, 4]] = model.config.eos_token_id
    if "SEQ_2_SEQ" in kind:
        batch["decoder_input_ids"] = batch["input_ids"]
    before = traces(model)
    with torch.no_grad():
        expected = model(**batch)[0]
        with unpadded(model) as does:
            assert not does
            assert traces(model) == before
            assert torch.equal(model(**batch)[0], expected)
    assert traces(model) == before


def traces(model: Any) -> Any:
    """Attention, hooks and names of a model: whatever could be left behind."""
    hooks = [
        (name, len(module._forward_hooks), len(module._forward_pre_hooks), type(module).__name__, module.training)
        for name, module in model.named_modules()
    ]
    own = {name: sorted(vars(module)) for name, module in model.named_modules()}
    configs = [
        module.config._attn_implementation
        for module in model.modules()
        if hasattr(module, "_can_set_attn_implementation")
    ]
    return hooks, own, configs, list(model.state_dict())


# ---------------------------------------------------------------------- in and out


@contextmanager
def broken(model: Any) -> Iterator[None]:
    """Goes in and comes out by an error."""
    with pytest.raises(ZeroDivisionError), unpadded(model):
        yield
        raise ZeroDivisionError


@pytest.mark.parametrize("way", [unpadded, broken])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", ["bert", "distilbert", "modernbert"])
def test_nothing_stays(name: str, attention: str, way: Callable[[Any], Any]) -> None:
    model = encoder(name, "SEQ_CLS")
    model.set_attn_implementation(attention)
    batch = inputs(2, 9, torch.tensor([[1] * 9, [1] * 4 + [0] * 5]))
    before, stored = traces(model), model.config.to_json_string()
    with torch.no_grad():
        expected = model(**batch).logits
        with way(model):
            model(**batch)
        assert traces(model) == before
        assert model.config.to_json_string() == stored
        assert model.config._attn_implementation == attention
        assert torch.equal(model(**batch).logits, expected)
        assert torch.equal(pickle.loads(pickle.dumps(model))(**batch).logits, expected)


def test_a_second_time_inside_changes_nothing() -> None:
    model = encoder("modernbert", "SEQ_CLS")
    batch = inputs(2, 9, torch.tensor([[1] * 9, [1] * 4 + [0] * 5]))
    before = traces(model)
    with torch.no_grad(), unpadded(model):
        expected, inside = model(**batch).logits, traces(model)
        with unpadded(model) as does:
            assert does
            assert traces(model) == inside
            assert torch.equal(model(**batch).logits, expected)
        assert traces(model) == inside
        assert torch.equal(model(**batch).logits, expected)
    assert traces(model) == before


def test_a_model_saved_inside_is_the_plain_one(tmp_path: Path) -> None:
    model = encoder("bert", "SEQ_CLS")
    batch = inputs(2, 9, torch.tensor([[1] * 9, [1] * 4 + [0] * 5]))
    with torch.no_grad(), unpadded(model):
        model.save_pretrained(tmp_path)
        expected = model(**batch).logits
    assert ATTENTION not in (tmp_path / "config.json").read_text(encoding="utf-8")
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert (loaded(**batch).logits - expected).abs().max() <= 1e-6


def test_models_wrapped_and_plain_are_one_and_the_same_inside() -> None:
    plain = encoder("bert", "SEQ_CLS")
    wrapped = METHODS["lora"].apply(plain, "SEQ_CLS")
    with unpadded(wrapped), unpadded(plain) as does:
        assert does
    assert ATTENTION not in {
        module.config._attn_implementation for module in wrapped.modules() if hasattr(module, "config")
    }


# ---------------------------------------------------------------------- the packing


@given(tokens=st.integers(1, 100_000))
def test_long_rows_have_one_of_a_few_lengths(tokens: int) -> None:
    """At most a sixteenth longer than they are, sixteen lengths between two powers of two."""
    assert tokens <= rounded(tokens) <= tokens * (1 + 1 / 16)
    assert rounded(rounded(tokens)) == rounded(tokens)
    assert len({rounded(n) for n in range(512, 1024)}) <= 17


@settings(max_examples=60, deadline=None)
@given(shape=masks())
def test_packing_goes_there_and_back(shape: tuple[int, int, Mask]) -> None:
    rows, width, mask = shape
    packing = Packing.of(rows, width, mask)
    real = torch.ones(rows, width, dtype=torch.bool) if mask is None else mask.bool()
    states = torch.randn(rows, width, 3, dtype=torch.float64)
    packed = packing.pack(states)
    count = int(real.sum())
    assert torch.equal(packed[:, :count], states[real][None])
    assert packed.shape[1] == (count if bool(real.all()) else rounded(count)) and not packed[:, count:].any()
    assert torch.equal(packing.unpack(packed), states * real[..., None])
    heads = packed.view(1, -1, 3, 1).transpose(1, 2)
    assert torch.equal(packing.spread(heads).transpose(1, 2)[real], states[real][..., None])
    if mask is None or mask.all():
        assert packing.padding is None
    else:
        assert torch.equal(packing.padding, ~real[:, None, None, :])


@settings(max_examples=20, deadline=None)
@given(shape=masks())
def test_gradients_go_the_way_of_the_values(shape: tuple[int, int, Mask]) -> None:
    rows, width, mask = shape
    packing = Packing.of(rows, width, mask)
    states = torch.randn(rows, width, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(packing.pack, states)
    packed = packing.pack(states).detach().requires_grad_()
    assert torch.autograd.gradcheck(packing.unpack, packed)
    real = torch.ones(rows, width, dtype=torch.bool) if mask is None else mask.bool()
    heads = packed.detach()[:, None].requires_grad_()
    assert torch.autograd.gradcheck(lambda values: packing.spread(values).transpose(1, 2)[real], heads)


@settings(max_examples=60, deadline=None)
@given(shape=masks(), window=st.none() | st.integers(1, 25))
def test_what_is_hidden(shape: tuple[int, int, Mask], window: int | None) -> None:
    rows, width, mask = shape
    hidden = Packing.of(rows, width, mask).hidden(window, torch.device("cpu"))
    found = torch.zeros(rows, 1, width, width, dtype=torch.bool)
    if hidden is not None:
        found |= hidden
    for row, query, key in product(range(rows), range(width), range(width)):
        padded = mask is not None and not mask[row, key]
        outside = window is not None and abs(query - key) >= window
        assert bool(found[row, 0, query, key]) == (padded or outside)


def test_a_window_is_made_where_the_batch_is() -> None:
    """`meta` stands for any device that is not the processor."""
    meta = torch.device("meta")
    padding = torch.zeros(2, 1, 1, 9, dtype=torch.bool, device=meta)
    for packing in (Packing(2, 9, None, 0, None, padding), Packing(2, 9, None, 0, None, None)):
        hidden = packing.hidden(3, meta)
        assert hidden is not None and hidden.device == meta


@pytest.mark.parametrize("kind", HEADS)
def test_hidden_states_are_whole_where_the_head_reads_first_tokens(kind: str) -> None:
    mask = (torch.arange(9) < torch.tensor([[9], [3]])).long()
    model, given = encoder("bert", kind), inputs(2, 9, mask) | {"output_hidden_states": True}
    with torch.no_grad():
        before = model(**given).hidden_states
        with unpadded(model):
            after = model(**given).hidden_states
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(other[mask.bool()], one[mask.bool()], rtol=0, atol=1e-5)


def test_first_tokens_are_put_back_among_zeros() -> None:
    states = torch.randn(1, 3, 4)
    found = Packing.of(3, 5, None).unpack_firsts(states)
    assert torch.equal(found[:, 0], states[0])
    assert not found[:, 1:].any()


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("training", [True, False])
def test_a_model_that_trains_goes_on_training_inside(kind: str, training: bool) -> None:
    model = encoder("bert", kind).train(training)
    with unpadded(model) as does:
        assert does
        assert all(part.training is training for part in model.modules())
