"""Run a worker in the foreground: print what it does, drain on the first signal, stop on the second."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple

import structlog

from ezaigent.cli.app import settings
from ezaigent.cli.interrupt import Interrupts
from ezaigent.cli.output import note, out, print_line, safe, until_reader_gone
from ezaigent.core.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from ezaigent.core.events import Event
    from ezaigent.core.launchers import LauncherKind
    from ezaigent.wiring import Fleet

log = structlog.get_logger(__name__)

_TOLD = {
    "task.claimed": "[yellow]●[/] {task} {agent} takes it",
    "task.review": "[green]✓[/] {task} ready on {branch}",
    "task.done": "[green]✓[/] {task} done",
    "task.retrying": "[yellow]↻[/] {task} will be tried again: {reason}",
    "task.failed": "[red]✗[/] {task} failed: {reason}",
    "task.cancelled": "[dim]-[/] {task} cancelled",
    "task.requeued": "[dim]○[/] {task} back in the queue: {reason}",
    "task.lease_expired": "[yellow]![/] {task} was taken over from {agent}",
    "agent.paused": "[magenta]=[/] {target} paused",
    "agent.resumed": "[magenta]=[/] {target} goes on",
    "run.provider_error": "[yellow]![/] {task} {provider} answers {kind}",
    "run.failover": "[yellow]![/] {task} goes on with {to}",
    "scaler.decided": "[cyan]↕[/] {pool} {before} → {target} agents: {reason}",
}


def parse_pools(text: str) -> dict[str, int]:
    """Read ``claude=2,mechanic``. Raises ``UsageError`` for anything else."""
    pools: dict[str, int] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, _, count = part.partition("=")
        if count and not count.isdigit():
            raise UsageError(f"--pools: {part!r} has no number behind '='; write for example claude=2,mechanic")
        pools[name] = int(count or 1)
    if not pools:
        raise UsageError(f"--pools names no profile: {text!r}; write for example claude=2,mechanic")
    return pools


class Door(NamedTuple):
    """Where ``up`` serves the API; None: as the settings say."""

    host: str | None = None
    port: int | None = None


async def serve(
    *,
    agents: int | None,
    pools: str | None,
    as_json: bool,
    door: Door | None = None,
    launcher: LauncherKind | None = None,
    parent: int | None = None,
) -> None:
    """Work until stopped by a signal; with a ``door``, serve the API beside it, and let ``launcher`` find workers.

    With a ``door`` and no number of ``agents`` the autoscaler sizes the pools; what ``[fleet] pools`` asks for stays.
    With the process ``parent``, whose child this is, the work ends too.
    """
    from ezaigent.fleet import until_orphaned
    from ezaigent.wiring import Fleet, scaled_pools, scaling_beside
    from ezaigent.wiring import pools as shares

    loaded = settings()
    if pools is not None:
        named = parse_pools(pools)
        loaded = loaded.model_copy(update={"fleet": loaded.fleet.model_copy(update={"pools": named})})
    if launcher is not None:
        loaded = loaded.model_copy(update={"launcher": loaded.launcher.model_copy(update={"kind": launcher})})
    asked = shares(loaded, agents)
    sized = door is not None and agents is None
    if pools is not None and agents is not None and "=" not in pools:  # room for agents that others order
        working = Fleet.embedded(settings=loaded, agents={}, hosts=loaded.fleet.pools, room=agents)
    elif sized:
        working = Fleet.embedded(settings=loaded, agents=loaded.fleet.pools, hosts=scaled_pools(loaded), launch=True)
    elif door is not None:
        working = Fleet.embedded(settings=loaded, agents=asked, hosts=asked, launch=True)
    else:
        working = Fleet.embedded(settings=loaded, agents=asked)
    with Interrupts() as interrupts:
        async with AsyncExitStack() as stack:
            fleet = await stack.enter_async_context(working)
            assert fleet.worker is not None
            if sized:
                await stack.enter_async_context(scaling_beside(fleet))
            stack.push_async_callback(_ended, fleet)  # before the autoscaler, which ends the seats that nobody hosts
            reached = await _open(stack, fleet, door)
            if as_json:
                print_line({"ready": True, **fleet.worker.info.model_dump(mode="json"), **reached})
            else:
                _greet(fleet)
                _greet_door(reached)
            beside = [_tell(fleet, as_json=as_json), _stop_on(interrupts, fleet), until_reader_gone()]
            if parent is not None:
                beside.append(until_orphaned(parent))
            await _join(fleet, [asyncio.create_task(one) for one in beside])


async def _ended(fleet: Fleet) -> None:
    fleet.abort()
    with suppress(Exception):  # whoever waited for the worker has its error
        await fleet.join()


async def serve_alone(*, as_json: bool, door: Door) -> None:
    """Serve the API without a worker until stopped by a signal."""
    from ezaigent.wiring import Fleet

    loaded = settings()
    with Interrupts() as interrupts:
        async with AsyncExitStack() as stack:
            fleet = await stack.enter_async_context(Fleet.connect(settings=loaded))
            reached = await _open(stack, fleet, door)
            if as_json:
                print_line({"ready": True, **reached})
            else:
                out.print("[bold]Ez Aigent[/] serves without a worker; start some with: ezaigent worker")
                _greet_door(reached)
            beside = {asyncio.create_task(interrupts.once()), asyncio.create_task(until_reader_gone())}
            try:
                done, _ = await asyncio.wait(beside, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)


async def _open(stack: AsyncExitStack, fleet: Fleet, door: Door | None) -> dict[str, str]:
    """Serve the API until the stack ends; return its address, and the setup link while nobody can come in."""
    if door is None:
        return {}
    from ezaigent.wiring import notifying, sending, serve_api

    await stack.enter_async_context(sending(fleet.services))
    await stack.enter_async_context(notifying(fleet.services))
    server = await stack.enter_async_context(serve_api(fleet, host=door.host, port=door.port))
    link = await server.setup_url()
    return {"url": server.url} if link is None else {"url": server.url, "setup_url": link}


def _greet_door(reached: Mapping[str, str]) -> None:
    if "url" in reached:
        out.print(f"  open     {safe(reached['url'])}", soft_wrap=True)
    if "setup_url" in reached:
        out.print(f"  set up   {safe(reached['setup_url'])}  (works once, for an hour)", soft_wrap=True)


async def _join(fleet: Fleet, beside: Sequence[asyncio.Task[None]]) -> None:
    """Return when the worker has ended. When one of the tasks beside it ends first, all is over: stop at once.

    Nothing is lost by that: running tasks go back to the queue. Raises ``BrokenPipeError`` when nobody reads any more.
    """
    assert fleet.worker is not None
    working = asyncio.create_task(fleet.join())
    try:
        done, _ = await asyncio.wait({working, *beside}, return_when=asyncio.FIRST_COMPLETED)
        if working not in done:
            fleet.abort()
        await working
        for task in done:
            task.result()
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


def _greet(fleet: Fleet) -> None:
    assert fleet.worker is not None
    info = fleet.worker.info
    agents = ", ".join(info.agents) or ("those that are ordered" if info.hosts else "in other processes")
    out.print(
        f"[bold]Ez Aigent[/] {info.version} works in [cyan]{safe(fleet.settings.home)}[/]\n"
        f"  agents   {safe(agents)}\n"
        f"  sandbox  {info.sandbox}\n"
        '  queue a task from another terminal:  ezaigent submit "…" --repo PATH\n'
        "  Ctrl-C once lets running tasks finish, twice stops at once; nothing is lost either way."
    )


async def _stop_on(interrupts: Interrupts, fleet: Fleet) -> None:
    assert fleet.worker is not None
    await interrupts.once()
    if fleet.worker.busy:
        note(f"draining: {fleet.worker.busy} running (Ctrl-C again stops at once)")
    fleet.stop()
    await interrupts.twice()
    note("stopping: running tasks go back to the queue with everything they have done")
    fleet.abort()


async def _tell(fleet: Fleet, *, as_json: bool) -> None:
    seen = None
    while True:
        try:
            async for event in fleet.events(after=seen):
                seen = event.seq
                if as_json:
                    print_line(event.model_dump(mode="json"))
                elif event.kind in _TOLD and not _refused(event):
                    out.print(_line(event), soft_wrap=True)
        except UnavailableError:  # the worker logs it; what is missed meanwhile is told later
            await asyncio.sleep(1.0)
        except BrokenPipeError:
            raise
        except Exception:
            log.exception("telling broke; it goes on")  # the work must not end with it
            await asyncio.sleep(1.0)


def _refused(event: Event) -> bool:
    """Whether the autoscaler left a pool as it is: its history tells why."""
    return event.kind == "scaler.decided" and event.data["before"] == event.data["target"]


def _line(event: Event) -> str:
    values = {name: safe(value) for name, value in event.data.items()}
    values |= {"task": f"[bold]{event.task_id}[/]", "agent": safe(event.agent or values.get("agent", "?"))}
    return _TOLD[event.kind].format_map(_Blank(values))


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "?"
