"""What a task must satisfy to be queued: a mistake is told to the person who makes it, not to an agent at night."""

from __future__ import annotations

from ezaigent.core.errors import UsageError
from ezaigent.core.outside import FROM_AFAR, Inside
from ezaigent.core.settings import Settings
from ezaigent.store import Database
from ezaigent.tasks import NewTask
from ezaigent.wiring.faraway import remember


async def admit(new: NewTask, settings: Settings, db: Database) -> NewTask:
    """Return the task as it will be queued: as it was given.

    A login in the repository's URL stays in the task, because the worker that takes it needs it; what is shown or
    logged of the task (``fleet.TaskView``, git's messages) leaves it out. Raises ``UsageError`` for an unknown profile
    and for a repository or base that cannot be used, such as a URL that leads into this network while somebody far
    away asks, ``UnavailableError`` for a repository that cannot be reached. What somebody far away names is remembered
    as such, and looked at again by the worker.
    """
    from ezaigent.agents import load_profiles
    from ezaigent.workspaces import check_repository

    if new.profile is not None and new.profile not in (known := load_profiles(settings)):
        raise UsageError(f"no profile {new.profile!r}; known: {', '.join(sorted(known))}")
    inside = Inside.read(settings.server.internal) if FROM_AFAR.get() else None
    found = await check_repository(new.repo, new.base, inside=inside)
    if inside is not None and not found.url.startswith("/"):
        await remember(db, found.url)
    return new
