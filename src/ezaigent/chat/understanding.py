"""The ladder from a line of text to a command: slash grammar, sentence templates, a model, "did you mean"."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from ezaigent.chat.acting import ACTING
from ezaigent.chat.caution import spoken_about
from ezaigent.chat.commands import Command, Submit, harmless
from ezaigent.chat.known import Known, Spelling
from ezaigent.chat.looking import LOOKING
from ezaigent.chat.requests import work
from ezaigent.chat.slash import parse_slash
from ezaigent.chat.telling import told
from ezaigent.chat.templates import first
from ezaigent.chat.wording import bare, mended
from ezaigent.core.errors import EzAigentError, UsageError

if TYPE_CHECKING:
    from ezaigent.chat.ports import Interpreter

Source = Literal["slash", "sentence", "model"]

_LONGEST: Final = 240
"""Characters of a sentence that can be an order; what is longer is a message or a request for work."""
_LOOKED_AT: Final = 12
"""Words in which a near command is looked for."""

_EXAMPLES: Final = {
    "status": "/status",
    "queue": "/queue",
    "backlog": "/queue",
    "agents": "/agents",
    "pause": "/pause all except claude-1",
    "stop": "/pause",
    "start": "/start",
    "resume": "/start",
    "clear": "/clear",
    "empty": "/clear",
    "cancel": "/cancel ID",
    "abort": "/cancel ID",
    "kill": "/cancel ID",
    "retry": "/retry ID",
    "approve": "/approve ID",
    "merge": "/approve ID",
    "scale": "/scale PROFILE N",
    "more": "/scale PROFILE +1",
    "cost": "/cost",
    "spend": "/cost",
    "message": "@AGENT TEXT",
    "tell": "@AGENT TEXT",
    "task": "/task PROMPT --repo REPO",
    "fix": "/task PROMPT --repo REPO",
    "why": "/why ID",
    "drain": "/drain AGENT",
    "failed": "/tasks failed",
    "help": "/help",
}


@dataclass(frozen=True, slots=True)
class Understood:
    """What a line came to."""

    command: Command | None = None
    """None: nothing is done."""
    source: Source = "sentence"
    guessed: bool = False
    """Whether a word had to be put right: then it is asked before anything changes."""
    remark: str = ""
    """Where there is no command: why not, in one line."""
    suggestions: tuple[str, ...] = ()
    """Where there is no command: what might have been meant."""


def understand(text: str, known: Known) -> Understood:
    """Read a line with no model and no network: the same line always comes to the same.

    A sentence that negates, supposes or reports is never taken as an order, whatever else is in it.
    """
    line = text.strip()
    if not line:
        return Understood(remark="the message is empty")
    if line.startswith("/") and not line.startswith("//") and "/" not in line.split()[0][1:]:
        try:
            return Understood(parse_slash(line, known), "slash")
        except UsageError as error:
            return Understood(source="slash", remark=str(error), suggestions=_near(line[1:]))
    plain = bare(line) or line[:_LOOKED_AT]  # nothing but marks, such as "?"
    if len(plain) > _LONGEST:
        told_or_work = _told(plain, known, steered=False) or _work(plain, known, line)
        return told_or_work if told_or_work is not None else Understood(remark=_remark(line), suggestions=_near(plain))
    corrected = mended(plain, frozenset({*known.profiles, *known.agents}))
    for candidate in dict.fromkeys((plain, corrected)):
        found = _read(candidate, known, respelt=candidate != plain, whole=line)
        if found is not None:
            return found
    return Understood(remark=_remark(line), suggestions=_near(plain))


async def interpret(text: str, known: Known, interpreter: Interpreter | None) -> Understood:
    """Read a line; only where templates fail, and where there is a model, ask it.

    A command that a model read is always shown and asked for before it changes anything.
    """
    found = understand(text, known)
    cautious = spoken_about(text)
    if found.command is not None or found.source == "slash" or interpreter is None or not text.strip():
        return found
    try:
        command = await interpreter.command(text, known)
    except EzAigentError as error:
        return Understood(
            remark=f"{found.remark}; the model could not be asked: {error}", suggestions=found.suggestions
        )
    if command is None or (cautious is not None and not harmless(command)):
        return found
    return Understood(command, "model", guessed=True)


def _read(text: str, known: Known, *, respelt: bool, whole: str) -> Understood | None:
    spelling = Spelling(known)
    command = first(LOOKING, text, spelling)
    if command is not None:
        return Understood(command)
    if not respelt:
        told = _told(text, known, steered=True)
        if told is not None:
            return told
    if spoken_about(whole) is None:
        spelling = Spelling(known)
        command = first(ACTING, text, spelling)
        if command is not None:
            return Understood(command, guessed=respelt or spelling.guessed)
    if respelt:
        return None
    return _work(text, known, whole)


def _told(text: str, known: Known, *, steered: bool) -> Understood | None:
    if steered and first(ACTING, text, Spelling(known)) is not None:
        return None  # "tell claude-1 to pause" steers, it is no message
    found = told(text, Spelling(known))
    if found is not None and found.targets[0] in known.profiles and work(text, Spelling(known)) is not None:
        return None  # "ask gpt to fix the test" is work for whoever of that profile is free
    return None if found is None else Understood(found)


def _work(text: str, known: Known, whole: str) -> Understood | None:
    if whole.rstrip().endswith("?") and not whole.casefold().startswith(
        ("can you", "could you", "would you", "will you")
    ):
        return None
    spelling = Spelling(known)
    request = work(text, spelling)
    return Understood(request, guessed=spelling.guessed) if isinstance(request, Submit) else None


def _remark(line: str) -> str:
    why = spoken_about(line)
    return f"nothing was done: {why}" if why else "that is not clear to me"


def _near(text: str) -> tuple[str, ...]:
    words = [word[:40] for word in text[:_LONGEST].casefold().replace("?", " ").split()[:_LOOKED_AT]]
    found = [
        _EXAMPLES[near]
        for word in words
        for near in difflib.get_close_matches(word.strip(".,!'\""), _EXAMPLES, n=1, cutoff=0.75)
    ]
    return tuple(dict.fromkeys(found))[:3] or ("/help",)
