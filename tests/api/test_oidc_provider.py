"""Providers that are broken, strange or differently set up; and settings that cannot be."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from tests.api.conftest import Place
from tests.api.openid import BASIC, CLIENT, SECRET, open_id
from tests.api.signing_in import CALLBACK, START, Scene, put, staged, trusting, without

from ezaigent.api.oidc.people import name_of
from ezaigent.api.oidc.provider import Provider
from ezaigent.api.oidc.tokens import Claims
from ezaigent.core.errors import UnavailableError, UsageError
from ezaigent.core.settings import OidcSettings
from ezaigent.wiring import load_settings


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with staged(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (put(issuer="https://evil.example"), "names the issuer 'https://evil.example'"),
        (without("jwks_uri"), "describes no OpenID provider"),
        (put(jwks_uri="http://127.0.0.1:1/jwks"), "does not answer"),
        (put(padding="x" * 1024**2), "does not answer as it should"),
    ],
)
async def test_a_provider_that_is_not_as_it_should_be(scene: Scene, change: Any, why: str) -> None:
    scene.provider.describe = change
    async with scene.browser() as browser:
        begun = await browser.get(START)
        if begun.status_code == 303:
            begun = await scene.sign_in(browser)
        assert why in await scene.line(begun, browser, 424)


async def test_a_provider_that_is_broken_is_asked_again_after_a_pause(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.provider.describe = without("jwks_uri")
    async with scene.browser() as browser:
        for _ in range(3):
            assert (await browser.get(START)).status_code == 424
        assert len(scene.provider.asked) == 1
        monkeypatch.setattr("ezaigent.api.oidc.provider._PAUSE", 0.0)
        scene.provider.describe = put()
        assert (await scene.sign_in(browser)).status_code == 303


async def test_a_provider_that_gives_no_token_or_no_keys(scene: Scene) -> None:
    scene.provider.status = 400
    assert "answers 400" in await scene.refused(424)
    scene.provider.status = 200
    scene.provider.sign = lambda claims: ""
    assert "holds no ID token that can be read" in await scene.refused()
    scene.provider.sign = None
    scene.provider.published = {"keys": "none"}
    assert "tells no keys" in await scene.refused(424)
    scene.provider.given = {"access_token": "x"}
    assert "gives no ID token" in await scene.refused(424)
    assert await scene.events("audit.login") == []
    assert len(await scene.events("audit.login_failed")) == 1  # that the provider is broken is nobody's attempt


@pytest.mark.parametrize(
    ("secret", "methods", "sent"),
    [
        (None, ["none"], (None, None)),
        (SECRET, ["client_secret_post"], (None, SECRET)),
        (SECRET, ["client_secret_post", "client_secret_basic"], (BASIC, None)),
    ],
)
async def test_the_client_proves_who_it_is_as_the_provider_wants(
    tmp_path: Path, secret: str | None, methods: list[str], sent: tuple[str | None, str | None]
) -> None:
    async with open_id() as provider:
        provider.describe = put(token_endpoint_auth_methods_supported=methods)
        roles = {"emails": {"@example.org": "viewer"}}
        async with (
            trusting(tmp_path / "home", provider, client_secret=secret, **roles) as scene,
            scene.browser() as one,
        ):
            assert (await scene.sign_in(one)).status_code == 303
            assert provider.proofs == [sent]


async def test_an_https_provider_must_be_so_throughout(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = "https://login.example.org"
    document = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": "http://login.example.org/token",
        "jwks_uri": f"{issuer}/jwks",
    }

    async def ask(self: Provider, method: str, url: str, **more: Any) -> Any:
        assert (method, url) == ("GET", f"{issuer}/.well-known/openid-configuration")
        return document

    monkeypatch.setattr(Provider, "_ask", ask)
    with pytest.raises(UnavailableError, match="not https"):
        await Provider(OidcSettings(issuer=issuer, client_id=CLIENT)).metadata()
    document["token_endpoint"] = f"{issuer}/token"
    assert (await Provider(OidcSettings(issuer=issuer, client_id=CLIENT)).metadata()).jwks_uri == f"{issuer}/jwks"


async def test_where_the_provider_leads_back_can_be_said(tmp_path: Path) -> None:
    callback = f"https://localhost{CALLBACK}"
    async with (
        open_id() as provider,
        trusting(tmp_path / "home", provider, callback=callback) as scene,
        scene.browser() as browser,
    ):
        begun = await browser.get(START)
        assert httpx.URL(begun.headers["location"]).params["redirect_uri"] == callback
        assert "Secure" in begun.headers["set-cookie"]


def test_somebody_without_a_usable_name_has_one_all_the_same() -> None:
    assert name_of(Claims(sub="é")) == "somebody"
    assert name_of(Claims(sub="A/b", preferred_username="---")) == "a-b"
    assert len(name_of(Claims(sub="x" * 200))) == 64


@pytest.mark.parametrize(
    "claims",
    [
        Claims(sub="1", preferred_username="Anna@Example.org"),
        Claims(sub="1", preferred_username="anna@example.org", email="anna@example.org", email_verified=False),
        Claims(sub="anna@example.org"),
    ],
)
def test_nobody_takes_an_address_for_a_name_that_the_provider_does_not_stand_for(claims: Claims) -> None:
    assert name_of(claims) == "anna-example.org"


def test_without_a_provider_there_is_no_way(place: Place) -> None:
    with place.client(None) as client:
        assert client.get("/api/v1/session/ways").json() == {"oidc": None}
        for path in (START, CALLBACK):
            answer = client.get(path)
            assert answer.status_code == 404
            assert "set [oidc] issuer" in answer.text
            assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"issuer": "http://login.example.org"}, "https"),
        ({"issuer": "https://a.example", "client_id": ""}, "client_id"),
        ({"issuer": "https://a.example", "callback": "http://fleet.example.org/x"}, "callback"),
        ({"issuer": "https://a.example", "scopes": ["email"]}, "openid"),
        ({"issuer": "https://a.example", "emails": {"a@b.c": "root"}}, "viewer"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        OidcSettings.model_validate({"client_id": CLIENT, **wrong})


def test_the_secret_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ezaigent.toml"
    path.write_text('[oidc]\nissuer = "https://a.example"\nclient_id = "x"\nclient_secret = 12345678\n')
    with pytest.raises(UsageError) as raised:
        load_settings(path)
    assert "12345678" not in str(raised.value)
    path.write_text('[oidc]\nissuer = "https://a.example"\n')
    with pytest.raises(UsageError, match="client_id is missing"):
        load_settings(path)
