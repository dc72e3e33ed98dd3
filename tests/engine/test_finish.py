"""What follows a training can fail; the training is not lost then."""

from __future__ import annotations

from pathlib import Path

import pytest

import ftkit
from ftkit.errors import RecipeError
from ftkit.run import SCORES
from tests.runs import Lab

FAILS_WHILE_THERE_IS = """
from pathlib import Path

import datasets
import evaluate


class Mine(evaluate.Metric):
    def _info(self):
        number = datasets.Value("int64")
        features = datasets.Features({{"predictions": number, "references": number}})
        return evaluate.MetricInfo(description="mine", citation="", features=features)

    def _compute(self, predictions, references):
        if Path({flag!r}).exists():
            raise ZeroDivisionError
        return {{"mine": 0.5}}
"""


def test_where_scoring_fails_the_model_is_kept_and_can_be_scored_later(lab: Lab, tmp_path: Path) -> None:
    flag, script, run = tmp_path / "flag", tmp_path / "mine.py", tmp_path / "my run"
    flag.touch()
    script.write_text(FAILS_WHILE_THERE_IS.format(flag=str(flag)))
    with pytest.raises(RecipeError, match="could not score") as caught:
        ftkit.train(lab.recipe("single", f"evaluate.metrics=[{script}]", "data.validation=null"), run=run)
    assert caught.value.hint.endswith(f"the trained model is kept: mend that, and `ftkit eval '{run}'` scores it")
    assert not (run / f"{SCORES}.json").exists()
    flag.unlink()
    assert ftkit.evaluate(run).scores["mine"]["value"] == 0.5
