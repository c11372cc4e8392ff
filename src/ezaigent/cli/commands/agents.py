"""``ezaigent agents``: list, pause, resume, drain, message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ezaigent.cli.app import app, run, settings
from ezaigent.cli.output import ago, note, out, print_json, safe, table
from ezaigent.cli.person import person

if TYPE_CHECKING:
    from ezaigent.fleet import AgentView

agents = typer.Typer(no_args_is_help=True, help="See and steer agents.")
app.add_typer(agents, name="agents", rich_help_panel="Work")

Name = Annotated[str, typer.Argument(help="Agent, such as claude-1; a pool, such as claude; or all.", metavar="AGENT")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_SIGN = {
    "active": "[yellow]● active[/]",
    "idle": "[green]○ idle[/]",
    "paused": "[magenta]= paused[/]",
    "draining": "[yellow]↓ draining[/]",
    "starting": "[cyan]… starting[/]",
}


@agents.command("list")
def list_(as_json: Json = False) -> None:
    """List the agents of all live workers, and paused ones."""
    views, said = run(_list())
    if as_json:
        print_json({"items": [view.model_dump(mode="json") for view in views], "pauses": said})
        return
    if views:
        out.print(agent_table(views))
    else:
        note("no agents; start some with: ezaigent up")
    for paused, words in ((True, "paused until resumed"), (False, "resumed by name in spite of that")):
        if targets := [target for target, held in said.items() if held is paused]:
            note(f"{words}: {', '.join('all' if target == '*' else target for target in sorted(targets))}")


def agent_table(views: list[AgentView]) -> object:
    """Return the table of agents."""
    from rich.text import Text

    wide = out.width >= 110
    rows = [
        (
            view.name,
            Text.from_markup(_SIGN.get(view.status, f"[dim]- {view.status}[/]")),
            view.task_id or "",
            view.title or "",
            view.sandbox or "",
            *((view.worker or "", ago(view.seen_at)) if wide else ()),
        )
        for view in views
    ]
    return table(("agent", "status", "task", "title", "sandbox", *(("worker", "seen") if wide else ())), rows)


async def _list() -> tuple[list[AgentView], dict[str, bool]]:
    from ezaigent.wiring import Fleet

    async with Fleet.connect(settings=settings()) as fleet:
        return await fleet.agents(), dict((await fleet.services.queue.pauses()).said)


@agents.command()
def pause(agent: Name, as_json: Json = False) -> None:
    """Let an agent take no task and make no further step. A paused pool holds agents that start later, too."""
    _steer("pause", agent, as_json=as_json)


@agents.command()
def resume(agent: Name, as_json: Json = False) -> None:
    """Let a paused agent go on, also one of a paused pool."""
    _steer("resume", agent, as_json=as_json)


def _steer(verb: Literal["pause", "resume"], agent: str, *, as_json: bool) -> None:
    from ezaigent.wiring import Fleet

    async def work() -> list[str]:
        async with Fleet.connect(settings=settings()) as fleet:
            return await fleet.steer(verb, agent, by=person())

    names = run(work())
    if as_json:
        items = [{"name": name, "paused": verb == "pause"} for name in names]
        print_json({"target": agent, "paused": verb == "pause", "items": items})
    else:
        there = "" if names == [agent] else f" ({', '.join(names) or 'no agents now'})"
        out.print(f"{safe(agent + there)}: {'paused' if verb == 'pause' else 'goes on'}")


@agents.command()
def drain(agent: Name, as_json: Json = False) -> None:
    """Let an agent finish its task, take no other, and go. The autoscaler may start others in its place."""
    from ezaigent.wiring import Fleet

    async def work() -> list[str]:
        async with Fleet.connect(settings=settings()) as fleet:
            return await fleet.drain(agent, by=person())

    names = run(work())
    if as_json:
        print_json({"items": [{"name": name, "draining": True} for name in names]})
    else:
        out.print(f"{safe(', '.join(names))}: drains")


@agents.command()
def message(
    agent: Name,
    text: Annotated[str, typer.Argument(help="What to say; it is read before the agent's next model request.")],
    as_json: Json = False,
) -> None:
    """Write to an agent that works on a task."""
    from ezaigent.wiring import Fleet

    async def work() -> list[str]:
        async with Fleet.connect(settings=settings()) as fleet:
            return await fleet.message(agent, text, by=person())

    names = run(work())
    if as_json:
        print_json({"items": [{"name": name} for name in names]})
    else:
        out.print(f"sent to {safe(', '.join(names))}")
