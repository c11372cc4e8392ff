"""People sign in by a real OpenID provider on this machine, with the role that they are due."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import PASSWORD
from tests.api.openid import SECRET, open_id
from tests.api.signing_in import START, Scene, staged, trusting


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with staged(tmp_path) as made:
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
