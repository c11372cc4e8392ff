"""An OpenID Connect provider for the tests: discovery, keys, a page that signs everybody in, tokens that it signs."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

CLIENT = "ez aigent"
SECRET = "a secret: with + and %"
BASIC = "ez%20aigent:a%20secret%3A%20with%20%2B%20and%20%25"
"""Both, as RFC 6749 (2.3.1) wants them in the header."""
Twist = Callable[[dict[str, Any]], Any]


def public(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, kid: str) -> dict[str, Any]:
    """Return the half of a key that everybody may see."""
    if isinstance(key, rsa.RSAPrivateKey):
        return {**RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", "alg": "RS256"}
    return {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid}


@dataclass
class OpenId:
    """The provider, and what a test changes of it."""

    url: str = ""
    person: dict[str, Any] = field(
        default_factory=lambda: {"sub": "1234", "email": "Anna@Example.org", "email_verified": True}
    )
    """Who comes."""
    claims: Twist = lambda claims: None
    """Changes the claims of the ID token."""
    describe: Twist = lambda document: None
    """Changes the discovery document."""
    answer: Twist = lambda answer: None
    """Changes what the browser carries back."""
    sign: Callable[[dict[str, Any]], str] | None = None
    """Signs in another way."""
    status: int = 200
    """Of the token endpoint."""
    given: dict[str, Any] | None = None
    """Given for a code, in place of tokens."""
    published: dict[str, Any] | None = None
    """Told in place of the keys."""
    proofs: list[tuple[str | None, str | None]] = field(default_factory=list[tuple[str | None, str | None]])
    """How clients said who they are: in the header, in the form."""
    kid: str = "one"
    keys: dict[str, Any] = field(
        default_factory=lambda: {"one": rsa.generate_private_key(public_exponent=65537, key_size=2048)}
    )
    asked: list[str] = field(default_factory=list[str])
    """Paths, as they were asked for."""
    codes: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])

    async def discovery(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        document = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize?tenant=a",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "authorization_response_iss_parameter_supported": True,
        }
        self.describe(document)
        return web.json_response(document)

    async def jwks(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        found = {"keys": [public(key, kid) for kid, key in self.keys.items()]}
        return web.json_response(self.published or found)

    async def authorize(self, request: web.Request) -> web.Response:
        asked = request.query
        assert asked["tenant"] == "a"
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        assert asked["client_id"] == CLIENT
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe()
        self.codes[code] = {name: asked[name] for name in ("nonce", "code_challenge", "redirect_uri")}
        answer = {"code": code, "state": asked["state"], "iss": self.url}
        self.answer(answer)
        raise web.HTTPFound(f"{asked['redirect_uri']}?{urlencode(answer)}")

    async def token(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        form = await request.post()
        asked = self.codes.pop(str(form["code"]))
        assert form["client_id"] == CLIENT
        proof = request.headers.get("Authorization", "").removeprefix("Basic ")
        posted = form.get("client_secret")
        self.proofs.append((base64.b64decode(proof).decode() or None, None if posted is None else str(posted)))
        digest = hashlib.sha256(str(form["code_verifier"]).encode()).digest()
        assert base64.urlsafe_b64encode(digest).decode().rstrip("=") == asked["code_challenge"]
        assert (form["redirect_uri"], form["grant_type"]) == (asked["redirect_uri"], "authorization_code")
        at = time.time()
        claims = {"iss": self.url, "aud": CLIENT, "iat": at, "exp": at + 60, "nonce": asked["nonce"], **self.person}
        self.claims(claims)
        token = self.sign(claims) if self.sign else self.signed(claims)
        answer = self.given or {"access_token": "x", "token_type": "Bearer", "id_token": token}
        return web.json_response(answer, status=self.status)

    def signed(self, claims: dict[str, Any], **headers: Any) -> str:
        key = self.keys[self.kid]
        algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(claims, key, algorithm, headers={"kid": self.kid, **headers})


@asynccontextmanager
async def open_id() -> AsyncGenerator[OpenId]:
    """Run a provider on this machine."""
    provider = OpenId()
    app = web.Application()
    app.router.add_get("/.well-known/openid-configuration", provider.discovery)
    app.router.add_get("/jwks", provider.jwks)
    app.router.add_get("/authorize", provider.authorize)
    app.router.add_post("/token", provider.token)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield provider
    finally:
        await runner.cleanup()
