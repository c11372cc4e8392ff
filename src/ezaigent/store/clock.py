"""The embedded store's time: the kernel's steady clock, so that a host's clock that jumps ends no lease early or late.

The steady clock counts from the start of the machine, the same for all processes. Which time of day that was is agreed
once for each start of the machine and kept in the store; a clock that was set since then is believed when nobody works.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from ezaigent.store.sql import Sql

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_WRONG: Final = 60.0
"""Seconds by which the host's clock may differ from what was agreed, before it counts as set."""

_agreed = Sql("SELECT ahead FROM clock WHERE boot = $1")
_working = Sql(
    """SELECT EXISTS (SELECT 1 FROM workers WHERE seen_at > $1) OR EXISTS (
        SELECT 1 FROM tasks WHERE state = 'running' AND lease_until > $1)"""
)
_forget = Sql("DELETE FROM clock WHERE boot <> $1")
_agree = Sql(
    """INSERT INTO clock (boot, ahead) VALUES ($1, $2)
    ON CONFLICT (boot) DO UPDATE SET ahead = excluded.ahead"""
)


class SteadyClock:
    """Seconds since 1970 that never jump; calling it tells the time."""

    def __init__(self) -> None:
        self._ahead = time.time() - time.monotonic()

    def __call__(self) -> float:
        """Return the time."""
        return self._ahead + time.monotonic()

    def look(self, conn: Connection) -> bool:
        """Take over what was agreed; return whether there is something to agree on."""
        boot = _boot()
        if boot is None:
            return False
        found = _agreed.first(conn, boot)
        if found is None or self._outdated(conn, found[0]):
            return True
        self._ahead = found[0]
        return False

    def agree(self, conn: Connection) -> None:
        """Agree on this process's clock, unless another one was faster. Writes."""
        boot = _boot()
        if boot is not None and self.look(conn):
            _forget.run(conn, boot)
            _agree.run(conn, boot, self._ahead)

    def _outdated(self, conn: Connection, ahead: float) -> bool:
        if abs(ahead - self._ahead) < _WRONG:
            return False
        row = _working.first(conn, ahead + time.monotonic() - _WRONG)
        return row is not None and not row[0]


def _boot() -> str | None:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return None
