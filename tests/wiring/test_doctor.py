"""The doctor looks at the database and leaves it as it is."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import pytest

from ezaigent.core.settings import Settings
from ezaigent.store import Database, Sql
from ezaigent.wiring import Finding, examine, load_settings


async def database(settings: Settings) -> Finding:
    """Return what the doctor finds about the database."""
    return next(finding for finding in [one async for one in examine(settings)] if finding.name == "database")


def state(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


async def test_a_home_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "deep" / "home")
    found = await database(settings)
    assert (found.status, "none yet" in found.detail) == ("ok", True)
    assert not (tmp_path / "deep").exists()


async def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = await database(load_settings(home=tmp_path / "file" / "home"))
    assert found.status == "missing"
    assert found.advice == "set EZAIGENT_HOME"


async def test_the_schema_is_compared_and_nothing_is_changed(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    file = tmp_path / "ezaigent.db"
    await (await Database.open(f"sqlite:///{file}")).close()
    before = state(tmp_path)
    assert (await database(settings)).status == "ok"
    assert state(tmp_path) == before

    for version, status, told in (("0000", "warning", "newer"), ("9999", "missing", "older")):
        db = await Database.open(f"sqlite:///{file}", migrate=False)
        await db.write(
            lambda conn, version=version: Sql("UPDATE alembic_version SET version_num = $1").run(conn, version)
        )
        await db.close()
        before = state(tmp_path)
        found = await database(settings)
        assert found.status == status
        assert version in found.detail
        assert told in found.detail
        assert state(tmp_path) == before


async def test_a_file_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    settings = load_settings(home=tmp_path / "home", database_url=f"sqlite:///{file}")
    file.touch()
    found = await database(settings)
    assert (found.status, "without the tables" in found.detail) == ("warning", True)
    assert file.stat().st_size == 0
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE notes (text)")
    before = state(tmp_path)
    assert (await database(settings)).status == "warning"
    assert state(tmp_path) == before
    file.write_text("no database at all")
    assert (await database(settings)).status == "missing"
    assert file.read_text() == "no database at all"


@pytest.mark.postgres
async def test_an_empty_database_on_a_server_stays_empty(tmp_path: Path, postgres_database: str) -> None:
    settings = load_settings(home=tmp_path, database_url=postgres_database)
    for _ in range(2):
        found = await database(settings)
        assert (found.status, "without the tables" in found.detail) == ("warning", True)
    await (await Database.open(postgres_database)).close()
    assert (await database(settings)).status == "ok"
