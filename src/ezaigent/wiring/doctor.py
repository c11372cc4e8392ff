"""What is there, what is missing, and what to do about it. Names of keys only, never their values."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel

from ezaigent.core.errors import EzAigentError
from ezaigent.core.settings import Settings
from ezaigent.live import open_bus
from ezaigent.store import SCHEMA, Database, schema_of
from ezaigent.wiring.services import embedded_database

_MIN_GIT: Final = (2, 38)
"""The first git whose ``merge-tree`` writes a merged tree without a work tree."""
_MIN_FREE: Final = 1024**3
_PATIENCE: Final = 5.0
"""Seconds that a database which is locked or away is tried."""


class Finding(BaseModel):
    """One thing looked at."""

    name: str
    status: Literal["ok", "warning", "missing"]
    detail: str
    advice: str = ""


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Yield findings in the order in which they matter. Nothing is changed."""
    yield _python()
    yield _git()
    yield await _sandbox(settings)
    for finding in _keys(settings):
        yield finding
    yield await _database(settings)
    yield await _redis(settings)
    yield _disk(settings)


def _python() -> Finding:
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Finding(name="python", status="ok", detail=version)


def _git() -> Finding:
    if shutil.which("git") is None:
        return Finding(name="git", status="missing", detail="not on PATH", advice="install git 2.38 or newer")
    said = subprocess.run(["git", "--version"], capture_output=True, text=True, check=False, timeout=10).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    if found and (int(found[1]), int(found[2])) < _MIN_GIT:
        return Finding(name="git", status="warning", detail=said.strip(), advice="tasks merge needs git 2.38 or newer")
    return Finding(name="git", status="ok", detail=said.strip())


async def _sandbox(settings: Settings) -> Finding:
    from ezaigent.workspaces import detect

    try:
        sandbox = await detect(settings.sandbox)
    except EzAigentError as error:
        return Finding(name="sandbox", status="missing", detail=str(error), advice="install bubblewrap")
    if sandbox.level == "bubblewrap":
        return Finding(name="sandbox", status="ok", detail=sandbox.description)
    return Finding(
        name="sandbox",
        status="warning",
        detail=f"{sandbox.level}: {sandbox.description}",
        advice="install bubblewrap for the strongest level",
    )


def _keys(settings: Settings) -> list[Finding]:
    from ezaigent.agents import keys_present, variables_of

    findings: list[Finding] = []
    for provider, present in keys_present(settings).items():
        names = " or ".join(variables_of(provider))
        findings.append(
            Finding(
                name=f"key {provider}",
                status="ok" if present else "warning",
                detail="present" if present else "absent",
                advice="" if present else f"set {names} to use {provider}; the mechanic needs no key",
            )
        )
    return findings


async def _database(settings: Settings) -> Finding:
    """Look at the store as it is: it is neither made nor brought up to date."""
    name = "database"
    file = _file(settings)
    if file is not None and not file.exists():
        place = next(folder for folder in file.parents if folder.exists())
        if not os.access(place, os.W_OK | os.X_OK):
            return Finding(
                name=name, status="missing", detail=f"{str(place)!r} cannot be written", advice="set EZAIGENT_HOME"
            )
        return Finding(name=name, status="ok", detail=f"none yet; the first command makes {file}")
    place = str(settings.home) if settings.database_url is None else "as configured"
    if file is not None and _foreign(file):
        return _schema(f"sqlite, {place}", None)
    url = f"sqlite:///{file}" if settings.database_url is None else settings.database_url.get_secret_value()
    try:
        db = await Database.open(url, migrate=False, patience=_PATIENCE)
        try:
            found = await db.read(schema_of)
        finally:
            await db.close()
    except EzAigentError as error:
        return Finding(name=name, status="missing", detail=str(error), advice="check EZAIGENT_DATABASE_URL")
    return _schema(f"{db.dialect}, {place}", found)


def _file(settings: Settings) -> Path | None:
    """Return the file of an SQLite store, None for another."""
    if settings.database_url is None:
        return embedded_database(settings)
    scheme, _, rest = settings.database_url.get_secret_value().partition("://")
    return Path("/" + rest.lstrip("/")) if scheme == "sqlite" else None


def _foreign(file: Path) -> bool:
    """Whether the file is empty, or an SQLite database without a write-ahead log: opening it as a store changed that.

    The bytes are those of https://www.sqlite.org/fileformat.html, section 1.3.
    """
    try:
        with file.open("rb") as opened:
            head = opened.read(20)
    except OSError:
        return False  # opening it says why
    return not head or (head.startswith(b"SQLite format 3\0") and head[18:20] != b"\2\2")


def _schema(where: str, found: str | None) -> Finding:
    name = "database"
    if found is None:
        return Finding(
            name=name,
            status="warning",
            detail=f"{where}, without the tables of Ez Aigent",
            advice="if it is the right one: the next command makes them",
        )
    if found == SCHEMA:
        return Finding(name=name, status="ok", detail=where)
    detail = f"{where}, schema {found}; this version has {SCHEMA}"
    if found > SCHEMA:
        return Finding(name=name, status="missing", detail=f"{detail}, which is older", advice="upgrade ezaigent")
    return Finding(name=name, status="warning", detail=f"{detail}, newer", advice="the next command updates it")


async def _redis(settings: Settings) -> Finding:
    if settings.redis_url is None:
        return Finding(name="live bus", status="ok", detail="inside the process (no Redis configured)")
    bus = await open_bus(settings.redis_url.get_secret_value())
    try:
        if bus.up:
            return Finding(name="live bus", status="ok", detail="Redis answers")
        return Finding(
            name="live bus",
            status="warning",
            detail="Redis does not answer; work goes on by polling",
            advice="check EZAIGENT_REDIS_URL",
        )
    finally:
        await bus.close()


def _disk(settings: Settings) -> Finding:
    place = next(folder for folder in (settings.home, *settings.home.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    detail = f"{free / 1024**3:.1f} GiB free at {place}"
    if free < _MIN_FREE:
        return Finding(name="disk", status="warning", detail=detail, advice="free some space or set EZAIGENT_HOME")
    return Finding(name="disk", status="ok", detail=detail)
