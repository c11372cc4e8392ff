"""The store: schema, engine, migrations, event log. SQL is the only truth; everything else may be lost.

Query functions are synchronous, take a ``Connection`` and run through ``Database.write`` or ``Database.read`` on
SQLite and PostgreSQL alike.
"""

from sqlalchemy import Connection

from ezaigent.store import tables
from ezaigent.store.database import Database, Subscription, now
from ezaigent.store.events import EventLog, NewEvent, ToldInsert, emit, emit_many
from ezaigent.store.migrate import HEAD as SCHEMA
from ezaigent.store.migrate import current as schema_of
from ezaigent.store.sql import Bulk, BulkInsert, BulkUpdate, Rows, Sql

__all__ = [
    "SCHEMA",
    "Bulk",
    "BulkInsert",
    "BulkUpdate",
    "Connection",
    "Database",
    "EventLog",
    "NewEvent",
    "Rows",
    "Sql",
    "Subscription",
    "ToldInsert",
    "emit",
    "emit_many",
    "now",
    "schema_of",
    "tables",
]
