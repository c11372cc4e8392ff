"""The one HTTP transport that all model calls of a process share.

Every provider SDK in use takes an ``httpx2.AsyncClient``. Its own connection pool does work in proportion to the
waiting requests at each call, so that 1,000 agents waiting for their models never finish; aiohttp's does not. This
transport keeps the SDKs' client and puts one ``aiohttp.ClientSession`` with unlimited connections beneath it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import aiohttp
import httpx2
from yarl import URL

from ezaigent.core.errors import UnavailableError

CONNECT_TIMEOUT: Final = 10.0
"""Seconds to resolve, connect and shake hands; a provider that takes longer is not reachable."""
_KEEP_ALIVE: Final = 15.0
"""Seconds that an idle connection is kept; providers' front ends keep theirs longer, so that ours ends first."""
_OURS: Final = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


@dataclass(slots=True)
class Heard:
    """What a provider said around its answer; of several requests, the last one's."""

    status: int | None = None
    """HTTP status; None while no response has begun."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Response headers; names are found in any case."""


_listener: ContextVar[Heard | None] = ContextVar("listener", default=None)


@contextmanager
def listening() -> Generator[Heard]:
    """Hear the headers of the requests that the block makes, whichever SDK makes them."""
    heard = Heard()
    token = _listener.set(heard)
    try:
        yield heard
    finally:
        _listener.reset(token)


class Transport:
    """The open connections to all providers, owned by one event loop.

    Use it as an async context manager, or await ``aclose()`` at the end. The session opens at the first request and
    belongs to that request's event loop; once that loop is closed, the next loop gets a new session.
    """

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._proxies = getproxies_environment()
        self._proxy_of: dict[str, URL | None] = {}
        self._tls: ssl.SSLContext | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def client(self, *, timeout: float) -> httpx2.AsyncClient:
        """Return a client for one SDK over the shared connections; ``timeout`` is in seconds between two bytes.

        Closing the client leaves the connections open for the others.
        """
        return httpx2.AsyncClient(
            transport=_Channel(self),
            timeout=httpx2.Timeout(read=timeout, write=timeout, connect=min(timeout, CONNECT_TIMEOUT), pool=None),
        )

    async def aclose(self) -> None:
        """Close all connections. Requests under way fail as cut connections; a later request opens a new session."""
        session, self._session, loop, self._loop = self._session, None, self._loop, None
        if session is not None and loop is asyncio.get_running_loop():
            await session.close()

    def session(self) -> aiohttp.ClientSession:
        """Return the session of the running event loop. Raises ``UnavailableError`` while another loop owns it."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.closed or self._loop is not loop:
            if self._session is not None and self._loop is not None and self._loop is not loop:
                if not self._loop.is_closed():
                    raise UnavailableError(
                        "the model connections belong to another event loop that still runs; make one transport a loop"
                    )
                self._session.detach()
            connector = aiohttp.TCPConnector(
                limit=0, limit_per_host=0, keepalive_timeout=_KEEP_ALIVE, ssl=self._tls_context()
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                auto_decompress=False,  # httpx2 does it
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=_OURS,
                trust_env=False,  # it would also read ~/.netrc; proxies are looked up here
                # Some providers put a whole reasoning summary into one header line.
                max_line_size=65_536,
                max_field_size=65_536,
            )
            self._loop = loop
        return self._session

    def proxy(self, url: str) -> URL | None:
        """Return the proxy that ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` name for ``url``."""
        if not self._proxies:
            return None
        parts = urlsplit(url)
        place = f"{parts.scheme}://{parts.netloc}"
        if place not in self._proxy_of:
            found = self._proxies.get(parts.scheme) or self._proxies.get("all")
            bypassed = bool(proxy_bypass(parts.netloc, self._proxies))
            self._proxy_of[place] = URL(found) if found and not bypassed else None
        return self._proxy_of[place]

    def _tls_context(self) -> ssl.SSLContext:
        # The same trust store as the SDKs' own clients, SSL_CERT_FILE and SSL_CERT_DIR included.
        if self._tls is None:
            self._tls = httpx2.create_ssl_context()
        return self._tls


class _Channel(httpx2.AsyncBaseTransport):
    """What one SDK's client sees of the shared connections; closing it closes nothing."""

    def __init__(self, shared: Transport) -> None:
        self._shared = shared

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        limits = request.extensions.get("timeout", {})
        connect = limits.get("connect")
        headers = request.headers.multi_items()
        try:
            data: bytes | AsyncIterator[bytes] | None = request.content or None
        except httpx2.RequestNotRead:
            data = _outgoing(request)
            headers = [(name, value) for name, value in headers if name.lower() != "transfer-encoding"]
        url = str(request.url)
        with _as_httpx(request):
            response = await self._shared.session().request(
                request.method,
                URL(url, encoded=True),
                data=data,
                headers=headers,
                allow_redirects=False,
                proxy=self._shared.proxy(url),
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=connect, sock_connect=connect, sock_read=limits.get("read")
                ),
            )
        if (heard := _listener.get()) is not None:
            heard.status, heard.headers = response.status, response.headers
        reason = (response.reason or "").encode("latin-1", "replace")
        return httpx2.Response(
            response.status,
            headers=response.raw_headers,
            stream=_Incoming(response, request),
            request=request,
            extensions={"http_version": b"HTTP/1.1", "reason_phrase": reason},
        )


class _Incoming(httpx2.AsyncByteStream):
    """The body of a response as it arrives."""

    def __init__(self, response: aiohttp.ClientResponse, request: httpx2.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx(self._request):
            async for chunk in self._response.content.iter_any():
                yield chunk

    async def aclose(self) -> None:
        # A body that was read to its end has given its connection back already; a cut one must not be used again.
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


async def _outgoing(request: httpx2.Request) -> AsyncIterator[bytes]:
    assert isinstance(request.stream, httpx2.AsyncByteStream)
    async for chunk in request.stream:
        yield chunk


@contextmanager
def _as_httpx(request: httpx2.Request) -> Generator[None]:
    """Turn aiohttp's exceptions into those that the SDKs know, so that each keeps the phase in which it happened."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        kind = next((mapped for known, mapped in _ERRORS if isinstance(error, known)), httpx2.NetworkError)
        raise kind(f"{type(error).__name__}: {error}", request=request) from error


_ERRORS: Final[tuple[tuple[type[Exception], type[httpx2.TransportError]], ...]] = (
    (aiohttp.ConnectionTimeoutError, httpx2.ConnectTimeout),
    (aiohttp.SocketTimeoutError, httpx2.ReadTimeout),
    (aiohttp.ServerTimeoutError, httpx2.ReadTimeout),
    (TimeoutError, httpx2.ReadTimeout),
    (aiohttp.ClientProxyConnectionError, httpx2.ProxyError),
    (aiohttp.ClientHttpProxyError, httpx2.ProxyError),
    (aiohttp.NonHttpUrlClientError, httpx2.UnsupportedProtocol),
    (aiohttp.InvalidURL, httpx2.UnsupportedProtocol),
    (aiohttp.ClientConnectorError, httpx2.ConnectError),
    (aiohttp.ServerDisconnectedError, httpx2.RemoteProtocolError),
    (aiohttp.ClientPayloadError, httpx2.ReadError),
    (aiohttp.ClientResponseError, httpx2.RemoteProtocolError),
    (aiohttp.ClientOSError, httpx2.ReadError),
    (ConnectionError, httpx2.ReadError),
)
"""First match wins; the order goes from the particular to the general."""
