"""Standard input line by line, as long as somebody asks: a signal ends the program although the client is silent."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import Final

_PIECE: Final = 64 * 1024
_AHEAD: Final = 16
"""Lines read before they are asked for."""


@contextmanager
def standard_input() -> Generator[AsyncGenerator[str, None]]:
    """Take standard input for this program alone; children that start meanwhile find it empty.

    A thread reads, since a pipe, a file and a terminal are read alike in no other way. Nobody waits for it: at the end
    it may well sit in a read that nothing ends.
    """
    own, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    lines: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
    loop = asyncio.get_running_loop()
    threading.Thread(target=_read, args=(own, lines, loop), name="standard input", daemon=True).start()
    try:
        yield _lines(lines)
    finally:
        os.dup2(own, 0)


async def _lines(lines: asyncio.Queue[bytes | None]) -> AsyncGenerator[str, None]:
    while (line := await lines.get()) is not None:
        yield line.decode(errors="replace")


def _read(source: int, lines: asyncio.Queue[bytes | None], loop: asyncio.AbstractEventLoop) -> None:
    rest = b""
    try:
        while piece := os.read(source, _PIECE):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()
        for line in (rest, None) if rest else (None,):
            asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()
    except (RuntimeError, OSError, asyncio.CancelledError):
        return  # the loop is closed: nobody asks any more
