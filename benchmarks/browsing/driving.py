"""A fleet of many agents, some of which change all the time: written as a worker writes it, through the product's log.

Each beat is one transaction that journals a step of every agent in turn, at most ``Pace.each`` of them, and tells each
step as ``run.step``. Beside that ``Pace.turns`` tasks a second are finished and others claimed in their place, so that
agents also change their task and status and what the page reads anew is never the same.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ezaigent.fleet import WorkerInfo, liveness, queries, seats
from ezaigent.store import Connection, NewEvent, Sql, emit_many
from ezaigent.tasks import Claim, NewTask, Slot
from ezaigent.wiring import Fleet

if TYPE_CHECKING:
    from ezaigent.wiring.services import Services

_JOURNAL: Final = Sql(
    "INSERT INTO journal (task_id, session, seq, fence, name, payload, checkpoint, at)"
    " SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, 'shell', x'', NULL, {now} FROM json_each($1)"
)
_TURN: Final = 5
"""Tasks that end at a time."""
_PULSE: Final = 5.0
"""Seconds between two heartbeats of the leases."""


@dataclass(frozen=True)
class Pace:
    """How many agents there are, and how they change."""

    agents: int = 1000
    changing: int = 200
    """Agents that hold a task and make steps."""
    beats: float = 20.0
    """Transactions a second."""
    each: int = 200
    """Steps of one transaction, each of another agent."""
    turns: float = 10.0
    """Tasks finished, and claimed, a second."""

    def told(self) -> str:
        """Return it for the conditions."""
        steps = self.beats * self.each
        return f"{self.changing} of {self.agents} agents, {self.beats:g} x {self.each} steps, {steps:g} a second"


async def fill(home: Path, pace: Pace, seconds: float) -> None:
    """Queue tasks for so many seconds."""
    wanted = pace.changing + int(pace.turns * seconds) + 100
    async with Fleet.connect(home) as fleet:
        for start in range(0, wanted, 1000):
            await fleet.services.queue.submit_many(
                [
                    NewTask(
                        prompt=f"Mend number {number} of the tests. " * 20,
                        repo=f"/srv/project-{number % 50}",
                        title=f"Mend number {number} of the tests of project {number % 50}",
                    )
                    for number in range(start, min(start + 1000, wanted))
                ]
            )


class Crowd:
    """The agents that hold a task, and how far each has come."""

    def __init__(self, services: Services, worker: str) -> None:
        """Nobody holds a task yet."""
        self._services = services
        self._worker = worker
        self._claims: dict[str, Claim] = {}
        self._steps: dict[str, int] = {}

    async def take(self, names: list[str]) -> None:
        """Claim a task for each of these agents."""
        slots = [Slot(agent=name, profile="claude") for name in names]
        found = await self._services.queue.claim(self._worker, slots)
        assert len(found) == len(names), f"{len(names)} tasks were to be claimed, {len(found)} were there"
        for claim in found:
            self._claims[claim.agent] = claim
            self._steps[claim.agent] = 0

    async def step(self, names: list[str]) -> None:
        """Journal and tell a step of each of these agents, in one transaction."""
        rows: list[list[object]] = []
        events: list[NewEvent] = []
        for name in names:
            claim, step = self._claims[name], self._steps[name]
            self._steps[name] += 1
            data = {"step": step, "what": "tool", "name": "shell", "ms": 12.5, "files_changed": False}
            rows.append([claim.task.id, claim.task.session, step, claim.fence])
            events.append(NewEvent("run.step", claim.task.id, claim.run_id, name, data))
        text = json.dumps(rows)

        def write(conn: Connection) -> None:
            _JOURNAL.run(conn, text)
            emit_many(conn, events)

        await self._services.db.write(write)

    async def turn(self, names: list[str]) -> None:
        """Finish what these agents do, and let them claim anew."""
        await self._services.queue.finish_many([(self._claims[name], None) for name in names])
        await self.take(names)

    async def pulse(self) -> None:
        """Prolong the leases, and be seen."""
        runs = {claim.run_id: claim.fence for claim in self._claims.values()}
        await self._services.queue.heartbeat(self._worker, runs)
        await self._services.db.write(lambda conn: queries.seen(conn, self._worker))


async def drive(home: Path, pace: Pace) -> None:
    """Be that fleet until SIGTERM; then print as JSON what was driven.

    ``ready`` is printed once the agents are there and those that change hold their tasks. SIGUSR1 lets it rest: nothing
    changes but its heartbeats; SIGUSR2 lets it go on.
    """
    stopped, moving, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()
    moving.set()
    for number, act in ((signal.SIGTERM, stopped.set), (signal.SIGUSR1, moving.clear), (signal.SIGUSR2, moving.set)):
        loop.add_signal_handler(number, act)
    async with Fleet.connect(home) as fleet:
        services = fleet.services
        worker = f"bench-{os.getpid()}"
        with liveness.hold(services.locks, worker):
            info = WorkerInfo(id=worker, host=socket.gethostname(), pid=os.getpid(), version="0", sandbox="bubblewrap")

            def enter(conn: Connection) -> None:
                queries.enter(conn, info)
                names = queries.agents_of(conn, info, {"claude": pace.agents}).agents
                seats.ready(conn, worker, names)

            await services.db.write(enter)
            listed = [view.name for view in await services.roster.agents()]  # in the order that the page shows
            crowd = Crowd(services, worker)
            await crowd.take(listed[: pace.changing])
            print("ready", flush=True)
            told = await _beat(crowd, listed[: pace.changing], pace, stopped, moving)
    print(json.dumps(told), flush=True)


async def _beat(
    crowd: Crowd, names: list[str], pace: Pace, stopped: asyncio.Event, moving: asyncio.Event
) -> dict[str, float]:
    going_round = itertools.cycle(names)
    began = due = pulse = time.monotonic()
    beats, late, owed = 0, 0, 0.0
    while not stopped.is_set():
        if not moving.is_set():
            await asyncio.sleep(0.1)
            began += 0.1
            due = time.monotonic()
            if due - pulse > _PULSE:
                pulse = due
                await crowd.pulse()
            continue
        chosen = list(itertools.islice(going_round, min(pace.each, pace.changing)))
        await crowd.step(chosen)
        owed += pace.turns / pace.beats
        if owed >= _TURN:
            owed -= _TURN
            await crowd.turn(random.sample(names, _TURN))
        if time.monotonic() - pulse > _PULSE:
            pulse = time.monotonic()
            await crowd.pulse()
        beats += 1
        due += 1 / pace.beats
        wait = due - time.monotonic()
        late += wait < 0
        if wait < -1:
            due = time.monotonic()  # lost for good: to catch up would be a burst
        await asyncio.sleep(max(0.0, wait))
    seconds = time.monotonic() - began
    return {"beats": round(beats / seconds, 1), "late": round(late / max(1, beats), 3)}


if __name__ == "__main__":
    asyncio.run(drive(Path(sys.argv[1]), Pace(**json.loads(sys.argv[2]))))
