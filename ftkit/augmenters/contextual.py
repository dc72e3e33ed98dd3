"""Words that a masked language model finds likely in a word's place."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

from pydantic import Field

from ftkit import vader
from ftkit.augmenters._base import Augmenter
from ftkit.augmenters._english import FUNCTION_WORDS, negates
from ftkit.augmenters._words import Words, is_word
from ftkit.checkpoints import locate
from ftkit.errors import CheckpointError

AROUND = 400
"""Characters on each side of a word that the model reads."""


class Contextual(Augmenter):
    """Replaces words by what a masked language model writes there (Kobayashi 2018; Wu et al. 2019).

    Each is asked for by itself, in the text as it was. Function words, negations and English words with a polarity
    stay, and none with a polarity comes in: the model would write `bad` for `good`. (Transformers is asked itself:
    nlpaug's way to it fails or starts a process for each text, and lowers and re-spaces what it gives back.)
    """

    summary = "words become what a masked language model writes in their place"

    class Options(Augmenter.Options):
        """The settings of `contextual`."""

        checkpoint: str
        """A checkpoint that was trained to fill masks: a Hub id, or a local folder."""
        among: int = Field(10, ge=1, le=1000)
        """The likeliest words, of which one is drawn."""

    @cached_property
    def _pipe(self) -> Any:
        from transformers import pipeline

        settings = {"top_k": self.options.among + MORE, "dtype": "float32", "trust_remote_code": False}
        return pipeline("fill-mask", model=str(self._folder()), **settings)

    @cached_property
    def _space(self) -> str:
        """How a token says that a space stands before it; nothing where it does not say so."""
        said = self._pipe.tokenizer.tokenize("a a")
        return next((mark for mark in SPACES if any(token.startswith(mark) for token in said)), "")

    def prepare(self) -> None:
        """The checkpoint is needed."""
        self._folder()

    def _folder(self) -> Path:
        from transformers import AutoConfig

        folder = locate(self.options.checkpoint).path
        kinds = AutoConfig.from_pretrained(folder, trust_remote_code=False).architectures or []
        if not any(kind.endswith("ForMaskedLM") or kind in _TOO for kind in kinds):
            known = ", ".join(kinds) or "no head"
            raise CheckpointError(
                f"augment.by: {self.options.checkpoint} was not trained to fill masks ({known})",
                "contextual.checkpoint must be a masked language model, with its head",
            )
        return folder

    def change(self, words: Words, random: Random) -> dict[int, str]:
        """Content words, each with one of the likeliest others."""
        able = [i for i in words.free if _is_plain(words[i])]
        asked = {i: masked for i in self.drawn(words, able, random) if (masked := self._masked(words, i))}
        likely = self._pipe(list(asked.values())) if asked else []
        if len(asked) == 1:
            likely = [likely] if isinstance(likely[0], dict) else likely
        found = {i: self._fitting(words, i, said) for i, said in zip(asked, likely, strict=True)}
        return {i: _cased(random.choice(fitting), words[i]) for i, fitting in found.items() if fitting}

    def _masked(self, words: Words, i: int) -> str:
        """The text around a word with the mask in its place; empty where the model can't read it."""
        tokenizer, (start, end), around = self._pipe.tokenizer, words.places[i], AROUND
        most = min(tokenizer.model_max_length, self._pipe.model.config.max_position_embeddings - 2)
        while around:
            text = words.text[max(0, start - around) : start] + tokenizer.mask_token + words.text[end : end + around]
            ids = tokenizer(text)["input_ids"]
            if len(ids) <= most:
                return text if ids.count(tokenizer.mask_token_id) == 1 else ""
            around //= 2
        return ""

    def _fitting(self, words: Words, i: int, said: Sequence[dict[str, Any]]) -> list[str]:
        """The likeliest whole words, but for the one that stands there."""
        place, tokenizer = words.places[i][0], self._pipe.tokenizer
        spaced = words.text[place - 1 : place].isspace()
        begins = [
            one["token"] for one in said if self._begins_word(tokenizer.convert_ids_to_tokens(one["token"]), spaced)
        ]
        others = [tokenizer.decode([token]).strip() for token in begins]
        fitting = [one for one in others if is_word(one) and _is_plain(one) and one.casefold() != words[i].casefold()]
        return fitting[: self.options.among]

    def _begins_word(self, token: str, spaced: bool) -> bool:
        if self._space:
            return token.startswith(self._space) == spaced
        return not token.startswith("##")


SPACES = ("\u0120", "\u2581")
"""RoBERTa's mark of a space before a token, and sentencepiece's."""
MORE = 20
"""More words that are asked for, as some will be no whole words."""
_TOO = ("BertForPreTraining", "AlbertForPreTraining", "MobileBertForPreTraining")
"""Others that bring the weights of a head that fills masks."""


def _is_plain(word: str) -> bool:
    """Whether neither grammar nor polarity hangs on a word."""
    return word.casefold() not in FUNCTION_WORDS and not negates(word) and not vader.of_word(word)


def _cased(word: str, like: str) -> str:
    """A word with the capitals of another one."""
    return word.upper() if like.isupper() and len(like) > 1 else word.capitalize() if like[0].isupper() else word
