"""How the command line prints: tables that fit the terminal, one-line errors, JSON for programs."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NoReturn

from rich.console import Console
from rich.markup import escape
from rich.text import Text

if TYPE_CHECKING:
    from rich.table import Table


class _Console(Console):
    """A console that leaves it to the program how to end when its reader has gone."""

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError


out = _Console(highlight=False, soft_wrap=False)
"""Standard output; honours NO_COLOR and says no colours to a pipe."""
err = _Console(stderr=True, highlight=False)

_LOOK: Final = 0.5
"""Seconds between two looks whether somebody still reads the output."""

STATE_STYLE: Mapping[str, str] = {
    "waiting": "dim",
    "queued": "cyan",
    "running": "yellow",
    "review": "green",
    "done": "bold green",
    "blocked": "magenta",
    "failed": "bold red",
    "cancelled": "dim strike",
}
STATE_SIGN: Mapping[str, str] = {
    "waiting": "…",
    "queued": "○",
    "running": "●",
    "review": "✓",
    "done": "✓",
    "blocked": "?",
    "failed": "✗",
    "cancelled": "-",
}
"""Colour is never the only sign."""


_NARROWEST = 12
"""Columns of the terminal that a title keeps whatever happens."""

_CONTROL = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)), "�")


def safe(value: object) -> str:
    """Return text from a repository, a model or a person so that it can neither style nor steer the terminal."""
    return escape(str(value).translate(_CONTROL))


def print_json(value: object) -> None:
    """Print one JSON document on standard output."""
    import orjson

    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


def print_line(value: object) -> None:
    """Print one JSON document as one line, for streams."""
    import orjson

    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


def print_error(message: str) -> None:
    """Print one line on standard error, whatever the message holds."""
    err.print(f"[bold red]error:[/] {safe(' '.join(message.split()))}", soft_wrap=True)


def note(message: str) -> None:
    """Print a remark for people on standard error, out of the way of programs."""
    err.print(f"[dim]{safe(message)}[/]", soft_wrap=True)


def reader_gone() -> bool:
    """Whether nobody reads standard output or standard error any more (``| head``)."""
    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        poll.register(stream.fileno(), 0)  # nothing but errors and hang-ups
    return bool(poll.poll(0))


async def until_reader_gone() -> NoReturn:
    """Wait, possibly for ever, until nobody reads the output any more; then raise ``BrokenPipeError``."""
    import asyncio  # a help text needs none

    while not reader_gone():  # noqa: ASYNC110 - nothing tells but looking
        await asyncio.sleep(_LOOK)
    raise BrokenPipeError


def fall_silent() -> None:
    """Throw away what is still to be printed: its reader has gone."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())


def state_text(state: str) -> Text:
    """Return a task's state with its sign and colour."""
    return Text(f"{STATE_SIGN.get(state, ' ')} {state}", style=STATE_STYLE.get(state, ""))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Return a table that fits the terminal: ``title`` gives way first. ``#`` before a name aligns right."""
    from rich.table import Table

    cells = [[cell if isinstance(cell, Text) else Text(str(cell).translate(_CONTROL)) for cell in row] for row in rows]
    names = [column.lstrip("#") for column in columns]
    widths = [max(len(name), *(row[place].cell_len for row in cells), 0) for place, name in enumerate(names)]
    taken = sum(width for name, width in zip(names, widths, strict=True) if name != "title") + 2 * len(names)
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column, name in zip(columns, names, strict=True):
        made.add_column(
            name,
            justify="right" if column.startswith("#") else "left",
            max_width=max(_NARROWEST, out.width - taken) if name == "title" else None,
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in cells:
        made.add_row(*row)
    return made


def duration(seconds: float | None) -> str:
    """Return seconds for people: ``0.4 s``, ``12 s``, ``3 min``, ``2.5 h``."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def ago(at: float | None) -> str:
    """Return how long ago a time was."""
    return "" if at is None else f"{duration(max(0.0, time.time() - at))} ago"
