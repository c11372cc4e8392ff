"""Who works in a tree: a run that lost its lease must find out before it writes anything more."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import time
from pathlib import Path
from typing import Final

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from ezaigent.core.errors import StaleFence

WRITING: Final = "writing"
"""File beside the owner's that every git which writes into the tree keeps locked, also when its worker was killed."""
_FILE = "owner"
_LOOK: Final = 0.05
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class _Owner(BaseModel):
    model_config = ConfigDict(frozen=True)

    token: str
    host: str
    boot: str
    pid: int
    started: float
    closed: bool = False

    @property
    def here(self) -> bool:
        """Whether it is of this machine, so that its process can be looked for."""
        return self.host == os.uname().nodename

    @property
    def alive(self) -> bool:
        """Whether its process is there, and of this machine."""
        if self.closed or not self.here or self.boot != _boot():
            return False
        try:
            return abs(psutil.Process(self.pid).create_time() - self.started) < 1
        except psutil.Error:
            return False

    @property
    def may_write(self) -> bool:
        """Whether it could still change the tree; of another machine nobody here can tell, so it could."""
        return not self.closed and (self.alive or not self.here)


class Ownership:
    """The right of one opened workspace to its tree."""

    def __init__(self, notes: Path, owner: _Owner) -> None:
        """Use ``take``."""
        self._notes = notes
        self._owner = owner

    @classmethod
    def take(cls, notes: Path) -> tuple[Ownership, bool]:
        """Take the tree over; also tell whether the one before may still be writing into it."""
        before = _read(notes)
        process = psutil.Process()
        owner = _Owner(
            token=secrets.token_hex(8),
            host=os.uname().nodename,
            boot=_boot(),
            pid=process.pid,
            started=process.create_time(),
        )
        _write(notes, owner)
        return cls(notes, owner), before is not None and before.may_write

    def require(self) -> None:
        """Raise ``StaleFence`` when another run has taken the tree over."""
        now = _read(self._notes)
        if now is None or now.token != self._owner.token:
            raise StaleFence("another run has opened this task's workspace: this one may not write any more")

    def close(self) -> None:
        """Say that this run writes no more."""
        now = _read(self._notes)
        if now is not None and now.token == self._owner.token:
            _write(self._notes, now.model_copy(update={"closed": True}))


async def is_left_alone(notes: Path, patience: float) -> bool:
    """Wait until no git writes into the tree any more; return whether that came true within ``patience`` seconds."""
    deadline = time.monotonic() + patience
    while _is_written(notes / WRITING):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_LOOK)
    return True


def _is_written(mark: Path) -> bool:
    try:
        with mark.open("r+b") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def is_in_use(notes: Path) -> bool:
    """Tell whether a run on this machine is working in the tree."""
    owner = _read(notes)
    return owner is not None and owner.alive


def _boot() -> str:
    return _BOOT.read_text().strip() if _BOOT.exists() else ""


def _read(notes: Path) -> _Owner | None:
    try:
        return _Owner.model_validate_json((notes / _FILE).read_bytes())
    except (OSError, ValidationError):
        return None


def _write(notes: Path, owner: _Owner) -> None:
    notes.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = notes / f"{_FILE}.{owner.token}"
    part.write_text(owner.model_dump_json())
    part.replace(notes / _FILE)
