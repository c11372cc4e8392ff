"""What a model call passes before each HTTP request, named once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ezaigent.agents.heard import Heard
from ezaigent.agents.provider_failure import ProviderFailure


@dataclass(frozen=True, slots=True)
class Ask:
    """One HTTP request that somebody wants to make."""

    provider: str
    model: str
    tokens: Callable[[], int] = lambda: 0
    """Returns about how many input tokens the prompt has; an upper bound will do, its usual error is learned. It is
    called only where tokens are limited."""
    patience: float = 600.0
    """Seconds that the caller would wait."""
    alternatives: bool = False
    """Whether the caller has another model to go on with, so that one that is down need not be waited for."""
    note: Callable[[str, Mapping[str, Any]], None] = lambda _kind, _data: None
    """Told an event kind and its data, once, when the wait is long enough for people to see."""


class Refused(Exception):
    """The request must not be made now; it cost nothing."""

    def __init__(self, failure: ProviderFailure) -> None:
        """Carry ``failure``, which stands for the answer that was not asked for."""
        super().__init__(failure.message)
        self.failure = failure


class Permit(Protocol):
    """The right to make one request. Exactly one of the methods is called when it has ended; none of them waits."""

    @property
    def key(self) -> str | None:
        """The key to use; None: the provider's only one."""
        ...

    def answered(self, heard: Heard, *, input_tokens: int, output_tokens: int) -> None:
        """Take in an answer, with what the provider counted."""
        ...

    def failed(self, failure: ProviderFailure, heard: Heard) -> bool:
        """Take in a failure; return whether asking again needs no wait of the caller's own: the gate keeps it."""
        ...

    def dropped(self) -> None:
        """Take in that the request was given up before it ended."""
        ...


class Gate(Protocol):
    """Lets requests through."""

    async def admit(self, ask: Ask) -> Permit:
        """Wait until the request may be made. Raises ``Refused``. Cancelling ends the wait at once."""
        ...


class _Free:
    key = None

    def answered(self, heard: Heard, *, input_tokens: int, output_tokens: int) -> None:
        pass

    def failed(self, failure: ProviderFailure, heard: Heard) -> bool:
        del failure, heard
        return False

    def dropped(self) -> None:
        pass


class _Open:
    async def admit(self, ask: Ask) -> Permit:
        del ask
        return _Free()


OPEN: Final[Gate] = _Open()
"""Lets everything through at once."""
