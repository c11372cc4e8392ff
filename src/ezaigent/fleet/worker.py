"""A worker: one process that hosts agents, claims tasks for the idle ones and keeps the leases alive."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from ezaigent.agents import Blocked, Controls
from ezaigent.core.errors import EzAigentError, UnavailableError
from ezaigent.core.events import Event
from ezaigent.core.settings import FleetSettings, QueueSettings, RecoverySettings
from ezaigent.fleet import queries
from ezaigent.fleet.conduct import Conductor
from ezaigent.fleet.hosting import Hosting
from ezaigent.fleet.models import Parked, WorkerInfo
from ezaigent.fleet.peers import PERIOD, Peers
from ezaigent.fleet.recovery.apart import Apart
from ezaigent.fleet.recovery.idleness import NOTHING, OTHERS, watch_claims
from ezaigent.fleet.recovery.watch import watch
from ezaigent.live import LiveBus
from ezaigent.store import Database, EventLog, emit
from ezaigent.tasks import Claim, Pauses, Slot, TaskQueue, bell

log = structlog.get_logger(__name__)

_SWEEP = 1.0
"""Seconds between claims that nothing announced: expired leases, times that have come, lost rings."""
_STEP = 5.0
"""Seconds that a run gets to finish the step it is in, once the drain deadline has passed."""
_LAST = 10.0
"""Seconds that a run gets to end its programs and to tell the store, once it was stopped in the middle of a step."""


_TRIAL = 60.0
"""Seconds that a run gets to find out whether a parked model answers again; then another one may, too."""


@dataclass
class _Run:
    claim: Claim
    controls: Controls
    trial_until: float = -math.inf
    """Until when no other run of its profile is begun: it finds out whether a parked model answers again."""
    task: asyncio.Task[None] = field(init=False)


class Worker:
    """Hosts the agents of ``hosting``; ``run`` returns when it was stopped and every run has ended or was given back.

    ``stop`` ends claiming at once and lets running tasks finish up to the drain deadline; then they stop at their
    next step and go back to the queue with everything they have done. ``abort`` gives them back without waiting.
    """

    def __init__(
        self,
        *,
        hosting: Hosting,
        peers: Peers,
        db: Database,
        queue: TaskQueue,
        events: EventLog,
        bus: LiveBus,
        conductor: Conductor | Apart,
        queue_settings: QueueSettings,
        fleet_settings: FleetSettings,
        recovery: RecoverySettings,
        command_limit: float,
        only: frozenset[str] | None = None,
    ) -> None:
        """``only`` restricts the worker to these task ids (``submit --wait`` with nothing else running).

        ``command_limit`` is how many seconds the sandbox gives one command.
        """
        self._hosting = hosting
        self._peers = peers
        self._idle_since: dict[str, float] = {}
        self._looked = -math.inf
        self._beat = asyncio.Event()
        self._runs: dict[str, _Run] = {}
        self._db = db
        self._queue = queue
        self._events = events
        self._bus = bus
        self._conductor = conductor
        self._queue_settings = queue_settings
        self._fleet_settings = fleet_settings
        self._recovery = recovery
        self._command_limit = command_limit
        self._given_up: set[str] = set()
        self._only = only
        self._paused = Pauses()
        self._seen = 0
        self._away = False
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._aborting = asyncio.Event()
        self._ready = asyncio.Event()
        self._anew = asyncio.Event()
        self._claimed = 0

    @property
    def info(self) -> WorkerInfo:
        """The worker as it announces itself, with the agents that it hosts now."""
        return self._hosting.info

    @property
    def busy(self) -> int:
        """How many agents have a task."""
        return len(self._runs)

    async def ready(self) -> None:
        """Return when the worker has said that it is there and claims."""
        await self._ready.wait()

    def stop(self) -> None:
        """Claim nothing more; drain."""
        self._stopping.set()
        self._wake.set()

    def abort(self) -> None:
        """Stop at once: running commands end, the tasks go back to the queue."""
        self._aborting.set()
        self.stop()

    async def run(self) -> None:
        """Work until stopped. Raises ``UnavailableError`` when the store cannot be reached at the start."""
        self._seen = await self._events.head()
        self._paused = await self._queue.pauses()
        await self._hosting.look(())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PERIOD):
                await self._peers.announce(self.info, busy=0)
        background = [
            asyncio.create_task(self._forever(self._heartbeats), name="heartbeats"),
            asyncio.create_task(self._forever(self._announce), name="presence"),
            asyncio.create_task(self._forever(self._watch), name="peers"),
            asyncio.create_task(self._forever(self._follow), name="controls"),
            asyncio.create_task(self._forever(self._watch_runs), name="stalls"),
        ]
        if self._only is None:  # a bell wakes one worker: not the one that would not take the task
            background.append(asyncio.create_task(self._forever(self._listen), name="doorbell"))
        self._ready.set()
        try:
            await self._keep_claiming()
            await self._drain()
        finally:
            left = [*background, *(run.task for run in self._runs.values())]
            for task in left:
                task.cancel()
            for task in await _end(left):
                log.error("a part of the worker does not end; it is left behind", part=task.get_name())
            await self._peers.leave()
            with contextlib.suppress(EzAigentError):
                await self._db.write(lambda conn: queries.leave(conn, self.info.id, "stopped"))

    async def _keep_claiming(self) -> None:
        """Claim until stopped; where that comes to nothing for too long, begin anew."""
        watching = asyncio.create_task(self._forever(self._watch_claims), name="claims")
        try:
            await self._claim_ever_anew()
        finally:  # who drains claims nothing, and is right not to
            watching.cancel()
            await _end([watching])

    async def _claim_ever_anew(self) -> None:
        while not self._stopping.is_set():
            self._anew.clear()
            claiming = asyncio.create_task(self._claim_until_stopped(), name="claiming")
            anew = asyncio.create_task(self._anew.wait())
            try:
                await asyncio.wait({claiming, anew}, return_when=asyncio.FIRST_COMPLETED)
                if claiming.done():
                    claiming.result()
            finally:
                claiming.cancel()
                anew.cancel()
                if await _end([claiming]):
                    log.error("claiming does not end; it is left behind")

    async def _watch_claims(self) -> None:
        if self._only is not None:  # the tasks of others are none of its business
            await asyncio.Event().wait()
        await watch_claims(
            self._db,
            self.info.id,
            self._recovery,
            general=self._hosting.general,
            left_alone=self._conductor.elsewhere.tasks,
            parked=lambda: self._hosting.info.parked,
            claims=lambda: self._claimed,
            last=OTHERS if self.info.room is not None else NOTHING,
            act=self._claim_anew,
        )

    async def _claim_anew(self, action: str) -> None:
        """Trust nothing that this worker remembers, and begin to claim anew, or end, so that others host its agents."""
        if action == OTHERS:
            self.stop()
        else:
            self._hold(await self._queue.pauses())
            self._look_again()
        self._anew.set()

    async def _claim_until_stopped(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                async with asyncio.timeout(self._recovery.look):
                    await self._host()
                    claimed = await self._claim()
                self._reached()
            except TimeoutError:
                await self._look_anew()
                claimed = 0
            except UnavailableError as error:
                self._missed(error)
                claimed = 0
            except Exception:
                log.exception("claiming broke; it is tried again")  # the runs that go on must not end with it
                claimed = 0
            if not claimed:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_SWEEP):  # not wait_for: on 3.11 it can lose a cancellation
                        await self._wake.wait()

    async def _look_anew(self) -> None:
        """Say that a look at the queue came to nothing for too long; what it may have claimed still runs out."""
        reason = f"a look at the queue took more than {self._recovery.look:g} s"
        log.warning("the worker claims nothing; it looks again", reason=reason)
        data = {"what": "claims nothing", "reason": reason, "action": "it looks again", "worker": self.info.id}
        with contextlib.suppress(UnavailableError, TimeoutError):
            async with asyncio.timeout(self._recovery.look):
                await self._db.write(lambda conn: emit(conn, "recovery.acted", data=data))

    async def _watch_runs(self) -> None:
        await watch(
            lambda: {run_id: run.controls for run_id, run in self._runs.items()},
            self._recovery,
            self._command_limit,
            self._given_up.add,
        )

    async def _host(self) -> None:
        """Follow what was decided about the seats: as soon as it is heard of, else with the sweep."""
        now = time.monotonic()
        if now - self._looked < _SWEEP:
            return
        self._looked = now
        try:
            await self._hosting.look([run.claim.agent for run in self._runs.values()])
        except BaseException:
            self._looked = -math.inf
            raise
        blocked = self._blocked()
        await self._hosting.note_parked(
            {name: Parked(reason=one.reason, until=one.until and round(one.until)) for name, one in blocked.items()}
        )

    def _blocked(self) -> dict[str, Blocked]:
        """Return why agents would take tasks in vain, by profile."""
        profiles = sorted({slot.profile for slot in self._hosting.slots.values()})
        return {name: found for name in profiles if (found := self._conductor.blocked(name)) is not None}

    def _idle(self) -> list[Slot]:
        """Return the agents that may claim; the one that had work last comes first, so that the others can go."""
        slots, now = self._hosting.slots, time.monotonic()
        working = {run.claim.agent for run in self._runs.values()}
        self._idle_since = {name: self._idle_since.get(name, now) for name in slots if name not in working}
        able = [name for name in self._idle_since if name not in self._paused]
        return self._unblocked([slots[name] for name in sorted(able, key=lambda name: -self._idle_since[name])])

    def _unblocked(self, idle: list[Slot]) -> list[Slot]:
        """Leave out agents whose models are parked; once the time is over, one of them finds out for all."""
        blocked = self._blocked()
        if not blocked:
            return idle
        now = time.monotonic()
        tried = {name for name, found in blocked.items() if not found.trial}
        tried |= {run.claim.profile for run in self._runs.values() if run.trial_until > now and not run.controls.paused}
        able: list[Slot] = []
        for slot in idle:
            if slot.profile not in blocked:
                able.append(slot)
            elif slot.profile not in tried:
                tried.add(slot.profile)
                able.append(slot)
        return able

    async def _claim(self) -> int:
        idle = self._idle()
        if not idle:
            return 0
        mine = [run.claim.task.id for name, run in self._runs.items() if name not in self._given_up]
        avoid = [*self._conductor.elsewhere.tasks(), *mine]  # a store that stood still has let its own leases run out
        claims = await self._queue.claim(
            self.info.id, idle, only=self._only, avoid=avoid, admitted=self._hosting.admitted
        )
        for claim in claims:
            self._start(claim)
        return len(claims)

    def _start(self, claim: Claim) -> None:
        self._claimed += 1
        run = _Run(claim, Controls())
        if self._conductor.blocked(claim.profile) is not None:
            run.trial_until = time.monotonic() + _TRIAL
        if claim.agent in self._paused:
            run.controls.pause()
        self._runs[claim.run_id] = run
        run.task = asyncio.create_task(self._conduct(run), name=f"run {claim.task.id}")

    async def _conduct(self, run: _Run) -> None:
        try:
            await self._conductor.conduct(run.claim, run.controls)
        except UnavailableError as error:
            # The lease runs out and the task is taken up again from its journal.
            log.warning("a run could not be settled", task=run.claim.task.id, reason=str(error))
        except Exception:
            log.exception("a run could not be settled", task=run.claim.task.id)
        finally:
            del self._runs[run.claim.run_id]
            if run.claim.agent not in self._hosting.slots:  # it was to leave, and waited for this
                self._looked = -math.inf
            self._wake.set()

    async def _drain(self) -> None:
        """Give running tasks until the deadline, then stop them at their next step, then in the middle of it.

        A paused one cannot finish, so it is stopped where it waits. Whatever will not end is left behind after a while:
        its lease runs out.
        """
        working = {run.claim.agent for run in self._runs.values()}
        with contextlib.suppress(EzAigentError):  # then they are free when the worker has left, or is missed
            await self._hosting.retire(working, "its worker stops")
        for run in self._runs.values():
            if run.controls.paused:
                run.controls.drain()
        await self._wait_for_runs(self._fleet_settings.drain)
        for run in list(self._runs.values()):
            run.controls.drain(now=self._aborting.is_set())
        await self._wait_for_runs(_STEP)
        for run in list(self._runs.values()):
            run.controls.drain(now=True)
        await _end([run.task for run in self._runs.values()])

    async def _wait_for_runs(self, seconds: float) -> None:
        tasks = [run.task for run in self._runs.values()]
        if not tasks or self._aborting.is_set():
            return
        abort = asyncio.create_task(self._aborting.wait())
        done = asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.wait({abort, done}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        abort.cancel()

    async def _heartbeats(self) -> None:
        while True:
            self._beat.clear()
            self._given_up &= self._runs.keys()
            runs = {name: run.claim.fence for name, run in self._runs.items() if name not in self._given_up}
            if not await self._hosting.beat():
                log.warning("the others had counted this worker as lost; it goes on", worker=self.info.id)
                self._look_again()
            pulse = await self._queue.heartbeat(self.info.id, runs)
            for run_id in pulse.lost:
                if run := self._runs.get(run_id):
                    run.controls.lose()
            for run_id in pulse.cancelled:
                if run := self._runs.get(run_id):
                    run.controls.cancel()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._hosting.pause):
                    await self._beat.wait()

    async def _announce(self) -> None:
        """Be present on the live bus, whatever becomes of the store meanwhile."""
        while True:
            await self._peers.announce(self.info, busy=self.busy)
            await asyncio.sleep(PERIOD)

    async def _watch(self) -> None:
        """Take over from workers that have died."""
        while True:
            if not self._bus.up:  # who is missing there is asked for in the store
                self._beat.set()
            if await self._peers.look():
                self._look_again()
            await asyncio.sleep(PERIOD)

    async def _follow(self) -> None:
        """Act on what people decide in other processes: cancel, pause, resume, a message, new work."""
        async for event in self._events.follow(self._seen, poll=self._queue_settings.poll):
            self._heed(event)
            self._seen = event.seq

    def _heed(self, event: Event) -> None:
        match event.kind:
            case "task.submitted" | "task.queued" | "task.requeued" | "task.retrying":
                self._wake.set()
            case "agent.ordered" | "agent.leaving" | "agent.recalled" | "agent.unhosted":
                self._look_again()
            case "worker.lost":
                if event.data.get("worker") == self.info.id:
                    self._beat.set()
                self._look_again()
            case "task.cancel_requested":
                for run in self._runs.values():
                    if run.claim.task.id == event.task_id:
                        run.controls.cancel()
            case "agent.paused":
                self._hold(self._paused.paused(event.data["target"]))
            case "agent.resumed":
                self._hold(self._paused.resumed(event.data["target"]))
                self._wake.set()
            case _:
                self._heed_model(event)

    def _heed_model(self, event: Event) -> None:
        if event.kind in ("model.parked", "model.still_parked", "model.unparked"):
            self._conductor.hear(event.kind, event.data)
            self._look_again()

    def _look_again(self) -> None:
        self._looked = -math.inf
        self._wake.set()

    def _hold(self, paused: Pauses) -> None:
        self._paused = paused
        for run in self._runs.values():
            if run.claim.agent not in paused:
                run.controls.resume()
                continue
            run.controls.pause()
            if self._stopping.is_set():  # nobody waits for what cannot finish
                run.controls.drain()

    async def _listen(self) -> None:
        """Wake on a doorbell, so that a submit in another process starts at once."""
        while True:
            if not self._hosting.slots:  # a bell wakes one worker: not the one that has nobody for the task
                await asyncio.sleep(_SWEEP)
                continue
            bells = [bell(None), *sorted({bell(slot.profile) for slot in self._hosting.slots.values()})]
            started = time.monotonic()
            if await self._bus.wait(bells, timeout=2.0) is not None:
                self._wake.set()
            elif time.monotonic() - started < 1.0:  # a bus that is down answers at once
                await asyncio.sleep(1.0)

    async def _forever(self, loop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await loop()
            except UnavailableError as error:
                self._missed(error)
            except Exception:  # without its heartbeats a worker would lose every lease
                log.exception("a part of the worker broke; it goes on")
            await asyncio.sleep(min(1.0, self._queue_settings.lease / 10))

    def _missed(self, error: UnavailableError) -> None:
        """Say once that the store is away: several loops find it out, again and again."""
        if not self._away:
            log.warning("the store cannot be reached; trying again", reason=str(error))
        self._away = True
        self._peers.held_up()

    def _reached(self) -> None:
        if self._away:
            log.warning("the store is back")
        self._away = False


async def _end(tasks: Sequence[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Wait a bounded time for the end of tasks that were told to end; return those that did not."""
    return (await asyncio.wait(tasks, timeout=_LAST))[1] if tasks else set()
