"""Listen and serve: one socket, bound before anything else, and an orderly end of every stream."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import socket
import sys
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import quote

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ezaigent.api.app import open_app
from ezaigent.api.backstage import Backstage, Stage
from ezaigent.api.dashboard import built
from ezaigent.api.descriptors import allow_streams
from ezaigent.core.errors import UnavailableError, UsageError

_HEADERS: Final = 32 * 1024
_GRACE: Final = 10
"""Seconds that answers under way get when the server stops."""


_SWITCH: Final = 0.0005
"""Seconds after which a busy thread gives Python's lock to one that waits, in place of 0.005. Reads run in threads and
ask for the lock at every row; streams keep the loop busy."""


_UNSENT: Final = 128 * 1024
"""Bytes that the system takes for a connection ahead of what its client has room for; it would take some megabytes."""
_UNTAKEN: Final = 60_000
"""Milliseconds after which the system ends a connection whose client takes nothing, or has gone without a word."""


class _Protocol(H11Protocol):
    """A connection that its answer can cut off, with what still waits to be sent on it."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "cut": transport.abort}


class _Uvicorn(uvicorn.Server):
    """uvicorn that leaves the signals to the program."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class Server:
    """A server that listens."""

    def __init__(self, stage: Stage, inner: _Uvicorn, host: str, port: int) -> None:
        """Use ``serving``."""
        self._stage = stage
        self._inner = inner
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{port}"
        """Where it listens."""

    async def setup_url(self) -> str | None:
        """Return the one-time link that makes the first user; None when somebody can come in already."""
        secret = await self._stage.accounts.setup_secret()
        if secret is None:
            return None
        page = "/#/setup" if built() else "/setup"  # behind # the word stays in the browser
        return f"{self.url}{page}?token={quote(secret)}"


@asynccontextmanager
async def serving(back: Backstage, *, host: str, port: int) -> AsyncGenerator[Server]:
    """Serve while the block runs; then end the streams, let answers finish, and stop.

    Raises ``UnavailableError`` when the port cannot be had, ``UsageError`` for an address other than this machine's own
    while nobody has a credential.
    """
    with contextlib.closing(_bound(host, port)) as bound:
        async with open_app(back) as (app, stage):
            if not _is_loopback(host) and not await stage.accounts.any_credential():
                raise UsageError(
                    f"refusing to listen on {host!r} while nobody has a credential; "
                    "make one first: ezaigent user add NAME, or ezaigent token create NAME"
                )
            inner = _Uvicorn(
                uvicorn.Config(
                    app,
                    http=_Protocol,  # h11: the one with a limit on headers
                    ws="none",
                    lifespan="off",
                    log_config=None,
                    access_log=False,
                    server_header=False,
                    proxy_headers=False,
                    h11_max_incomplete_event_size=_HEADERS,
                    timeout_keep_alive=30,
                    timeout_graceful_shutdown=_GRACE,
                )
            )
            running = asyncio.create_task(inner.serve([bound]), name="http server")
            stage.fanout.most = allow_streams(back.settings.server.max_streams)
            usual = sys.getswitchinterval()
            sys.setswitchinterval(_SWITCH)
            try:
                while not inner.started and not running.done():  # noqa: ASYNC110 - it tells no other way
                    await asyncio.sleep(0.005)
                if running.done():
                    await running
                    raise UnavailableError(f"the server ended before it was ready on {host}:{port}")
                yield Server(stage, inner, host, bound.getsockname()[1])
            finally:
                sys.setswitchinterval(usual)
                stage.fanout.close()
                inner.should_exit = True
                await running


def _bound(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        raise UsageError(f"cannot listen on {host!r}: {error.strerror}") from None
    bound = socket.socket(found[0], socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for option, value in (("TCP_NOTSENT_LOWAT", _UNSENT), ("TCP_USER_TIMEOUT", _UNTAKEN)):
        if hasattr(socket, option):  # its connections inherit it
            bound.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    try:
        bound.bind(found[4])
        bound.listen(1024)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise UnavailableError(
                f"{host}:{port} is taken by another program; choose another port with --port, "
                "or start more agents without a server: ezaigent worker"
            ) from None
        raise UnavailableError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    bound.setblocking(False)  # noqa: FBT003 - its only parameter
    return bound


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
