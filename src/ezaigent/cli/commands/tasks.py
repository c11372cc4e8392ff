"""``ezaigent tasks``: list, show, logs, diff, why, cancel, edit, retry, approve, merge."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ezaigent.cli.app import app, run, settings
from ezaigent.cli.commands.submit import PriorityName
from ezaigent.cli.output import ago, duration, note, out, print_error, print_json, print_line, safe, state_text, table
from ezaigent.cli.person import person
from ezaigent.core.errors import UsageError
from ezaigent.core.money import format_usd, nano_usd

if TYPE_CHECKING:
    from rich.table import Table

    from ezaigent.core.events import Event
    from ezaigent.fleet import TaskView
    from ezaigent.tasks import Edit, Run

tasks = typer.Typer(no_args_is_help=True, help="See and steer tasks.")
app.add_typer(tasks, name="tasks", rich_help_panel="Work")

TaskId = Annotated[str, typer.Argument(help="Task id, or the beginning of one.", metavar="ID")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class StateName(StrEnum):
    """Task states by name."""

    waiting = "waiting"
    queued = "queued"
    running = "running"
    review = "review"
    done = "done"
    blocked = "blocked"
    failed = "failed"
    cancelled = "cancelled"


@tasks.command("list")
def list_(
    state: Annotated[list[StateName] | None, typer.Option(help="Only these states (repeat).")] = None,
    profile: Annotated[str | None, typer.Option(help="Only tasks for this profile.")] = None,
    limit: Annotated[int, typer.Option(help="Newest tasks shown.", min=1, max=10_000)] = 50,
    as_json: Json = False,
) -> None:
    """List tasks, newest first."""
    views = run(_list([one.value for one in state or ()], profile, limit))
    if as_json:
        print_json({"items": [view.model_dump(mode="json") for view in views]})
    elif not views:
        note('no tasks; queue one with: ezaigent submit "…" --repo PATH')
    else:
        out.print(task_table(views))


async def _list(states: list[str], profile: str | None, limit: int) -> list[TaskView]:
    from ezaigent.tasks import State
    from ezaigent.wiring import Fleet

    async with Fleet.connect(settings=settings()) as fleet:
        return await fleet.tasks(states=[State(one) for one in states] or None, profile=profile, limit=limit)


def task_table(views: list[TaskView], *, hide: Collection[str] = ()) -> Table:
    """Return the table of tasks that ``list`` and ``demo`` print; a narrow terminal leaves out what matters least."""
    columns = ("task", "title", "agent", "state", "commit", "checks", "#steps", "#time", "#cost")
    hidden = {*hide, *({"commit", "checks", "#steps"} if out.width < 100 and "task" not in hide else ())}
    rows = [
        (
            view.id,
            " ".join(view.title.split()),
            view.agent or "",
            state_text(view.state),
            (view.commit or "")[:8],
            f"{sum(check.ok for check in view.checks)}/{len(view.checks)}" if view.checks else "",
            view.steps,
            duration(view.seconds),
            "unknown" if view.cost_usd is None else format_usd(nano_usd(view.cost_usd)),
        )
        for view in views
    ]
    shown = [place for place, column in enumerate(columns) if column not in hidden]
    return table([columns[place] for place in shown], [[row[place] for place in shown] for row in rows])


@tasks.command()
def show(task_id: TaskId, as_json: Json = False) -> None:
    """Show one task."""
    view, why, runs = run(_show(task_id))
    if as_json:
        found = [one.model_dump(mode="json") for one in runs]
        print_json({**view.model_dump(mode="json"), "why": why, "runs": found})
        return
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    rows: list[tuple[str, object]] = [
        ("task", f"[bold]{view.id}[/]"),
        ("title", safe(view.title)),
        ("state", state_text(view.state)),
        ("why", safe(why)),
        ("repository", safe(view.repo) + (f" at {safe(view.base)}" if view.base else "")),
        ("profile", view.profile or "any"),
        ("agent", view.agent or ""),
        ("priority", view.priority),
        ("needs", ", ".join(view.needs)),
        ("branch", safe(view.branch or "") + ("" if view.published or not view.branch else " (kept in the mirror)")),
        ("commit", view.commit or ""),
        ("note", safe(view.note)),
        *(("check", f"{'✓' if check.ok else '✗'} {safe(check.command)}") for check in view.checks),
        ("attempts", str(view.attempts)),
        *((f"run {number}", _run_line(one)) for number, one in enumerate(runs, 1)),
        ("steps", str(view.steps)),
        ("tokens", _tokens(view)),
        ("cost", "unknown" if view.cost_usd is None else format_usd(nano_usd(view.cost_usd))),
        ("budget", "" if view.budget_usd is None else format_usd(nano_usd(view.budget_usd))),
        ("submitted", ago(view.created_at)),
        ("took", duration(view.seconds)),
        ("prompt", safe(view.prompt)),
    ]
    for name, value in rows:
        if value:
            grid.add_row(f"[dim]{name}[/]", value)  # pyright: ignore[reportArgumentType]
    out.print(grid)


def _run_line(one: Run) -> str:
    if one.ended_at is None:
        how = f"runs since {ago(one.started_at)}"
    else:
        how = f"{one.outcome} after {duration(one.ended_at - one.started_at)}, {ago(one.ended_at)}"
    said = f": {' '.join(one.reason.split())}" if one.reason else ""
    return safe(f"{one.agent} on {one.worker} {how}, {one.steps} new steps{said}")


def _tokens(view: TaskView) -> str:
    usage = view.usage
    if not usage.input_tokens and not usage.output_tokens:
        return ""
    return f"{usage.input_tokens:,} in ({usage.cache_read_tokens:,} from cache), {usage.output_tokens:,} out"


async def _show(task_id: str) -> tuple[TaskView, str, list[Run]]:
    from ezaigent.wiring import Fleet

    async with Fleet.connect(settings=settings()) as fleet:
        handle = await fleet.task(task_id)
        queue = fleet.services.queue
        return await handle.view(), await queue.why(handle.id), await queue.runs(handle.id)


@tasks.command()
def logs(
    task_id: TaskId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new events until the task ends.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Show what happened to a task, event by event."""
    run(_logs(task_id, follow=follow, as_json=as_json))


async def _logs(task_id: str, *, follow: bool, as_json: bool) -> None:
    from ezaigent.wiring import ENDINGS, Fleet

    async with Fleet.connect(settings=settings()) as fleet:
        handle = await fleet.task(task_id)
        after = 0
        while page := await fleet.services.events.read(after, task_id=handle.id, limit=500):
            for event in page:
                _print_event(event, as_json=as_json)
            after = page[-1].seq
        if not follow or (await handle.get()).state.settled:
            return
        async for event in fleet.events(after=after, task_id=handle.id):
            _print_event(event, as_json=as_json)
            if event.kind in ENDINGS:
                return


def _print_event(event: Event, *, as_json: bool) -> None:
    if as_json:
        print_line(event.model_dump(mode="json"))
        return
    import datetime as dt

    at = dt.datetime.fromtimestamp(event.at).astimezone().strftime("%H:%M:%S.%f")[:-3]
    data = "  ".join(f"[dim]{name}[/] {_short(value)}" for name, value in event.data.items() if value not in (None, ""))
    out.print(f"[dim]{at}[/]  [bold]{event.kind:<20}[/] {data}", soft_wrap=True)


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return safe(text if len(text) <= 160 else text[:157] + "…")


@tasks.command()
def diff(task_id: TaskId, as_json: Json = False) -> None:
    """Show the change of a task as a patch; for a task without one, the work kept so far."""
    from ezaigent.wiring import Fleet

    async def work() -> str:
        async with Fleet.connect(settings=settings()) as fleet:
            return await (await fleet.task(task_id)).diff()

    patch = run(work())
    if as_json:
        print_json({"diff": patch})
    elif out.is_terminal and not out.no_color:
        from rich.syntax import Syntax

        out.print(Syntax(safe_patch(patch), "diff", theme="ansi_dark", background_color="default", word_wrap=False))
    else:
        out.file.write(patch)


def safe_patch(patch: str) -> str:
    """Return a patch without characters that could steer the terminal."""
    return "".join(char if char in "\n\t" or char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in patch)


@tasks.command()
def why(task_id: TaskId, as_json: Json = False) -> None:
    """Say in one sentence what a task waits for."""
    from ezaigent.wiring import Fleet

    async def work() -> str:
        async with Fleet.connect(settings=settings()) as fleet:
            return await fleet.services.queue.why((await fleet.task(task_id)).id)

    sentence = run(work())
    if as_json:
        print_json({"why": sentence})
    else:
        out.print(safe(sentence), soft_wrap=True)


@tasks.command()
def cancel(task_id: TaskId, as_json: Json = False) -> None:
    """Cancel a queued task, or stop a running one."""
    _steer("cancel", task_id, as_json=as_json)


@tasks.command()
def edit(
    task_id: TaskId,
    prompt: Annotated[
        str | None, typer.Option(help="What to do; a run that has begun with other words begins anew.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="One line for people.")] = None,
    profile: Annotated[str | None, typer.Option(help="Kind of agent that must do it; any: whichever.")] = None,
    priority: Annotated[PriorityName | None, typer.Option(help="What goes first.")] = None,
    budget: Annotated[float | None, typer.Option(help="Hard cap in USD over all attempts.")] = None,
    check: Annotated[
        list[str] | None, typer.Option(help="Commands that must exit with 0, in place of all others; '' for none.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="Globs that the change may touch, in place of all others; '' for any.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Change a task that no agent has, such as a dead letter before it is sent back with retry."""
    from ezaigent.cli import asking
    from ezaigent.tasks import Edit, Priority

    if prompt is not None and not prompt.strip():
        raise UsageError("the prompt is empty; say what is to be done")
    given: dict[str, object] = {"prompt": prompt, "title": title, "profile": "*" if profile == "any" else profile}
    given |= {name: tuple(filter(None, texts)) for name, texts in (("checks", check), ("scope", scope)) if texts}
    if priority is not None:
        given["priority"] = Priority[priority.value.upper()]
    given["budget_nusd"] = asking.budget(budget)
    if not any(value is not None for value in given.values()):
        raise UsageError(
            "nothing to change; give --prompt, --title, --profile, --priority, --budget, --check or --scope"
        )
    view = run(_edit(task_id, asking.request(Edit, given)))
    if as_json:
        print_json(view.model_dump(mode="json"))
    else:
        hint = "; send it back with: ezaigent tasks retry " + view.id if view.state in {"failed", "cancelled"} else ""
        out.print(f"{view.id} is changed, and ", state_text(view.state), hint, sep="")


async def _edit(task_id: str, wanted: Edit) -> TaskView:
    from ezaigent.agents import load_profiles
    from ezaigent.wiring import Fleet

    known = load_profiles(settings())
    if wanted.profile not in (None, "*", *known):
        raise UsageError(f"no profile {wanted.profile!r}; known: {', '.join(sorted(known))}, or any")
    async with Fleet.connect(settings=settings()) as fleet:
        return await fleet.view(await fleet.services.queue.edit(task_id, wanted, by=person()))


@tasks.command()
def retry(
    task_ids: Annotated[list[str], typer.Argument(help="Task ids, or the beginnings of some.", metavar="ID…")],
    as_json: Json = False,
) -> None:
    """Queue failed, cancelled, blocked or reviewed tasks again. One that cannot be stops no other."""
    if len(task_ids) == 1:
        _steer("retry", task_ids[0], as_json=as_json)
        return
    views, refused = run(_retry(task_ids))
    if as_json:
        print_json({"items": [view.model_dump(mode="json") for view in views], "refused": refused})
    else:
        for view in views:
            out.print(f"{view.id} is ", state_text(view.state), sep="")
    for reason in refused.values():
        print_error(reason)
    if refused:
        raise typer.Exit(2)


async def _retry(task_ids: list[str]) -> tuple[list[TaskView], dict[str, str]]:
    from ezaigent.wiring import Fleet

    views: list[TaskView] = []
    refused: dict[str, str] = {}
    async with Fleet.connect(settings=settings()) as fleet:
        for task_id in task_ids:
            try:
                handle = await fleet.task(task_id)
                await handle.retry(by=person())
                views.append(await handle.view())
            except UsageError as error:
                refused[task_id] = str(error)
    return views, refused


@tasks.command()
def approve(task_id: TaskId, as_json: Json = False) -> None:
    """Accept a change that is in review: the task is done."""
    _steer("approve", task_id, as_json=as_json)


@tasks.command()
def merge(task_id: TaskId, as_json: Json = False) -> None:
    """Merge a change onto its base branch, if the merged tree passes the task's checks."""
    _steer("merge", task_id, as_json=as_json)


def _steer(verb: str, task_id: str, *, as_json: bool) -> None:
    from ezaigent.wiring import Fleet

    async def work() -> TaskView:
        async with Fleet.connect(settings=settings()) as fleet:
            handle = await fleet.task(task_id)
            await getattr(handle, verb)(by=person())
            return await handle.view()

    view = run(work())
    if as_json:
        print_json(view.model_dump(mode="json"))
    else:
        asked = " (it stops at once where it runs)" if verb == "cancel" and view.state == "running" else ""
        out.print(f"{view.id} is ", state_text(view.state), asked, sep="")
