"""The embedded store's time: agreed once for each start of the machine, and believed anew only when nobody works."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ezaigent.store import Database, Sql, now
from ezaigent.store import clock as module

_worker = Sql(
    """INSERT INTO workers (id, host, pid, version, started_at, seen_at, info)
    VALUES ('w', 'h', 1, '1', {now}, {now}, '{}')"""
)


async def told(url: str) -> float:
    """Open the store, and return how far its time is ahead of the host's."""
    db = await Database.open(url)
    try:
        return await db.read(now) - time.time()
    finally:
        await db.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


def jump(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let the host's clock be ahead of what it was."""
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + seconds)


async def test_a_clock_that_jumps_while_somebody_works_is_not_believed(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = await Database.open(url)
    await db.write(_worker.run)
    jump(monkeypatch, 3600)
    assert abs(await db.read(now) - time.time() + 3600) < 30
    assert abs(await told(url) + 3600) < 30, "one that opens it later goes by the same time"
    await db.close()


async def test_a_clock_that_was_set_is_believed_when_nobody_works(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert abs(await told(url)) < 30
    jump(monkeypatch, -3600)
    assert abs(await told(url)) < 30


async def test_a_new_start_of_the_machine_begins_anew(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    boot = tmp_path / "boot"
    boot.write_text("one")
    monkeypatch.setattr(module, "_BOOT", boot)
    await told(url)
    boot.write_text("two")
    jump(monkeypatch, 3600)
    assert abs(await told(url)) < 30
    boot.unlink()
    jump(monkeypatch, 3600)
    assert abs(await told(url)) < 30, "where the kernel does not say, each process goes by its own"
