"""Sentences that are for an agent: whom, and what is said in the person's own words."""

from __future__ import annotations

import re
from typing import Final

from ezaigent.chat.commands import Command, Tell
from ezaigent.chat.known import Spelling
from ezaigent.chat.slots import whom
from ezaigent.chat.templates import Match, first, templates


def _tell(match: Match, spelling: Spelling) -> Command | None:
    found = whom(match["whom"], spelling)
    text = match["text"].strip()
    if found is None or not text or spelling.guessed:
        return None
    return Tell(targets=found.targets, excepted=found.excepted, text=text)


def _to_all(match: Match, spelling: Spelling) -> Command | None:
    del spelling
    return Tell(targets=("*",), text=match["text"].strip())


TELLING: Final = (
    *templates(_tell, r"@{whom}[,:]? {text}"),
    *templates(_to_all, r"(?:broadcast|announce|announcement|to (?:all|everyone|everybody))\s*[:,-]\s*{text}"),
    *templates(
        _tell,
        r"(?:message|msg|tell|write(?: to)?|say to|note to|send|let|inform|dm) {whom}(?: (?:a message|know))?(?: that)?"
        r"\s*[:]\s*{text}",
        r"(?:let|make sure) {whom} know(?:s)?(?: that)?,? {text}",
        r"(?:a )?(?:note|message|word|heads[- ]up) (?:for|to) {whom}[:,]\s*{text}",
        r"(?P<whom>[a-z][\w-]*-\d+),\s*{text}",
        r"send (?:a message |this )?to {whom}[:,]\s*{text}",
        r"(?P<whom>[\w*-]+(?: agents)?)(?:\s+(?:agents?|pool))?\s*:\s*{text}",
    ),
)
"""Templates whose text is the person's own words; nobody may respell them."""

_EXPLAINING: Final = re.compile(
    r"(?:please )?(?:tell|ask|remind|inform|message) (?P<rest>.+)", re.IGNORECASE | re.DOTALL
)
_NAME: Final = r"(?:(?:all|the|both|of) )*[\w*-]+(?: \d+)?(?: agents?| pool)?"
_SEVERAL: Final = rf"{_NAME}(?:(?:,| and|, and) {_NAME})*"
_NAMES: Final = re.compile(rf"{_SEVERAL}(?: (?:except|but|apart from)(?: for)? {_SEVERAL})?")
_LINK: Final = re.compile(r"^(?:to|that|this|,|:)\s+", re.IGNORECASE)
_HANGING: Final = frozenset({"the", "of", "both", "and"})
_WIDEST: Final = 200
"""Characters that they may take."""
_LONGEST: Final = 16
"""Words that names may take."""


def told(text: str, spelling: Spelling) -> Tell | None:
    """Read a message to agents; None where it is none."""
    found = first(TELLING, text, spelling) or _addressed(text, spelling)
    return found if isinstance(found, Tell) else None


def _addressed(text: str, spelling: Spelling) -> Tell | None:
    """Read ``tell everyone to commit often``: the longest beginning that is only names, then what is said."""
    found = _EXPLAINING.fullmatch(text)
    if found is None:
        return None
    words = found["rest"].split(" ")
    best: Tell | None = None
    for end in range(1, min(len(words), _LONGEST)):
        names = " ".join(words[:end]).rstrip(",:")
        if len(names) > _WIDEST:
            break
        if not _NAMES.fullmatch(names) or words[end - 1].casefold() in _HANGING:
            continue
        tried = Spelling(spelling.known)
        target = whom(names, tried)
        said = _LINK.sub("", " ".join(words[end:])).strip()
        if target is not None and not tried.guessed and said:
            best = Tell(targets=target.targets, excepted=target.excepted, text=said)
    return best
