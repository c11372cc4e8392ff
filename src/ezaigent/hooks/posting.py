"""Sending to strangers: no redirects, no proxies, no private addresses, and never longer or more than it must be.

The address that is checked is the one that is connected to: the check sits where the socket is made, so a name that
resolves differently a moment later gains nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from ezaigent.core.errors import UsageError
from ezaigent.core.outside import Inside, Target, read_target

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractResolver

TIMEOUT: Final = 15.0
"""Seconds that one attempt may take."""
_CONNECT: Final = 8.0
_KEPT: Final = 16 * 1024
"""Bytes of an answer that are read, so that its connection can be used again."""
_RETRY_AFTER: Final = 3600.0
"""Seconds, most, that a target may ask us to wait."""


class Answer(NamedTuple):
    """How a target took a message."""

    status: int | None
    error: str
    """Empty: it was taken."""
    seconds: float
    retry_after: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it was taken."""
        return not self.error


class Post:
    """The connections to one target; an async context manager."""

    def __init__(
        self, url: str, inside: Inside, *, resolver: AbstractResolver | None = None, timeout: float = TIMEOUT
    ) -> None:
        """Send to ``url``. Raises ``UsageError`` for one that may not be used."""
        self._target: Target = read_target(url, inside)
        self._inside = inside
        self._resolver = resolver
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send a JSON body; never raises: what goes wrong is in the answer."""
        begun = time.monotonic()
        status, error, wait = await self._send(body, headers)
        return Answer(status, error, time.monotonic() - begun, wait)

    async def _send(self, body: bytes, headers: Mapping[str, str]) -> tuple[int | None, str, float]:
        import aiohttp  # slow to load, and most fleets post nothing

        from ezaigent.hooks.checked import Refused

        target = self._target
        try:
            async with self._open().post(
                target.url,
                data=body,
                headers={"Content-Type": "application/json", "User-Agent": "ezaigent-webhooks", **headers},
                allow_redirects=False,
            ) as answer:
                await answer.content.read(_KEPT)
                error = _judged(answer.status)
                return answer.status, error, _asked_to_wait(answer) if error else 0.0
        except TimeoutError:
            return None, f"no answer within {self._timeout:g} s", 0.0
        except Refused as error:
            return None, str(error), 0.0
        except (aiohttp.ClientError, OSError, ValueError) as error:
            inner = error.__cause__ or getattr(error, "os_error", None)
            if isinstance(inner, Refused):
                return None, str(inner), 0.0
            return None, _reason(error), 0.0

    def _open(self) -> aiohttp.ClientSession:
        from ezaigent.hooks.checked import open_session

        if self._session is None:
            self._session = open_session(
                self._target.host, self._inside, resolver=self._resolver, timeout=self._timeout, connect=_CONNECT
            )
        return self._session


async def check_target(url: str, inside: Inside, *, resolver: AbstractResolver | None = None) -> None:
    """Look where a URL leads now; a name that is not known yet is fine. Raises ``UsageError`` if it may not be used."""
    target = read_target(url, inside)
    if target.address is not None:
        return
    from ezaigent.hooks.checked import Checked, Refused

    checked = Checked(resolver, inside)
    try:
        async with asyncio.timeout(_CONNECT):
            await checked.resolve(target.host, target.port)
    except Refused as error:
        raise UsageError(str(error)) from None
    except (OSError, TimeoutError):
        return
    finally:
        await checked.close()


def _judged(status: int) -> str:
    if 200 <= status < 300:  # noqa: PLR2004 - HTTP
        return ""
    if 300 <= status < 400:  # noqa: PLR2004
        return f"it answered {status}, a redirect; redirects are not followed: give the URL that it leads to"
    return f"it answered {status}"


def _asked_to_wait(answer: aiohttp.ClientResponse) -> float:
    try:
        return min(_RETRY_AFTER, max(0.0, float(answer.headers.get("Retry-After", "0"))))
    except ValueError:  # a date: our own pace will do
        return 0.0


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    return f"it cannot be reached: {text or type(error).__name__}"
