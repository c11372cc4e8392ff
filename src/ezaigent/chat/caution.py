"""Sentences that speak about a command without asking for it: negations, conditions, questions, reports."""

from __future__ import annotations

import re
from typing import Final

_REFUSED: Final = re.compile(
    r"\b(?:not|never|no need|no reason|avoid|without|unless|nobody|no ?one|nothing|neither|nor|instead|rather than"
    r"|don'?t|do ?n[o']?t|does ?n'?t|did ?n'?t|shouldn'?t|wouldn'?t|mustn'?t|won'?t|can'?t|cannot|isn'?t|aren'?t"
    r"|leave .* alone|keep .* running)\b"
)
"""``not`` anywhere: what is meant by the rest is for a person to say plainly."""

_CONDITION: Final = re.compile(
    r"\b(?:if|whether|would|when|once|after|before|until|till|as soon as|in case|suppose|supposing|maybe|perhaps"
    r"|might|wonder(?:ing)?|thinking|thought|consider(?:ing)?|imagine|remind|later|tomorrow|tonight|yesterday"
    r"|next (?:week|month|day)|at \d|in \d+ (?:min|hour|sec)|o'?clock)\b"
)
_QUESTION: Final = re.compile(
    r"^(?:how|what|why|who|whom|whose|when|where|which|is|are|was|were|has|had"
    r"|have (?:you|we|they|i|all|any|the)|did|do|does|should|shall|may"
    r"|might|am)\b"
)
_OWN_QUESTION: Final = re.compile(r"^(?:can|could|may|should|shall|must|do|did|have|would) (?:i|we|you have|one)\b")
_REPORT: Final = re.compile(
    r"\b(?:was|were|been|being|is|are|got|has|have|had) (?:\w+ )?"
    r"(?:paused|cancell?ed|cleared|stopped|drained|suspended|killed|aborted|removed|emptied|scaled)\b"
    r"|\b(?:i|we|he|she|they|you|somebody|someone|bob|it) (?:\w+ )?"
    r"(?:paused|cancell?ed|cleared|stopped|drained|suspended|killed|aborted|emptied|said|says|told|wants?|wanted)\b"
)


_LOOKED_AT: Final = 2000
"""Characters that are judged; no order is nearly as long."""


def spoken_about(text: str) -> str | None:
    """Return why a sentence must not be taken as an order, in a few words for the answer; None where it may.

    Judged by the whole sentence, so it refuses more than it must: an order that changes something can be said plainly.
    """
    plain = text[:_LOOKED_AT].casefold().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").strip()
    if _REFUSED.search(plain):
        return "it says what not to do"
    if _CONDITION.search(plain):
        return "it speaks of a condition or of another time"
    if _QUESTION.search(plain) or _OWN_QUESTION.search(plain):
        return "it is a question"
    if _REPORT.search(plain):
        return "it tells what has been done"
    return None
