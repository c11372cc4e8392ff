"""What is forged, stale or meant for others does not let anybody in."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.api.openid import CLIENT, SECRET
from tests.api.signing_in import START, Scene, put, staged, without


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with staged(tmp_path) as made:
        yield made


FORGED = {
    "wrong nonce": (put(nonce="another"), "belongs to another sign-in"),
    "no nonce": (without("nonce"), "belongs to another sign-in"),
    "wrong audience": (put(aud="another"), "meant for another application"),
    "another audience, too": (put(aud=[CLIENT, "another"]), "meant for another application"),
    "another party of strange make": (put(aud=[CLIENT], azp=[CLIENT]), "meant for another application"),
    "another party": (put(aud=[CLIENT, "another"], azp="another"), "meant for another application"),
    "no audience": (without("aud"), "says no aud"),
    "expired": (put(exp=time.time() - 3600, iat=time.time() - 7200), "has expired"),
    "never expires": (without("exp"), "says no exp"),
    "from the future": (put(iat=time.time() + 3600), "not valid yet"),
    "not before": (put(nbf=time.time() + 3600), "not valid yet"),
    "issuer mismatch": (put(iss="https://evil.example"), "names another issuer"),
    "nobody": (without("sub"), "says no sub"),
    "a subject that is none": (put(sub=7), "is not signed by a key"),
    "an address that is none": (put(email=7), "describes nobody"),
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
    scene.provider.claims = put(aud=[CLIENT, "another"], azp=CLIENT)
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
    for change in (put(iss="https://evil.example"), without("iss")):
        scene.provider.answer = change
        assert "came from another issuer" in await scene.refused()
    assert scene.provider.asked.count("/token") == 0


async def test_what_the_provider_refuses_is_told_without_its_words(scene: Scene) -> None:
    scene.provider.answer = put(error="access_denied", error_description="<script>alert(1)</script>")
    assert await scene.refused() == "the provider let nobody in: it said access_denied"
    scene.provider.answer = put(error="<script>alert(1)</script>")
    assert await scene.refused() == "the provider let nobody in: it said something that is no error code"
