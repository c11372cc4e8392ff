"""Plans from documents: drafted by structure, or by a model where one is asked for, and queued all at once."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from ezaigent.chat import Draft, Known, draft_plan, stands_for
from ezaigent.core.errors import UsageError
from ezaigent.core.ids import new_id
from ezaigent.tasks import NewTask, Priority, Task

if TYPE_CHECKING:
    from ezaigent.chat import Plan
    from ezaigent.core.settings import Settings
    from ezaigent.costs import CostBook
    from ezaigent.wiring.services import Services


async def draft(
    text: str,
    settings: Settings,
    *,
    repo: str | None = None,
    profile: str | None = None,
    costs: CostBook | None = None,
) -> Draft:
    """Return the task graph that a document asks for: by its structure, or read by the model of ``profile``.

    What the model costs goes into ``costs``. Raises ``BudgetExceeded`` where that has no room, ``UsageError`` for a
    document without work in it, for needs in a circle and for an unknown profile, ``UnavailableError`` where the model
    does not answer.
    """
    from ezaigent.agents import load_profiles

    kinds = load_profiles(settings)
    if profile is None:
        return await asyncio.to_thread(draft_plan, text, tuple(kinds), repo=repo)
    from ezaigent.agents import open_interpreter

    if profile not in kinds:
        raise UsageError(f"no profile {profile!r}; known: {', '.join(sorted(kinds))}")
    purse = None if costs is None else costs.outside("plan", profile)
    async with open_interpreter(kinds[profile], settings, purse) as interpreter:
        plan = await interpreter.plan(text, Known(profiles=tuple(kinds)))
    return Draft(plan if repo is None else plan.model_copy(update={"repo": repo}), ())


async def submit_plan(plan: Plan, services: Services, *, key: str | None = None, by: str | None = None) -> list[Task]:
    """Queue the plan's tasks in one transaction, in the plan's order; the same ``key`` again is the same tasks.

    Raises ``UsageError`` for what a task cannot be, and for a ``key`` that was used for another plan in the last thirty
    days: nothing is queued then.
    """
    from ezaigent.wiring.admission import admit

    if plan.repo is None:
        raise UsageError("the plan names no repository")
    digest = hashlib.sha256(plan.model_dump_json().encode()).hexdigest()[:16]
    prefix = new_id() if key is None else f"{hashlib.sha256(key.encode()).hexdigest()[:16]}:{digest}"
    keys = {task.name: f"plan:{prefix}:{task.name}" for task in plan.tasks}
    new = [
        NewTask(
            prompt=task.prompt,
            title=task.title,
            repo=plan.repo,
            base=plan.base,
            needs=tuple(keys[need] for need in task.needs),
            scope=task.scope,
            checks=task.checks,
            profile=task.profile,
            priority=Priority[task.priority.upper()],
            key=keys[task.name],
        )
        for task in plan.tasks
    ]
    for one in {one.profile: one for one in new}.values():  # one repository: a look for each profile is enough
        await admit(one, services.settings, services.db)
    if key is not None and not await services.db.write(lambda conn: stands_for(conn, key, digest)):
        raise UsageError(f"the plan's key {key!r} was used for another plan; give this one a key of its own")
    return await services.queue.submit_many(new, by=by)
