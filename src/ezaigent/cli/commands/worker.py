"""``ezaigent worker``: a worker of some pools, beside others on the same store."""

from __future__ import annotations

from typing import Annotated

import typer

from ezaigent.cli.app import app, run


@app.command(rich_help_panel="Run")
def worker(
    pools: Annotated[
        str | None, typer.Option(help="Profiles to host, comma separated; a number with =: claude=2,mechanic.")
    ] = None,
    agents: Annotated[int | None, typer.Option(help="Agents in all.", min=1)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print events as JSON lines.")] = False,
) -> None:
    """Host agents of some pools on a shared store, until SIGTERM."""
    from ezaigent.cli.serve import serve

    run(serve(agents=agents, pools=pools, as_json=as_json))
