"""What people do with webhooks: add, list, change, remove, try out, look at deliveries, send again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ezaigent.core.errors import ConflictError, NotFoundError
from ezaigent.core.ids import new_id
from ezaigent.core.outside import Inside
from ezaigent.hooks import queries
from ezaigent.hooks.messages import trial_body, wanted
from ezaigent.hooks.models import Delivery, DeliveryState, Trial, Webhook
from ezaigent.hooks.posting import Post, check_target
from ezaigent.hooks.signing import headers, new_secret
from ezaigent.store import Connection, Database, EventLog, emit, now

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

_ID: Final = 16
"""Characters of an id; a beginning will do."""


class Webhooks:
    """The targets. Every method raises ``UnavailableError`` when the store cannot be used."""

    def __init__(
        self, db: Database, events: EventLog, inside: Inside, *, resolver: AbstractResolver | None = None
    ) -> None:
        """Keep targets in ``db``; ``inside`` is what they may be although it does not lie outside."""
        self._db = db
        self._events = events
        self._inside = inside
        self._resolver = resolver

    async def all(self) -> list[Webhook]:
        """Return all targets."""
        return await self._db.read(queries.webhooks)

    async def get(self, key: str) -> Webhook:
        """Return the target with this id or unique beginning of one. Raises ``NotFoundError``, ``ConflictError``."""
        return await self._db.read(lambda conn: _named(conn, key))

    async def add(self, url: str, *, kinds: Sequence[str] = (), enabled: bool = True, by: str) -> tuple[Webhook, str]:
        """Make a target that gets what happens from now on; return it with its secret, which is shown this once.

        Raises ``UsageError`` for a URL that may not be used and for a kind that does not exist, ``ConflictError`` when
        there are too many targets.
        """
        wanted(kinds)
        await check_target(url, self._inside, resolver=self._resolver)
        secret, key, cursor = new_secret(), new_id(), await self._events.head()

        def add(conn: Connection) -> Webhook:
            if queries.count(conn) >= queries.MOST:
                raise ConflictError(f"there are {queries.MOST} webhooks already; remove one first")
            made = Webhook(id=key, url=url, kinds=tuple(kinds), enabled=enabled, created_at=now(conn), by=by)
            queries.add(conn, made, secret, cursor)
            emit(conn, "webhook.added", data={"webhook": key, "url": _place(url), "kinds": list(kinds), "by": by})
            return made

        return await self._db.write(add), secret

    async def change(
        self,
        key: str,
        *,
        url: str | None = None,
        kinds: Sequence[str] | None = None,
        enabled: bool | None = None,
        by: str,
        seen: Webhook | None = None,
    ) -> Webhook:
        """Change what is given. One that is switched on again gets what happens from then on.

        Raises as ``add``, and ``ConflictError`` where the target is no longer set as the one that was ``seen``.
        """
        wanted(kinds or ())
        if url is not None:
            await check_target(url, self._inside, resolver=self._resolver)
        head = await self._events.head()

        def change(conn: Connection) -> Webhook:
            before = _named(conn, key)
            if seen is not None and before.chosen != seen.chosen:
                raise ConflictError(f"webhook {before.id} has changed meanwhile; look at it again")
            after = before.model_copy(
                update={
                    "url": before.url if url is None else url,
                    "kinds": before.kinds if kinds is None else tuple(kinds),
                    "enabled": before.enabled if enabled is None else enabled,
                }
            )
            queries.change(conn, after, head if after.enabled and not before.enabled else None)
            data = {"webhook": before.id, "url": _place(after.url), "kinds": list(after.kinds)}
            emit(conn, "webhook.changed", data={**data, "enabled": after.enabled, "by": by})
            return after

        return await self._db.write(change)

    async def remove(self, key: str, *, by: str) -> Webhook:
        """Remove a target; what is still to be sent to it is dropped. Raises as ``get``."""

        def remove(conn: Connection) -> Webhook:
            found = _named(conn, key)
            queries.remove(conn, found.id)
            emit(conn, "webhook.removed", data={"webhook": found.id, "url": _place(found.url), "by": by})
            return found

        return await self._db.write(remove)

    async def trial(self, key: str) -> Trial:
        """Send a test message now, once, from this process; say how it was taken. Raises as ``get``."""
        found = await self.get(key)
        known = await self._db.read(lambda conn: queries.secret(conn, found.id))
        if known is None:
            raise NotFoundError(f"there is no webhook {key!r}")
        url, secret = known
        at, delivery = time.time(), new_id()
        body = trial_body(at, found.id)
        async with Post(url, self._inside, resolver=self._resolver) as post:
            answer = await post.send(body, headers(secret, delivery, at, body))
        return Trial(ok=answer.ok, status=answer.status, error=answer.error, seconds=answer.seconds)

    async def deliveries(
        self, key: str, *, state: DeliveryState | None = None, before: int | None = None, limit: int = 50
    ) -> list[Delivery]:
        """Return deliveries of a target, newest event first, of events numbered below ``before``. Raises as ``get``."""

        def read(conn: Connection) -> list[Delivery]:
            return queries.deliveries(conn, _named(conn, key).id, state, before, limit)

        return await self._db.read(read)

    async def retry(self, key: str, delivery: str | None = None) -> int:
        """Send a delivery again, or all that failed; return how many. Raises as ``get``."""

        def again(conn: Connection) -> int:
            return queries.again(conn, _named(conn, key).id, delivery)

        done = await self._db.write(again)
        if delivery is not None and not done:
            raise NotFoundError(f"there is no delivery {delivery!r} of this webhook that could be sent again")
        return done


def _place(url: str) -> str:
    """Return what of a URL everybody may read: to many services its path is the secret that lets one in."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/"


def _named(conn: Connection, key: str) -> Webhook:
    if len(key) == _ID:
        found = queries.webhook(conn, key)
        if found is not None:
            return found
    meant = [one for one in queries.webhooks(conn) if key and one.id.startswith(key)]
    if not meant:
        raise NotFoundError(f"there is no webhook {key!r}")
    if len(meant) > 1:
        raise ConflictError(f"{len(meant)} webhooks begin with {key!r}; give more of the id")
    return meant[0]
