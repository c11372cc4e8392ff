"""What a sentence template is: a pattern with slots that must account for every word, and what comes out of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from ezaigent.chat.commands import Command
from ezaigent.chat.known import Spelling
from ezaigent.chat.slots import NUMBER, TASK

Match = re.Match[str]
Make = Callable[[Match, Spelling], "Command | None"]

PARTS: Final = {
    # values
    "task": rf"(?:the )?(?:task |change (?:of |in )?|result of )?(?P<task>{TASK})",
    "whom": r"(?P<whom>[^:]{1,200}?)",
    "pool": r"(?:the )?(?P<pool>[a-z][a-z0-9-]*?)(?: pool| agents?| ones?)*",
    "count": rf"(?P<count>{NUMBER})",
    "text": r"(?P<text>.+)",
    "period": r"(?P<period>.+?)",
    # words
    "show": r"(?:(?:show|list|give|display|see|get|print|tell)(?: me| us)?(?: (?:all|the|a|an|our|some|current|of))*)",
    "stop": r"(?:pause|stop|hold|halt|suspend|freeze)",
    "go": r"(?:resume|unpause|continue|restart|start|unfreeze|wake(?: up)?|reactivate)",
    "on": r"(?:go on|go ahead|carry on|(?:get |go )?back to work|work again|keep (?:working|going))",
    "end": r"(?:cancel|abort|kill|stop|terminate)",
    "empty": r"(?:clear|empty|flush|purge|wipe|clean(?: out| up)?|nuke|throw away|delete|remove|drop|cancel)",
    "queue": r"(?:the |our |my |whole |entire |task )*(?:queue|backlog)",
    "shall": r"(?:can|may|should|must|shall|will)",
    "rest": r"(?:stop|quit|leave|take no (?:more|new|further)(?: tasks?| work)?)",
    "its": r"(?:(?:its|their|his|her|the)(?: (?:current|present))? (?:tasks?|work)|up)",
    "us": r"(?:we|i|you|the fleet|it|all this)",
    "spent": r"(?:spend|spent|used|use|burn|burned|burnt|paid|pay|cost)",
    "bill": r"(?:costs?|spending|spend|bill|expenses|usage)",
    "add": (
        r"(?:(?:(?:i|we) )?(?:need|want)|add|start|hire|launch|spawn|spin up|bring up|get|give|create)(?: me| us)?"
    ),
    "more": r"(?:more|extra|additional|further|other)",
    "away": r"(?:remove|drop|dismiss|stop|fire|take away|shut down|get rid of)",
}
"""What stands for ``{name}`` in a template."""


@dataclass(frozen=True)
class Template:
    """A text with slots and what comes out of it."""

    text: str
    make: Make

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The text as a pattern, made when the first sentence comes: over a hundred of them take a while."""
        return re.compile(_filled(self.text), re.IGNORECASE | re.DOTALL)


def templates(make: Make, *texts: str) -> tuple[Template, ...]:
    """Return one template for each text, all with the same meaning."""
    return tuple(Template(text, make) for text in texts)


def always(command: Command) -> Make:
    """Make the same command whatever the slots hold."""
    return lambda _match, _spelling: command


def first(among: tuple[Template, ...], text: str, spelling: Spelling) -> Command | None:
    """Return the command of the first template that accounts for all of ``text``; None where none does."""
    for template in among:
        found = template.pattern.fullmatch(text)
        if found is None:
            continue
        tried = Spelling(spelling.known)
        command = template.make(found, tried)
        if command is not None:
            spelling.guessed = tried.guessed
            return command
    return None


def _filled(text: str) -> str:
    for name, part in PARTS.items():
        text = text.replace(f"{{{name}}}", part)
    return text
