"""Bring a database to the schema of this version; refuse one from a newer version."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect

from ezaigent.core.errors import StoreUnavailable
from ezaigent.store.sql import Sql
from ezaigent.store.tables import metadata

HEAD: Final = "0008"
"""The newest revision in ``migrations/versions``. Revisions are counted up, so that a newer one is known as such."""

_LOCK: Final = 0x455A_0000_4D49_4752
_lock = Sql(postgresql=f"SELECT pg_advisory_xact_lock({_LOCK})")
_version = Sql("SELECT version_num FROM alembic_version")
_versions = Sql(
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY)"
)
_at = Sql("INSERT INTO alembic_version (version_num) VALUES ($1)")


def migrate(conn: Connection, where: str) -> None:
    """Make or upgrade the schema in the caller's transaction; many processes may do so at the same time.

    Raises ``StoreUnavailable`` when the database has a schema that this version does not know.
    """
    if conn.dialect.name == "postgresql":
        _lock.run(conn)  # on SQLite the transaction itself is the lock
    found = current(conn)
    if found == HEAD:
        return
    if found is not None and found > HEAD:
        raise StoreUnavailable(
            f"the database {where} was made by a newer version of Ez Aigent (schema {found}, this one knows {HEAD}): "
            "upgrade ezaigent"
        )
    if found is None:
        _create(conn)
    else:
        upgrade(conn)


def _create(conn: Connection) -> None:
    """Make what all revisions together would make, in a tenth of their time."""
    metadata.create_all(conn, checkfirst=False)
    _versions.run(conn)
    _at.run(conn, HEAD)


def upgrade(conn: Connection, to: str = HEAD) -> None:
    """Run the revisions up to ``to`` that the database does not have yet."""
    # Imported here: a database that is up to date or new, which is the rule, does not pay for it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = conn
    command.upgrade(config, to)


def current(conn: Connection) -> str | None:
    """Return the revision of the database; None for an empty one."""
    if not inspect(conn).has_table("alembic_version"):
        return None
    row = _version.first(conn)
    return str(row[0]) if row else None
