"""Who is present, inside the process."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import orjson


class Presence:
    """Members by group, each until its time is over."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._groups: dict[str, dict[str, tuple[float, bytes]]] = {}

    def announce(self, group: str, member: str, info: Mapping[str, Any], ttl: float) -> None:
        """Keep ``member`` for ``ttl`` seconds; ``info`` is copied as JSON, as a server would."""
        self._groups.setdefault(group, {})[member] = (time.monotonic() + ttl, orjson.dumps(dict(info)))

    def leave(self, group: str, member: str) -> None:
        """Forget ``member``."""
        self._groups.get(group, {}).pop(member, None)

    def present(self, group: str) -> dict[str, dict[str, Any]]:
        """Return the members whose time is not over; forget the others."""
        now = time.monotonic()
        alive = {member: kept for member, kept in self._groups.get(group, {}).items() if kept[0] > now}
        if alive:
            self._groups[group] = alive
        else:
            self._groups.pop(group, None)
        return {member: orjson.loads(info) for member, (_, info) in alive.items()}
