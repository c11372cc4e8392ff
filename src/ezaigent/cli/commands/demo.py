"""``ezaigent demo``: see the main job done on a small real project, with nothing but Python and git."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ezaigent.cli.app import EXIT_FAILED, app, run
from ezaigent.core.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from contextlib import ExitStack


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

    from ezaigent.cli.demo.show import show

    with contextlib.ExitStack() as stack:
        folder = _temporary(stack) if keep is None else _kept(keep)
        good = run(show(folder, crash=crash, as_json=as_json, kept=keep is not None))
    if not good:
        raise typer.Exit(EXIT_FAILED)


def _temporary(stack: ExitStack) -> Path:
    import tempfile

    try:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ezaigent-demo-")))
    except OSError as error:
        raise UnavailableError(f"no temporary folder can be made: {error.strerror}; use --keep DIR") from None


def _kept(keep: Path) -> Path:
    try:
        keep.mkdir(parents=True, exist_ok=True)
        taken = any(keep.iterdir())
    except OSError as error:
        raise UsageError(f"--keep {str(keep)!r} cannot be made: {error.strerror}; name a new folder") from None
    if taken:
        raise UsageError(f"--keep {str(keep)!r} is not empty; name a new folder")
    return keep.absolute()
