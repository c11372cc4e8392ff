"""What a sandbox promises: run one shell command on one writable tree, within limits, and say how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

Level = Literal["bubblewrap", "landlock", "off"]
"""How strongly commands are confined, strongest first."""

LimitName = Literal["time", "memory", "processes", "file_size", "output"]
"""The limits of ``SandboxSettings`` by name."""

OnOutput = Callable[[str], None]
"""Receives output while the command runs; called on the event loop, so it must be quick."""


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How one command ended. A failing command is a result, never an exception."""

    exit_code: int
    """The command's own code; 128 + n when signal n ended it; 124 when its time was over."""
    output: str
    """Standard output and error as one text, its beginning and its end when it was longer than the limit."""
    truncated: bool
    """Whether the middle of the output was dropped; a line in ``output`` then says how many bytes."""
    timed_out: bool
    """Whether the limit of wall time ended it."""
    seconds: float
    """Wall time from start to end."""
    limit: LimitName | None
    """Which limit ended it, where that can be known.

    A process that merely gets an error (``MemoryError``, "cannot fork", "file too large") and deals with it by itself
    is not told apart from any other failure.
    """


class Sandbox(Protocol):
    """One level of the ladder, proved to work here."""

    @property
    def level(self) -> Level:
        """Which rung of the ladder this is."""
        ...

    @property
    def description(self) -> str:
        """What is enforced on this machine, and what is not, in one line for people."""
        ...

    async def run(
        self,
        command: str,
        *,
        cwd: Path,
        writable: Path,
        readable: Sequence[Path] = (),
        env: Mapping[str, str] = {},
        timeout: float | None = None,
        on_output: OnOutput | None = None,
    ) -> CommandResult:
        """Run ``command`` with ``/bin/sh -c`` in ``cwd``, a folder of the tree ``writable``.

        ``readable`` adds paths that may be read; ``env`` adds harmless variables to the small fixed set; ``timeout``
        (seconds) may only shorten the operator's limit. When this returns, or is cancelled, no process of the command
        is alive any more.

        Raises ``UnavailableError`` when the sandbox itself broke, ``UsageError`` for arguments that cannot be.
        """
        ...
