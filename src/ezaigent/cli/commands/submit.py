"""``ezaigent submit``: queue a task; with ``--wait`` watch it to its end."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ezaigent.cli.app import EXIT_FAILED, app, run, settings
from ezaigent.cli.output import note, out, print_json

if TYPE_CHECKING:
    from ezaigent.fleet import TaskView
    from ezaigent.tasks import NewTask


class PriorityName(StrEnum):
    """Priorities by name."""

    critical = "critical"
    high = "high"
    normal = "normal"
    low = "low"


class OverlapName(StrEnum):
    """What to do about tasks that change the same files."""

    wait = "wait"
    allow = "allow"


@app.command(rich_help_panel="Work")
def submit(
    prompt: Annotated[str, typer.Argument(help="What to do; - reads it from standard input.")],
    repo: Annotated[str, typer.Option(help="Path or URL of the git repository.", metavar="PATH_OR_URL")],
    base: Annotated[str | None, typer.Option(help="Branch, tag or commit to start from.", metavar="REF")] = None,
    title: Annotated[str, typer.Option(help="One line for people.")] = "",
    profile: Annotated[
        str | None, typer.Option(help="Kind of agent: claude, gpt, deepseek, mistral, gemini, mechanic or your own.")
    ] = None,
    priority: Annotated[PriorityName, typer.Option(help="Order of claims.")] = PriorityName.normal,
    needs: Annotated[
        list[str] | None, typer.Option(help="Task that must be ready first (repeat for several).", metavar="ID")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="Files that the change may touch (repeat).", metavar="GLOB")
    ] = None,
    overlap: Annotated[
        OverlapName | None,
        typer.Option(help="Whether it waits for a task that changes the same files; default: the setting's."),
    ] = None,
    check: Annotated[
        list[str] | None, typer.Option(help="Command that must pass on the result (repeat).", metavar="CMD")
    ] = None,
    budget: Annotated[float | None, typer.Option(help="Hard cap in USD for the whole task.", metavar="USD")] = None,
    key: Annotated[
        str | None, typer.Option(help="Idempotency key: the same key again is the same task.", metavar="KEY")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Show the progress and return when the task has ended.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the task as JSON.")] = False,
) -> None:
    """Queue a task."""
    from ezaigent.cli import asking
    from ezaigent.core.errors import UsageError
    from ezaigent.tasks import NewTask, Priority

    text = asking.text_of(prompt)
    if not text.strip():
        raise UsageError("the prompt is empty; say what the agent should do")
    values: dict[str, object] = {
        "prompt": text,
        "repo": asking.absolute(repo),
        "base": base,
        "title": title,
        "profile": profile,
        "priority": Priority[priority.value.upper()],
        "needs": tuple(needs or ()),
        "scope": tuple(scope or ()),
        "overlap": None if overlap is None else overlap.value,
        "checks": tuple(check or ()),
        "budget_nusd": asking.budget(budget),
        "key": key,
    }
    new = asking.request(NewTask, values)
    view = run(_submit(new, wait=wait, quiet=as_json))
    if as_json:
        print_json(view.model_dump(mode="json"))
    elif not wait:
        out.print(view.id, style="bold")
    if wait and view.state not in ("review", "done"):
        raise typer.Exit(EXIT_FAILED)


async def _submit(new: NewTask, *, wait: bool, quiet: bool) -> TaskView:
    from ezaigent.cli.person import person
    from ezaigent.cli.watch import watch
    from ezaigent.core.errors import UnavailableError
    from ezaigent.wiring import Fleet, require_ready, somebody_works, work_alone

    loaded = settings()
    async with Fleet.connect(settings=loaded) as fleet:
        handle = (await fleet.submit_many([new], by=person()))[0]
        if not wait:
            view = await handle.view()
            if not quiet and view.state != "done" and not await somebody_works(fleet.services, view.profile):
                note("queued; no worker is running: start one with `ezaigent up`")
            return view
        task = await handle.get()
        if await somebody_works(fleet.services, task.profile):
            view = await watch(handle, fleet, quiet=quiet)
            if view is not None:
                return view
            note(f"no worker is left that could take {task.id}: it is worked here")
        await require_ready(task, fleet.services)
    async with work_alone(loaded, task.id, task.profile) as alone:
        view = await watch(await alone.task(task.id), alone, quiet=quiet)
    if view is None:
        raise UnavailableError(f"the worker for {task.id} is gone; the task stays queued: start ezaigent up")
    return view
