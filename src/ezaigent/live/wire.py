"""One connection to the server, as the rest of the room needs it; the driver stays behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

Command = tuple[str | bytes | int | float, ...]


class Wire(Protocol):
    """A connection that opens by itself when used, and drops when anything fails. Raises ``LostError`` only."""

    async def exchange(self, commands: Sequence[Command], *, patience: float | None = None) -> list[Any]:
        """Send commands and return a reply for each, a ``LostError`` in the place of one that the server refused.

        ``patience``: seconds without an answer until the connection counts as lost; left out: the usual two.
        """
        ...

    async def send(self, *command: str | bytes | float) -> None:
        """Send a command whose answers come through ``receive``; nothing happens on a closed connection."""
        ...

    async def receive(self, timeout: float) -> Any:
        """Return the next thing that the server says; ``None`` after ``timeout`` seconds of silence."""
        ...

    async def reopen(self) -> None:
        """Drop the connection and make a new one."""
        ...

    async def close(self) -> None:
        """Drop the connection."""
        ...
