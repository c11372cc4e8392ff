"""``ezaigent worker``: a worker of some pools, beside others on the same store."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ezaigent.cli.app import EXIT_INTERRUPTED, app, run


@app.command(rich_help_panel="Run")
def worker(
    pools: Annotated[
        str | None, typer.Option(help="Profiles to host, comma separated; a number with =: claude=2,mechanic.")
    ] = None,
    agents: Annotated[
        int | None,
        typer.Option(help="Agents in all; with --pools without numbers: room for agents that the fleet orders.", min=1),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print events as JSON lines.")] = False,
) -> None:
    """Host agents of some pools on a shared store, until SIGTERM."""
    from ezaigent.cli.serve import serve
    from ezaigent.fleet import PARENT, die_with

    parent = int(os.environ.pop(PARENT, "0")) or None
    if parent is not None:  # started by a launcher, which may be gone already
        try:
            die_with(parent)
        except ProcessLookupError:
            raise typer.Exit(EXIT_INTERRUPTED) from None
    run(serve(agents=agents, pools=pools, as_json=as_json, parent=parent))
