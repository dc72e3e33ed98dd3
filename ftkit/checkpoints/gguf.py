"""A quantized GGUF file made into a plain checkpoint: float32 safetensors, tokenizer, chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ftkit.errors import CheckpointError


def convert(source: Path, folder: Path) -> None:
    """Dequantize `source` once into `folder`, which any transformers loads; the same bytes each time.

    Raises:
        CheckpointError: the folder answers otherwise than the GGUF file.
    """
    import torch
    from transformers import AutoModelForCausalLM

    quantized = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    tokenizer = _tokenizer(source, quantized.config.max_position_embeddings)
    _plain(quantized).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    _check(quantized, folder)


def _plain(quantized: Any) -> Any:
    """The same weights in a model that knows nothing of a quantization, so that it can be saved."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = quantized.config.to_dict()
    for stray in ("quantization_config", "_model_name_or_path", "_name_or_path"):
        settings.pop(stray, None)
    # No storage: random weights would cost time, and draw from the generator that training is seeded by.
    with torch.device("meta"):
        auto: Any = AutoModelForCausalLM  # Its from_config has no types.
        plain = auto.from_config(AutoConfig.for_model(**settings), dtype=torch.float32)
    plain.load_state_dict(quantized.state_dict(), assign=True)
    plain.generation_config = quantized.generation_config
    return plain


def _tokenizer(source: Path, max_length: int) -> Any:
    """The tokenizer inside `source`, splitting text as the model was trained to.

    transformers reads the vocabulary and the merges, and passes over `tokenizer.ggml.pre`, the rule that
    splits a text before them. `smollm` sets each digit apart; without it "\\n\\n1" has other tokens.
    """
    from gguf import GGUFReader
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        source.parent, gguf_file=source.name, model_max_length=max_length, clean_up_tokenization_spaces=False
    )
    rule = GGUFReader(source).get_field("tokenizer.ggml.pre")
    if rule is not None and rule.contents() == "smollm":
        byte_level = ByteLevel(add_prefix_space=False, use_regex=True)
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), byte_level])
    return tokenizer


def _check(quantized: Any, folder: Path) -> None:
    """The reloaded folder gives the logits of the GGUF file, to the last bit."""
    import torch
    from transformers import AutoModelForCausalLM

    saved = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokens = torch.arange(16).unsqueeze(0) * 7 % quantized.config.vocab_size
    with torch.inference_mode():
        same = torch.equal(quantized(tokens).logits, saved(tokens).logits)
    if not same:
        raise CheckpointError(
            f"The converted checkpoint in {folder} answers otherwise than the GGUF file",
            "The installed transformers reads this GGUF file in another way; please report it",
        )
