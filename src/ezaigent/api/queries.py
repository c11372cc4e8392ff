"""The SQL of users, sessions and tokens, and of what a task was asked for with."""

from __future__ import annotations

from typing import Final

import orjson

from ezaigent.api.models import TokenView, UserView
from ezaigent.store import BulkInsert, Connection, Sql, tables

SETUP: Final = "setup"
"""Scope of the one-time token that makes the first user."""

_users = Sql("SELECT name, role, created_at FROM users ORDER BY name")
_user = Sql("SELECT password, role FROM users WHERE name = $1")
_add_user = BulkInsert(
    tables.users, ("name", "password", "role", "created_at"), on_conflict="ON CONFLICT (name) DO NOTHING"
)
_remove_user = Sql("DELETE FROM users WHERE name = $1")
_elsewhere = Sql("SELECT name, role FROM users WHERE password = $1")
_set_role = Sql("UPDATE users SET role = $2 WHERE name = $1")

_expect = BulkInsert(tables.arrivals, ("id", "expires_at"))
_arrive = Sql("DELETE FROM arrivals WHERE id = $1 AND expires_at > {now} RETURNING id")
_forget_arrivals = Sql("DELETE FROM arrivals WHERE expires_at <= {now}")
_admins = Sql("SELECT name FROM users WHERE role = 'admin' ORDER BY name {for_update}")
_end_sessions = Sql('DELETE FROM sessions WHERE "user" = $1')
_end_notifications = Sql('DELETE FROM subscriptions WHERE "user" = $1')
_revoke_all = Sql("DELETE FROM tokens WHERE owner = $1")

_add_session = BulkInsert(tables.sessions, ("id", "user", "created_at", "expires_at"))
_session = Sql(
    """SELECT u.name, u.role FROM sessions s JOIN users u ON u.name = s."user"
    WHERE s.id = $1 AND s.expires_at > {now}"""
)
_end_session = Sql("DELETE FROM sessions WHERE id = $1")
_forget_sessions = Sql("DELETE FROM sessions WHERE expires_at <= {now}")

_add_token = BulkInsert(tables.tokens, ("id", "name", "secret", "scope", "owner", "created_at", "expires_at"))
_token = Sql(
    """SELECT t.secret, t.name, t.scope, t.owner, u.role, t.used_at IS NULL OR t.used_at < {now} - 60
    FROM tokens t LEFT JOIN users u ON u.name = t.owner
    WHERE t.id = $1 AND (t.expires_at IS NULL OR t.expires_at > {now})"""
)
_tokens = Sql(
    """SELECT id, name, scope, owner, created_at, expires_at, used_at FROM tokens
    WHERE scope <> 'setup' AND (CAST($1 AS TEXT) IS NULL OR owner = $1) ORDER BY id"""
)
_used = Sql("UPDATE tokens SET used_at = {now} WHERE id = $1")
_revoke = Sql("DELETE FROM tokens WHERE id = $1 AND scope <> 'setup'")
_drop_setup = Sql("DELETE FROM tokens WHERE scope = 'setup'")
_take_setup = Sql(
    """DELETE FROM tokens WHERE id = $1 AND secret = $2 AND scope = 'setup' AND expires_at > {now} RETURNING id"""
)
_submitted = Sql("SELECT data FROM events WHERE task_id = $1 AND kind = 'task.submitted' ORDER BY seq LIMIT 1")
_any_user = Sql("SELECT 1 FROM users LIMIT 1")
_any_token = Sql("SELECT 1 FROM tokens WHERE scope <> 'setup' LIMIT 1")


def users(conn: Connection) -> list[UserView]:
    """Return all users."""
    return [UserView(name=name, role=role, created_at=at) for name, role, at in _users.all(conn)]


def user(conn: Connection, name: str) -> tuple[str, str] | None:
    """Return a user's password hash and role."""
    row = _user.first(conn, name)
    return (str(row[0]), str(row[1])) if row else None


def add_user(conn: Connection, name: str, password: str, role: str, at: float) -> bool:
    """Enter a user; return whether the name was free."""
    return _add_user(conn, [(name, password, role, at)]) == 1


def remove_user(conn: Connection, name: str) -> bool:
    """Remove a user with its sessions and tokens; return whether there was one."""
    _end_sessions.run(conn, name)
    _revoke_all.run(conn, name)
    _end_notifications.run(conn, name)
    return _remove_user.run(conn, name) == 1


def elsewhere(conn: Connection, mark: str) -> tuple[str, str] | None:
    """Return name and role of the user whom a provider knows, by what is kept in the password's place."""
    row = _elsewhere.first(conn, mark)
    return (str(row[0]), str(row[1])) if row else None


def set_role(conn: Connection, name: str, role: str) -> None:
    """Give a user another role."""
    _set_role.run(conn, name, role)


def expect(conn: Connection, key: str, expires_at: float) -> None:
    """Expect somebody back from a provider; forget those who did not come."""
    _forget_arrivals.run(conn)
    _expect(conn, [(key, expires_at)])


def arrive(conn: Connection, key: str) -> bool:
    """Return whether this one was expected, once."""
    return _arrive.first(conn, key) is not None


def admins(conn: Connection) -> list[str]:
    """Return the users that are administrators, locked."""
    return [row[0] for row in _admins.all(conn)]


def add_session(conn: Connection, key: str, name: str, at: float, until: float) -> None:
    """Begin a session; those that have run out are forgotten."""
    _forget_sessions.run(conn)
    _add_session(conn, [(key, name, at, until)])


def session(conn: Connection, key: str) -> tuple[str, str] | None:
    """Return the user and role of a session that has not run out."""
    row = _session.first(conn, key)
    return (str(row[0]), str(row[1])) if row else None


def end_session(conn: Connection, key: str) -> None:
    """End a session."""
    _end_session.run(conn, key)


def add_token(conn: Connection, view: TokenView, secret: str) -> None:
    """Enter a token; ``secret`` is what is kept of its secret half."""
    _add_token(conn, [(view.id, view.name, secret, view.scope, view.owner, view.created_at, view.expires_at)])


def token(conn: Connection, key: str) -> tuple[str, str, str, str | None, str | None, bool] | None:
    """Return a live token: kept secret, name, scope, owner, the owner's role, whether its use is to be noted."""
    row = _token.first(conn, key)
    return (row[0], row[1], row[2], row[3], row[4], bool(row[5])) if row else None


def tokens(conn: Connection, owner: str | None) -> list[TokenView]:
    """Return all tokens, or those of one user."""
    names = ("id", "name", "scope", "owner", "created_at", "expires_at", "used_at")
    return [TokenView.model_validate(dict(zip(names, row, strict=True))) for row in _tokens.all(conn, owner)]


def used(conn: Connection, key: str) -> None:
    """Note that a token was used."""
    _used.run(conn, key)


def revoke(conn: Connection, key: str) -> bool:
    """Remove a token; return whether there was one."""
    return _revoke.run(conn, key) == 1


def new_setup(conn: Connection, key: str, secret: str, at: float, until: float) -> None:
    """Enter the token of the setup link in place of an earlier one."""
    _drop_setup.run(conn)
    _add_token(conn, [(key, SETUP, secret, SETUP, None, at, until)])


def take_setup(conn: Connection, key: str, secret: str) -> bool:
    """Use up the setup token; return whether it was good."""
    return _take_setup.first(conn, key, secret) is not None


def any_user(conn: Connection) -> bool:
    """Return whether there is a user."""
    return _any_user.first(conn) is not None


def any_credential(conn: Connection) -> bool:
    """Return whether there is a user or a token."""
    return any_user(conn) or _any_token.first(conn) is not None


def draft(conn: Connection, task_id: str) -> str | None:
    """Return the digest of what a task with an idempotency key was asked for with; None where none was kept."""
    row = _submitted.first(conn, task_id)
    return None if row is None else orjson.loads(row[0]).get("draft")
