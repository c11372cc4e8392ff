"""What one sign-in needs to know again when the person comes back, all of it out of one secret in their browser.

So nothing of it is kept here but that the state may come back once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from ezaigent.core.settings import OidcSettings

COOKIE: Final = "ezaigent_arrival"
PATH: Final = "/api/v1/session/oidc"
SECONDS: Final = 600.0
"""How long a person may take at the provider."""


class Journey(NamedTuple):
    """The words of one sign-in."""

    state: str
    """Ties the answer to this browser (RFC 6749, 10.12)."""
    nonce: str
    """Ties the ID token to it (OpenID Connect Core, 3.1.2.1)."""
    verifier: str
    """Ties the code to it (RFC 7636)."""

    @classmethod
    def of(cls, secret: str) -> Journey:
        """Derive the words."""
        return cls(
            *(hmac.new(secret.encode(), use, hashlib.sha256).hexdigest() for use in (b"state", b"nonce", b"code"))
        )

    @property
    def challenge(self) -> str:
        """What the provider is told of the verifier: S256."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).decode().rstrip("=")


def departure(endpoint: str, settings: OidcSettings, journey: Journey, callback: str) -> str:
    """Return where the person is sent."""
    parts = urlsplit(endpoint)
    asked = {
        "response_type": "code",
        "client_id": settings.client_id,
        "redirect_uri": callback,
        "scope": " ".join(settings.scopes),
        "state": journey.state,
        "nonce": journey.nonce,
        "code_challenge": journey.challenge,
        "code_challenge_method": "S256",
    }
    return parts._replace(query=urlencode([*parse_qsl(parts.query), *asked.items()])).geturl()
