"""The native runtime: pydantic-ai's agent loop, made durable, confined and stoppable."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import shutil
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ezaigent.agents.journal import Journal, JournalMismatch, RunJournal
from ezaigent.agents.meter import Meter
from ezaigent.agents.models import Job, Outcome
from ezaigent.agents.ports import Blocked, Runtime
from ezaigent.core.errors import RunError, UnavailableError
from ezaigent.store import emit

if TYPE_CHECKING:
    from pydantic_ai.models import Model

    from ezaigent.agents.governor import Gate, Governor
    from ezaigent.agents.profiles import Profile
    from ezaigent.agents.transport import Transport
    from ezaigent.core.settings import Settings
    from ezaigent.costs import CostBook
    from ezaigent.live import LiveBus
    from ezaigent.store import Database
    from ezaigent.tasks import Claim

ModelFor = Callable[[Job, Meter, RunJournal], "Model"]
"""Returns the model of one run; its calls are noted in the meter, what people should see in the journal."""


class NativeRuntime:
    """Works tasks with pydantic-ai. One object serves all runs of a process, at the same time."""

    def __init__(
        self,
        db: Database,
        model_for: ModelFor,
        governor: Governor | None = None,
        secrets: frozenset[str] = frozenset(),
    ) -> None:
        """Journal in ``db``; ``model_for`` gives each run its model, whose calls go through ``governor``.

        ``secrets`` are blotted out of what is told of tool calls.
        """
        self._db = db
        self._journals = Journal(db)
        self._model_for = model_for
        self._governor = governor
        self._secrets = secrets
        _offer_ripgrep()

    def blocked(self, profile: Profile) -> Blocked | None:
        """Return why all of the profile's models are parked, as far as this worker knows; None: one may be asked."""
        if self._governor is None or profile.offline:
            return None
        return self._governor.blocked([profile.model, *profile.fallbacks])

    def hear(self, kind: str, data: Mapping[str, Any]) -> None:
        """Take in what a worker that shares no live bus with this one told of a model."""
        if self._governor is not None:
            self._governor.hear(kind, data)

    async def checkpoint(self, claim: Claim) -> str | None:
        """Return the commit to which the work tree must be restored before the run; None where there is none yet."""
        return await self._journals.last_checkpoint(claim.task.id, claim.task.session)

    async def run(self, job: Job) -> Outcome:
        """Work the task until its checks pass. See ``Runtime.run``."""
        from ezaigent.agents.loop import work

        _settle_down()
        claim, meter = job.claim, Meter()
        records = await self._journals.load(claim.task.id, claim.task.session)
        journal = RunJournal(self._db, claim, records, meter=meter, on_step=job.on_step)
        try:
            with job.controls.running():
                try:
                    return await work(job, journal, self._model_for(job, meter, journal), self._secrets)
                except JournalMismatch:
                    # Written by another version, it can't be gone on with: the conversation starts anew on the tree
                    # as it is. What was paid stays counted, what was changed stays in the tree.
                    await journal.forget()
                    return await work(job, journal, self._model_for(job, meter, journal), self._secrets)
        finally:
            await unhurried(journal.close())


@asynccontextmanager
async def build_runtime(
    db: Database, settings: Settings, costs: CostBook, bus: LiveBus | None
) -> AsyncGenerator[Runtime]:
    """Yield the runtime of the product; its connections to the providers are closed at the end.

    Over ``bus`` its model calls share the providers' quotas with those of all other workers; without one, among
    themselves.
    """
    from ezaigent.agents.governor import Governor
    from ezaigent.agents.providers import secrets_of
    from ezaigent.agents.transport import Transport

    async def news(kind: str, data: Mapping[str, Any]) -> None:
        with contextlib.suppress(UnavailableError):  # then the store has its own troubles to tell
            await db.write(lambda conn: emit(conn, kind, data=data))

    async with Transport() as transport, Governor(settings, bus, news=news) as governor:
        models = profile_models(settings, costs, transport, governor, bus)
        yield NativeRuntime(db, models, governor, secrets_of(settings))


def profile_models(
    settings: Settings, costs: CostBook, transport: Transport, gate: Gate, bus: LiveBus | None = None
) -> ModelFor:
    """Return the way from a job to its model, priced, budgeted, with its fallbacks, and through the fleet's gate.

    What the models say can be heard over ``bus``.
    """
    from ezaigent.live import Audience

    audience = None if bus is None else Audience(bus)

    def model_for(job: Job, meter: Meter, journal: RunJournal) -> Model:
        if job.profile.offline:
            from ezaigent.agents.mechanic import MechanicModel

            return MechanicModel()
        from ezaigent.agents.resilient import ResilientModel
        from ezaigent.agents.voice import Voice

        voice = None
        if bus is not None and audience is not None:
            voice = Voice(bus, audience, job.claim, lambda: journal.steps)
        try:
            return ResilientModel(
                job.profile,
                settings,
                transport,
                meter=meter,
                reserve=costs.reserver(job.claim),
                on_note=journal.note,
                gate=gate,
                voice=voice,
                skip=job.models_to_skip,
            )
        except UnavailableError as error:
            raise RunError(f"{error}, then retry the task", retryable=False) from None  # no key: it stays missing

    return model_for


async def unhurried(last: Awaitable[None]) -> None:
    """Await ``last`` even while the run is being cancelled: it writes down what was paid."""
    task = asyncio.ensure_future(last)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


@cache
def _settle_down() -> None:
    """Let the garbage collector leave alone what is loaded by now, and look at the rest less often.

    The libraries of the loop are very many objects, and all of them stay.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _offer_ripgrep() -> None:
    """Put the ``rg`` that was installed with the product on the PATH, where there is no other."""
    beside = Path(sys.executable).parent
    if shutil.which("rg") is None and (beside / "rg").exists():
        os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{beside}"
