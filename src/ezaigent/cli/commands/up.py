"""``ezaigent up``: a worker and its queue in one process."""

from __future__ import annotations

from typing import Annotated

import typer

from ezaigent.cli.app import app, run


@app.command(rich_help_panel="Run")
def up(
    agents: Annotated[
        int | None, typer.Option(help="Agents in all; default: what the keys at hand allow.", min=1)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print events as JSON lines.")] = False,
) -> None:
    """Start working: claim tasks, run agents, until Ctrl-C."""
    from ezaigent.cli.serve import serve

    run(serve(agents=agents, pools=None, as_json=as_json))
