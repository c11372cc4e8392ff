"""Users, their sessions, and the tokens of programs; every change of them is an audit event in its transaction."""

from __future__ import annotations

import asyncio
from typing import Final

from ezaigent.api import queries
from ezaigent.api.access import ROLES, SCOPES, Principal, Role, Scope
from ezaigent.api.credentials import (
    Passwords,
    Token,
    check_name,
    fingerprint,
    new_secret,
    read_token,
    same,
)
from ezaigent.api.models import TokenView, UserView
from ezaigent.core.errors import ConflictError, NotFoundError, UsageError
from ezaigent.core.ids import new_id
from ezaigent.store import Connection, Database, emit, now

_SETUP_SECONDS: Final = 3600.0
"""Life of the setup link."""
_MOST_DAYS: Final = 36_500
"""A token for longer is meant for good."""
_ELSEWHERE: Final = "elsewhere "
"""What stands before the fingerprint of a person whom a provider knows, in the place of a password."""


class Accounts:
    """Who may come in. Every method raises ``UnavailableError`` when the store cannot be used."""

    def __init__(self, db: Database) -> None:
        """Keep the accounts in ``db``."""
        self._db = db
        self._passwords: Passwords | None = None
        self._noting: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------------------------------------ coming in

    async def by_token(self, text: str) -> Principal | None:
        """Return whose token this is; None for one that is wrong, revoked or has run out."""
        token = read_token(text)
        if token is None:
            return None
        row = await self._db.read(lambda conn: queries.token(conn, token.id))
        if row is None:
            return None
        kept, name, scope, owner, role, note = row
        if not same(kept, fingerprint(token.secret)) or scope not in SCOPES:
            return None
        access = SCOPES[scope]
        if owner is not None:
            if role not in ROLES:
                return None  # its owner is gone
            access = min(access, ROLES[role])
        if note:
            self._note_use(token.id)
        called = f"token {name}" if owner is None else f"token {name} of {owner}"
        return Principal(name=called, access=access, via="token", key=token.id, user=owner)

    async def by_session(self, secret: str) -> Principal | None:
        """Return whose session this is; None for one that has ended."""
        key = fingerprint(secret)
        row = await self._db.read(lambda conn: queries.session(conn, key))
        if row is None or row[1] not in ROLES:
            return None
        return Principal(name=row[0], access=ROLES[row[1]], via="session", key=key, user=row[0])

    async def sign_in(self, name: str, password: str, *, hours: float, address: str) -> str | None:
        """Return the secret of a new session; None when name or password is wrong."""
        found = await self._db.read(lambda conn: queries.user(conn, name))
        kept = found[0] if found and not found[0].startswith(_ELSEWHERE) else None
        if not await self._hasher.verify(kept, password):
            await self._db.write(
                lambda conn: emit(
                    conn,
                    "audit.login_failed",
                    data={"by": name[:64], "address": address, "reason": "wrong name or password"},
                )
            )
            return None
        return await self._begin(name, hours, address)

    async def sign_out(self, key: str) -> None:
        """End a session."""
        await self._db.write(lambda conn: queries.end_session(conn, key))

    async def _begin(self, name: str, hours: float, address: str) -> str:
        secret = new_secret()
        await self._db.write(lambda conn: _begun(conn, secret, name, hours, address))
        return secret

    # ------------------------------------------------------------------------------------------ from elsewhere

    async def expect(self, state: str, *, seconds: float) -> None:
        """Expect somebody back from a provider with this state, within so many seconds."""
        await self._db.write(lambda conn: queries.expect(conn, fingerprint(state), now(conn) + seconds))

    async def arrive(self, state: str) -> bool:
        """Return whether somebody was expected with this state; true once."""
        return await self._db.write(lambda conn: queries.arrive(conn, fingerprint(state)))

    async def sign_in_elsewhere(
        self, subject: str, name: str, role: Role | None, *, hours: float, address: str
    ) -> str | None:
        """Return the secret of a new session of whom a provider knows as ``subject``, with the role that is due now.

        The first time makes the user ``name``. Without a role nobody gets in: the answer is None, and a user who had
        one is removed. Raises ``ConflictError`` where somebody else has the name, ``UsageError`` where nobody can.
        """
        mark, secret = _ELSEWHERE + fingerprint(subject), new_secret()
        check_name(name)

        def begin(conn: Connection) -> bool:
            known = queries.elsewhere(conn, mark)
            if role is None:
                if known is not None:
                    queries.remove_user(conn, known[0])
                    _audit(conn, "user", known[0], "removed", by="the provider", address=address)
                data = {"by": known[0] if known else name, "address": address, "reason": "no role is meant for them"}
                emit(conn, "audit.login_failed", data=data)
                return False
            if known is None:
                if not queries.add_user(conn, name, mark, role, now(conn)):
                    raise ConflictError(f"there is another user {name!r} here; an administrator has to remove it first")
                _audit(conn, "user", name, "made", by="the provider", address=address)
            elif known[1] != role:
                queries.set_role(conn, known[0], role)
                _audit(conn, "user", known[0], f"made {role}", by="the provider", address=address)
            _begun(conn, secret, known[0] if known else name, hours, address)
            return True

        return secret if await self._db.write(begin) else None

    async def refused_elsewhere(self, reason: str, *, address: str) -> None:
        """Write down that somebody came from a provider with something that does not count."""
        data = {"by": "somebody from the provider", "address": address, "reason": reason}
        await self._db.write(lambda conn: emit(conn, "audit.login_failed", data=data))

    # ------------------------------------------------------------------------------------------ the first start

    async def setup_secret(self) -> str | None:
        """Return the text of a fresh setup token, good once within an hour; None when there is a credential already."""
        token = Token(new_id(), new_secret())

        def make(conn: Connection) -> bool:
            if queries.any_credential(conn):
                return False
            at = now(conn)
            queries.new_setup(conn, token.id, fingerprint(token.secret), at, at + _SETUP_SECONDS)
            return True

        return token.text if await self._db.write(make) else None

    async def set_up(self, text: str, name: str, password: str, *, hours: float, address: str) -> str | None:
        """Make the first administrator with a setup token; return a session's secret, None for a wrong token.

        Raises ``UsageError`` for an unusable name or password, which leaves the token good.
        """
        token = read_token(text)
        if token is None:
            return None
        kept = await self._hasher.hash(password)
        check_name(name)

        def make(conn: Connection) -> bool:
            if queries.any_user(conn) or not queries.take_setup(conn, token.id, fingerprint(token.secret)):
                return False
            queries.add_user(conn, name, kept, "admin", now(conn))
            _audit(conn, "user", name, "made", by="setup link", address=address)
            return True

        return await self._begin(name, hours, address) if await self._db.write(make) else None

    async def any_credential(self) -> bool:
        """Return whether there is a user or a token."""
        return await self._db.read(queries.any_credential)

    # ------------------------------------------------------------------------------------------ keeping

    async def users(self) -> list[UserView]:
        """Return all users."""
        return await self._db.read(queries.users)

    async def add_user(self, name: str, password: str, role: Role, *, by: str, address: str) -> UserView:
        """Make a user. Raises ``UsageError`` for an unusable name or password, ``ConflictError`` for a taken name."""
        kept = await self._hasher.hash(password)
        check_name(name)

        def add(conn: Connection) -> UserView:
            at = now(conn)
            if not queries.add_user(conn, name, kept, role, at):
                raise ConflictError(f"there is a user {name!r} already; remove it first or take another name")
            _audit(conn, "user", name, "made", by=by, address=address)
            return UserView(name=name, role=role, created_at=at)

        return await self._db.write(add)

    async def remove_user(self, name: str, *, by: str, address: str, keep_admin: bool = True) -> None:
        """Remove a user, its sessions and its tokens. Raises ``NotFoundError``.

        Raises ``ConflictError`` for the last administrator, unless ``keep_admin`` is false.
        """

        def remove(conn: Connection) -> None:
            if keep_admin and queries.admins(conn) == [name]:
                raise ConflictError(f"{name!r} is the last administrator; make another one first")
            if not queries.remove_user(conn, name):
                raise NotFoundError(f"there is no user {name!r}")
            _audit(conn, "user", name, "removed", by=by, address=address)

        await self._db.write(remove)

    async def tokens(self, owner: str | None = None) -> list[TokenView]:
        """Return all tokens, or those of one user, without their secrets."""
        return await self._db.read(lambda conn: queries.tokens(conn, owner))

    async def create_token(
        self, name: str, scope: Scope, *, owner: str | None, days: float | None, by: str, address: str
    ) -> tuple[TokenView, str]:
        """Make a token and return it with its text, which is shown this once. Raises ``UsageError`` for a bad name."""
        check_name(name)
        if days is not None and not 0 < days <= _MOST_DAYS:
            raise UsageError(f"a token lives up to {_MOST_DAYS:,} days or for good, not {days:g} days")
        token = Token(new_id(), new_secret())

        def make(conn: Connection) -> TokenView:
            at = now(conn)
            view = TokenView(
                id=token.id,
                name=name,
                scope=scope,
                owner=owner,
                created_at=at,
                expires_at=None if days is None else at + days * 86_400,
                used_at=None,
            )
            queries.add_token(conn, view, fingerprint(token.secret))
            _audit(conn, "token", f"{name} ({token.id})", "made", by=by, address=address)
            return view

        return await self._db.write(make), token.text

    async def revoke(self, key: str, *, owner: str | None, by: str, address: str) -> None:
        """Remove a token by its id, or by a name that one token has; ``owner`` restricts it to a user's own.

        Raises ``NotFoundError`` for none, ``ConflictError`` for a name that several have.
        """

        def remove(conn: Connection) -> None:
            found = [one for one in queries.tokens(conn, owner) if key in {one.id, one.name}]
            exact = [one for one in found if one.id == key] or found
            if not exact:
                raise NotFoundError(f"there is no token {key!r}")
            if len(exact) > 1:
                raise ConflictError(f"{len(exact)} tokens are named {key!r}; give the id of one")
            queries.revoke(conn, exact[0].id)
            _audit(conn, "token", f"{exact[0].name} ({exact[0].id})", "removed", by=by, address=address)

        await self._db.write(remove)

    async def audit(self, kind: str, data: dict[str, object]) -> None:
        """Write an audit event."""
        await self._db.write(lambda conn: emit(conn, kind, data=data))

    async def settled(self) -> None:
        """Return when what is noted beside the answers is written."""
        await asyncio.gather(*self._noting, return_exceptions=True)

    def _note_use(self, key: str) -> None:
        noting = asyncio.get_running_loop().create_task(self._db.write(lambda conn: queries.used(conn, key)))
        self._noting.add(noting)
        noting.add_done_callback(self._noted)

    def _noted(self, noting: asyncio.Task[None]) -> None:
        self._noting.discard(noting)
        if not noting.cancelled():
            noting.exception()  # when it was used last is not worth an answer's failure

    @property
    def _hasher(self) -> Passwords:
        if self._passwords is None:
            self._passwords = Passwords()
        return self._passwords


def _begun(conn: Connection, secret: str, name: str, hours: float, address: str) -> None:
    at = now(conn)
    queries.add_session(conn, fingerprint(secret), name, at, at + hours * 3600)
    emit(conn, "audit.login", data={"by": name, "address": address})


def _audit(conn: Connection, what: str, name: str, done: str, *, by: str, address: str) -> None:
    data = {"what": what, "name": name, "done": done, "by": by, "address": address}
    emit(conn, "audit.credential", data=data)
