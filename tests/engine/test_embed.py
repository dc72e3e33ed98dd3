"""What a checkpoint makes of texts: the mean over real tokens that plain transformers gives, padding left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from ftkit.engine import machine
from ftkit.engine.embed import Embedder
from ftkit.terminal import Progress
from tests.runs import LINES, Lab


@pytest.fixture(autouse=True)
def _in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "precision", lambda *_: "fp32")


@pytest.mark.parametrize("architecture", ["bert", "llama", "t5"])
def test_texts_are_the_mean_of_their_tokens(lab: Lab, architecture: str) -> None:
    folder = lab.checkpoint(architecture)
    found = Embedder(folder, False, Progress(show=False)).texts([LINES[:5]])
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    model = model.encoder if model.config.is_encoder_decoder else model
    for text, vector in zip(LINES[:5], found, strict=True):
        with torch.inference_mode():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        assert vector == pytest.approx(states.mean(0).numpy(), abs=1e-5)


def test_a_word_is_its_first_token_in_its_row(lab: Lab) -> None:
    folder, rows = lab.checkpoint("bert"), [line.split() for line in LINES[:4]]
    found = Embedder(folder, True, Progress(show=False)).words(rows)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    for words, vectors in zip(rows, found, strict=True):
        encoded = tokenizer(words, is_split_into_words=True, return_tensors="pt")
        with torch.inference_mode():
            states = model(**encoded).last_hidden_state[0]
        first = [encoded.word_ids().index(i) for i in range(len(words))]
        assert np.allclose(vectors, states[first].numpy(), atol=1e-5)
