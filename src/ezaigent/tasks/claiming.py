"""Which idle agent gets which task: priority first, then fairness between projects, then age."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from ezaigent.core.settings import QueueSettings
from ezaigent.store import Connection, NewEvent, emit_many
from ezaigent.tasks import holding, moves, queries
from ezaigent.tasks.models import GENERAL, Claim, Slot, State
from ezaigent.tasks.pausing import Pauses
from ezaigent.tasks.queries import Candidate
from ezaigent.tasks.rows import TaskRow, as_claim

_ROUNDS: Final = 10
"""Times that a claim looks again when other workers were faster, or when a lane held less than it seemed."""
FRESH: Final = 2.0
"""Leases that a worker may be silent before its agents do not count as living."""
_HEARD: Final = 0.4
"""Leases within which a worker must have been heard of itself to take over what another one had.

A store that stands still for longer lets all leases run out: whoever comes first then must not take them.
"""
_ALONE: Final = 3
"""Workers that may be lost while they watch a task in a process of its own: that says little against it."""
_MANY: Final = 10
"""Workers lost in a row after which a task runs in a process of its own whatever became of the others."""


@dataclass
class Idle:
    """The idle agents by profile."""

    special: defaultdict[str, deque[Slot]] = field(default_factory=lambda: defaultdict(deque))
    general: defaultdict[str, deque[Slot]] = field(default_factory=lambda: defaultdict(deque))

    @classmethod
    def of(cls, slots: Sequence[Slot]) -> Self:
        """Return these idle agents."""
        idle = cls()
        for slot in slots:
            idle.add(slot)
        return idle

    def add(self, slot: Slot) -> None:
        """Enter an idle agent."""
        (self.general if slot.general else self.special)[slot.profile].append(slot)

    @property
    def pools(self) -> list[str]:
        """The pools whose tasks these agents can take."""
        named = {name for kind in (self.special, self.general) for name, slots in kind.items() if slots}
        return sorted(named | ({GENERAL} if any(self.general.values()) else set()))

    def drop(self, paused: Pauses) -> None:
        """Take out the agents that are held."""
        for kind in (self.special, self.general):
            for profile, slots in kind.items():
                kind[profile] = deque(slot for slot in slots if slot.agent not in paused)

    def __len__(self) -> int:
        return sum(len(slots) for kind in (self.special, self.general) for slots in kind.values())

    def take(self, pool: str, demand: Mapping[str, int]) -> Slot | None:
        """Take the agent that can best be spared for a task of ``pool``; None when there is none.

        An agent that takes general work is kept for it as long as a special one is idle; general work goes to the
        profile with the most idle agents left over after the ``demand`` for that very profile.
        """
        if pool != GENERAL:
            slots = self.special[pool] or self.general[pool]
        else:
            able = [name for name, slots in self.general.items() if slots]
            if not able:
                return None
            slots = self.general[max(able, key=lambda name: (self._spare(name, demand), name))]
        return slots.popleft() if slots else None

    def _spare(self, profile: str, demand: Mapping[str, int]) -> int:
        """Return how many general agents are left over once the special ones have met what they can of the demand."""
        return len(self.general[profile]) - max(0, demand.get(profile, 0) - len(self.special[profile]))


def match(candidates: Sequence[Candidate], idle: Idle, running: Mapping[str, int]) -> dict[str, Slot]:
    """Return which task goes to which agent; the agents are taken out of ``idle``.

    ``running`` is how many tasks of each project run already.
    """
    demand = Counter(candidate.pool for candidate in candidates)
    load = Counter(running)
    taken: dict[str, Slot] = {}
    for priority in sorted({candidate.priority for candidate in candidates}):
        queues: defaultdict[str, deque[Candidate]] = defaultdict(deque)
        for candidate in sorted((one for one in candidates if one.priority == priority), key=lambda one: one.id):
            queues[candidate.project].append(candidate)
        heap = [(load[project], queue[0].id, project) for project, queue in queues.items()]
        heapq.heapify(heap)
        while heap and idle:
            project = heapq.heappop(heap)[2]
            candidate = queues[project].popleft()
            demand[candidate.pool] -= 1
            slot = idle.take(candidate.pool, demand)
            if slot is not None:
                taken[candidate.id] = slot
                load[project] += 1
            if queues[project]:
                heapq.heappush(heap, (load[project], queues[project][0].id, project))
    return taken


def claim(
    conn: Connection,
    worker: str,
    slots: Sequence[Slot],
    settings: QueueSettings,
    *,
    only: Collection[str] | None,
    avoid: Collection[str] = (),
) -> list[Claim]:
    """Claim up to one task for each of the idle agents ``slots``, none of those to ``avoid``."""
    idle = Idle.of(slots)
    staffed = holding.living(conn, () if only is not None else idle.pools, FRESH * settings.lease)
    order = holding.Order(conn, staffed)
    claims: list[Claim] = []
    lost = set(avoid)
    woken = passed = False
    for _ in range(_ROUNDS):
        found = queries.candidates(conn, idle.pools, len(idle), lost, only) if idle else []
        facts = {candidate.kind for candidate in found}
        if "due" in facts and not woken:
            woken = True
            wake_due(conn)
            continue
        if "paused" in facts:
            idle.drop(Pauses.of((one.id, one.priority > 0) for one in found if one.kind == "paused"))
        tasks = [candidate for candidate in found if candidate.kind == "queued"]
        if "expired" in facts and not queries.silent(conn, worker, _HEARD * settings.lease):
            tasks += [candidate for candidate in found if candidate.kind == "expired"]
        running = queries.running_by_project(conn) if len({task.project for task in tasks}) > 1 else {}
        chosen = match(tasks, idle, running)
        if not chosen:
            if "held" not in facts or passed or not holding.let_pass(conn, staffed):
                break
            passed = True
            continue
        before = len(claims)
        claims += _take(conn, worker, chosen, settings, order)
        if len(claims) - before == len(chosen):
            break
        # The others were claimed by another worker meanwhile, or were dead: their agents look again.
        claimed = {one.task.id for one in claims}
        lost |= chosen.keys() - claimed
        for task_id, slot in chosen.items():
            if task_id not in claimed:
                idle.add(slot)
    return claims


def wake_due(conn: Connection) -> None:
    """Queue the waiting tasks whose time has come."""
    now, rows = queries.due(conn)
    events: list[NewEvent] = []
    for row in rows:
        events += moves.ready(row, now, needs_met=True, reason="its time has come")
    queries.save(conn, rows)
    emit_many(conn, events)


def _take(
    conn: Connection, worker: str, chosen: Mapping[str, Slot], settings: QueueSettings, order: holding.Order
) -> list[Claim]:
    now, rows = queries.load_free(conn, chosen)
    order.judge([row for row in rows.values() if row.guarded and row.state == State.QUEUED])
    claims: list[Claim] = []
    touched: list[TaskRow] = []
    events: list[NewEvent] = []
    ended: list[tuple[str, float, str, str]] = []
    moved = queries.progressed(conn, [row.id for row in rows.values() if row.state == State.RUNNING])
    for task_id, slot in chosen.items():
        row = rows.get(task_id)
        if row is None or not _claimable(row, now):
            continue
        if row.guarded and row.state == State.QUEUED and (held := order.hold(row, now)) is not None:
            events += held
            touched += [row] if held else []
            continue
        touched.append(row)
        if row.state == State.RUNNING and row.run_id is not None:
            ended.append((row.run_id, now, "lost", "its lease ended without a heartbeat"))
            if row.cancel_requested:
                events += moves.cancelled(row, now, row.reason)
                continue
            hopeless = row.crashes >= settings.max_crashes + _ALONE and row.id not in moved
            if hopeless and not queries.other_deaths(conn, row):
                events += moves.bury(row, now)
                continue
        resumed, said = moves.begin(
            row, now, agent=slot.agent, worker=worker, lease=settings.lease, progressed=row.id in moved
        )
        events += said
        alone = row.crashes >= settings.max_crashes and (row.crashes > _MANY or _guilty(conn, row))
        if alone:
            events.append(moves.suspect(row, now))
        claims.append(as_claim(row, profile=slot.profile, resumed=resumed, alone=alone))
        if row.guarded:
            order.note(row)
    events += holding.free(conn, touched, now, wait=False)[1]
    entered = [(c.run_id, c.task.id, c.task.session, c.fence, c.agent, c.profile, worker, now) for c in claims]
    emit_many(conn, events, [queries.saving(touched), queries.ending(ended), queries.entering(entered)])
    return claims


def _guilty(conn: Connection, row: TaskRow) -> bool:
    """Whether workers die rather under this task than without it: where they die anyway, it is just one of many."""
    return row.crashes > queries.other_deaths(conn, row)


def _claimable(row: TaskRow, now: float) -> bool:
    return row.state == State.QUEUED or (row.state == State.RUNNING and (row.lease_until or 0.0) <= now)
