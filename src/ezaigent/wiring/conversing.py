"""The chat on top of the services: what it needs from the fleet's other rooms is filled in here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from ezaigent.chat import AgentFacts, Chat, CostFacts
from ezaigent.core.errors import NotFoundError, UsageError
from ezaigent.fleet import seats
from ezaigent.tasks import NewTask, Task

if TYPE_CHECKING:
    from ezaigent.agents import Profile
    from ezaigent.chat import Command, Interpreter, Known, Plan
    from ezaigent.core.settings import Settings
    from ezaigent.costs import OutsideCalls, Totals
    from ezaigent.fleet import AgentView
    from ezaigent.store import Connection
    from ezaigent.wiring.services import Services


def open_chat(services: Services, *, folder: Path | None = None) -> Chat:
    """Return the chat of this fleet.

    ``folder`` is where a person is: relative repository paths are meant from there; without one they are refused.
    """
    settings = services.settings
    profile = settings.chat.profile
    interpreter = None if profile is None else _Reader(settings, profile, services.costs.outside("chat", profile))
    return Chat(services.db, services.queue, ServicesDoor(services, folder), interpreter)


class _Reader:
    """The model of a profile, opened for each line that needs it: those are few."""

    def __init__(self, settings: Settings, profile: str, purse: OutsideCalls) -> None:
        self._settings = settings
        self._profile = profile
        self._purse = purse

    async def command(self, text: str, known: Known) -> Command | None:
        async with self._opened() as interpreter:
            return await interpreter.command(text, known)

    async def plan(self, text: str, known: Known) -> Plan:
        async with self._opened() as interpreter:
            return await interpreter.plan(text, known)

    def _opened(self) -> AbstractAsyncContextManager[Interpreter]:
        from ezaigent.agents import load_profiles, open_interpreter

        kinds = load_profiles(self._settings)
        if self._profile not in kinds:
            raise UsageError(f"[chat] profile {self._profile!r} does not exist; known: {', '.join(sorted(kinds))}")
        return open_interpreter(kinds[self._profile], self._settings, self._purse)


class ServicesDoor:
    """The fleet, as the chat sees it."""

    def __init__(self, services: Services, folder: Path | None = None) -> None:
        """Act through ``services``; see ``open_chat`` for ``folder``."""
        self._services = services
        self._folder = folder
        self._profiles: dict[str, Profile] | None = None

    def _kinds(self) -> dict[str, Profile]:
        if self._profiles is None:
            from ezaigent.agents import load_profiles

            self._profiles = load_profiles(self._services.settings)
        return self._profiles

    async def agents(self) -> Sequence[AgentFacts]:
        """Return the agents that exist, and paused ones that do not, with their specialties."""
        return [self._facts(view) for view in await self._services.roster.agents()]

    def _facts(self, view: AgentView) -> AgentFacts:
        kind = self._kinds().get(view.profile)
        return AgentFacts(
            name=view.name,
            profile=view.profile,
            status=view.status,
            task_id=view.task_id,
            title=view.title,
            specialties=kind.specialties if kind else (),
            seen_at=view.seen_at,
        )

    def profiles(self) -> Mapping[str, Sequence[str]]:
        """Return the specialties of each profile."""
        return {name: kind.specialties for name, kind in self._kinds().items()}

    async def drain(self, agents: Sequence[str], *, by: str) -> Sequence[str]:
        """Let these agents finish their task and go."""
        return await self._services.db.write(
            lambda conn: seats.leave(conn, agents, f"drained by {by}", recallable=False)
        )

    async def size(self, pool: str) -> int:
        """Return how many seats of the pool stay."""
        found = await self._services.db.read(seats.all_seats)
        return sum(seat.profile == pool and seat.leaving is None for seat in found)

    async def scale(self, pool: str, count: int, *, by: str) -> str:
        """Set how many agents the pool has: seats that a worker adopts, or idle agents first that leave.

        Raises ``NotFoundError`` for a pool of no profile.
        """
        if pool not in self._kinds():
            raise NotFoundError(f"no profile {pool!r}; known: {', '.join(self._kinds())}")

        def write(conn: Connection) -> tuple[list[str], list[str]]:
            mine = [seat for seat in seats.all_seats(conn) if seat.profile == pool]
            staying = [seat.agent for seat in mine if seat.leaving is None]
            if count >= len(staying):
                leaving = [seat.agent for seat in mine if seat.leaving is not None][: count - len(staying)]
                back = seats.recall(conn, leaving)
                return [*back, *seats.order(conn, pool, count - len(staying) - len(back), pinned=True)], []
            spare = [name for name in reversed(staying) if name not in busy] + [
                name for name in reversed(staying) if name in busy
            ]
            gone = spare[: len(staying) - count]
            return [], seats.leave(conn, gone, f"{by} wants {count}", recallable=False)

        busy = {view.name for view in await self._services.roster.agents() if view.task_id}
        come, go = await self._services.db.write(write)
        if come:
            return f"{pool} gets {', '.join(come)}; a worker with room starts them"
        return f"{pool} loses {', '.join(go)}, each after its task" if go else f"{pool} has {count} agents already"

    async def cost(self, since: float | None) -> CostFacts:
        """Return what was spent since a time, or ever."""
        return _cost(await self._services.costs.total(since=since or 0.0))

    async def task_cost(self, task_id: str) -> CostFacts:
        """Return what a task has cost."""
        return _cost(await self._services.costs.task(task_id))

    async def submit(self, new: Sequence[NewTask], *, by: str) -> Sequence[Task]:
        """Check and queue tasks, all or none."""
        from ezaigent.wiring.admission import admit

        placed = [one.model_copy(update={"repo": self._place(one.repo)}) for one in new]
        return await self._services.queue.submit_many(
            [await admit(one, self._services.settings, self._services.db) for one in placed], by=by
        )

    def _place(self, repo: str) -> str:
        try:
            path = Path(repo).expanduser()
            is_url = "://" in repo or (":" in repo.split("/", 1)[0] and not path.exists())
        except (OSError, RuntimeError, ValueError) as error:  # too long for a path, or the home of nobody
            said = getattr(error, "strerror", None) or error
            raise UsageError(f"the repository {repo[:100]!r} is no path that can be used: {said}") from None
        if is_url:
            return repo
        if self._folder is None and not path.is_absolute():
            raise UsageError(f"the repository {repo!r} is a relative path; give it in full, or as a URL")
        return str((self._folder or path) / path)


def _cost(totals: Totals) -> CostFacts:
    return CostFacts(cost_nusd=totals.cost_nusd, calls=totals.calls, unknown_calls=totals.unknown_calls)
