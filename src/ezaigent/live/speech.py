"""What models say, as they say it: pieces on the bus that may be lost, and who listens for them.

Nobody speaks where nobody listens: a listener announces itself, a speaker asks at most once a second who is there. What
was said in full is in the event log (``run.step``), by the same run and step.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import orjson

if TYPE_CHECKING:
    from ezaigent.live.ports import LiveBus

SPEECH: Final = "speech"
"""The channel of the pieces, and the group of those who listen."""
LISTENING: Final = 6.0
"""Seconds that an announced listener counts as present."""
_ASKED: Final = 1.0
_NAMED: Final = 500
"""Tasks and agents that a listener names at most; who wants more gets everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of what one model request brings."""

    task_id: str
    run_id: str
    agent: str
    step: int
    """Number of the step that the request becomes when it is finished."""
    attempt: int
    """Counts the tries of that step: what an earlier one said is void."""
    start: int
    """Characters said before this piece; a gap means that pieces were lost."""
    text: str
    end: Literal["", "whole", "broken"] = ""
    """``whole`` ends what was said; after ``broken`` it is void."""

    def encode(self) -> bytes:
        """Return it as it goes over the bus: JSON."""
        return orjson.dumps(asdict(self))

    @classmethod
    def decode(cls, message: bytes) -> Self | None:
        """Read a message of the channel; None for one that another version wrote."""
        try:
            return cls(**orjson.loads(message))
        except (orjson.JSONDecodeError, TypeError):
            return None


def interest(wanted: Iterable[tuple[str | None, str | None]]) -> dict[str, Any]:
    """Return what a listener announces: the tasks and agents it wants to hear; a pair of None wants all."""
    pairs = set(wanted)
    tasks = sorted({task for task, _ in pairs if task is not None})
    agents = sorted({agent for task, agent in pairs if task is None and agent is not None})
    everything = (None, None) in pairs or len(tasks) + len(agents) > _NAMED
    return {"all": True} if everything else {"tasks": tasks, "agents": agents}


class Audience:
    """Knows who listens; one object serves all runs of a process."""

    def __init__(self, bus: LiveBus) -> None:
        """Ask ``bus``."""
        self._bus = bus
        self._until = 0.0
        self._all = False
        self._tasks: frozenset[str] = frozenset()
        self._agents: frozenset[str] = frozenset()

    async def wants(self, task_id: str, agent: str) -> bool:
        """Whether somebody listens to this run, as of a second ago."""
        if time.monotonic() >= self._until:
            self._until = time.monotonic() + _ASKED
            present = (await self._bus.present(SPEECH)).values()
            self._all = any(one.get("all") for one in present)
            self._tasks = frozenset(task for one in present for task in one.get("tasks", ()))
            self._agents = frozenset(name for one in present for name in one.get("agents", ()))
        return self._all or task_id in self._tasks or agent in self._agents
