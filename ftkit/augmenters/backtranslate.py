"""Sentences translated into another language and back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from random import Random
from typing import Any

from pydantic import Field

from ftkit.augmenters._base import Augmenter
from ftkit.augmenters._nlpaug import seeded
from ftkit.augmenters._words import Words
from ftkit.checkpoints import locate
from ftkit.edits import Edit


class Backtranslate(Augmenter):
    """Writes whole sentences anew by way of another language (Sennrich et al. 2016), with two translation checkpoints.

    Only sentences of which every part may change are translated: those without an entity or an answer.
    """

    summary = "sentences are translated into another language and back"

    class Options(Augmenter.Options):
        """The settings of `backtranslate`."""

        strength: float | None = Field(None, gt=0, le=1)
        """Share of a text's sentences that are translated, one at least; `augment.strength` when not set."""
        there: str
        """A checkpoint that translates from the texts' language: a Hub id, or a local folder."""
        back: str
        """A checkpoint that translates back."""
        longest: int = Field(300, ge=8)
        """Tokens of the longest translation."""

    @cached_property
    def _model(self) -> Any:
        import torch
        import transformers
        from nlpaug.model.lang_models import MtTransformers

        class Translators(MtTransformers):  # type: ignore[misc]
            def translate_one_step_batched(self, data: list[str], tokenizer: Any, model: Any) -> list[str]:
                """Without a process of its own for each call, and whatever else than ids a tokenizer gives."""
                inputs = tokenizer(data, padding=True, truncation=True, return_tensors="pt").to(model.device)
                known = {name: inputs[name] for name in ("input_ids", "attention_mask")}
                with torch.no_grad():
                    written = model.generate(**known, max_length=self.max_length, do_sample=False)
                return list(tokenizer.batch_decode(written, skip_special_tokens=True))

        # nlpaug doesn't say whether code of a checkpoint may run, and transformers would ask the person.
        transformers.dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
        there, back = (str(locate(name).path) for name in (self.options.there, self.options.back))
        device = "cuda:0" if torch.cuda.is_available() else "cpu"
        return Translators(there, back, device=device, max_length=self.options.longest)

    def prepare(self) -> None:
        """Both checkpoints are needed."""
        for name in (self.options.there, self.options.back):
            locate(name)

    def edits(self, words: Words, random: Random) -> Sequence[Edit]:
        """Some of the sentences that may change as a whole."""
        able = [place for place in words.sentences if words.may_change(*place)]
        if not able:
            return ()
        count = max(1, round(self.strength * len(words.sentences)))
        places = sorted(random.sample(able, min(count, len(able))))
        with seeded(random):
            written = self._model.predict([words.text[start:end] for start, end in places])
        edits = [Edit(start, end, new.strip()) for (start, end), new in zip(places, written, strict=True)]
        return [edit for edit in edits if edit.text and edit.text != words.text[edit.start : edit.end]]
