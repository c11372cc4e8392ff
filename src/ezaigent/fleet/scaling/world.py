"""The simulated pool and its clock: what happens, in the order in which it happens."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from ezaigent.fleet.scaling.models import Finish, Leaving, Orders, PoolSnapshot, Seat, Start
from ezaigent.fleet.scaling.outcome import Outcome, Point, percentile

HOUR = 3600.0
POINTS = 600
"""Points of the series at most; at least half as many if it lasts so many looks."""
STALLED = 86_400.0
"""Seconds after which a pool that does nothing with its queue is left alone."""


class Controller(Protocol):
    """Who sizes the simulated pool."""

    @property
    def period(self) -> float:
        """Seconds between looks."""
        ...

    @property
    def eager(self) -> bool:
        """Whether it also looks at every arrival and completion."""
        ...

    def look(self, at: float, pool: PoolSnapshot, load: float) -> Orders:
        """Return what to do. ``load`` is the integral of queued and running tasks over time, in task-seconds."""
        ...


_DONE, _READY = 0, 1


class World:
    """The simulated pool and its clock."""

    def __init__(
        self,
        arrivals: Sequence[float],
        services: Sequence[float],
        startup: float,
        controller: Controller,
        *,
        name: str,
        until: float | None,
    ) -> None:
        self._arrivals, self._services, self._startup = arrivals, services, startup
        self._controller, self._name = controller, name
        self._until = math.inf if until is None else until
        self._now = 0.0
        self._coming = 0  # index of the next arrival
        self._queue: deque[int] = deque()
        self._events: list[tuple[float, int, int, str]] = []  # time, order, kind, agent
        self._order = 0
        self._births: dict[str, float] = {}
        self._busy: dict[str, Seat] = {}
        self._task: dict[str, int] = {}
        self._idle: dict[str, Seat] = {}  # oldest first
        self._starting: dict[str, Seat] = {}
        self._draining: dict[str, Leaving] = {}
        self._waits: list[float] = []
        self._agent_seconds = self._busy_seconds = self._load = 0.0
        self._agents = self._launches = self._actions = self._hits = self._peak = 0
        self._series: list[Point] = []
        self._step = 1.0  # seconds between two points
        self._forget()

    def open(self, first: int) -> None:
        """Begin with this many ready agents."""
        for _ in range(first):
            seat = self._born()
            self._idle[seat.agent] = seat
        self._peak = first

    def run(self) -> None:
        """Go from event to event until all tasks are done, or have begun and the time is over."""
        tick, quiet = 0.0, 0.0
        while not self._over():
            at = min(self._next_event(), tick)
            self._draw(at)
            self._load += (len(self._queue) + self._running()) * (at - self._now)
            self._now = at
            changed = self._happen()
            if at >= tick or (changed and self._controller.eager):
                self._obey(self._controller.look(at, self._snapshot(), self._load))
                self._forget()
            tick = tick if at < tick else tick + self._controller.period
            if changed or self._running() or self._starting or self._coming < len(self._arrivals):
                quiet = at
            elif at - quiet > STALLED:
                break

    def _draw(self, at: float) -> None:
        """Add the points up to ``at``; when there are too many, keep every other one."""
        while len(self._series) * self._step <= min(at, self._until):
            if len(self._series) == POINTS:
                self._series = self._series[::2]
                self._step *= 2
            else:
                mark = len(self._series) * self._step
                self._series.append(Point(mark, len(self._queue), self._running(), len(self._births)))

    def outcome(self, wait_target: float) -> Outcome:
        """Return the figures, with everything stopped now."""
        for agent in list(self._births):
            self._gone(agent)
        unserved = len(self._queue)
        waits = sorted([*self._waits, *(self._now - self._arrivals[task] for task in self._queue)])
        late = sum(wait > wait_target for wait in self._waits) + unserved
        return Outcome(
            tasks=len(waits),
            agent_hours=self._agent_seconds / HOUR,
            busy_hours=self._busy_seconds / HOUR,
            wait_p50=percentile(waits, 0.5),
            wait_p95=percentile(waits, 0.95),
            wait_p99=percentile(waits, 0.99),
            wait_mean=math.fsum(waits) / len(waits) if waits else 0.0,
            late_share=late / len(waits) if waits else 0.0,
            unserved=unserved,
            launches=self._launches,
            actions=self._actions,
            busy_hit=self._hits,
            peak=self._peak,
            waits=tuple(self._waits),
            series=tuple(self._series),
        )

    def _over(self) -> bool:
        if self._coming < len(self._arrivals) or self._queue:
            return False
        return self._now >= self._until if math.isfinite(self._until) else not self._task

    def _running(self) -> int:
        return len(self._task)

    def _next_event(self) -> float:
        arrival = self._arrivals[self._coming] if self._coming < len(self._arrivals) else math.inf
        return min(arrival, self._events[0][0] if self._events else math.inf)

    def _happen(self) -> bool:
        """Let everything happen that is due; say whether a task came or was done."""
        changed = False
        while self._events and self._events[0][0] <= self._now:
            _, _, kind, agent = heapq.heappop(self._events)
            if kind == _DONE:
                changed = True
                self._done(agent)
            elif (seat := self._starting.get(agent)) and seat.since + self._startup <= self._now:
                del self._starting[agent]
                self._startups.append(self._now - seat.since)
                self._free(agent)
        while self._coming < len(self._arrivals) and self._arrivals[self._coming] <= self._now:
            changed = True
            self._came += 1
            self._queue.append(self._coming)
            self._coming += 1
            self._dispatch()
        return changed

    def _done(self, agent: str) -> None:
        seconds = self._services[self._task.pop(agent)]
        self._finishes.append(Finish(self._now, seconds))
        if agent in self._draining:
            del self._draining[agent]
            self._gone(agent)
        else:
            del self._busy[agent]
            self._free(agent)

    def _free(self, agent: str) -> None:
        self._idle[agent] = Seat(agent, self._now)
        self._dispatch()

    def _dispatch(self) -> None:
        while self._queue and self._idle:
            task = self._queue.popleft()
            agent, _ = self._idle.popitem()  # idle for the shortest time
            self._busy[agent] = Seat(agent, self._now)
            self._task[agent] = task
            wait = self._now - self._arrivals[task]
            self._waits.append(wait)
            self._starts.append(Start(self._now, wait))
            end = self._now + self._services[task]
            self._busy_seconds += max(0.0, min(end, self._until) - self._now)
            self._push(end, _DONE, agent)

    def _snapshot(self) -> PoolSnapshot:
        return PoolSnapshot(
            name=self._name,
            queued=len(self._queue),
            busy=tuple(self._busy.values()),
            idle=tuple(self._idle.values()),
            starting=tuple(self._starting.values()),
            draining=tuple(self._draining.values()),
            arrivals=self._came,
            starts=tuple(self._starts),
            finishes=tuple(self._finishes),
            startups=tuple(self._startups),
        )

    def _forget(self) -> None:
        """Begin to collect what is told at the next look."""
        self._came = 0
        self._starts: list[Start] = []
        self._finishes: list[Finish] = []
        self._startups: list[float] = []

    def _obey(self, orders: Orders) -> None:
        if not orders:
            return
        self._actions += 1
        for agent in orders.recall:
            del self._draining[agent]
            self._busy[agent] = Seat(agent, self._now)
        for _ in range(orders.start):
            seat = self._born()
            self._launches += 1
            self._starting[seat.agent] = seat
            self._push(self._now + self._startup, _READY, seat.agent)
        for agent in orders.retire:
            if self._idle.pop(agent, None) is None:
                del self._starting[agent]
            self._gone(agent)
        for agent in orders.drain:
            self._hits += 1
            del self._busy[agent]
            self._draining[agent] = Leaving(agent, self._now)
        self._peak = max(self._peak, len(self._births))

    def _push(self, at: float, kind: int, agent: str) -> None:
        self._order += 1
        heapq.heappush(self._events, (at, self._order, kind, agent))

    def _born(self) -> Seat:
        self._agents += 1
        seat = Seat(f"{self._agents:07d}", self._now)
        self._births[seat.agent] = self._now
        return seat

    def _gone(self, agent: str) -> None:
        born = self._births.pop(agent)
        self._agent_seconds += max(0.0, min(self._now, self._until) - min(born, self._until))
