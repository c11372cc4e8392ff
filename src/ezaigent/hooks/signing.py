"""Signatures as the Standard Webhooks specification (1.0) has them, so that receivers need no code of ours.

``webhook-signature`` is ``v1,`` and the base64 of HMAC-SHA256 over ``<webhook-id>.<webhook-timestamp>.<body>``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final

_PREFIX: Final = "whsec_"
_BYTES: Final = 32


def new_secret() -> str:
    """Return a fresh secret as receivers' libraries take it."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()


def headers(secret: str, delivery: str, at: float, body: bytes) -> dict[str, str]:
    """Return the headers that prove that we sent ``body``, as delivery ``delivery``, at ``at`` (seconds since 1970)."""
    stamp = str(int(at))
    key = base64.b64decode(secret.removeprefix(_PREFIX))
    mac = hmac.new(key, b".".join((delivery.encode(), stamp.encode(), body)), hashlib.sha256).digest()
    return {
        "webhook-id": delivery,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def signed_by(secret: bytes, body: bytes, given: str) -> bool:
    """Tell whether ``given`` is GitHub's ``X-Hub-Signature-256`` of ``body``; every wrong one takes the same time."""
    expected = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))
