"""Working off what came in: who asked is looked up, a task is made, and what became of it goes back, once.

Each step is written down before it is made, as a delivery is. GitHub takes no idempotency keys, so before a comment or
a pull request is made again, the one that a crash may have left is looked for.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final, Protocol

import structlog

from ezaigent.core.errors import EzAigentError, StaleFence, UnavailableError
from ezaigent.core.failpoints import reach
from ezaigent.core.money import nano_usd
from ezaigent.core.settings import GitHubRepository, GitHubSettings
from ezaigent.fleet import Term, hold
from ezaigent.hooks.github import queries, wording
from ezaigent.hooks.github.client import GitHub, GitHubRefused, web_host
from ezaigent.hooks.github.intake import repository_of
from ezaigent.hooks.github.queries import Issue
from ezaigent.hooks.patience import Patience
from ezaigent.store import Connection, Database, emit
from ezaigent.tasks import NewTask, Task, TaskQueue

log = structlog.get_logger(__name__)

POLL: Final = 1.0
"""Seconds between looks when this process commits nothing."""
_AT_ONCE: Final = 4
_HOLD: Final = 20.0
"""Seconds after its last beat that a step of which nothing more is heard is made again."""


class Submit(Protocol):
    """Checks a task and queues it for whom it is ``by``; the same key is the same task."""

    async def __call__(self, new: NewTask, *, by: str) -> Task:
        """Do it."""
        ...


class Push(Protocol):
    """Pushes a task's change to its branch of another repository, unless it is there already."""

    async def __call__(self, task: Task, remote: str, *, token: str | None) -> None:
        """Do it; ``token`` is the login where there is one. Raises ``UnavailableError`` where another try may help."""
        ...


class Clerk:
    """A duty of the webhooks' office."""

    def __init__(
        self,
        db: Database,
        queue: TaskQueue,
        settings: GitHubSettings,
        *,
        submit: Submit,
        push: Push,
        patience: Patience | None = None,
        hold: float = _HOLD,
    ) -> None:
        """Work off what ``db`` holds, as the ``settings`` say."""
        self._db = db
        self._queue = queue
        self._settings = settings
        self._submit = submit
        self._push = push
        self._patience = patience or Patience()
        self._hold = hold

    async def any(self) -> bool:
        """Tell whether an issue waits for something."""
        return await self._db.read(queries.any_open)

    async def serve(self, term: Term) -> None:
        """Work as long as the term lasts. Raises ``StaleFence`` when it does not."""
        wake = asyncio.Event()
        with self._db.on_commit(wake.set):
            while True:
                wake.clear()
                found = await self._db.write(lambda conn: self._begin(conn, term)) if await self.any() else []
                await asyncio.gather(*(self._step(issue) for issue in found))
                if not found:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(POLL):
                            await wake.wait()
                    await asyncio.sleep(0.1)  # a burst of events makes few looks

    def _begin(self, conn: Connection, term: Term) -> list[Issue]:
        hold(conn, term)
        return queries.begin(conn, _AT_ONCE, self._hold)

    async def _step(self, issue: Issue) -> None:
        beating = asyncio.create_task(self._beat(issue), name="issue beat")
        try:
            await self._end(issue)
        finally:
            beating.cancel()
            await asyncio.wait({beating})

    async def _beat(self, issue: Issue) -> None:
        """Say that the step goes on: a push may take long."""
        while True:
            await asyncio.sleep(self._hold / 4)
            with contextlib.suppress(UnavailableError):
                await self._db.write(lambda conn: queries.beat(conn, issue, self._hold))

    async def _end(self, issue: Issue) -> None:
        try:
            await self._work(issue)
        except StaleFence:
            raise
        except UnavailableError as error:
            await self._later(issue, str(error))
        except EzAigentError as error:
            await self._close(issue, "failed", str(error))
        except Exception:
            log.exception("an issue broke", repository=issue.repository, number=issue.number)
            await self._later(issue, "it broke here; the log has the reason")

    async def _work(self, issue: Issue) -> None:
        linked = repository_of(self._settings, issue.repository)
        secret, token = self._settings.secret, self._settings.token
        if linked is None or secret is None or token is None:
            await self._close(issue, "failed", "the repository is no longer in the settings")
            return
        async with GitHub(self._settings.api_url, token.get_secret_value()) as github:
            if issue.state == "received":
                await self._accept(github, issue, linked)
            else:
                assert issue.task_id is not None
                sign = wording.mark(secret.get_secret_value(), issue.task_id)
                await self._report(github, issue, linked, await self._queue.get(issue.task_id), sign)

    # ------------------------------------------------------------------------------------------ coming in

    async def _accept(self, github: GitHub, issue: Issue, linked: GitHubRepository) -> None:
        if not await github.may_write(linked.name, issue.sender):
            await self._close(issue, "refused", f"{issue.sender} may not write to {linked.name}")
            return
        task = await self._submit(
            NewTask(
                prompt=wording.prompt(issue),
                title=wording.title(issue),
                repo=linked.repo,
                base=linked.base,
                profile=linked.profile,
                checks=tuple(linked.checks),
                budget_nusd=None if linked.budget_usd is None else nano_usd(linked.budget_usd),
                key=f"github:{issue.digest}",
            ),
            by=f"github:{issue.sender}",
        )

        def work(conn: Connection) -> None:
            if queries.work(conn, issue, task.id):
                emit(conn, "issue.accepted", task_id=task.id, data=_about(issue))

        await self._db.write(work)

    # ------------------------------------------------------------------------------------------ going back

    async def _report(self, github: GitHub, issue: Issue, linked: GitHubRepository, task: Task, sign: str) -> None:
        reach("issue.reporting")
        url, trouble = None, ""
        if self._settings.result == "pull-request" and _changed(task):
            try:
                url = await self._pull(github, issue, linked, task, sign)
            except GitHubRefused as error:
                if error.status != 422 or self._patience.after(issue.attempts) is not None:  # noqa: PLR2004
                    raise
                trouble = str(error)
            except UnavailableError:
                raise
            except EzAigentError as error:  # the push was refused, and would be again
                trouble = str(error)
        if url is None:
            url = await github.comment_with(linked.name, issue.number, sign, issue.created_at - 60)
        if url is None:
            url = await github.comment(linked.name, issue.number, wording.report(task, sign, trouble))
        reach("issue.reported")
        await self._close(issue, "reported", url)

    async def _pull(self, github: GitHub, issue: Issue, linked: GitHubRepository, task: Task, sign: str) -> str:
        assert task.change is not None
        host = web_host(self._settings.api_url)
        remote = linked.remote or (linked.repo if "://" in linked.repo else f"https://{host}/{linked.name}.git")
        token = self._settings.token
        ours = remote.partition("://")[2].partition("/")[0].rpartition("@")[2] == host
        await self._push(task, remote, token=token.get_secret_value() if ours and token is not None else None)
        found = await github.pull_of(linked.name, task.change.branch)
        if found is not None:
            return found
        base = linked.base or await github.default_branch(linked.name)
        return await github.pull(
            linked.name,
            branch=task.change.branch,
            base=base.removeprefix("refs/heads/").removeprefix("origin/"),
            title=wording.pull_title(issue),
            text=wording.pull_text(issue, task, sign),
        )

    # ------------------------------------------------------------------------------------------ ends

    async def _later(self, issue: Issue, reason: str) -> None:
        wait = self._patience.after(issue.attempts)
        if wait is None:
            await self._close(issue, "failed", reason)
            return
        log.warning("an issue waits", repository=issue.repository, number=issue.number, reason=reason)
        with contextlib.suppress(UnavailableError):  # then the step is made again when its hold has ended
            await self._db.write(lambda conn: queries.wait(conn, issue, reason, wait))

    async def _close(self, issue: Issue, state: str, note: str) -> None:
        def close(conn: Connection) -> None:
            if not queries.close(conn, issue, state, note):
                return
            if state == "reported":
                emit(conn, "issue.reported", task_id=issue.task_id, data={**_about(issue), "url": note})
            elif state == "refused":
                emit(conn, "issue.refused", data={**_about(issue), "reason": note})
            else:
                emit(conn, "issue.failed", task_id=issue.task_id, data={**_about(issue), "reason": note})

        await self._db.write(close)


def _changed(task: Task) -> bool:
    return task.change is not None and task.change.commit != task.change.base and task.state.value in {"review", "done"}


def _about(issue: Issue) -> dict[str, object]:
    return {"repository": issue.repository, "number": issue.number, "by": issue.sender}
