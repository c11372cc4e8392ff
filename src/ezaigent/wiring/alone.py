"""Is anybody working? If not, ``submit --wait`` works its own task, in its own process."""

from __future__ import annotations

from ezaigent.core.settings import Settings
from ezaigent.fleet import profile_of
from ezaigent.wiring.handle import Fleet
from ezaigent.wiring.services import Services, pools


async def somebody_works(services: Services, profile: str | None) -> bool:
    """Return whether a live worker would take a task of this profile (None: of any)."""
    workers = await services.roster.workers()
    return any(
        not worker.exclusive and any(profile is None or profile_of(name) == profile for name in worker.agents)
        for worker in workers
    )


def work_alone(settings: Settings, task_id: str, profile: str | None) -> Fleet:
    """Return a fleet with one agent that takes this task and no other."""
    wanted = {profile: 1} if profile else {next(iter(pools(settings, 1))): 1}
    return Fleet(settings, agents=wanted, work=True, only=task_id)
