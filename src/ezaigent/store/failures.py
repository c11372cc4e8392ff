"""Tell "the database cannot be used now" from everything else, and say it in one line without any secret."""

from __future__ import annotations

import sqlite3
from typing import Final

from sqlalchemy.exc import DBAPIError, InterfaceError

from ezaigent.core.errors import StoreUnavailable

_SQLITE: Final = {
    sqlite3.SQLITE_BUSY: "another program keeps it locked; stop that program and try again",
    sqlite3.SQLITE_LOCKED: "another program keeps it locked; stop that program and try again",
    sqlite3.SQLITE_READONLY: "it is read-only; make the file and its folder writable",
    sqlite3.SQLITE_IOERR: "reading or writing the disk failed; check the disk and its free space",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restore it from a backup",
    sqlite3.SQLITE_FULL: "the disk is full; free some space and try again",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; check that its folder exists and is writable",
    sqlite3.SQLITE_PERM: "the file may not be used; check its permissions",
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database; name another file",
}

# By SQLSTATE, the longest beginning that fits.
_POSTGRESQL: Final = {
    "08": "the connection broke; check that the server runs",
    "25006": "it is read-only (a standby?); name the primary server",
    "28": "the server refused the user or the password; check the database URL",
    "3D000": "there is no such database on the server; create it or correct the database URL",
    "42501": "the user may not do this; grant it the rights on its schema",
    "53100": "the server's disk is full; free some space and try again",
    "53": "the server has run out of a resource (connections, memory); give it more or use fewer workers",
    "55P03": "another transaction keeps rows locked; end it and try again",
    "57P": "the server is stopping or starting; try again in a moment",
    "58": "the server cannot use its disk; see its log",
}
_TRANSIENT: Final = ("40001", "40P01")  # serialization failure, deadlock: the transaction did not commit
_BROKEN: Final = ("08", "57P")


def sqlstate(error: BaseException) -> str | None:
    """Return PostgreSQL's error code for an error of the driver or of SQLAlchemy around it."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    found = getattr(origin, "sqlstate", None) or getattr(getattr(origin, "__cause__", None), "sqlstate", None)
    return found if isinstance(found, str) else None


def broken_connection(error: BaseException) -> bool:
    """Whether the connection to PostgreSQL is gone, so that an open transaction surely did not commit."""
    state = sqlstate(error)
    if state is not None:
        return state.startswith(_BROKEN)
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error, InterfaceError)
    # The driver's own error for a connection that is closed; its module is loaded only where PostgreSQL is used.
    return isinstance(error, OSError | EOFError) or type(error).__name__ == "InterfaceError"


def transient(error: BaseException) -> bool:
    """Whether the same transaction may succeed at once when it is run again."""
    return sqlstate(error) in _TRANSIENT


def explain(error: Exception, where: str) -> Exception:
    """Return a ``StoreUnavailable`` for what makes the database unusable, else the error itself.

    ``where`` names the database without its password.
    """
    origin = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(origin, sqlite3.Error):
        why = _SQLITE.get((getattr(origin, "sqlite_errorcode", None) or 0) & 0xFF)
        return StoreUnavailable(f"the database {where} cannot be used: {why}") if why else error
    state = sqlstate(error)
    if state is not None:
        fitting = [begin for begin in _POSTGRESQL if state.startswith(begin)]
        if not fitting:
            return error
        return StoreUnavailable(f"the database {where} cannot be used: {_POSTGRESQL[max(fitting, key=len)]}")
    if broken_connection(error):
        return StoreUnavailable(f"the database {where} cannot be reached; check that the server runs and the URL")
    return error
