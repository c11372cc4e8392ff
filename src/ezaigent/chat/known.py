"""Names that people may use: what agents and profiles are called, and how they may be misspelt."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import Final

_NUMBERED: Final = re.compile(r"([a-z][a-z-]*?)[ -]?(\d+)")
_CLOSE: Final = 0.78
_SHORTEST: Final = 5
"""Letters below which a name is never guessed: ``get`` is not ``gpt``."""


@dataclass(frozen=True, slots=True)
class Known:
    """The agents and profiles that there are."""

    agents: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()


@dataclass(slots=True)
class Spelling:
    """Finds names in what was written, and remembers whether one had to be guessed."""

    known: Known
    guessed: bool = False
    wrong: list[str] = field(default_factory=list[str])
    """Words that stood where a name belongs and are none."""

    def name(self, text: str) -> str | None:
        """Return the agent or profile that ``text`` names; None for neither."""
        word = text.strip().casefold()
        if word in self.known.agents or word in self.known.profiles:
            return word
        numbered = _NUMBERED.fullmatch(word)
        if numbered is not None:
            profile = self.profile(numbered[1])
            agent = f"{profile}-{numbered[2]}"
            return agent if agent in self.known.agents else None
        return self.profile(word)

    def profile(self, text: str) -> str | None:
        """Return the profile that ``text`` names, singular or plural; None for none."""
        word = text.strip().casefold()
        for one in (word, word.removesuffix("s"), word.removesuffix("es")):
            if one in self.known.profiles:
                return one
        if len(word) < _SHORTEST:
            return None
        close = difflib.get_close_matches(word, self.known.profiles, n=1, cutoff=_CLOSE)
        if not close:
            return None
        self.guessed = True
        return close[0]
