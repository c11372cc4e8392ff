"""Whether an ID token is the provider's, for us, for this sign-in, and for now (OpenID Connect Core, 3.1.3.7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from ezaigent.api.credentials import same
from ezaigent.api.problems import UNAUTHENTICATED, Refusal
from ezaigent.core.settings import OidcSettings

_ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""Signatures that only the provider can make: no shared secrets, and never none."""
_LEEWAY: Final = 30.0
"""Seconds by which two clocks may differ."""


class Claims(BaseModel):
    """What the provider says of a person; the rest as it came."""

    model_config = ConfigDict(extra="allow")

    sub: str
    email: str | None = None
    email_verified: bool | None = None
    preferred_username: str | None = None


def key_id(token: str) -> str | None:
    """Return which key the token says it is signed with. Raises ``Refusal`` for no token."""
    kid = _header(token).get("kid")
    return kid if isinstance(kid, str) else None


def read(token: str, keys: Sequence[Mapping[str, Any]], settings: OidcSettings, nonce: str) -> Claims:
    """Return what a token says if all of it holds. Raises ``Refusal`` with one line that says what does not."""
    claims = _signed(token, keys, settings)
    audience, party = claims["aud"], claims.get("azp")
    alone = (settings.client_id, [settings.client_id])
    if audience not in alone if party is None else party != settings.client_id:
        raise _refused(f"the provider's answer is meant for another application than {settings.client_id!r}")
    said = claims.get("nonce")
    if not isinstance(said, str) or not same(said, nonce):
        raise _refused("the provider's answer belongs to another sign-in; sign in again")
    try:
        return Claims.model_validate(claims)
    except ValidationError:
        raise _refused("the provider's answer describes nobody") from None


def _signed(token: str, keys: Sequence[Mapping[str, Any]], settings: OidcSettings) -> dict[str, Any]:
    """Check the signature, and the claims that every signed token has."""
    import jwt

    issuer, client = settings.issuer or "", settings.client_id
    header = _header(token)
    unsigned = f"the provider's answer is not signed by a key of {issuer!r}"
    if str(header.get("alg")) not in _ALGORITHMS:
        raise _refused(f"{unsigned}: it is not signed in a way that counts")
    try:
        key = jwt.PyJWK(dict(_key(keys, header, unsigned)), header["alg"])
        return jwt.decode(
            token,
            key,
            algorithms=[header["alg"]],
            audience=client,
            issuer=issuer,
            leeway=_LEEWAY,
            options={"require": ["iss", "sub", "aud", "exp", "iat"]},
        )
    except jwt.ExpiredSignatureError:
        raise _refused("the provider's answer has expired; sign in again") from None
    except (jwt.ImmatureSignatureError, jwt.InvalidIssuedAtError):
        raise _refused("the provider's answer is not valid yet; look at the clocks of both machines") from None
    except jwt.InvalidAudienceError:
        raise _refused(f"the provider's answer is meant for another application than {client!r}") from None
    except jwt.InvalidIssuerError:
        raise _refused(f"the provider's answer names another issuer than {issuer!r}") from None
    except jwt.MissingRequiredClaimError as error:
        raise _refused(f"the provider's answer says no {error.claim}") from None
    except jwt.PyJWTError:
        raise _refused(unsigned) from None


def _header(token: str) -> dict[str, Any]:
    import jwt

    try:
        return jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise _refused("the provider's answer holds no ID token that can be read") from None


def _key(keys: Sequence[Mapping[str, Any]], header: Mapping[str, Any], unsigned: str) -> Mapping[str, Any]:
    """Return the one key that can have signed; never one that is for encryption, another algorithm, or a secret."""
    able = [
        key
        for key in keys
        if key.get("use", "sig") == "sig" and key.get("alg", header["alg"]) == header["alg"] and key.get("kty") != "oct"
    ]
    found = [key for key in able if key.get("kid") == header["kid"]] if "kid" in header else able
    if len(found) != 1:
        raise _refused(unsigned)
    return found[0]


def _refused(why: str) -> Refusal:
    return Refusal(UNAUTHENTICATED, why)
