"""The SQL of notifications."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from ezaigent.push.models import Browser, Subscription
from ezaigent.store import BulkInsert, Connection, Sql, tables

MOST: Final = 20
"""Browsers of one person."""

_keep_secret = BulkInsert(tables.secrets, ("name", "value", "created_at"), on_conflict="ON CONFLICT (name) DO NOTHING")
_secret = Sql("SELECT value FROM secrets WHERE name = $1")

_add = Sql(
    """INSERT INTO subscriptions (id, "user", endpoint, p256dh, auth, kinds, label, error, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, '', {now})
    ON CONFLICT (id) DO UPDATE SET "user" = excluded."user", p256dh = excluded.p256dh, auth = excluded.auth,
    kinds = excluded.kinds, label = excluded.label, error = '', created_at = excluded.created_at"""
)
_count = Sql('SELECT count(*) FROM subscriptions WHERE "user" = $1 AND id <> $2')
_of_user = Sql(
    """SELECT id, endpoint, label, kinds, error, created_at FROM subscriptions
    WHERE "user" = $1 ORDER BY created_at, id"""
)
_browsers = Sql(
    """SELECT s.id, s."user", u.role, s.endpoint, s.p256dh, s.auth, s.kinds, s.created_at
    FROM subscriptions s JOIN users u ON u.name = s."user" ORDER BY s.id"""
)
_any = Sql("SELECT 1 FROM subscriptions LIMIT 1")
_choose = Sql('UPDATE subscriptions SET kinds = $3 WHERE id = $1 AND "user" = $2')
_remove = Sql('DELETE FROM subscriptions WHERE id = $1 AND "user" = $2')
_gone = Sql("DELETE FROM subscriptions WHERE id = $1 AND endpoint = $2")
_say = Sql("UPDATE subscriptions SET error = $2 WHERE id = $1 AND error <> $2")
_titles = Sql("SELECT id, title FROM tasks WHERE id IN [$1]")


def secret(conn: Connection, name: str) -> str | None:
    """Return one of the server's secrets."""
    row = _secret.first(conn, name)
    return str(row[0]) if row else None


def keep_secret(conn: Connection, name: str, value: str, at: float) -> str:
    """Keep a secret unless there is one; return the one that is kept."""
    _keep_secret(conn, [(name, value, at)])
    kept = secret(conn, name)
    assert kept is not None
    return kept


def add(conn: Connection, browser: Browser, label: str) -> None:
    """Enter a browser; one that is known belongs to whoever asked last."""
    kinds = _written(browser.kinds)
    _add.run(conn, browser.id, browser.user, browser.endpoint, browser.p256dh, browser.auth, kinds, label)


def others(conn: Connection, user: str, key: str) -> int:
    """Return how many browsers a person has beside this one."""
    row = _count.first(conn, user, key)
    assert row is not None
    return int(row[0])


def of_user(conn: Connection, user: str) -> list[Subscription]:
    """Return a person's browsers, oldest first."""
    return [
        Subscription.model_validate(
            {
                "id": key,
                "service": urlsplit(str(endpoint)).hostname or "",
                "label": label,
                "kinds": tuple(kinds.split()),
                "error": error,
                "created_at": at,
            }
        )
        for key, endpoint, label, kinds, error, at in _of_user.all(conn, user)
    ]


def browsers(conn: Connection) -> list[Browser]:
    """Return the browsers of all who may still sign in."""
    return [
        Browser(
            id=key,
            user=user,
            role=role,
            endpoint=endpoint,
            p256dh=p256dh,
            auth=auth,
            kinds=frozenset(kinds.split()),
            since=since,
        )
        for key, user, role, endpoint, p256dh, auth, kinds, since in _browsers.all(conn)
    ]


def any_browser(conn: Connection) -> bool:
    """Return whether somebody wants to be told anything."""
    return _any.first(conn) is not None


def choose(conn: Connection, key: str, user: str, kinds: Iterable[str]) -> bool:
    """Change what a person's browser is told; return whether there is one."""
    return _choose.run(conn, key, user, _written(kinds)) == 1


def remove(conn: Connection, key: str, user: str) -> bool:
    """Remove a person's browser; return whether there was one."""
    return _remove.run(conn, key, user) == 1


def gone(conn: Connection, browser: Browser) -> None:
    """Remove a browser that its push service does not know any more."""
    _gone.run(conn, browser.id, browser.endpoint)


def say(conn: Connection, key: str, error: str) -> None:
    """Note how the last notification was taken."""
    _say.run(conn, key, error)


def titles(conn: Connection, tasks: Sequence[str]) -> dict[str, str]:
    """Return the titles of tasks by their ids."""
    return {str(key): str(title) for key, title in _titles.all(conn, list(tasks))} if tasks else {}


def _written(kinds: Iterable[str]) -> str:
    return " ".join(sorted(kinds))
