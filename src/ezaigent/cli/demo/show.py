"""What the demo does and shows."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING

from ezaigent.cli.demo.plan import EXPECTED_FAILURE, tasks
from ezaigent.cli.demo.project import build
from ezaigent.cli.output import duration, err, out, print_json, safe
from ezaigent.core.errors import RunError

if TYPE_CHECKING:
    from rich.table import Table

    from ezaigent.core.settings import Settings
    from ezaigent.fleet import TaskView
    from ezaigent.wiring import Fleet

_AGENTS = 3
_DEADLINE = 300.0


async def show(folder: Path, *, crash: bool, as_json: bool, kept: bool) -> bool:
    """Run the demo in ``folder``; return whether every task ended as it should."""
    from ezaigent.wiring import load_settings

    started = time.monotonic()
    repo = build(folder)
    settings = load_settings(
        Path(os.devnull),
        home=folder / "home",
        fleet={"pools": {"mechanic": _AGENTS}},
        database_url=None,
        redis_url=None,
    )
    quiet = as_json
    if not quiet:
        out.print(
            f"[bold]Ez Aigent demo[/]: a small Python project in [cyan]{safe(repo)}[/], eight tasks, three agents."
        )
        out.print("[dim]The agents are mechanics: fixed recipes and real tools, no model, no cost.[/]\n")
    async with _fleet(settings, crash=crash, quiet=quiet) as fleet:
        handles = await fleet.submit_many(tasks(repo))
        watcher = asyncio.create_task(_watch(fleet, quiet=quiet))
        try:
            async with asyncio.timeout(_DEADLINE):
                await asyncio.gather(*(handle.settled() for handle in handles))
        except TimeoutError:
            left = [view for view in [await handle.view() for handle in handles] if view.finished_at is None]
            raise RunError(
                f"the demo did not end within {_DEADLINE:g} s, {len(left)} of its {len(handles)} tasks are not ready; "
                "see what ezaigent doctor says, or try again when the machine is less busy"
            ) from None
        finally:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher
        views = [await handle.view() for handle in handles]
        expected = {handle.id for handle, new in zip(handles, tasks(repo), strict=True) if new.key == EXPECTED_FAILURE}
    good = all((view.state == "failed") == (view.id in expected) for view in views)
    if as_json:
        print_json(
            {
                "ok": good,
                "seconds": round(time.monotonic() - started, 2),
                "items": [v.model_dump(mode="json") for v in views],
            }
        )
    else:
        _conclude(views, good=good, seconds=time.monotonic() - started, folder=folder if kept else None)
    return good


def _conclude(views: list[TaskView], *, good: bool, seconds: float, folder: Path | None) -> None:
    from ezaigent.cli.commands.tasks import task_table

    out.print(task_table(views, hide={"task"}))
    failed = [view for view in views if view.state == "failed"]
    for view in failed:
        out.print(f"\n[red]✗[/] {safe(view.title)}: [dim]{safe(view.reason)}[/]", soft_wrap=True)
    refused = f"{len(failed)} refusal{'s' * (len(failed) != 1)}{' as expected' * good}"
    out.print(f"\n{len(views) - len(failed)} changes with passing checks, {refused}, in {duration(seconds)}.")
    out.print("\n[bold]Try next[/]")
    if folder is not None:
        out.print(f"  git -C {safe(shlex.quote(str(folder / 'shop')))} log --oneline --all --graph", soft_wrap=True)
    else:
        out.print("  ezaigent demo --keep shop-demo      keep the repository and look at its branches")
    out.print("  ezaigent demo --crash               kill the worker in the middle and watch the recovery")
    out.print('  ezaigent submit "Fix the lint errors" --repo PATH --check "ruff check ." --wait')
    out.print("  ezaigent doctor                     what this machine has; which provider keys are set")


@contextlib.asynccontextmanager
async def _fleet(settings: Settings, *, crash: bool, quiet: bool) -> AsyncGenerator[Fleet]:
    """Yield a fleet with a worker in this process, or with one in a child process that is killed midway."""
    from ezaigent.wiring import Fleet

    if not crash:
        async with Fleet.embedded(settings=settings) as fleet:
            yield fleet
        return
    async with Fleet.connect(settings=settings) as fleet:
        killer = asyncio.create_task(_kill_midway(fleet, settings, quiet=quiet))
        try:
            yield fleet
        finally:
            killer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await killer


async def _kill_midway(fleet: Fleet, settings: Settings, *, quiet: bool) -> None:
    child = await _spawn(settings)
    try:
        steps = 0
        async for event in fleet.events(after=0, kinds=["run.step"]):
            steps += event.kind == "run.step"
            if steps >= 8:  # several agents are in the middle of something
                break
        child.send_signal(signal.SIGKILL)
        await child.wait()
        if not quiet:
            err.print("[bold red]✗ kill -9[/]: the worker is dead in the middle of its tasks; another one starts")
        child = await _spawn(settings)
        await child.wait()
    finally:
        if child.returncode is None:
            child.terminate()
            await child.wait()


async def _spawn(settings: Settings) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ezaigent", "--home", str(settings.home)),
        *("worker", "--pools", f"mechanic={_AGENTS}"),
        stdout=asyncio.subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith("EZAIGENT_")}
        | {"EZAIGENT_CONFIG": os.devnull},
    )


async def _watch(fleet: Fleet, *, quiet: bool) -> None:
    """Repaint the table of tasks as events come, at most ten times a second."""
    if quiet:
        return
    from rich.live import Live

    from ezaigent.cli.commands.tasks import task_table

    async def picture() -> Table:
        return task_table(list(reversed(await fleet.tasks(limit=20))), hide={"task"})

    with Live(await picture(), console=out, refresh_per_second=10, transient=True) as live:
        while True:
            live.update(await picture())
            await asyncio.sleep(0.1)
