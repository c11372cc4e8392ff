"""Watch a task on the terminal: one live line of what happens now, and the milestones above it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ezaigent.cli.interrupt import Interrupts
from ezaigent.cli.output import duration, err, note, safe, state_text
from ezaigent.core.money import format_usd, nano_usd

if TYPE_CHECKING:
    from ezaigent.core.events import Event
    from ezaigent.fleet import TaskView
    from ezaigent.wiring import Fleet, TaskHandle


_TOLD = {
    "task.claimed": "[bold]{agent}[/] takes the task",
    "run.started": "[dim]starts from {base:.10}, sandbox {sandbox}[/]",
    "run.step": "{what} [cyan]{name}[/]",
    "run.checked": "[green]checks pass[/]",
    "run.provider_error": "[yellow]{provider} answers {kind}[/]",
    "run.failover": "[yellow]goes on with {to}[/]",
    "task.retrying": "[yellow]attempt failed: {reason}[/]",
    "task.lease_expired": "[yellow]the worker is gone; another agent takes over[/]",
    "task.blocked": "[magenta]{question}[/]",
}


async def watch(handle: TaskHandle, fleet: Fleet, *, quiet: bool = False) -> TaskView | None:
    """Return the task when it has ended, None when no worker is left that could take it.

    What it waits for is told on standard error. Ctrl-C stops watching; where the task is worked in this process, the
    first one drains and the second one stops at once. Either way nothing of the task is lost.
    """
    from ezaigent.wiring import until_nobody_works

    own = fleet.worker.info.id if fleet.worker is not None else None
    with contextlib.ExitStack() as stack:
        interrupts = stack.enter_context(Interrupts())
        ending = asyncio.create_task(handle.settled())
        abandoned = asyncio.create_task(until_nobody_works(handle, fleet.services, note, own=own))
        asked = asyncio.create_task(interrupts.once())
        beside = [abandoned, asked]
        if not quiet:
            spinner = Spinner("dots", text=Text(f"{handle.id} waits"))
            stack.enter_context(Live(spinner, console=err, refresh_per_second=8, transient=True))
            beside.append(asyncio.create_task(_narrate(handle, spinner)))
        try:
            await asyncio.wait({ending, abandoned, asked}, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                if not asked.done():
                    await abandoned
                    return None
                if not await _finished(interrupts, handle, fleet):
                    raise KeyboardInterrupt
            await ending
        finally:
            for task in (ending, *beside):
                task.cancel()
            await asyncio.gather(ending, *beside, return_exceptions=True)
    view = await handle.view()
    if not quiet:
        _print_result(view)
    return view


async def _finished(interrupts: Interrupts, handle: TaskHandle, fleet: Fleet) -> bool:
    """After a first Ctrl-C: end this process's worker in order, and say what becomes of a task that has not ended."""
    if fleet.worker is None:
        note(f"{handle.id} goes on without being watched; look at it with: ezaigent tasks show {handle.id}")
        return False
    if fleet.worker.busy:
        note(f"draining: {handle.id} may finish (Ctrl-C again stops at once)")
    fleet.stop()
    joined, again = asyncio.create_task(fleet.join()), asyncio.create_task(interrupts.twice())
    try:
        await asyncio.wait({joined, again}, return_when=asyncio.FIRST_COMPLETED)
        if not joined.done():
            fleet.abort()
        await joined
    finally:
        again.cancel()
    if (await handle.get()).state.settled:
        return True
    note(f"{handle.id} stays queued with everything that was done; go on with: ezaigent up")
    return False


async def _narrate(handle: TaskHandle, spinner: Spinner) -> None:
    started = time.monotonic()
    steps = 0
    async for event in handle.events():
        if event.kind == "run.step":
            steps += 1
        line = _describe(event)
        if line and event.kind != "run.step":
            err.print(line)
        elapsed = duration(time.monotonic() - started)
        spinner.update(text=Text.from_markup(f"{line or event.kind}  [dim]step {steps}, {elapsed}[/]"))


def _describe(event: Event) -> str:
    told = _TOLD.get(event.kind)
    if told is None:
        return ""
    values = {name: safe(value) for name, value in event.data.items()} | {"agent": safe(event.agent)}
    if event.kind == "run.checked" and not event.data.get("ok"):
        return "[yellow]checks fail; the agent looks again[/]"
    return told.format_map(_Blank(values))


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"


def _print_result(view: TaskView) -> None:
    cost = "unknown" if view.cost_usd is None else format_usd(nano_usd(view.cost_usd))
    grid = Table.grid(padding=(0, 2))
    grid.add_row("task", f"{view.id}  {safe(view.title)}")
    grid.add_row("state", state_text(view.state))
    if view.reason:
        grid.add_row("reason", safe(view.reason))
    if view.commit:
        grid.add_row("branch", f"{safe(view.branch or '')} at {view.commit[:10]}")
    if view.note:
        grid.add_row("note", safe(view.note))
    for check in view.checks:
        grid.add_row("check", f"{'✓' if check.ok else '✗'} {safe(check.command)}")
    grid.add_row("took", f"{duration(view.seconds)}, {view.steps} steps, {cost}")
    err.print(grid)
