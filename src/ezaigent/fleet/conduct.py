"""One run, from claim to settled: workspace, agent, checks, commit, hand back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

import structlog

from ezaigent.agents import Blocked, Controls, Job, Outcome, Profile, Runtime
from ezaigent.core.change import Change
from ezaigent.core.errors import (
    Cancelled,
    Drained,
    EzAigentError,
    ModelsParked,
    RunError,
    StaleFence,
    Stalled,
    StoreUnavailable,
    StuckError,
    UsageError,
)
from ezaigent.core.failpoints import reach
from ezaigent.core.money import format_usd
from ezaigent.costs import CostBook, close_task
from ezaigent.fleet.recovery.ladder import ELSEWHERE, Elsewhere, models_to_skip, rungs
from ezaigent.store import Connection, Database, emit
from ezaigent.tasks import Claim, Task, TaskQueue, guard
from ezaigent.workspaces import Workspace, Workspaces

log = structlog.get_logger(__name__)

Ending: TypeAlias = Callable[[], Awaitable[Task]]
"""Tells the queue how a run ended."""

_AGAIN: Final = 0.5
"""Seconds, at most, between two tries to tell the queue how a run ended."""
_SOON: Final = 30.0
"""Seconds after which a run goes on whose models are parked although its profile has another one."""


@dataclass(frozen=True, kw_only=True)
class Conductor:
    """Carries a claim through its run and tells the queue how it ended."""

    db: Database
    queue: TaskQueue
    workspaces: Workspaces
    runtime: Runtime
    costs: CostBook
    profiles: Mapping[str, Profile]
    check_rounds: int
    publish: bool
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    """Tasks that this worker leaves to the others for a while."""

    def blocked(self, profile: str) -> Blocked | None:
        """Return why an agent of the profile would take a task in vain now; None: nothing speaks against it."""
        known = self.profiles.get(profile)
        return None if known is None else self.runtime.blocked(known)

    def hear(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take in an event that tells of a model."""
        self.runtime.hear(kind, data)

    async def conduct(self, claim: Claim, controls: Controls) -> None:
        """Run ``claim`` to its end; every way it can end is settled in the store, except a lost fence.

        While the store is away the end is told again and again, until the worker stops: then ``StoreUnavailable`` is
        raised, the lease runs out, and another run goes on from the journal.
        """
        reach("run.claimed")
        try:
            task = await self._settle(await self._end(claim, controls), controls)
            reach("run.finished")
            if task.state.settled:
                await self.db.write(lambda conn: close_task(conn, task.id))
        except StaleFence:
            log.warning("another run owns the task now; this one stops without a trace", task=claim.task.id)

    async def _end(self, claim: Claim, controls: Controls) -> Ending:
        """Work, and return how to tell the queue what came of it. Raises ``StaleFence``."""
        queue, task = self.queue, claim.task.id
        ending: Ending
        try:
            with controls.running():
                change = await self._work(claim, controls)
            ending = partial(queue.finish, claim, change)
            reach("run.finish")
        except StaleFence:
            raise
        except Cancelled:
            ending = partial(queue.cancelled, claim)
        except Drained:
            ending = partial(queue.release, claim, "the worker stops")
        except Stalled as stop:
            ending = partial(self._move_on, claim, str(stop))
        except RunError as error:
            ending = self._stopped(claim, error)
        except UsageError as error:
            ending = partial(queue.fail, claim, str(error), retryable=False)
        except StoreUnavailable:
            # No attempt failed: the next run goes on with what is journaled.
            log.warning("the store could not be reached; the run will be resumed", task=task)
            ending = partial(queue.release, claim, "the store could not be reached")
        except EzAigentError as error:
            ending = partial(queue.fail, claim, str(error), retryable=True)
        except Exception as error:
            log.exception("a run broke", task=task)
            ending = partial(queue.fail, claim, f"the run broke: {type(error).__name__}; see the worker's log")
        return ending

    def _stopped(self, claim: Claim, error: RunError) -> Ending:
        """Return how to tell the queue that the agent could not go on."""
        if isinstance(error, ModelsParked):
            return partial(self._park, claim, str(error))
        stuck = isinstance(error, StuckError)
        return partial(self.queue.fail, claim, str(error), retryable=error.retryable, stuck=stuck)

    async def _park(self, claim: Claim, reason: str) -> Task:
        """Give the task back: in the queue another profile may take it, too.

        Where this one would take it again at once, in vain, it waits a little: with another model that is not parked,
        or to find out about one that this task's runs pass over.
        """
        parked = self.blocked(claim.profile) is not None and not await self._models_to_skip(claim)
        return await self.queue.release(claim, reason, again_in=None if parked else _SOON)

    async def _move_on(self, claim: Claim, reason: str) -> Task:
        """Give a task that stood still to its next run, which has something else than this one had."""
        task, action = await self.queue.stalled(claim, reason, rungs(self.profiles.get(claim.profile)))
        if action == ELSEWHERE:
            self.elsewhere.add(task.id)
        return task

    async def _settle(self, end: Ending, controls: Controls) -> Task:
        """Tell the queue, again while it cannot be reached: what was worked for is not thrown away for an outage."""
        told = False
        while True:
            try:
                return await end()
            except StoreUnavailable as error:
                if controls.stopping is not None:
                    raise
                if not told:
                    log.warning("how a run ended cannot be stored yet; trying again", reason=str(error))
                told = True
            await asyncio.sleep(random.uniform(0, _AGAIN))  # noqa: S311 - spreads load, keeps no secret

    async def _work(self, claim: Claim, controls: Controls) -> Change:
        task = claim.task
        profile = self.profiles.get(claim.profile)
        if profile is None:
            raise UsageError(f"no profile {claim.profile!r}; add [profiles.{claim.profile}] or submit with another one")
        restored = await self.runtime.checkpoint(claim)
        workspace = await self.workspaces.open(
            task_id=task.id,
            repo=task.repo,
            base=task.base,
            parents=await self._parents(task),
            checkpoint=restored,
            resumed=claim.resumed,
        )
        try:
            await self._note_start(claim, workspace)
            outcome = await self.runtime.run(
                Job(
                    claim=claim,
                    profile=profile,
                    workspace=workspace,
                    controls=controls,
                    check_rounds=self.check_rounds,
                    models_to_skip=await self._models_to_skip(claim),
                )
            )
            return await self._deliver(claim, profile, workspace, outcome)
        finally:
            await workspace.close()

    async def _models_to_skip(self, claim: Claim) -> int:
        if claim.fence == 1:  # the task's first run
            return 0
        return models_to_skip(claim.task, await self.queue.runs(claim.task.id))

    async def _parents(self, task: Task) -> list[str]:
        """Commits of the needed tasks: this one starts from their changes."""
        needed = [await self.queue.get(need) for need in task.needs]
        return [need.change.commit for need in needed if need.change is not None and need.project == task.project]

    async def _note_start(self, claim: Claim, workspace: Workspace) -> None:
        task = claim.task

        def note(conn: Connection) -> None:
            guard(conn, task.id, claim.fence)
            emit(
                conn,
                "run.started",
                task_id=task.id,
                run_id=claim.run_id,
                agent=claim.agent,
                data={"base": workspace.base, "sandbox": workspace.sandbox_level, "resumed": claim.resumed},
            )

        await self.db.write(note)

    async def _deliver(self, claim: Claim, profile: Profile, workspace: Workspace, outcome: Outcome) -> Change:
        task = claim.task
        outside = await workspace.violations(task.scope)
        if outside:
            raise RunError(
                f"the change touches {outside[0]!r}{f' and {len(outside) - 1} more' * (len(outside) > 1)} outside its "
                f"scope {', '.join(task.scope)}; widen the scope or retry",
            )
        spent = await self.costs.task(task.id)
        models = await self.costs.models(task)
        reach("run.commit")
        change = await workspace.commit(
            message=_message(task, outcome.summary),
            author=claim.agent,
            trailers={
                "Task": task.id,
                "Model": ", ".join(models) or profile.model or "none (recipes)",
                "Cost": format_usd(None if spent.unknown_calls else spent.cost_nusd),
            },
        )
        reach("run.committed")
        change = change.with_checks(outcome.checks)
        if self.publish and change.files:
            change = await workspace.publish(change)
        return change


def _message(task: Task, summary: str) -> str:
    title = " ".join(task.title.split())
    body = summary.strip()
    return title if not body or body == title else f"{title}\n\n{body}"
