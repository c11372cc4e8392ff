"""Repositories that somebody far away named: known as such, so that a worker, too, is not led into its own network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ezaigent.core.outside import Inside
from ezaigent.store import Connection, Database, Sql

if TYPE_CHECKING:
    from ezaigent.core.settings import Settings
    from ezaigent.workspaces import Guard, Pin, Repository

_remember: Final = Sql("INSERT INTO far_repositories (url, at) VALUES ($1, {now}) ON CONFLICT (url) DO NOTHING")
_known: Final = Sql("SELECT 1 FROM far_repositories WHERE url = $1")


async def remember(db: Database, url: str) -> None:
    """Know from now on that somebody far away named the repository at ``url``, which holds no login."""

    def write(conn: Connection) -> None:
        _remember.run(conn, url)

    if not await _is_known(db, url):
        await db.write(write)


async def _is_known(db: Database, url: str) -> bool:
    return await db.read(lambda conn: _known.first(conn, url)) is not None


def guarding(db: Database, settings: Settings) -> Guard:
    """Return what looks where such a repository is, each time before git goes there.

    Raises ``UsageError`` for a wrong ``[server] internal``.
    """
    inside = Inside.read(settings.server.internal)

    async def guard(repository: Repository) -> Pin:
        from ezaigent.workspaces import Pin, pin

        if not repository.network or not await _is_known(db, repository.url):
            return Pin()
        return await pin(repository, inside)

    return guard
