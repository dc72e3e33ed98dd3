"""English words that carry grammar and little else, and those that turn a sentence round."""

from __future__ import annotations


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


NEGATIONS = _listed(
    """
    ain't aren't barely can't cannot couldn't didn't doesn't don't hadn't hardly hasn't haven't isn't lack lacked
    lacking lacks mustn't n't neither never no nobody none nor not nothing nowhere rarely scarcely seldom shouldn't
    wasn't weren't without won't wouldn't
    """
)
FUNCTION_WORDS = _listed(
    """
    a about above across after again against all almost already also although always am among an and another any
    anybody anyone anything are around as at away back be because been before behind being below beneath beside
    besides between beyond both but by came can come comes coming could did do does doing done down during each
    either else enough etc even ever every everybody everyone everything except few for from further get gets
    getting give given gives go goes going gone got had has have having he hence her here hers herself him himself
    his how however i if in indeed inside instead into is it its itself just keep kept least less let lets like
    likewise lot made make makes making many may me might mine more moreover most much must my myself near need
    needs next of off often on once one ones only onto or other others otherwise ought our ours ourselves out
    outside over own per perhaps please put puts quite rather really s same seem seemed seems several shall she
    should since so some somebody someone something sometimes still such t take taken takes taking than that the
    their theirs them themselves then there therefore these they thing things this those though through throughout
    thus till to together too took toward towards two under unless until up upon us use used very via was way we
    well went were what whatever when whenever where whereas wherever whether which whichever while who whoever
    whole whom whose why will with within would yes yet you your yours yourself yourselves
    """
)


def negates(word: str) -> bool:
    """Whether a sentence without the word may say the opposite."""
    return word.casefold().replace("\u2019", "'") in NEGATIONS
