"""The live bus on Redis 7 or Valkey. The only file that knows the driver.

One process has at most three connections, however many agents it hosts: commands (sent in batches), the blocking pop
for doorbells, and subscriptions.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# The driver leaves its **kwargs untyped.

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import orjson
from redis.asyncio import Connection, ConnectionPool, Sentinel, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ezaigent.live.address import RedisAddress
from ezaigent.live.batching import Batcher
from ezaigent.live.bells import Bells
from ezaigent.live.buckets import Buckets, check_take
from ezaigent.live.link import ClosedError, Link, LostError
from ezaigent.live.ports import Draw, Drawn, OnState, Sheet
from ezaigent.live.pubsub import PubSub
from ezaigent.live.scripts import ANNOUNCE, DRAW, PRESENT, PROBE, SWAP, TAKE
from ezaigent.live.sheets import check_draws
from ezaigent.live.wire import Command

_PATIENCE: Final = 2.0  # seconds for connecting, and for an answer; the driver's own default of 5 is too slow for us


class _Server:
    """Makes connections to the server that an address names, finding the master through Sentinels where asked to."""

    def __init__(self, address: RedisAddress) -> None:
        self.address = address
        options: dict[str, Any] = {
            "socket_timeout": _PATIENCE,
            "socket_connect_timeout": _PATIENCE,
            "protocol": 2,  # messages to subscribers come as plain replies
            "driver_info": None,  # one command less that an ACL must allow
            "retry": Retry(NoBackoff(), 0),  # trying again is the link's business
        }
        tls: dict[str, Any] = {"ssl": True, **address.tls} if address.tls is not None else {}
        login: dict[str, Any] = {"username": address.username, "password": address.password, "db": address.database}
        self._sentinel: Sentinel | None = None
        if address.service is not None:
            watchers = {"username": address.sentinel_username, "password": address.sentinel_password}
            self._sentinel = Sentinel(list(address.hosts), sentinel_kwargs={**options, **tls, **watchers})
            self._pool: ConnectionPool = SentinelConnectionPool(
                address.service, self._sentinel, **options, **tls, **login
            )
        elif address.path is not None:
            self._pool = ConnectionPool(UnixDomainSocketConnection, path=address.path, **options, **login)
        else:
            host, port = address.hosts[0]
            kind = Connection if address.tls is None else SSLConnection
            tls.pop("ssl", None)
            self._pool = ConnectionPool(kind, host=host, port=port, **options, **tls, **login)

    def connection(self) -> AbstractConnection:
        """Return a connection of its own, not yet open."""
        return self._pool.make_connection()

    async def close(self) -> None:
        """Close the connections to the Sentinels."""
        if self._sentinel is not None:
            with contextlib.suppress(RedisError, OSError):
                await self._sentinel.aclose()


class _RedisWire:
    """See ``Wire``."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._connection: AbstractConnection | None = None
        self._busy = asyncio.Lock()

    async def exchange(self, commands: Sequence[Command], *, patience: float | None = None) -> list[Any]:
        async with self._busy:
            try:
                return await self._exchange(commands, patience or _PATIENCE)
            except ClosedError:
                # A server that restarted, or that closes idle connections, deserves a second try. Doing a command
                # twice is harmless here: one ring too many, or a bucket that grants less.
                return await self._exchange(commands, patience or _PATIENCE)

    async def _exchange(self, commands: Sequence[Command], patience: float) -> list[Any]:
        try:
            connection = await self._open()
            connection.socket_timeout = patience
            await connection.send_packed_command(connection.pack_commands(commands))
            return [await self._reply(connection) for _ in commands]
        except (RedisError, OSError) as error:
            raise await self._fail(error) from None
        except asyncio.CancelledError:
            await self._drop()  # half an exchange is on it
            raise

    async def send(self, *command: str | bytes | float) -> None:
        if self._connection is None or not self._connection.is_connected:
            return
        try:
            await self._connection.send_command(*command)
        except (RedisError, OSError) as error:
            raise await self._fail(error) from None

    async def receive(self, timeout: float) -> Any:
        if self._connection is None:
            raise LostError("the connection is closed")
        try:
            return await self._connection.read_response(timeout=timeout)
        except (RedisError, OSError) as error:
            raise await self._fail(error) from None

    async def reopen(self) -> None:
        async with self._busy:
            await self._drop()
            try:
                await self._open()
            except (RedisError, OSError) as error:
                raise await self._fail(error) from None

    async def close(self) -> None:
        async with self._busy:
            if self._connection is not None:
                with contextlib.suppress(RedisError, OSError):
                    await self._connection.disconnect()
                self._connection = None

    async def _open(self) -> AbstractConnection:
        if self._connection is None or not self._connection.is_connected:
            connection = self._server.connection()
            try:
                async with asyncio.timeout(3 * _PATIENCE):  # a Sentinel or two may have to time out first
                    await connection.connect()
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            self._connection = connection
        return self._connection

    async def _reply(self, connection: AbstractConnection) -> Any:
        try:
            return await connection.read_response()
        except ResponseError as error:
            return LostError(self._reason(error))

    async def _fail(self, error: Exception) -> LostError:
        await self._drop()
        closed = isinstance(error, RedisConnectionError) and not isinstance(error, RedisTimeoutError)
        return (ClosedError if closed else LostError)(self._reason(error))

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)

    def _reason(self, error: Exception) -> str:
        return self._server.address.scrub(f"{self._server.address}: {error or type(error).__name__}")


class RedisBus:
    """A ``LiveBus`` between processes. ``open_bus`` starts it."""

    def __init__(self, address: RedisAddress, on_state: OnState | None = None) -> None:
        """Prepare for ``address``; nothing is connected before ``start``."""
        self._prefix = address.prefix
        self._server = _Server(address)
        self._wire = _RedisWire(self._server)
        self._link = Link(self._probe, on_state)
        self._batcher = Batcher(self._wire.exchange, self._link)
        self._me = secrets.token_hex(8)
        self._bells = Bells(
            _RedisWire(self._server), self._batcher, self._link, self._bell_key, self._key("poke", self._me)
        )
        self._pubsub = PubSub(_RedisWire(self._server), self._link, self._channel_name)
        self._local_buckets = Buckets()
        self._closed = False

    @property
    def up(self) -> bool:
        """See ``LiveBus.up``."""
        return self._link.up

    async def start(self) -> None:
        """Connect. An unreachable server is reported through ``on_state`` and tried again in the background."""
        await self._link.start()

    async def ring(self, bell: str, count: int = 1) -> None:
        """See ``LiveBus.ring``."""
        await self._bells.ring(bell, count)

    async def wait(self, bells: Sequence[str], timeout: float) -> str | None:
        """See ``LiveBus.wait``."""
        return await self._bells.wait(bells, timeout)

    async def publish(self, channel: str, message: bytes) -> None:
        """See ``LiveBus.publish``."""
        with contextlib.suppress(LostError):
            await self._batcher.call("PUBLISH", self._channel_name(channel), message)

    def subscribe(self, *channels: str) -> AbstractAsyncContextManager[AsyncIterator[tuple[str, bytes]]]:
        """See ``LiveBus.subscribe``."""
        return self._pubsub.subscribe(*channels)

    async def announce(self, group: str, member: str, info: Mapping[str, Any], ttl: float) -> None:
        """See ``LiveBus.announce``."""
        with contextlib.suppress(LostError):
            await self._batcher.call(
                "EVAL", ANNOUNCE, 1, self._key("present", group), member, round(ttl * 1000), orjson.dumps(dict(info))
            )

    async def leave(self, group: str, member: str) -> None:
        """See ``LiveBus.leave``."""
        with contextlib.suppress(LostError):
            await self._batcher.call("HDEL", self._key("present", group), member)

    async def present(self, group: str) -> dict[str, dict[str, Any]]:
        """See ``LiveBus.present``."""
        try:
            flat: list[bytes] = await self._batcher.call("EVAL", PRESENT, 1, self._key("present", group))
        except LostError:
            return {}
        return {member.decode(): orjson.loads(info) for member, info in zip(flat[::2], flat[1::2], strict=True)}

    async def take(self, bucket: str, amount: float, *, rate: float, burst: float) -> float:
        """See ``LiveBus.take``."""
        check_take(bucket, amount, rate, burst)
        try:
            return float(await self._batcher.call("EVAL", TAKE, 1, self._key("bucket", bucket), amount, rate, burst))
        except LostError:
            return self._local_buckets.take(bucket, amount, rate=rate, burst=burst)

    async def swap(self, sheet: str, version: int, text: bytes, *, ttl: float) -> Sheet | None:
        """See ``LiveBus.swap``."""
        key, milliseconds = self._key("sheet", sheet), round(ttl * 1000)
        try:
            reply: list[bytes] = await self._batcher.call("EVAL", SWAP, 1, key, version, text, milliseconds)
        except LostError:
            return None
        return Sheet(int(reply[0]), reply[1], float(reply[2]))

    async def draw(
        self, sheet: str, version: int | None, draws: Sequence[Draw], *, patience: float, ttl: float
    ) -> Drawn | None:
        """See ``LiveBus.draw``."""
        check_draws(sheet, draws)
        wanted: list[str | float] = []
        for one in draws:
            bounds = ["" if bound is None else bound for bound in (one.at_most, one.at_least, one.since)]
            wanted += [one.bucket, one.amount, one.rate, one.burst, *bounds]
        named = "" if version is None else version
        head = (self._key("sheet", sheet), named, patience, round(ttl * 1000))
        try:
            reply: list[bytes] = await self._batcher.call("EVAL", DRAW, 1, *head, *wanted)
        except LostError:
            return None
        how, kept, text, now, wait, *totals = reply
        found = Sheet(int(kept), text, float(now))
        sums = tuple(map(float, totals)) if how == b"granted" else ()
        return Drawn(found, granted=how == b"granted", stale=how == b"stale", wait=float(wait), totals=sums)

    async def close(self) -> None:
        """See ``LiveBus.close``."""
        if self._closed:
            return
        self._closed = True
        await self._bells.close()
        await self._pubsub.close()
        await self._batcher.close()
        await self._link.close()
        await self._wire.close()
        await self._server.close()

    async def _probe(self) -> None:
        await self._wire.reopen()
        [reply] = await self._wire.exchange([("EVAL", PROBE, 1, self._key("probe", self._me))])
        if isinstance(reply, LostError):
            raise reply

    def _key(self, kind: str, name: str) -> str:
        return f"{self._prefix}:{kind}:{name}"

    def _bell_key(self, bell: str) -> str:
        return self._key("bell", bell)

    def _channel_name(self, channel: str) -> str:
        return self._key("channel", channel)
