"""What a provider said around its answers: status and headers, for whoever listens."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class Heard:
    """What a provider said around its answer; of several requests, the last one's."""

    status: int | None = None
    """HTTP status; None while no response has begun."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Response headers; names are found in any case."""


listener: ContextVar[Heard | None] = ContextVar("listener", default=None)
"""Who listens to the requests of the present task; None: nobody."""


@contextmanager
def listening() -> Generator[Heard]:
    """Hear the headers of the requests that the block makes, whichever SDK makes them."""
    heard = Heard()
    token = listener.set(heard)
    try:
        yield heard
    finally:
        listener.reset(token)
