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
from ezaigent.store.migrate import HEAD, migrate, upgrade
from ezaigent.store.migrations import versions

_CATALOG = {
    "sqlite": (
        """SELECT t.name, c.name, c.type, c."notnull", c.dflt_value, c.pk, t.sql LIKE '%AUTOINCREMENT%'
        FROM sqlite_master t, pragma_table_xinfo(t.name) c WHERE t.type = 'table'""",
        """SELECT t.name, f."from", f."table", f."to", f.on_delete
        FROM sqlite_master t, pragma_foreign_key_list(t.name) f WHERE t.type = 'table'""",
        "SELECT name, tbl_name, sql FROM sqlite_master WHERE type <> 'table'",
        "SELECT version_num FROM alembic_version",
    ),
    "postgresql": (
        """SELECT table_name, column_name, data_type, collation_name, is_nullable, column_default, identity_generation,
        character_maximum_length FROM information_schema.columns WHERE table_schema = current_schema()""",
        """SELECT conname, conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = current_schema()::regnamespace AND contype <> 'n'""",
        "SELECT indexname, tablename, indexdef FROM pg_indexes WHERE schemaname = current_schema()",
        """SELECT relname, relkind::text, reloptions::text FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace""",
        "SELECT version_num FROM alembic_version",
    ),
}
"""Queries that together tell all there is to a schema but the order of its columns."""


def _catalog(conn: Connection) -> list[list[str]]:
    return [sorted(map(repr, query.all(conn))) for query in map(Sql, _CATALOG[conn.dialect.name])]


async def test_a_migrated_store_a_new_one_and_the_code_have_the_same_schema(db: Database) -> None:
    def differences(conn: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(conn), tables.metadata))

    def made_by_the_first_version(conn: Connection) -> None:
        tables.metadata.drop_all(conn)
        Sql("DROP TABLE alembic_version").run(conn)
        upgrade(conn, "0001")

    new = await db.read(_catalog)
    await db.write(made_by_the_first_version)
    assert await db.read(_catalog) != new
    await db.write(lambda conn: migrate(conn, db.where))
    assert await db.read(_catalog) == new
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


async def test_a_new_store_and_one_that_is_up_to_date_load_no_migration_tool(database_url: str) -> None:
    script = """
import asyncio, sys
from ezaigent.store import Database
async def main():
    await (await Database.open(sys.argv[1])).close()
asyncio.run(main())
assert "alembic" not in sys.modules
"""
    for _ in ("new", "up to date"):
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
