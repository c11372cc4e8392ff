"""Handing a notification to the push service of a browser: encrypted for the browser alone, signed by the fleet's key.

The service is a stranger's address that somebody gave over HTTP: it is posted to as a webhook's target is.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from ezaigent.core.errors import UsageError
from ezaigent.core.outside import Inside, read_target
from ezaigent.hooks import Post
from ezaigent.push.keys import PushKey, decoded
from ezaigent.push.models import Browser

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

TTL: Final = 24 * 3600
"""Seconds that a push service keeps a notification for a browser that is away."""
TIMEOUT: Final = 10.0
_GONE: Final = frozenset({404, 410})
_LATER: Final = frozenset({None, 408, 429, 500, 502, 503, 504})
_POINT: Final = 65
"""Bytes of a public key, uncompressed."""
_SIGNABLE: Final = re.compile(r"[^/:\[\]]+(:\d+)?")
"""Hosts that the library signs for: no IPv6 addresses, no port that is empty."""
_AUTH: Final = 16
"""Bytes of the secret that the browser shares."""


class Handed(NamedTuple):
    """How a push service took a notification."""

    error: str = ""
    gone: bool = False
    """The browser is subscribed no longer."""
    again: bool = False
    """Another try may do."""
    wait: float = 0.0
    """Seconds that the service asks to be left alone for."""


def check_browser(endpoint: str, p256dh: str, auth: str, inside: Inside) -> None:
    """Raise ``UsageError`` for keys that are none, and for an endpoint that may not be posted to."""
    if not _are_keys(p256dh, auth):
        raise UsageError("p256dh and auth are not the 65 and 16 bytes, as base64url, of a browser's subscription")
    target = read_target(endpoint, inside)
    parts = urlsplit(endpoint)
    if not _SIGNABLE.fullmatch(parts.netloc):
        raise UsageError(f"the push service {target.host[:100]!r} must be a host name, with a port or without ':'")
    on_machine = target.address is not None and target.address.is_loopback
    if parts.scheme != "https" and not on_machine:
        raise UsageError(f"the push service {target.host[:100]!r} must be reached by https")


def _are_keys(p256dh: str, auth: str) -> bool:
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        point, shared = decoded(p256dh), decoded(auth)
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        return False
    return (len(point), len(shared)) == (_POINT, _AUTH)


async def hand(
    browser: Browser,
    payload: bytes,
    key: PushKey,
    inside: Inside,
    *,
    contact: str,
    topic: str,
    resolver: AbstractResolver | None = None,
) -> Handed:
    """Hand a notification over. Never raises: what goes wrong is in what it returns."""
    try:
        body, headers = await asyncio.to_thread(_sealed, browser, payload, key, contact)
        async with Post(browser.endpoint, inside, resolver=resolver, timeout=TIMEOUT) as post:
            answer = await post.send(body, {**headers, "Topic": topic})
    except UsageError as error:  # what may be used has changed since it was added
        return Handed(str(error))
    except Exception as error:  # noqa: BLE001 - whatever a library makes of what a browser gave concerns that one alone
        return Handed(f"it cannot be notified ({type(error).__name__})")
    if answer.ok:
        return Handed()
    gone = answer.status in _GONE
    return Handed(answer.error, gone, not gone and answer.status in _LATER, answer.retry_after)


def _sealed(browser: Browser, payload: bytes, key: PushKey, contact: str) -> tuple[bytes, dict[str, str]]:
    """Return the encrypted body and the headers. Slow the first time: the libraries are loaded here."""
    from py_vapid import Vapid  # pyright: ignore[reportMissingTypeStubs]
    from pywebpush import WebPusher  # pyright: ignore[reportMissingTypeStubs]

    given = {"endpoint": browser.endpoint, "keys": {"p256dh": browser.p256dh, "auth": browser.auth}}
    sealed: Any = WebPusher(given).encode(payload, "aes128gcm")
    parts = urlsplit(browser.endpoint)
    signer: Any = Vapid.from_raw(key.private.encode())  # pyright: ignore[reportUnknownMemberType]
    signed: dict[str, str] = signer.sign({"aud": f"{parts.scheme}://{parts.netloc}", "sub": contact})
    return sealed["body"], {
        **signed,
        "Content-Type": "application/octet-stream",
        "Content-Encoding": "aes128gcm",
        "TTL": str(TTL),
        "Urgency": "high",
        "User-Agent": "ezaigent",
    }
