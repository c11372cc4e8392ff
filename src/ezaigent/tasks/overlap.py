"""Tasks that change the same files do not run at the same time: who goes first, and who waits for whom.

A task is guarded when it is to wait (``overlap``) and it is known which files it changes: the scope given, else what
was predicted at the submit. Of guarded tasks with the same repository and base whose globs can mean the same file, the
running one goes first, then the order of claims: priority, then age. So nobody is overtaken for ever. The one exception
is a queued task that no living agent could take: the others need not wait for it.

The rule is judged where a task is claimed. One that may not start leaves the queue: it waits, ``held_by`` the last of
those that go first, and comes back when that one has ended. So of a thousand tasks on one file a claim looks at the
first, not at all of them, and a task without globs is never looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

import orjson

from ezaigent.tasks.globs import common
from ezaigent.tasks.models import State
from ezaigent.tasks.rows import FullRow

_DEFAULTS: Final = frozenset({"", "HEAD", "main", "master"})


class Peer(NamedTuple):
    """A guarded task that runs, is queued, or is held: what the rule looks at."""

    id: str
    title: str
    state: str
    pool: str
    priority: int
    base: str | None
    scope: str
    predicted: str
    held_by: str | None
    agent: str | None

    @property
    def running(self) -> bool:
        """Whether an agent has it."""
        return self.state == State.RUNNING

    @property
    def area(self) -> str:
        """The globs as JSON: as they were given, else as they were predicted."""
        return self.scope if self.scope != "[]" else self.predicted


def peer_of(row: FullRow) -> Peer:
    """Return what the rule looks at of a row."""
    return Peer(
        row.id, row.title, row.state, row.pool, row.priority, row.base, row.scope, row.predicted, row.held_by, row.agent
    )


def branch(base: str | None) -> str:
    """Return a name for the base that is the same for all its spellings; what names none starts from main or master."""
    name = (base or "").removeprefix("refs/heads/").removeprefix("refs/remotes/").removeprefix("origin/")
    return "" if name in _DEFAULTS else name


@lru_cache(maxsize=16_384)
def globs(area: str) -> tuple[str, ...]:
    """Return the globs of an area, with or without their sources."""
    found: list[str | list[str]] = orjson.loads(area)
    return tuple(one if isinstance(one, str) else one[0] for one in found)


@lru_cache(maxsize=65_536)
def shared(one: str, other: str) -> tuple[str, str] | None:
    """Return the globs of two areas that can mean the same file; None when no two of them can."""
    return common(globs(one), globs(other))


def source(peer: Peer, glob: str) -> str | None:
    """Return where a glob is known from, ``PROMPT`` or a task's id; None where a person gave it."""
    if peer.scope != "[]":
        return None
    return next((known for guess, known in orjson.loads(peer.predicted) if guess == glob), None)


def active(state: str, held_by: str | None) -> bool:
    """Return whether a guarded task is one that others may have to wait for."""
    return state in (State.QUEUED, State.RUNNING) or (state == State.WAITING and held_by is not None)


def goes_first(task: Peer, peers: Mapping[str, Peer], staffed: Callable[[str], bool]) -> Peer | None:
    """Return the last of those that go before ``task``, or the running one; None when it may start.

    ``staffed`` says of a pool whether a living agent could take its tasks.
    """
    base, rank = branch(task.base), (task.priority, task.id)
    best: Peer | None = None
    for peer in peers.values():
        if peer.id == task.id or (not peer.running and (peer.priority, peer.id) > rank):
            continue
        if branch(peer.base) != base or shared(task.area, peer.area) is None:
            continue
        if peer.state == State.QUEUED and not staffed(peer.pool):
            continue
        if _waits_for(peer, task, peers):  # an order that was changed since
            continue
        if best is None or (not peer.running, peer.priority, peer.id) > (not best.running, best.priority, best.id):
            best = peer
    return best


def _waits_for(peer: Peer, task: Peer, peers: Mapping[str, Peer]) -> bool:
    seen: set[str] = set()
    at: Peer | None = peer
    while at is not None and at.held_by is not None and at.id not in seen:
        if at.held_by == task.id:
            return True
        seen.add(at.id)
        at = peers.get(at.held_by)
    return False
