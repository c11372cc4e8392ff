"""Schema revisions: packaged, run at open under a lock, and equal to the tables that the code uses."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from ezaigent.core.errors import UnavailableError
from ezaigent.store import Connection, Database, Sql, tables
from ezaigent.store.migrate import HEAD
from ezaigent.store.migrations import versions


async def test_the_migrated_schema_is_the_one_that_the_code_uses(db: Database) -> None:
    def differences(conn: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(conn), tables.metadata))

    assert await db.write(differences) == []


async def test_partial_indexes_have_their_conditions(db: Database) -> None:
    """Alembic does not compare them, and without them claims would read every finished task."""
    texts = Sql(
        sqlite="SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        postgresql="SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema()",
    )
    found = {row[0].split(" INDEX ")[1].split()[0]: row[0] for row in await db.read(texts.all)}
    partial = {name for name, text in found.items() if " WHERE " in text}
    tasks = {f"ix_tasks_{name}" for name in ("queue", "running", "wake", "held_by", "guarded")}
    assert partial == tasks | {"uq_tasks_key", "ix_messages_inbox"}


def test_head_is_the_newest_revision() -> None:
    found = [
        importlib.import_module(f"{versions.__name__}.{one.name}") for one in pkgutil.iter_modules(versions.__path__)
    ]
    assert max(module.revision for module in found) == HEAD
    assert sorted(module.revision for module in found) == [f"{number:04}" for number in range(1, len(found) + 1)]


async def test_opening_again_changes_nothing_and_loads_no_migration_tool(database_url: str) -> None:
    await (await Database.open(database_url)).close()
    script = """
import asyncio, sys
from ezaigent.store import Database
async def main():
    await (await Database.open(sys.argv[1])).close()
asyncio.run(main())
assert "alembic" not in sys.modules
"""
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", script, database_url], check=True)


async def test_many_openers_of_an_empty_database_agree(database_url: str) -> None:
    opened = await asyncio.gather(*(Database.open(database_url) for _ in range(4)))
    versions_found = await opened[0].read(Sql("SELECT version_num FROM alembic_version").all)
    assert [row[0] for row in versions_found] == [HEAD]
    await asyncio.gather(*(database.close() for database in opened))


async def test_a_database_of_a_newer_version_is_refused_in_one_line(database_url: str) -> None:
    database = await Database.open(database_url)
    await database.write(lambda conn: Sql("UPDATE alembic_version SET version_num = '9999'").run(conn))
    await database.close()
    with pytest.raises(UnavailableError, match=r"newer version .*9999.*upgrade ezaigent") as caught:
        await Database.open(database_url)
    assert "\n" not in str(caught.value)
    untouched = await Database.open(database_url, migrate=False)
    await untouched.close()
