"""Whether the server can be reached: lost at once, restored by trying with growing pauses, each reported once."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

from ezaigent.live.ports import OnState

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 5.0
_STEADY: Final = 10.0  # up for so long, a loss is a new one and not the old trouble coming back
_LONGEST_RELAPSE: Final = 60.0  # between reports of a server that answers the probe and then refuses the work


class LostError(Exception):
    """The server did not do what was asked; the text says why, without secrets. Stays inside this room."""


class ClosedError(LostError):
    """The connection was closed from the other side, which says nothing about the next one."""


class Link:
    """The state of the way to the server, shared by everything that uses it."""

    def __init__(self, probe: Callable[[], Awaitable[None]], on_state: OnState | None) -> None:
        """Try with ``probe``, which raises ``LostError``; tell ``on_state`` about each change."""
        self._probe = probe
        self._on_state = on_state
        self._open = asyncio.Event()
        self._trying: asyncio.Task[None] | None = None
        self._pause = _FIRST_PAUSE
        self._since = 0.0
        self._closed = False

    @property
    def up(self) -> bool:
        """Whether the last thing that was tried went well."""
        return self._open.is_set()

    async def start(self) -> None:
        """Try once; when that fails it is lost from the beginning, and trying goes on."""
        try:
            await self._probe()
        except LostError as error:
            self._report(up=False, reason=str(error))
            self._trying = asyncio.create_task(self._restore(), name="live bus: reconnecting")
        else:
            self._set_up()

    def lost(self, reason: str) -> None:
        """Note that something failed; the first to notice reports it and starts the trying."""
        if not self.up or self._closed:
            return
        self._open.clear()
        relapsed = time.monotonic() - self._since < _STEADY
        self._pause = min(self._pause * 2, _LONGEST_RELAPSE) if relapsed else _FIRST_PAUSE
        self._report(up=False, reason=reason)
        self._trying = asyncio.create_task(self._restore(), name="live bus: reconnecting")

    async def wait_up(self) -> None:
        """Return when the server can be reached."""
        await self._open.wait()

    async def close(self) -> None:
        """Stop trying."""
        self._closed = True
        self._open.clear()
        if self._trying is not None:
            self._trying.cancel()
            await asyncio.wait([self._trying])

    async def _restore(self) -> None:
        while True:
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads many processes out
            self._pause = max(self._pause, min(self._pause * 2, _LONGEST_PAUSE))
            try:
                await self._probe()
            except LostError:
                continue
            self._set_up()
            self._report(up=True, reason="")
            return

    def _set_up(self) -> None:
        self._since = time.monotonic()
        self._open.set()

    def _report(self, *, up: bool, reason: str) -> None:
        if self._on_state is not None:
            # In a turn of its own: whatever the callback does or raises is not this room's business.
            asyncio.get_running_loop().call_soon(self._on_state, up, reason)
