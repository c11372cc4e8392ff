"""One SQL text for both databases, run through the driver: what the hot path costs is the database, not the toolkit.

The toolkit keeps the connections and their transactions; a statement goes to the driver's cursor as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import orjson
from sqlalchemy import Connection, Table

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPICursor

_FRAGMENTS: Final = {
    # first SQLite's text, then PostgreSQL's
    "now": ("epoch_now()", "extract(epoch FROM statement_timestamp())::float8"),
    "for_update": ("", "FOR UPDATE"),
    "skip_locked": ("", "FOR UPDATE SKIP LOCKED"),
}
_LIST: Final = re.compile(r"IN \[\$(\d+)\]")


class Sql:
    """A statement with ``$1`` parameters that runs on both databases.

    ``{now}``, ``{for_update}`` and ``{skip_locked}`` become what each database has; ``x IN [$1]`` takes a list of
    texts as one parameter. ``sqlite`` and ``postgresql`` give two texts where one will not do.
    """

    def __init__(self, text: str = "", *, sqlite: str = "", postgresql: str = "") -> None:
        """Prepare both texts; nothing is sent anywhere."""
        lite, postgres = sqlite or text, postgresql or text
        for name, (for_sqlite, for_postgres) in _FRAGMENTS.items():
            lite = lite.replace(f"{{{name}}}", for_sqlite)
            postgres = postgres.replace(f"{{{name}}}", for_postgres)
        lite = _LIST.sub(r"IN (SELECT value FROM json_each($\1))", lite)
        self._sqlite = re.sub(r"\$(\d+)", r"?\1", lite)
        self._postgresql = _LIST.sub(r"= ANY(CAST($\1 AS text[]))", postgres)

    def all(self, conn: Connection, *params: Any) -> Sequence[tuple[Any, ...]]:
        """Run it and return every row."""
        return [tuple(row) for row in self._execute(conn, params).fetchall()]

    def first(self, conn: Connection, *params: Any) -> tuple[Any, ...] | None:
        """Run it and return the first row, or None."""
        row = self._execute(conn, params).fetchone()
        return None if row is None else tuple(row)

    def run(self, conn: Connection, *params: Any) -> int:
        """Run it and return how many rows it changed."""
        return int(self._execute(conn, params).rowcount)

    def _execute(self, conn: Connection, params: tuple[Any, ...]) -> DBAPICursor:
        cursor = conn.connection.cursor()
        if conn.dialect.name == "sqlite":
            plain = tuple(orjson.dumps(one).decode() if isinstance(one, list) else one for one in params)
            cursor.execute(self._sqlite, plain)
        else:
            cursor.execute(self._postgresql, params)
        return cursor


Rows: TypeAlias = Sequence[tuple[Any, ...]]


class Bulk:
    """One statement for many rows: ``executemany`` on SQLite, one JSON text on PostgreSQL."""

    def __init__(self, columns: Sequence[str], sqlite: str, postgresql: Callable[[str], str]) -> None:
        """``postgresql`` gives the statement for the rows that a recordset of the placeholder named to it yields."""
        self.columns = tuple(columns)
        self.postgresql = postgresql
        self._sqlite = sqlite
        self._alone = postgresql("$1")

    def __call__(self, conn: Connection, rows: Rows) -> int:
        """Write ``rows``, each with a value per column; return how many were written."""
        if not rows:
            return 0
        cursor = conn.connection.cursor()
        if conn.dialect.name == "sqlite":
            cursor.executemany(self._sqlite, rows)
        else:
            cursor.execute(self._alone, (records(self.columns, rows),))
        return int(cursor.rowcount)


class BulkInsert(Bulk):
    """Insert many rows of ``columns`` in one call."""

    def __init__(self, table: Table, columns: Sequence[str], *, on_conflict: str = "") -> None:
        """Prepare for ``table``; ``on_conflict`` is the tail of the statement, such as ``ON CONFLICT DO NOTHING``."""
        names = ", ".join(f'"{name}"' for name in columns)
        marks = ", ".join("?" * len(columns))
        head = f'INSERT INTO "{table.name}" ({names})'

        def postgresql(given: str) -> str:
            return f"{head} SELECT * FROM {recordset(table, columns, given)} {on_conflict}"  # noqa: S608 - our tables

        super().__init__(columns, f"{head} VALUES ({marks}) {on_conflict}", postgresql)


class BulkUpdate(Bulk):
    """Set ``columns`` of many rows, found by ``key``, in one call. Each row is the key's value, then the columns'.

    A key that is not there changes nothing.
    """

    def __init__(self, table: Table, key: str, columns: Sequence[str]) -> None:
        """Prepare for ``table``."""
        head = f'UPDATE "{table.name}" SET'
        places = ", ".join(f'"{name}" = ?{index}' for index, name in enumerate(columns, 2))
        values = ", ".join(f'"{name}" = given."{name}"' for name in columns)

        def postgresql(given: str) -> str:
            source = recordset(table, (key, *columns), given)
            return f'{head} {values} FROM {source} WHERE "{table.name}"."{key}" = given."{key}"'

        super().__init__((key, *columns), f'{head} {places} WHERE "{key}" = ?1', postgresql)


_TYPES: Final = {
    "TEXT": "text",
    "BIGINT": "bigint",
    "INTEGER": "integer",
    "SMALLINT": "smallint",
    "DOUBLE": "float8",
    "BOOLEAN": "boolean",
}


def recordset(table: Table, columns: Sequence[str], given: str = "$1", *, place: str = "") -> str:
    """Return PostgreSQL's rows of the JSON text ``given``, as ``given``; ``place`` names a column that counts them.

    One text is encoded, sent and taken apart faster than an array for each column.
    """
    typed = ", ".join(f'"{name}" {_TYPES[str(table.c[name].type)]}' for name in columns)
    if not place:
        return f"json_to_recordset({given}::json) AS given({typed})"
    names = ", ".join(f'"{name}"' for name in (*columns, place))
    return f"ROWS FROM (json_to_recordset({given}::json) AS ({typed})) WITH ORDINALITY AS given({names})"


def records(columns: Sequence[str], rows: Rows) -> str:
    """Return rows as the JSON text that ``recordset`` reads."""
    return orjson.dumps([dict(zip(columns, row, strict=True)) for row in rows]).decode()
