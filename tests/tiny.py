"""Tiny random checkpoints of every architecture, made on the spot: no hub, no download, a fixed seed."""

from __future__ import annotations

import string
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

torch.set_num_threads(1)  # models this small lose ten times over by waiting for a second thread

ENCODERS = ("bert", "roberta", "distilbert", "electra", "deberta_v2", "modernbert", "albert")
SEQ2SEQ = ("t5", "bart")
CAUSAL = ("llama", "gpt2")
KINDS = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
    "CAUSAL_LM": "AutoModelForCausalLM",
    "FILL_MASK": "AutoModelForMaskedLM",
    "BASE": "AutoModel",
}
SPECIAL = {
    "bert": {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    },
    "roberta": {
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
        "cls_token": "<s>",
        "sep_token": "</s>",
    },
    "t5": {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
    "llama": {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
    "gpt2": {
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
    },
}
"""Special tokens by family, in the order of their ids; GPT-2 has no padding, as the real one."""
FAMILY = {
    "roberta": "roberta",
    "bart": "roberta",
    "t5": "t5",
    "llama": "llama",
    "gpt2": "gpt2",
}
SENTENCES = """\
The film was a quiet delight from the first scene to the last.
I have never been so bored by a story about pirates.
Her new novel is sharp, funny and a little too long.
The waiter forgot our order twice and never said sorry.
What a wonderful way to spend a rainy afternoon!
The screen is bright, but the battery dies before lunch.
Nobody at the help desk knew how to open the case.
We loved the music, the lights and the kind people at the door.
The plot makes no sense, and the acting is worse.
A fair price for a good, solid pair of shoes.
Marie Curie was born in Warsaw and worked in Paris.
The river Elbe flows through Dresden and Hamburg into the North Sea.
In 1969 two men walked on the moon while a third waited in orbit.
Anna Schmidt joined the bank in London as its new director.
The council of Leeds will vote on the budget on Monday.
Parliament passed the law after a long debate about taxes.
Shares of the car maker fell by seven percent in early trade.
The striker scored twice as his team won the cup in Madrid.
Doctors found that the drug shortens the illness by two days.
A small telescope is enough to see the rings of Saturn.
Who wrote the letter that was found in the old house?
When did the company open its first office in Berlin?
Where do the birds go when the winter comes?
How many bridges cross the river in the middle of the town?
The oldest bridge was built in 1342 by stone masons from the south.
The library holds more than two million books and many old maps.
Rain fell for three days, and the streets were under water.
The minister said that the schools would stay open this week.
She plays the violin in the evening and writes code by day.
He sold his house, bought a boat and sailed around the world.
The recipe needs two eggs, a cup of flour and some patience.
Scientists count the whales from a small plane every summer.
The museum shows paintings that were lost for a hundred years.
My phone arrived broken, and the shop will not take it back.
The train to the coast was late, crowded and far too warm.
This is the best coffee that I have had in years.
"""


def tiny(architecture: str, kind: str = "SEQ_CLS", labels: int = 3, seed: int = 0, **changes: Any) -> Any:
    """A random model in eval mode: width 32, 3 layers (2 + 2 where there are two stacks), 100 tokens.

    `kind` is PEFT's task type or BASE; `changes` go to the configuration.
    """
    return build(_config(architecture, 100, **_heads(kind, labels), **changes), kind, seed)


def batch(kind: str = "SEQ_CLS", rows: int = 4, length: int = 12, labels: int = 3) -> dict[str, torch.Tensor]:
    """Model inputs with labels: token ids from 6 to 98, the last row padded by a third."""
    random = torch.Generator().manual_seed(7)
    inputs = {"input_ids": torch.randint(6, 99, (rows, length), generator=random)}
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["attention_mask"][-1, length - length // 3 :] = 0
    if kind == "QUESTION_ANS":
        spans = torch.randint(0, length // 2, (rows,), generator=random)
        return inputs | {"start_positions": spans, "end_positions": spans + 1}
    shape = (rows,) if kind == "SEQ_CLS" else (rows, length)
    top = labels if kind in {"SEQ_CLS", "TOKEN_CLS"} else 99
    return inputs | {"labels": torch.randint(0, top, shape, generator=random)}


def learn(model: Any, kind: str, steps: int = 2) -> Any:
    """A few steps of SGD, dropout off, large enough to be seen in every weight that has a gradient."""
    model.eval()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        model(**batch(kind)).loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    return model


@torch.no_grad()
def logits(model: Any, kind: str = "SEQ_CLS") -> torch.Tensor:
    """What a model answers to `batch(kind)`, in eval mode."""
    outputs = model.eval()(**batch(kind))
    return torch.stack([outputs.start_logits, outputs.end_logits]) if "start_logits" in outputs else outputs.logits


def save_tiny(folder: Path, architecture: str, seed: int = 0, kind: str | None = None, **changes: Any) -> Path:
    """Write a base checkpoint and a real tokenizer.

    It has no task head unless `kind` says so, but an output layer where it generates.
    """
    tokenizer = tiny_tokenizer(architecture)
    kind = kind or usual_kind(architecture, encoder="BASE")
    ids: dict[str, Any] = {"pad_token_id": None} | {
        f"{name.removesuffix('_token')}_token_id": tokenizer.convert_tokens_to_ids(token)
        for name, token in SPECIAL[FAMILY.get(architecture, "bert")].items()
        if name in {"pad_token", "bos_token", "eos_token"}
    }
    build(_config(architecture, len(tokenizer), **(ids | changes)), kind, seed).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


def usual_kind(architecture: str, encoder: str = "SEQ_CLS") -> str:
    """What an architecture was made for: writing text, or `encoder`."""
    return "SEQ_2_SEQ_LM" if architecture in SEQ2SEQ else "CAUSAL_LM" if architecture in CAUSAL else encoder


def tiny_tokenizer(architecture: str) -> Any:
    """A fast tokenizer made from `SENTENCES`: word pieces for BERT's family, byte-level BPE for others."""
    family = FAMILY.get(architecture, "bert")
    wrapped = {"bert": "BertTokenizerFast"}.get(family, "PreTrainedTokenizerFast")
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    if architecture in {"distilbert", "modernbert"} or family != "bert":
        inputs.remove("token_type_ids")
    return getattr(transformers, wrapped)(
        tokenizer_object=tokenizers.Tokenizer.from_str(_trained(family)),
        model_max_length=512,
        model_input_names=inputs,
        **SPECIAL[family],
    )


def _heads(kind: str, labels: int) -> dict[str, Any]:
    return {"num_labels": labels} if kind in {"SEQ_CLS", "TOKEN_CLS"} else {}


def build(config: Any, kind: str = "SEQ_CLS", seed: int = 0) -> Any:
    """A random model of any configuration, in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return getattr(transformers, KINDS[kind]).from_config(config, dtype=torch.float32).eval()


def _config(architecture: str, vocabulary: int, **changes: Any) -> Any:
    common = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 514,
        "initializer_range": 0.1,
        "pad_token_id": 0,
    }
    sequence = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    classes: dict[str, tuple[str, dict[str, Any]]] = {
        "bert": ("BertConfig", common),
        "roberta": ("RobertaConfig", common | sequence | {"type_vocab_size": 1}),
        "electra": ("ElectraConfig", common | {"embedding_size": 16}),
        "albert": ("AlbertConfig", common | {"embedding_size": 16}),
        "deberta_v2": (
            "DebertaV2Config",
            common | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "norm_rel_ebd": "layer_norm"},
        ),
        "modernbert": (
            "ModernBertConfig",
            common | {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3},
        ),
        "distilbert": (
            "DistilBertConfig",
            {
                "vocab_size": vocabulary,
                "dim": 32,
                "n_layers": 3,
                "n_heads": 2,
                "hidden_dim": 64,
                "initializer_range": 0.1,
            },
        ),
        "llama": (
            "LlamaConfig",
            common | {"bos_token_id": 1, "eos_token_id": 2, "tie_word_embeddings": True},
        ),
        "gpt2": (
            "GPT2Config",
            {
                "vocab_size": vocabulary,
                "n_embd": 32,
                "n_layer": 3,
                "n_head": 2,
                "n_positions": 514,
                "initializer_range": 0.1,
                "bos_token_id": 0,
                "eos_token_id": 0,
                "pad_token_id": 0,
            },
        ),
        "t5": (
            "T5Config",
            {
                "vocab_size": vocabulary,
                "d_model": 32,
                "d_kv": 16,
                "d_ff": 64,
                "num_layers": 2,
                "num_heads": 2,
                "decoder_start_token_id": 0,
            },
        ),
        "bart": (
            "BartConfig",
            sequence
            | {
                "vocab_size": vocabulary,
                "d_model": 32,
                "encoder_layers": 2,
                "decoder_layers": 2,
                "encoder_attention_heads": 2,
                "decoder_attention_heads": 2,
                "encoder_ffn_dim": 64,
                "decoder_ffn_dim": 64,
                "max_position_embeddings": 514,
                "init_std": 0.1,
                "decoder_start_token_id": 2,
                "forced_eos_token_id": 2,
            },
        ),
    }
    name, settings = classes[architecture]
    return getattr(transformers, name)(**(settings | changes))


@cache
def _trained(family: str) -> str:
    """The tokenizer as JSON, so that no two callers share a mutable one."""
    special = list(dict.fromkeys(SPECIAL[family].values()))
    tokenizer = _word_pieces(special) if family == "bert" else _byte_pairs(special)
    ids = {token: tokenizer.token_to_id(token) for token in special}
    templates = {
        "bert": ("[CLS] $A [SEP]", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"),
        "roberta": ("<s> $A </s>", "<s> $A </s> </s> $B </s>"),
        "t5": ("$A </s>", "$A </s> $B </s>"),
        "llama": ("<s> $A", "<s> $A $B"),
    }
    if family in templates:
        single, pair = templates[family]
        used = [(token, number) for token, number in ids.items() if token in pair]
        tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=used)
    return tokenizer.to_str()


def _word_pieces(special: list[str]) -> tokenizers.Tokenizer:
    """The characters, alone and inside a word, and the sentences' words; a trainer would break ties at random."""
    normalizer, splitter = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = Counter(word for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(SENTENCES)))
    characters = sorted({c.lower() for c in string.printable if not c.isspace()})
    frequent = sorted(words, key=lambda word: (-words[word], word))
    pieces = dict.fromkeys([*special, *characters, *(f"##{c}" for c in characters), *frequent])
    vocabulary = {piece: number for number, piece in enumerate(list(pieces)[:500])}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _byte_pairs(special: list[str]) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=special,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(SENTENCES.splitlines(), trainer)
    return tokenizer
