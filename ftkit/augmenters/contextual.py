"""Words that a masked language model finds likely in a word's place."""

from __future__ import annotations

from functools import cached_property
from random import Random
from typing import Any

from pydantic import Field

from ftkit.augmenters._base import Augmenter
from ftkit.augmenters._english import FUNCTION_WORDS, negates
from ftkit.augmenters._nlpaug import seeded
from ftkit.augmenters._words import Words, is_word
from ftkit.checkpoints import locate
from ftkit.errors import CheckpointError

AROUND = 400
"""Characters on each side of a word that the model reads."""


class Contextual(Augmenter):
    """Replaces words by what a masked language model writes there (Kobayashi 2018; Wu et al. 2019).

    Each is asked for by itself, in the text as it was; function words and negations stay. (nlpaug asks the model; its
    own way of putting the answer back would lower and re-space the whole text.)
    """

    summary = "words become what a masked language model writes in their place"

    class Options(Augmenter.Options):
        """The settings of `contextual`."""

        checkpoint: str
        """A checkpoint that was trained to fill masks: a Hub id, or a local folder."""
        among: int = Field(10, ge=1, le=1000)
        """The likeliest words, of which one is drawn."""

    @cached_property
    def _model(self) -> Any:
        """nlpaug's own door to transformers' fill-mask, which keeps what begins a word alone."""
        import torch
        from nlpaug.model.lang_models import FmTransformers

        folder = self._folder()
        device = "cuda:0" if torch.cuda.is_available() else "cpu"
        model = FmTransformers(str(folder), model_type="", top_k=self.options.among + 10, device=device)
        model.model_type = "roberta" if _spells_spaces(model.get_tokenizer()) else "bert"
        return model

    def prepare(self) -> None:
        """The checkpoint is needed."""
        self._folder()

    def _folder(self) -> Any:
        from transformers import AutoConfig

        folder = locate(self.options.checkpoint).path
        kinds = AutoConfig.from_pretrained(folder).architectures or []
        if not any(kind.endswith("ForMaskedLM") or kind in _TOO for kind in kinds):
            known = ", ".join(kinds) or "no head"
            raise CheckpointError(
                f"augment.by: {self.options.checkpoint} was not trained to fill masks ({known})",
                "contextual.checkpoint must be a masked language model, with its head",
            )
        return folder

    def change(self, words: Words, random: Random) -> dict[int, str]:
        """Content words, each with one of the likeliest others."""
        able = [i for i in words.free if words[i].casefold() not in FUNCTION_WORDS and not negates(words[i])]
        chosen = self.drawn(words, able, random)
        found: dict[int, str] = {}
        for i in chosen:
            likely = self._likely(words, i, random)
            if likely:
                found[i] = _cased(random.choice(likely), words[i])
        return found

    def _likely(self, words: Words, i: int, random: Random) -> list[str]:
        (start, end), mask = words.places[i], self._model.get_tokenizer().mask_token
        before, after = words.text[max(0, start - AROUND) : start], words.text[end : end + AROUND]
        with seeded(random):
            (said,) = self._model.predict([f"{before}{mask}{after}"])
        others = dict.fromkeys(word.strip() for word in said)
        return [one for one in others if is_word(one) and one.casefold() != words[i].casefold()][: self.options.among]


_TOO = ("BertForPreTraining", "AlbertForPreTraining", "MobileBertForPreTraining")
"""Others that bring the weights of a head that fills masks."""


def _spells_spaces(tokenizer: Any) -> bool:
    """Whether a token that begins a word says so, as in RoBERTa, rather than one that does not, as in BERT."""
    return any("##" not in token and not token[0].isalnum() for token in tokenizer.tokenize(" word"))


def _cased(word: str, like: str) -> str:
    """A word with the capitals of another one."""
    return word.upper() if like.isupper() and len(like) > 1 else word.capitalize() if like[0].isupper() else word
