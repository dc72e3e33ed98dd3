from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftkit.baselines._text import CHARACTERS, sentences, stopwords, words


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


SPLIT = {
    "plain": ["It rained.", "Who knew?", "Not I!", "The end"],
    "titles and initials": ["Dr. J. R. Marlin met Mrs. Brown.", "They left."],
    "letters with dots": ["It was, i.e. had been, in the U.S. Senate at 3 p.m. sharp.", "It passed."],
    "references": ["See Fig. 3 and Smith et al. (2019).", "We follow No. 5 of them."],
    "no is a word": ["I said no.", "He went."],
    "numbers": ["It cost 3.5 million.", "That is 2.1 more."],
    "speech": ['"Is it true?" he asked.', "“Yes.”", "She left (alone).", "He stayed."],
    "marks in a row": ["Really?!", "Well...", "Yes."],
    "small letters": ["it rained .", "nobody knew .", "the end"],
    "Chinese": ["今天很好。", "“走吧！”", "明天呢？", "好"],  # noqa: RUF001
    "Hindi": ["यह पहला है।", "यह दूसरा है।"],
    "Arabic": ["هذا أول.", "هل هذا ثان؟", "نعم."],
    "Urdu": ["یہ پہلا ہے۔", "یہ دوسرا ہے۔"],  # noqa: RUF001
}


@pytest.mark.parametrize("case", SPLIT)
def test_sentences_are_told_apart(case: str) -> None:
    assert split(" ".join(SPLIT[case])) == SPLIT[case]


def test_empty_line_ends_a_sentence_and_a_line_break_does_not() -> None:
    assert split("A title\n \nOne line\nand another. Next") == ["A title", "One line\nand another.", "Next"]


@pytest.mark.parametrize("text", ["", " \n\n ", "\t"])
def test_nothing_has_no_sentence(text: str) -> None:
    assert sentences(text) == []


@given(st.text(st.sampled_from("aB.!? \n。।\"'1"), max_size=60))
def test_sentences_hold_all_but_the_space_between(text: str) -> None:
    spans = sentences(text)
    places = [place for span in spans for place in span]
    assert places == sorted(places)
    outside = text
    for start, end in reversed(spans):
        assert text[start:end] == text[start:end].strip() != ""
        outside = outside[:start] + outside[end:]
    assert outside.strip() == ""


@pytest.mark.parametrize("text", ["." * 300_000 + "x", "\n " * 150_000, "Mr. " * 80_000, "'" * 300_000])
def test_a_hostile_line_takes_no_time(text: str) -> None:
    assert len(sentences(text)) <= 1


def test_words_are_in_lower_case_and_without_punctuation() -> None:
    assert words("It's 3.5 Ünïcode_words -- OK?") == ["it", "s", "3", "5", "ünïcode", "words", "ok"]


def test_words_of_other_scripts() -> None:
    assert words("हिन्दी भाषा।") == ["हिन्दी", "भाषा"]
    assert words("東京へ行くrobot") == ["東", "京", "へ", "行", "く", "robot"]
    assert words("Привет, мир") == ["привет", "мир"]
    assert words("😀 !!") == []


def test_words_are_those_of_the_beginning() -> None:
    assert len(words("a " * CHARACTERS)) == CHARACTERS // 2


def test_stopwords_are_a_list_or_scikit_learns() -> None:
    assert stopwords(()) == frozenset()
    assert stopwords(["The", "don't", "ÉTÉ"]) == {"the", "don", "t", "été"}
    english = stopwords("english")
    assert {"the", "and", "whereas"} <= english and len(english) > 300
