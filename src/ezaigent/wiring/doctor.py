"""What is there, what is missing, and what to do about it. Names of keys only, never their values."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Final, Literal

from pydantic import BaseModel

from ezaigent.core.errors import EzAigentError
from ezaigent.core.settings import Settings
from ezaigent.live import open_bus
from ezaigent.store import Database
from ezaigent.wiring.services import database_url

_MIN_GIT: Final = (2, 38)
"""The first git whose ``merge-tree`` writes a merged tree without a work tree."""
_MIN_FREE: Final = 1024**3


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
        return Finding(name="sandbox", status="ok", detail=f"bubblewrap: {sandbox.description}")
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
    try:
        db = await Database.open(database_url(settings))
    except EzAigentError as error:
        return Finding(name="database", status="missing", detail=str(error), advice="check EZAIGENT_DATABASE_URL")
    dialect = db.dialect
    await db.close()
    place = str(settings.home) if settings.database_url is None else "as configured"
    return Finding(name="database", status="ok", detail=f"{dialect}, {place}")


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
