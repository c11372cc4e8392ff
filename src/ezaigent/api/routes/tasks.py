"""``/api/v1/tasks``: submit, list, look, steer."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response

from ezaigent.api import queries
from ezaigent.api.access import Access
from ezaigent.api.backstage import Caller, On, Stage
from ezaigent.api.gate import needs
from ezaigent.api.models import (
    Diff,
    Feedback,
    LogPage,
    PriorityName,
    StateName,
    TaskDraft,
    TaskEdit,
    TaskItem,
    TaskPage,
    Text,
    Why,
)
from ezaigent.api.problems import INVALID, NO_PRECONDITION, STALE, UNREACHABLE, Refusal, documented
from ezaigent.api.window import PRIVATE
from ezaigent.core.money import nano_usd
from ezaigent.fleet import TaskView
from ezaigent.tasks import Edit, NewTask, Priority, State, Task, draft_of

router = APIRouter(prefix="/api/v1", tags=["tasks"], responses=documented())

TaskId = Annotated[str, Path(description="Task id, or a unique beginning of one.", pattern="^[0-9a-z]{1,32}$")]
IfMatch = Annotated[str | None, Header(description="The ETag that the change was made for; * for any.")]

_READ = needs(Access.READ)
_OPERATE = needs(Access.OPERATE)
_ETAG: dict[str, Any] = {"ETag": {"description": "Version of the task.", "schema": {"type": "string"}}}


@router.post(
    "/tasks",
    operation_id="submit_task",
    status_code=201,
    openapi_extra=_OPERATE,
    responses={
        **documented(UNREACHABLE),
        201: {
            "description": "Queued; durable now.",
            "headers": {"Location": {"description": "Where the task is.", "schema": {"type": "string"}}, **_ETAG},
        },
    },
)
async def submit_task(
    draft: TaskDraft,
    on: On,
    caller: Caller,
    response: Response,
    idempotency_key: Annotated[
        str | None,
        Header(description="The same key a hundred times is one task.", min_length=1, max_length=200),
    ] = None,
) -> TaskView:
    """Queue a task."""
    new = NewTask(
        prompt=draft.prompt,
        repo=draft.repo,
        base=draft.base,
        title=draft.title,
        profile=draft.profile,
        priority=_priority(draft.priority),
        needs=tuple(draft.needs),
        scope=tuple(draft.scope),
        checks=tuple(draft.checks),
        budget_nusd=None if draft.budget_usd is None else nano_usd(draft.budget_usd),
        not_before=draft.not_before,
        max_attempts=draft.max_attempts,
        key=idempotency_key,
    )
    new = await on.admit(new)
    task = (await on.queue.submit_many([new], by=caller.name))[0]
    if idempotency_key is not None and not await _asked_so(on, task, new):
        raise Refusal(INVALID, f"Idempotency-Key {idempotency_key!r} was used for another task: {task.id}")
    response.headers["Location"] = f"/api/v1/tasks/{task.id}"
    return await _shown(on, task, response)


@router.get("/tasks", operation_id="list_tasks", openapi_extra=_READ)
async def list_tasks(  # noqa: PLR0917 - FastAPI reads parameters as they are
    on: On,
    state: Annotated[list[StateName] | None, Query(description="Only these states.")] = None,
    profile: Annotated[Text | None, Query(max_length=200)] = None,
    repo: Annotated[Text | None, Query(description="Only tasks of this repository.", max_length=4096)] = None,
    text: Annotated[
        Text | None, Query(description="Only tasks with this in title or prompt, in any case.", max_length=200)
    ] = None,
    since: Annotated[float | None, Query(description="Submitted at or after, seconds since 1970.", ge=0)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(description="``next`` of the page before.", pattern="^[0-9a-z]{1,32}$")] = None,
) -> TaskPage:
    """List tasks, newest first, page by page."""
    found, after = await on.queue.page(
        states=[State(one) for one in state] if state else None,
        profile=profile,
        repo=repo,
        text=text,
        since=since,
        limit=limit,
        before=cursor,
    )
    totals = await on.costs.tasks([task.id for task in found])
    return TaskPage(items=[TaskItem.of(TaskView.of(task, totals[task.id])) for task in found], next=after)


@router.get(
    "/tasks/{task_id}",
    operation_id="get_task",
    openapi_extra=_READ,
    responses={200: {"description": "The task.", "headers": _ETAG}, 304: {"description": "As you have it."}},
    response_model=TaskView,
)
async def get_task(
    task_id: TaskId, on: On, response: Response, if_none_match: Annotated[str | None, Header()] = None
) -> TaskView | Response:
    """Return a task with its tokens and its cost."""
    task = await on.queue.get(task_id)
    if if_none_match is not None and etag(task) in if_none_match:
        return Response(status_code=304, headers={"ETag": etag(task)})
    return await _shown(on, task, response)


@router.patch(
    "/tasks/{task_id}",
    operation_id="edit_task",
    openapi_extra=_OPERATE,
    responses={**documented(STALE, NO_PRECONDITION), 200: {"description": "The task.", "headers": _ETAG}},
)
async def edit_task(  # noqa: PLR0917
    task_id: TaskId, edit: TaskEdit, on: On, caller: Caller, response: Response, if_match: IfMatch = None
) -> TaskView:
    """Change a task that is neither running nor done."""
    if if_match is None:
        raise Refusal(NO_PRECONDITION, "send If-Match with the ETag of the task that you have seen")
    before = await on.queue.get(task_id)
    if if_match.strip() != "*" and etag(before) not in if_match:
        raise Refusal(STALE, f"task {before.id} has changed meanwhile; get it again")
    wanted = Edit(
        title=edit.title,
        prompt=edit.prompt,
        priority=None if edit.priority is None else _priority(edit.priority),
    )
    seen = None if if_match.strip() == "*" else before.updated_at
    return await _shown(on, await on.queue.edit(before.id, wanted, by=caller.name, seen=seen), response)


@router.get("/tasks/{task_id}/why", operation_id="why_task", openapi_extra=_READ)
async def why_task(task_id: TaskId, on: On) -> Why:
    """Say in one sentence what the task waits for, or what became of it."""
    return Why(why=await on.queue.why(task_id))


@router.get("/tasks/{task_id}/diff", operation_id="diff_task", openapi_extra=_READ, responses=documented(UNREACHABLE))
async def diff_task(task_id: TaskId, on: On) -> Diff:
    """Return the change as a patch; without one, the work kept in the last checkpoint."""
    return Diff(diff=await on.diff(task_id))


@router.get("/tasks/{task_id}/logs", operation_id="logs_of_task", openapi_extra=_READ)
async def logs_of_task(
    task_id: TaskId,
    on: On,
    after: Annotated[int, Query(description="``next`` of the page before.", ge=0, le=2**62)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
) -> LogPage:
    """Return what happened to the task, oldest first: its states, steps, checks, messages."""
    task = await on.queue.get(task_id)
    found = await on.events.read(after, limit, task_id=task.id)
    return LogPage(
        items=[event for event in found if not event.kind.startswith(PRIVATE)],
        next=found[-1].seq if len(found) == limit else None,
    )


@router.post("/tasks/{task_id}/cancel", operation_id="cancel_task", openapi_extra=_OPERATE)
async def cancel_task(task_id: TaskId, on: On, caller: Caller, response: Response) -> TaskView:
    """Cancel a task: at once where nothing runs, else its run stops."""
    return await _shown(on, await on.queue.cancel(task_id, by=caller.name), response)


@router.post("/tasks/{task_id}/retry", operation_id="retry_task", openapi_extra=_OPERATE)
async def retry_task(task_id: TaskId, on: On, caller: Caller, response: Response) -> TaskView:
    """Queue a settled, blocked or waiting task again."""
    return await _shown(on, await on.queue.retry(task_id, by=caller.name), response)


@router.post("/tasks/{task_id}/feedback", operation_id="comment_task", openapi_extra=_OPERATE)
async def comment_task(task_id: TaskId, feedback: Feedback, on: On, caller: Caller, response: Response) -> TaskView:
    """Send a change in review back with comments: the agent goes on where it was, and is told all of them."""
    return await _shown(on, await on.queue.send_back(task_id, feedback.worded(caller.name), by=caller.name), response)


@router.post("/tasks/{task_id}/approve", operation_id="approve_task", openapi_extra=_OPERATE)
async def approve_task(task_id: TaskId, on: On, caller: Caller, response: Response) -> TaskView:
    """Accept a change that is in review: the task is done."""
    return await _shown(on, await on.queue.approve(task_id, by=caller.name), response)


@router.post(
    "/tasks/{task_id}/merge", operation_id="merge_task", openapi_extra=_OPERATE, responses=documented(UNREACHABLE)
)
async def merge_task(task_id: TaskId, on: On, caller: Caller, response: Response) -> TaskView:
    """Merge a change onto its base branch if the merged tree passes the task's checks; takes as long as they do."""
    return await _shown(on, await on.merge(task_id, by=caller.name), response)


def etag(task: Task) -> str:
    """Return the version of a task as clients see it."""
    seen = f"{task.id} {task.state} {task.fence} {task.steps} {task.updated_at!r} {task.cancel_requested}"
    return f'"{hashlib.sha256(seen.encode()).hexdigest()[:20]}"'


async def _asked_so(on: Stage, task: Task, new: NewTask) -> bool:
    """Tell whether the task was submitted with exactly this draft, whatever was edited since."""
    kept = await on.db.read(lambda conn: queries.draft(conn, task.id))
    if kept is None:  # submitted by an older release
        return (task.prompt, task.repo) == (new.prompt, new.repo)
    return (task.repo, kept) == (new.repo, draft_of(new))


def _priority(name: PriorityName) -> Priority:
    return Priority[name.upper()]


async def _shown(on: Stage, task: Task, response: Response) -> TaskView:
    response.headers["ETag"] = etag(task)
    return TaskView.of(task, await on.costs.task(task.id))
