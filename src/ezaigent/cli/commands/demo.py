"""``ezaigent demo``: see the main job done on a small real project, with nothing but Python and git."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ezaigent.cli.app import EXIT_FAILED, app, run


@app.command(rich_help_panel="Run")
def demo(
    crash: Annotated[
        bool, typer.Option("--crash", help="Kill the worker in the middle and watch the recovery.")
    ] = False,
    keep: Annotated[Path | None, typer.Option(help="Keep project and fleet in this new folder.", metavar="DIR")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tasks as JSON.")] = False,
) -> None:
    """Watch three agents turn eight tasks into checked commits (no key, no server, under a minute)."""
    import contextlib
    import tempfile

    from ezaigent.cli.demo.show import show
    from ezaigent.core.errors import UsageError

    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise UsageError(f"--keep {str(keep)!r} is not empty; name a new folder")
    with contextlib.ExitStack() as stack:
        if keep is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ezaigent-demo-")))
        else:
            keep.mkdir(parents=True, exist_ok=True)
            folder = keep.absolute()
        good = run(show(folder, crash=crash, as_json=as_json, kept=keep is not None))
    if not good:
        raise typer.Exit(EXIT_FAILED)
