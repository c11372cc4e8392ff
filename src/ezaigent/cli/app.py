"""The application: its commands, its options for all, and how errors become exit codes."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from ezaigent import __version__
from ezaigent.core.errors import EzAigentError, UnavailableError, UsageError

if TYPE_CHECKING:
    from ezaigent.core.settings import Settings

T = TypeVar("T")

_RARELY = (50_000, 20, 50)
"""When to look for garbage: a program that starts makes much and drops little, and pays a tenth of its time for looking
as often as Python does by default."""

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 3
EXIT_INTERRUPTED = 128 + signal.SIGINT

app = typer.Typer(
    name="ezaigent",
    help="Run a fleet of AI coding agents off one durable task queue.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_options: dict[str, Any] = {}


def _version(value: bool) -> None:
    if value:
        sys.stdout.write(f"ezaigent {__version__}\n")
        raise typer.Exit


@app.callback()
def common(
    config: Annotated[Path | None, typer.Option(help="Settings file.", metavar="FILE")] = None,
    home: Annotated[Path | None, typer.Option(help="Folder for the embedded database and worktrees.")] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Run a fleet of AI coding agents off one durable task queue."""
    del version
    _options.update(config=config, home=home)


def settings(**overrides: Any) -> Settings:
    """Return the settings in force for this call."""
    from ezaigent.wiring import load_settings

    return load_settings(_options.get("config"), home=_options.get("home"), **overrides)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine on uvloop where it is there."""
    import asyncio

    try:
        import uvloop
    except ImportError:  # pragma: no cover - Windows
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def main() -> NoReturn:
    """Run the command line; every expected error is one line and its own exit code.

    When the reader of the output has gone (``| head``) nothing is left to say, not even at exit, and nothing is wrong.
    """
    gc.set_threshold(*_RARELY)
    from ezaigent.cli import commands
    from ezaigent.cli.output import fall_silent, reader_gone

    del commands  # importing them registers them
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leave in order: folders removed, children ended
    try:
        code = _command()
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # the latter is what Typer makes of the former
        if not reader_gone():
            raise
        fall_silent()
        code = 0
    raise SystemExit(code)


def _command() -> int:
    """Run the command; return the exit code."""
    from ezaigent.cli.output import print_error

    try:
        code = app(prog_name="ezaigent", standalone_mode=False) or 0
    except typer.Exit as stop:
        code = stop.exit_code
    except typer.Abort:
        code = EXIT_INTERRUPTED
    except UsageError as error:
        print_error(str(error))
        code = EXIT_USAGE
    except UnavailableError as error:
        print_error(str(error))
        code = EXIT_UNAVAILABLE
    except EzAigentError as error:
        print_error(str(error))
        code = EXIT_FAILED
    except UnicodeEncodeError as error:  # bytes of the command line that are no text became half characters
        print_error(f"{error.object[max(0, error.start - 20) : error.end + 20]!r} is no UTF-8 text")
        code = EXIT_USAGE
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    except typer.TyperException as error:
        said = error.format_message().replace(" Value error,", "")
        if said:  # without a command the help itself is the answer
            print_error(f"{said} Try: ezaigent --help")
        code = EXIT_USAGE
    return code
