"""``ezaigent mcp``: the fleet as tools for Claude Code, Cursor and others."""

from __future__ import annotations

from typing import Annotated

import typer

from ezaigent.cli.app import app, run, settings


@app.command(rich_help_panel="Run")
def mcp(
    agents: Annotated[
        int, typer.Option(help="Also work here, with so many agents, as long as the client is there.", min=0)
    ] = 0,
) -> None:
    """Serve the fleet's tools over the Model Context Protocol on standard input and output."""
    run(_serve(agents))


async def _serve(agents: int) -> None:
    import asyncio

    from ezaigent.cli.asking import absolute
    from ezaigent.cli.interrupt import Interrupts
    from ezaigent.cli.person import person
    from ezaigent.wiring import Fleet, serve_tools

    loaded = settings()
    fleet = Fleet.embedded(settings=loaded, agents=agents) if agents else Fleet.connect(settings=loaded)
    with Interrupts() as interrupts:
        async with fleet:
            serving = asyncio.create_task(serve_tools(fleet, by=person(), place=absolute))
            told = asyncio.create_task(interrupts.once())
            await asyncio.wait({serving, told}, return_when=asyncio.FIRST_COMPLETED)
            ended = serving.done()
            for task in (serving, told):
                task.cancel()
            await asyncio.wait({serving, told})
            if ended:
                serving.result()
