"""People sign in by a real OpenID provider on this machine; what is forged, stale or meant for others is refused."""

from __future__ import annotations

import base64
import html
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import SecretStr, ValidationError
from tests.api.conftest import PASSWORD, Inside, Place, inside, settings_for
from tests.api.openid import BASIC, CLIENT, SECRET, OpenId, open_id

from ezaigent.api.oidc.people import name_of
from ezaigent.api.oidc.provider import Provider
from ezaigent.api.oidc.tokens import Claims
from ezaigent.core.errors import UnavailableError, UsageError
from ezaigent.core.settings import OidcSettings
from ezaigent.wiring import load_settings

START = "/api/v1/session/oidc/start"
CALLBACK = "/api/v1/session/oidc/callback"


@dataclass
class Scene:
    """A server that trusts a provider."""

    provider: OpenId
    served: Inside

    def browser(self) -> httpx.AsyncClient:
        return self.served.stranger()

    async def go(self, browser: httpx.AsyncClient) -> str:
        """Begin to sign in, and go through the provider; return where it sends the browser."""
        begun = await browser.get(START)
        assert begun.status_code == 303, begun.text
        async with httpx.AsyncClient() as elsewhere:
            return str((await elsewhere.get(begun.headers["location"])).headers["location"])

    async def sign_in(self, browser: httpx.AsyncClient) -> httpx.Response:
        return await browser.get(await self.go(browser))

    async def refused(self, status: int = 401) -> str:
        """Sign in, which must fail; return the one line that says why."""
        async with self.browser() as browser:
            return await self.line(await self.sign_in(browser), browser, status)

    async def line(self, answer: httpx.Response, browser: httpx.AsyncClient, status: int = 401) -> str:
        assert answer.status_code == status, answer.text
        assert "ezaigent_session" not in browser.cookies
        assert (await browser.get("/api/v1/session")).status_code == 401
        found = re.search(r"<strong>(.*?)</strong>", answer.text)
        assert found
        return html.unescape(found[1])

    async def events(self, kind: str) -> list[dict[str, Any]]:
        found = await self.served.fleet.services.events.read(0)
        return [event.data for event in found if event.kind == kind]


@asynccontextmanager
async def trusting(home: Path, provider: OpenId, **more: Any) -> AsyncGenerator[Scene]:
    given = {"issuer": provider.url, "client_id": CLIENT, "client_secret": SecretStr(SECRET), **more}
    settings = settings_for(home, rate=100_000).model_copy(update={"oidc": OidcSettings.model_validate(given)})
    async with inside(settings) as served:
        yield Scene(provider, served)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with (
        open_id() as provider,
        trusting(tmp_path / "home", provider, emails={"anna@EXAMPLE.org": "operator"}) as made,
    ):
        yield made


async def test_a_person_signs_in_and_steers_the_fleet(scene: Scene) -> None:
    async with scene.browser() as browser:
        assert (await browser.get("/api/v1/session/ways")).json() == {"oidc": "single sign-on"}
        begun = await browser.get(START)
        cookie = begun.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        answer = await scene.sign_in(browser)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert "ezaigent_arrival" not in browser.cookies
        session = next(one for one in answer.headers.get_list("set-cookie") if one.startswith("ezaigent_session="))
        assert "HttpOnly" in session
        assert "SameSite=strict" in session
        me = (await browser.get("/api/v1/session")).json()
        assert (me["name"], me["access"], me["via"]) == ("anna@example.org", "operate", "session")
        paused = await browser.post("/api/v1/agents/mechanic/pause", headers={"X-CSRF-Token": me["csrf"]})
        assert paused.status_code == 200
        assert (await browser.get("/api/v1/users")).status_code == 403
    assert [one["by"] for one in await scene.events("audit.login")] == ["anna@example.org"]
    (made,) = [one for one in await scene.events("audit.credential") if one["what"] == "user"]
    assert (made["name"], made["done"], made["by"]) == ("anna@example.org", "made", "the provider")


async def test_the_same_person_is_the_same_user_with_the_role_that_is_due_now(scene: Scene) -> None:
    settings = scene.served.fleet.settings.oidc
    async with scene.browser() as browser:
        await scene.sign_in(browser)
        settings.emails["@example.org"] = "admin"  # the mightiest of those that fit
        scene.provider.person["email"] = "anna.new@example.org"
        await scene.sign_in(browser)
        me = (await browser.get("/api/v1/session")).json()
        assert (me["name"], me["access"]) == ("anna@example.org", "admin")
        del settings.emails["@example.org"]
        answer = await scene.sign_in(browser)
        assert answer.status_code == 403
        assert (await browser.get("/api/v1/session")).status_code == 401  # the session went with the user
    assert await scene.served.accounts.users() == []
    done = [one["done"] for one in await scene.events("audit.credential") if one["what"] == "user"]
    assert done == ["made", "made admin", "removed"]


async def test_nobody_gets_in_without_a_mapping(tmp_path: Path) -> None:
    async with open_id() as provider, trusting(tmp_path / "home", provider) as scene:
        said = await scene.refused(403)
        assert "'anna@example.org' has no role here" in said
        assert await scene.served.accounts.users() == []
        assert [one["reason"] for one in await scene.events("audit.login_failed")] == ["no role is meant for them"]


@pytest.mark.parametrize(
    "person",
    [
        {"email_verified": False},
        {"email_verified": None},
        {"email": "anna@example.org.evil.example"},
        {"email": "evil@x@example.org"},
        {"email": "\u212aatrin@example.org"},  # the Kelvin sign, whose small letter is k
        {"email": None},
    ],
)
async def test_only_a_verified_address_counts(scene: Scene, person: dict[str, Any]) -> None:
    scene.served.fleet.settings.oidc.emails["katrin@example.org"] = "admin"
    scene.provider.person |= person
    assert "has no role here" in await scene.refused(403)


@pytest.mark.parametrize(
    ("claim", "extra", "access"),
    [
        ("groups", {"groups": ["staff", "fleet"]}, "read"),
        ("groups", {"groups": ["fleet", "chiefs"]}, "admin"),
        ("groups", {"groups": "chiefs"}, "admin"),
        ("realm.roles", {"realm": {"roles": ["fleet"]}}, "read"),
        ("https://example.org/role", {"https://example.org/role": ["chiefs"]}, "admin"),
        ("groups", {"groups": ["chiefs2", 7, None]}, None),
        ("groups", {"groups": {"chiefs": True}}, None),
        ("realm.roles", {"realm": ["chiefs"]}, None),
    ],
)
async def test_a_claim_gives_roles(tmp_path: Path, claim: str, extra: dict[str, Any], access: str | None) -> None:
    roles = {"fleet": "viewer", "chiefs": "admin"}
    async with open_id() as provider, trusting(tmp_path / "home", provider, claim=claim, roles=roles) as scene:
        provider.person = {"sub": "1", "preferred_username": "Bea Berg", **extra}
        if access is None:
            assert "'bea-berg' has no role" in await scene.refused(403)
            return
        async with scene.browser() as browser:
            await scene.sign_in(browser)
            me = (await browser.get("/api/v1/session")).json()
            assert (me["name"], me["access"]) == ("bea-berg", access)


async def test_a_name_that_is_taken_is_not_taken_over(scene: Scene) -> None:
    await scene.served.accounts.add_user("anna@example.org", PASSWORD, "admin", by="test", address="test")
    assert "there is another user 'anna@example.org' here" in await scene.refused(409)
    async with scene.browser() as browser:
        given = {"name": "anna@example.org", "password": PASSWORD}
        assert (await browser.post("/api/v1/session", json=given)).status_code == 200


async def test_whom_the_provider_knows_has_no_password(scene: Scene) -> None:
    async with scene.browser() as browser:
        await scene.sign_in(browser)
    kept = (scene.served.fleet.settings.home / "ezaigent.db").read_bytes()
    assert SECRET.encode() not in kept
    async with scene.browser() as browser:
        for password in ("elsewhere ", "x"):
            given = {"name": "anna@example.org", "password": password}
            assert (await browser.post("/api/v1/session", json=given)).status_code == 401


# ---------------------------------------------------------------------------------------------- what is forged


def _set(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda given: given.update(values)


def _without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda given: given.pop(name)


FORGED = {
    "wrong nonce": (_set(nonce="another"), "belongs to another sign-in"),
    "no nonce": (_without("nonce"), "belongs to another sign-in"),
    "wrong audience": (_set(aud="another"), "meant for another application"),
    "another audience, too": (_set(aud=[CLIENT, "another"]), "meant for another application"),
    "another party of strange make": (_set(aud=[CLIENT], azp=[CLIENT]), "meant for another application"),
    "another party": (_set(aud=[CLIENT, "another"], azp="another"), "meant for another application"),
    "no audience": (_without("aud"), "says no aud"),
    "expired": (_set(exp=time.time() - 3600, iat=time.time() - 7200), "has expired"),
    "never expires": (_without("exp"), "says no exp"),
    "from the future": (_set(iat=time.time() + 3600), "not valid yet"),
    "not before": (_set(nbf=time.time() + 3600), "not valid yet"),
    "issuer mismatch": (_set(iss="https://evil.example"), "names another issuer"),
    "nobody": (_without("sub"), "says no sub"),
    "a subject that is none": (_set(sub=7), "is not signed by a key"),
    "an address that is none": (_set(email=7), "describes nobody"),
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_wrong_claim_is_refused(scene: Scene, name: str) -> None:
    scene.provider.claims, why = FORGED[name]
    assert why in await scene.refused()
    (noted,) = await scene.events("audit.login_failed")
    assert str(noted["reason"]).startswith("the provider's answer")


async def test_a_forged_signature_is_refused(scene: Scene) -> None:
    provider = scene.provider
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    modulus = str(provider.keys["one"].public_key().public_numbers().n)
    unsigned = f"is not signed by a key of {provider.url!r}"

    def tampered(claims: dict[str, Any]) -> str:
        head, _, tail = provider.signed(claims).split(".")
        body = provider.signed({**claims, "sub": "the chief"}).split(".")[1]
        return f"{head}.{body}.{tail}"

    forgeries: list[Callable[[dict[str, Any]], str]] = [
        lambda claims: jwt.encode(claims, other, "RS256", headers={"kid": "one"}),
        lambda claims: jwt.encode(claims, other, "RS256", headers={"kid": "unknown"}),
        lambda claims: jwt.encode(claims, "", "none", headers={"kid": "one"}),
        lambda claims: jwt.encode(claims, modulus, "HS256", headers={"kid": "one"}),
        lambda claims: jwt.encode(claims, SECRET * 3, "HS256", headers={"kid": "one"}),
        lambda claims: jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": "one"}),
        tampered,
    ]
    for forge in forgeries:
        provider.sign = forge
        assert unsigned in await scene.refused()
    strange = base64.urlsafe_b64encode(b'{"alg": ["RS256"], "kid": "one"}').decode().rstrip("=")
    provider.sign = lambda claims: ".".join([strange, *provider.signed(claims).split(".")[1:]])
    assert unsigned in await scene.refused()
    provider.sign = lambda claims: "no.token"
    assert "holds no ID token that can be read" in await scene.refused()
    assert await scene.served.accounts.users() == []


async def test_a_new_key_of_the_provider_counts_and_an_old_one_no_longer(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ezaigent.api.oidc.provider._AGAIN", 0.0)
    async with scene.browser() as browser:
        await scene.sign_in(browser)
        old = scene.provider.keys.pop("one")
        scene.provider.keys["two"] = ec.generate_private_key(ec.SECP256R1())
        scene.provider.kid = "two"
        assert (await scene.sign_in(browser)).status_code == 303
        assert (await browser.get("/api/v1/session")).status_code == 200
    scene.provider.sign = lambda claims: jwt.encode(claims, old, "RS256", headers={"kid": "one"})
    assert "is not signed" in await scene.refused()
    assert scene.provider.asked.count("/.well-known/openid-configuration") == 1


async def test_a_token_that_names_no_key_counts_where_there_is_one(scene: Scene) -> None:
    key = scene.provider.keys["one"]
    scene.provider.sign = lambda claims: jwt.encode(claims, key, "RS256")
    async with scene.browser() as browser:
        assert (await scene.sign_in(browser)).status_code == 303
    scene.provider.claims = _set(aud=[CLIENT, "another"], azp=CLIENT)
    async with scene.browser() as browser:
        assert (await scene.sign_in(browser)).status_code == 303


async def test_a_state_counts_once_and_only_in_its_browser(scene: Scene) -> None:
    async with scene.browser() as browser, scene.browser() as other:
        back = await scene.go(browser)
        kept = browser.cookies["ezaigent_arrival"]
        assert "was not begun in this browser" in await scene.line(await other.get(back), other)
        await other.get(START)
        assert "was not begun in this browser" in await scene.line(await other.get(back), other)
        assert (await browser.get(back)).status_code == 303
        browser.cookies.clear()
        again = await browser.get(back, headers={"Cookie": f"ezaigent_arrival={kept}"})
        assert "was used already" in await scene.line(again, browser)
    assert len(await scene.events("audit.login")) == 1


async def test_a_state_is_good_for_ten_minutes(scene: Scene) -> None:
    async with scene.browser() as browser:
        back = await scene.go(browser)
        await _run(scene, "UPDATE arrivals SET expires_at = expires_at - 601")
        assert "older than 10 minutes" in await scene.line(await browser.get(back), browser)
        await browser.get(START)
    assert await _run(scene, "DELETE FROM arrivals") == 1  # those who did not come back are forgotten


async def _run(scene: Scene, text: str) -> int:
    from ezaigent.store import Sql

    return await scene.served.db.write(lambda conn: Sql(text).run(conn))


async def test_the_answer_of_another_issuer_is_refused(scene: Scene) -> None:
    for change in (_set(iss="https://evil.example"), _without("iss")):
        scene.provider.answer = change
        assert "came from another issuer" in await scene.refused()
    assert scene.provider.asked.count("/token") == 0


async def test_what_the_provider_refuses_is_told_without_its_words(scene: Scene) -> None:
    scene.provider.answer = _set(error="access_denied", error_description="<script>alert(1)</script>")
    assert await scene.refused() == "the provider let nobody in: it said access_denied"
    scene.provider.answer = _set(error="<script>alert(1)</script>")
    assert await scene.refused() == "the provider let nobody in: it said something that is no error code"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_set(issuer="https://evil.example"), "names the issuer 'https://evil.example'"),
        (_without("jwks_uri"), "describes no OpenID provider"),
        (_set(jwks_uri="http://127.0.0.1:1/jwks"), "does not answer"),
        (_set(padding="x" * 1024**2), "does not answer as it should"),
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
    scene.provider.describe = _without("jwks_uri")
    async with scene.browser() as browser:
        for _ in range(3):
            assert (await browser.get(START)).status_code == 424
        assert len(scene.provider.asked) == 1
        monkeypatch.setattr("ezaigent.api.oidc.provider._PAUSE", 0.0)
        scene.provider.describe = _set()
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
        provider.describe = _set(token_endpoint_auth_methods_supported=methods)
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
