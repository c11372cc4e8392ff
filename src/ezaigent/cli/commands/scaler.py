"""``ezaigent scaler``: status, config, start, stop, history, replay."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ezaigent.cli.app import app, run, settings
from ezaigent.cli.output import ago, duration, note, out, print_json, safe, table
from ezaigent.cli.person import person

if TYPE_CHECKING:
    from ezaigent.core.scaling import PoolFields, ScalingSettings
    from ezaigent.fleet import InForce, Outcome, ScalerControl, ScalerView

scaler = typer.Typer(no_args_is_help=True, help="See and steer the autoscaler.")
app.add_typer(scaler, name="scaler", rich_help_panel="Work")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Pool = Annotated[str | None, typer.Option(help="Only this pool.", metavar="PROFILE")]


class PolicyName(StrEnum):
    """The policies by name."""

    slo = "slo"
    threshold = "threshold"
    static = "static"


@asynccontextmanager
async def _control() -> AsyncGenerator[ScalerControl]:
    from ezaigent.wiring import open_services, scaler_control

    async with open_services(settings()) as services:
        yield scaler_control(services)


# ---------------------------------------------------------------------------------------------- status


@scaler.command()
def status(as_json: Json = False) -> None:
    """Show who leads, and for each pool its agents and the last decision."""

    async def work() -> ScalerView:
        async with _control() as control:
            return await control.status()

    view = run(work())
    if as_json:
        print_json(view.model_dump(mode="json"))
        return
    led = f"led by {safe(view.leader)}" if view.leader else "nobody leads; start ezaigent up"
    out.print(
        f"[bold]autoscaler[/]  {view.state}, {led}" if view.state != "no leader" else f"[bold]autoscaler[/]  {led}"
    )
    if view.problem:
        note(f"settings changed at run time do not hold: {view.problem}")
    rows = [
        (
            pool.pool,
            pool.policy + (" (dry run)" if pool.dry_run else ""),
            f"{pool.min}-{pool.max}",
            "" if pool.target is None else pool.target,
            pool.busy,
            pool.idle,
            pool.starting,
            pool.draining,
            pool.queued,
        )
        for pool in view.pools
    ]
    heads = ("pool", "policy", "#range", "#target", "#busy", "#idle", "#starting", "#draining", "#queued")
    out.print(table(heads, rows))
    for pool in view.pools:
        if pool.last is not None:
            out.print(f"[dim]{safe(pool.pool)}, {ago(pool.last.at)}:[/] {safe(pool.last.reason)}", soft_wrap=True)


# ---------------------------------------------------------------------------------------------- config


@scaler.command()
def config(
    changes: Annotated[
        list[str] | None,
        typer.Argument(help="What to change; KEY= goes back to the file's value.", metavar="[KEY=VALUE]..."),
    ] = None,
    pool: Pool = None,
    as_json: Json = False,
) -> None:
    """Show the settings in force, or change some: all of them at once, or none when one is wrong."""
    wanted = parse_changes(changes or [])

    async def work() -> InForce:
        async with _control() as control:
            if wanted:
                return await control.configure(wanted, by=person(), pool=pool)
            return await control.settings()

    force = run(work())
    if as_json:
        print_json(_configuration(force, pool))
        return
    own = _values(force.settings, pool)
    changed = force.changes if pool is None else dict(force.changes.get("pools", {})).get(pool, {})
    rows = [
        (name, "" if value is None else value, "changed at run time" if name in changed else "")
        for name, value in own.items()
    ]
    out.print(table(("key", "value", "from"), rows))
    if pool is None and (pools := sorted({*force.settings.pools})):
        note(f"pools with settings of their own: {', '.join(pools)} (--pool NAME shows them)")
    if force.problem:
        note(f"what was changed at run time does not hold: {force.problem}")


def parse_changes(texts: list[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE``; ``KEY=`` becomes None. Raises ``UsageError`` for anything else."""
    from ezaigent.core.errors import UsageError

    changes: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"{text!r} is no change; write KEY=VALUE, for example max=20")
        changes[key.strip()] = value.strip() or None
    return changes


def _values(given: ScalingSettings, pool: str | None) -> dict[str, Any]:
    own: PoolFields = given if pool is None else given.pool(pool)
    return {name: value for name, value in own.model_dump(mode="json").items() if name != "pools"}


def _configuration(force: InForce, pool: str | None) -> dict[str, Any]:
    return {
        "pool": pool,
        "settings": _values(force.settings, pool),
        "pools": {name: _values(force.settings, name) for name in force.settings.pools} if pool is None else {},
        "changed": force.changes,
        "stopped": force.stopped,
        "problem": force.problem,
    }


# ---------------------------------------------------------------------------------------------- start, stop


@scaler.command()
def start(as_json: Json = False) -> None:
    """Let a stopped autoscaler go on."""
    _switch(stopped=False, as_json=as_json)


@scaler.command()
def stop(as_json: Json = False) -> None:
    """Leave all pools as they are from now on, over restarts too."""
    _switch(stopped=True, as_json=as_json)


def _switch(*, stopped: bool, as_json: bool) -> None:
    async def work() -> bool:
        async with _control() as control:
            act = control.stop if stopped else control.start
            return await act(by=person())

    changed = run(work())
    if as_json:
        print_json({"stopped": stopped, "changed": changed})
    else:
        said = "stopped: all pools stay as they are" if stopped else "goes on"
        out.print(
            f"the autoscaler {said}" if changed else f"the autoscaler was {'stopped' if stopped else 'on'} before"
        )


# ---------------------------------------------------------------------------------------------- history


@scaler.command()
def history(
    pool: Pool = None,
    limit: Annotated[int, typer.Option(help="Newest decisions shown.", min=1, max=10_000)] = 30,
    as_json: Json = False,
) -> None:
    """Show the decisions that changed a pool, or were refused, newest first."""

    async def work() -> list[dict[str, Any]]:
        async with _control() as control:
            return list(await control.history(pool=pool, limit=limit))

    found = run(work())
    if as_json:
        print_json({"items": found})
        return
    if not found:
        note("no decision changed anything yet")
        return
    import datetime as dt

    for made in found:
        at = dt.datetime.fromtimestamp(made["at"]).astimezone().strftime("%m-%d %H:%M:%S")
        step = f"{made['before']:>3} → {made['target']:<3}"
        held = f"[yellow]{safe(made['binding'])}[/] " if made["binding"] else ""
        dry = "[magenta]dry run[/] " if made.get("dry_run") else ""
        out.print(
            f"[dim]{at}[/]  [bold]{safe(made['pool']):<10}[/] {step} {dry}{held}{safe(made['reason'])}", soft_wrap=True
        )


# ---------------------------------------------------------------------------------------------- replay


@scaler.command()
def replay(
    trace: Annotated[
        Path | None, typer.Option(help="CSV with a column 'arrival' and, if known, 'service', in seconds.")
    ] = None,
    policy: Annotated[list[PolicyName] | None, typer.Option(help="Policy (repeat to compare).")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Another setting for the replay (repeat).", metavar="KEY=VALUE")
    ] = None,
    pool: Pool = None,
    startup: Annotated[
        float | None, typer.Option(help="Seconds that a start takes; default: as measured.", min=0.0)
    ] = None,
    hours: Annotated[float, typer.Option(help="Hours of this fleet's past that are replayed.", min=0.01)] = 24.0,
    seed: Annotated[int, typer.Option(help="Draws service times where the trace has none.")] = 1,
    as_json: Json = False,
) -> None:
    """Run policies over the fleet's past, or over a trace, and show what they would have done."""
    outcomes, what, seconds = run(
        _replay(trace, policy or [], parse_changes(changes or []), pool, startup, hours, seed)
    )
    if as_json:
        items = [{"policy": name, **_figures(made)} for name, made in outcomes]
        print_json({"of": what, "startup": seconds, "items": items})
        return
    note(f"{what}, a start takes {duration(seconds)}")
    heads = ("policy", "#tasks", "#agent-h", "#busy-h", "#p50", "#p95", "#p99", "#late", "#actions")
    rows = [
        (
            name,
            made.tasks,
            f"{made.agent_hours:.2f}",
            f"{made.busy_hours:.2f}",
            *(duration(one) for one in (made.wait_p50, made.wait_p95, made.wait_p99)),
            f"{made.late_share:.1%}",
            made.actions,
        )
        for name, made in outcomes
    ]
    out.print(table(heads, rows))
    for name, made in outcomes:
        _draw(name, made)


async def _replay(
    file: Path | None,
    policies: list[PolicyName],
    changes: dict[str, Any],
    pool: str | None,
    startup: float | None,
    hours: float,
    seed: int,
) -> tuple[list[tuple[str, Outcome]], str, float]:
    from ezaigent.core.errors import UsageError
    from ezaigent.fleet import Trace, read_trace, replay_trace

    async with _control() as control:
        force = await control.settings()
        past = await control.recorded(pool=pool, seconds=hours * 3600)
    own = force.settings.pool(pool or "")
    if file is not None:
        tasks = read_trace(file, seed=seed)
        what = f"{len(tasks.arrivals)} tasks of {file.name}"
    else:
        tasks = Trace(past.arrivals, past.services)
        what = f"{len(tasks.arrivals)} tasks of the last {hours:g} h"
        if not tasks.arrivals:
            raise UsageError(f"this fleet worked no task in the last {hours:g} h; give a --trace, or more --hours")
    seconds = startup if startup is not None else past.startup if past.startup is not None else own.startup
    names = [one.value for one in policies] or [own.policy]
    configured = [(name, force.settings.with_changes({**changes, "policy": name})) for name in names]
    return [(name, replay_trace(tasks, seconds, one, pool=pool or "replay")) for name, one in configured], what, seconds


def _figures(made: Outcome) -> dict[str, Any]:
    return {
        "tasks": made.tasks,
        "agent_hours": made.agent_hours,
        "busy_hours": made.busy_hours,
        "wait_p50": made.wait_p50,
        "wait_p95": made.wait_p95,
        "wait_p99": made.wait_p99,
        "late_share": made.late_share,
        "unserved": made.unserved,
        "actions": made.actions,
        "launches": made.launches,
        "busy_hit": made.busy_hit,
        "peak": made.peak,
        "series": [[one.at, one.queued, one.busy, one.agents] for one in made.series],
    }


def _draw(name: str, made: Outcome) -> None:
    from ezaigent.cli.chart import chart

    width = max(20, min(out.width, 110) - 10)
    end = made.series[-1].at if made.series else 0.0
    for what, values in (
        ("agents", [float(one.agents) for one in made.series]),
        ("busy", [float(one.busy) for one in made.series]),
        ("queued", [float(one.queued) for one in made.series]),
    ):
        out.print(f"[bold]{name}[/] {what} over {duration(end)}")
        for line in chart(values, width=width, height=4):
            out.print(line, markup=False, soft_wrap=True)
