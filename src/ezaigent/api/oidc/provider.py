"""What the provider says of itself, its keys, and what it gives for a code."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import orjson
from pydantic import BaseModel, ValidationError

from ezaigent.core.errors import UnavailableError
from ezaigent.core.settings import OidcSettings

if TYPE_CHECKING:
    import aiohttp

_TIMEOUT: Final = 10.0
_LARGEST: Final = 1024**2
"""Bytes of the largest answer that is read."""
_KEPT: Final = 3600.0
"""Seconds for which what the provider says of itself is believed."""
_AGAIN: Final = 10.0
"""Seconds between two looks for a key that was not there."""


_PAUSE: Final = 3.0
"""Seconds for which a provider that does not answer is not asked again, however many want to sign in."""


class Metadata(BaseModel):
    """What the provider says of itself (OpenID Connect Discovery, 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]
    authorization_response_iss_parameter_supported: bool = False


class _Keys(BaseModel):
    keys: list[dict[str, Any]]


class _Tokens(BaseModel):
    id_token: str


class Provider:
    """The provider of the settings. Every method raises ``UnavailableError`` where it does not answer as it should."""

    def __init__(self, settings: OidcSettings) -> None:
        """Ask nothing yet."""
        self._settings = settings
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, list[dict[str, Any]]] | None = None
        self._broken: tuple[float, str] | None = None
        self._asking = asyncio.Lock()

    async def metadata(self) -> Metadata:
        """Return what it says of itself."""
        async with self._asking:
            if self._metadata is None or time.monotonic() - self._metadata[0] > _KEPT:
                if self._broken is not None and time.monotonic() - self._broken[0] < _PAUSE:
                    raise UnavailableError(self._broken[1])
                try:
                    self._metadata = (time.monotonic(), await self._discover())
                except UnavailableError as error:
                    self._broken = (time.monotonic(), str(error))
                    raise
            return self._metadata[1]

    async def keys(self, kid: str | None) -> Sequence[Mapping[str, Any]]:
        """Return the keys that it signs with; looks again where none has the id ``kid``."""
        metadata = await self.metadata()
        async with self._asking:
            if self._keys is not None:
                age = time.monotonic() - self._keys[0]
                found = any(key.get("kid") == kid for key in self._keys[1])
                if age < _AGAIN or (found and age < _KEPT):
                    return self._keys[1]
            answer = await self._ask("GET", metadata.jwks_uri)
            try:
                self._keys = (time.monotonic(), _Keys.model_validate(answer).keys)
            except ValidationError:
                raise self._wrong(metadata.jwks_uri, "tells no keys") from None
            return self._keys[1]

    async def redeem(self, code: str, verifier: str, callback: str) -> str:
        """Return the ID token that the provider gives for a code, unread."""
        metadata = await self.metadata()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": callback,
            "client_id": self._settings.client_id,
            "code_verifier": verifier,
        }
        headers: dict[str, str] = {}
        secret = self._settings.client_secret
        if secret is not None and "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            pair = ":".join(quote(one, safe="") for one in (self._settings.client_id, secret.get_secret_value()))
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        elif secret is not None:
            form["client_secret"] = secret.get_secret_value()
        answer = await self._ask("POST", metadata.token_endpoint, data=form, headers=headers)
        try:
            return _Tokens.model_validate(answer).id_token
        except ValidationError:
            raise self._wrong(metadata.token_endpoint, "gives no ID token") from None

    async def _discover(self) -> Metadata:
        issuer = self._settings.issuer or ""
        url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            found = Metadata.model_validate(await self._ask("GET", url))
        except ValidationError:
            raise self._wrong(url, "describes no OpenID provider") from None
        if found.issuer != issuer:
            raise self._wrong(
                url, f"names the issuer {found.issuer[:200]!r}, not {issuer!r}; [oidc] issuer must be the same"
            )
        plain = urlsplit(issuer).scheme == "http"
        for endpoint in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
            if urlsplit(endpoint).scheme != "https" and not plain:
                raise self._wrong(url, f"names {endpoint[:200]!r}, which is not https")
        return found

    async def _ask(self, method: str, url: str, **more: Any) -> Any:
        import aiohttp

        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT)) as session,
                session.request(method, url, allow_redirects=False, **more) as answer,
            ):
                body = await _read(answer)
                if answer.status != 200:  # noqa: PLR2004
                    raise self._wrong(url, f"answers {answer.status}")
                return orjson.loads(body)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise self._wrong(url, f"does not answer as it should ({type(error).__name__})") from None

    def _wrong(self, url: str, what: str) -> UnavailableError:
        return UnavailableError(f"the provider at {url[:200]!r} {what}; try again, or look at [oidc]")


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > _LARGEST:
            raise ValueError("too large")
    return bytes(body)
