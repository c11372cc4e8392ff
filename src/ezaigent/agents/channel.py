"""What a provider's SDK sends its requests through: httpx2's port over aiohttp's connections."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import aiohttp
import httpx2
from yarl import URL

from ezaigent.agents.heard import listener

if TYPE_CHECKING:
    from ezaigent.agents.transport import Transport


class Channel(httpx2.AsyncBaseTransport):
    """What one SDK's client sees of the shared connections; closing it closes nothing."""

    def __init__(self, shared: Transport) -> None:
        """Send through the session of ``shared``."""
        self._shared = shared

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; return its response with the body still to come."""
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
        if (heard := listener.get()) is not None:
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
