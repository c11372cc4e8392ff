"""What people do with notifications: let a browser have them, choose, look, try out, end them. Each their own only."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ezaigent.core.errors import ConflictError, NotFoundError
from ezaigent.core.outside import Inside
from ezaigent.push import queries
from ezaigent.push.handing import check_browser, hand
from ezaigent.push.keys import push_key
from ezaigent.push.models import Browser, NoteKind, Outcome, Subscription
from ezaigent.push.notes import Note
from ezaigent.store import Connection, Database

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver


class Notifications:
    """The browsers that asked. Every method raises ``UnavailableError`` when the store cannot be used."""

    def __init__(self, db: Database, inside: Inside, contact: str, *, resolver: AbstractResolver | None = None) -> None:
        """Keep them in ``db``; ``contact`` tells push services who runs the server."""
        self._db = db
        self._inside = inside
        self._contact = contact
        self._resolver = resolver

    async def public_key(self) -> str:
        """Return what a browser must be given to subscribe; the key is made when it is asked for first."""
        return (await push_key(self._db)).public

    async def of(self, user: str) -> list[Subscription]:
        """Return a person's browsers."""
        return await self._db.read(lambda conn: queries.of_user(conn, user))

    async def add(
        self, user: str, *, endpoint: str, p256dh: str, auth: str, kinds: Sequence[NoteKind], label: str
    ) -> Subscription:
        """Let a browser have notifications; one that had them before is changed.

        Raises ``UsageError`` for an endpoint that may not be used, ``ConflictError`` for too many browsers.
        """
        check_browser(endpoint, p256dh, auth, self._inside)
        key = hashlib.sha256(endpoint.encode()).hexdigest()[:32]
        wanted = frozenset(kinds)
        made = Browser(id=key, user=user, role="", endpoint=endpoint, p256dh=p256dh, auth=auth, kinds=wanted, since=0)

        def add(conn: Connection) -> Subscription:
            if queries.others(conn, user, key) >= queries.MOST:
                raise ConflictError(f"{queries.MOST} browsers of {user!r} have notifications already; remove one first")
            queries.add(conn, made, label)
            return _named(conn, key, user)

        return await self._db.write(add)

    async def choose(self, user: str, key: str, kinds: Sequence[NoteKind]) -> Subscription:
        """Change what a browser is told. Raises ``NotFoundError``, also for another person's browser."""

        def choose(conn: Connection) -> Subscription:
            queries.choose(conn, key, user, kinds)
            return _named(conn, key, user)

        return await self._db.write(choose)

    async def remove(self, user: str, key: str) -> None:
        """End a browser's notifications. Raises ``NotFoundError``, also for another person's browser."""
        if not await self._db.write(lambda conn: queries.remove(conn, key, user)):
            raise NotFoundError(f"there is no browser {key!r} with notifications of {user!r}")

    async def trial(self, user: str, key: str) -> Outcome:
        """Notify a browser now, once. Raises ``NotFoundError``, also for another person's browser."""
        found = await self._db.read(queries.browsers)
        browser = next((one for one in found if one.id == key and one.user == user), None)
        if browser is None:
            raise NotFoundError(f"there is no browser {key!r} with notifications of {user!r}")
        note = Note(
            kind="approvals",
            title="Notifications work",
            body="This is how Ez Aigent calls you.",
            tag="trial",
            url="/#/settings",
            at=time.time(),
        )
        handed = await hand(
            browser,
            note.payload(user, may_approve=False),
            await push_key(self._db),
            self._inside,
            contact=self._contact,
            topic="trial",
            resolver=self._resolver,
        )
        if handed.gone:
            await self._db.write(lambda conn: queries.gone(conn, browser))
        return Outcome(ok=not handed.error, error=handed.error)


def _named(conn: Connection, key: str, user: str) -> Subscription:
    for one in queries.of_user(conn, user):
        if one.id == key:
            return one
    raise NotFoundError(f"there is no browser {key!r} with notifications of {user!r}")
