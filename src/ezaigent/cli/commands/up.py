"""``ezaigent up``: a worker, its queue and the HTTP API in one process."""

from __future__ import annotations

from typing import Annotated

import typer

from ezaigent.cli.app import app, run
from ezaigent.core.errors import UsageError
from ezaigent.core.launchers import LauncherKind


@app.command(rich_help_panel="Run")
def up(
    agents: Annotated[
        int | None, typer.Option(help="Agents in all; default: what the keys at hand allow.", min=1)
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to serve on; default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to serve on; 0 takes a free one.", min=0, max=65535)] = None,
    worker: Annotated[bool, typer.Option("--worker/--no-worker", help="Work, or only serve.")] = True,
    launcher: Annotated[
        LauncherKind | None, typer.Option(help="Where workers run; default: as [launcher] says.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print events as JSON lines.")] = False,
) -> None:
    """Start working: claim tasks, run agents, serve the API, until Ctrl-C."""
    from ezaigent.cli.serve import Door, serve, serve_alone

    door = Door(host, port)
    if worker:
        run(serve(agents=agents, pools=None, as_json=as_json, door=door, launcher=launcher))
    elif agents is not None:
        raise UsageError("--agents has no meaning with --no-worker")
    else:
        run(serve_alone(as_json=as_json, door=door))
