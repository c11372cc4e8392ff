"""``ezaigent status`` and ``ezaigent queue``: the fleet on one screen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from ezaigent.cli.app import app, run, settings
from ezaigent.cli.output import duration, note, out, print_json, safe, state_text, table
from ezaigent.core.money import format_usd, usd

if TYPE_CHECKING:
    from ezaigent.costs import Totals
    from ezaigent.fleet import AgentView
    from ezaigent.tasks import QueueStats

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


async def _look() -> tuple[QueueStats, list[AgentView], Totals]:
    from ezaigent.wiring import Fleet

    async with Fleet.connect(settings=settings()) as fleet:
        return (
            await fleet.services.queue.stats(),
            await fleet.agents(),
            await fleet.services.costs.total(since=time.time() // 86_400 * 86_400),
        )


@app.command(rich_help_panel="Work")
def queue(as_json: Json = False) -> None:
    """Show how deep the queue is and how long it waits."""
    stats, _, _ = run(_look())
    if as_json:
        print_json(stats.model_dump(mode="json"))
        return
    out.print(table(("state", "#tasks"), [(state_text(state.value), count) for state, count in stats.states.items()]))
    for profile, count in sorted(stats.by_profile.items()):
        note(f"{count} queued for {'any agent' if profile == '*' else profile}")
    if stats.oldest_wait is not None:
        note(f"the oldest has waited {duration(stats.oldest_wait)}")


@app.command(rich_help_panel="Work")
def status(as_json: Json = False) -> None:
    """Show agents, queue and today's cost."""
    from ezaigent.cli.commands.agents import agent_table

    stats, agents, today = run(_look())
    if as_json:
        print_json(
            {
                "queue": stats.model_dump(mode="json"),
                "agents": [view.model_dump(mode="json") for view in agents],
                "today": {
                    "cost_usd": None if today.unknown_calls else usd(today.cost_nusd),
                    "known_cost_usd": usd(today.cost_nusd),
                    "unknown_calls": today.unknown_calls,
                    "calls": today.calls,
                },
            }
        )
        return
    parked = {view.profile: view.parked for view in agents if view.parked is not None}
    counts = [f"{count} {state.value}" for state, count in stats.states.items() if count]
    out.print(f"[bold]tasks[/]   {', '.join(counts) or 'none yet'}")
    unknown = f" + {today.unknown_calls} calls of unknown price" if today.unknown_calls else ""
    out.print(f"[bold]today[/]   {format_usd(today.cost_nusd)}{unknown}, {today.calls} model calls")
    for profile, why in sorted(parked.items()):
        out.print(f"[bold red]parked[/]  {safe(profile)}: {safe(why)}")
    if agents:
        out.print("[bold]agents[/]", agent_table(agents), sep="\n")
    else:
        out.print(f"[bold]agents[/]  none; start some with: {safe('ezaigent up')}")
