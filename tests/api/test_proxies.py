"""Behind a proxy that the settings name people are told apart; what anybody else says of it counts nothing."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from pydantic import SecretStr
from starlette.types import Scope
from tests.api.conftest import PASSWORD, Inside, inside, settings_for
from tests.api.openid import CLIENT, SECRET, open_id
from tests.api.signing_in import START

from ezaigent.api.proxies import Proxies
from ezaigent.core.errors import UsageError
from ezaigent.core.settings import OidcSettings
from ezaigent.wiring import load_settings

HOST = "fleet.example.org"


def behind(address: str, **more: str) -> dict[str, str]:
    """Return what a proxy with TLS adds for somebody at ``address``."""
    return {"Host": HOST, "X-Forwarded-For": address, "X-Forwarded-Proto": "https", **more}


async def _sign_in(client: httpx.AsyncClient, name: str, password: str, headers: dict[str, str]) -> httpx.Response:
    return await client.post("/api/v1/session", json={"name": name, "password": password}, headers=headers)


async def _addresses(served: Inside, kind: str) -> list[str]:
    events = await served.fleet.services.events.read(0, 1000)
    return [event.data["address"] for event in events if event.kind == kind]


@pytest.mark.usefixtures("timeless")
async def test_behind_a_named_proxy_people_have_addresses_of_their_own(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home", rate=100_000, names=[HOST], proxies=["127.0.0.1"])
    async with inside(settings) as served, served.stranger() as client:
        await served.accounts.add_user("anna", PASSWORD, "operator", by="test", address="test")
        for _ in range(5):
            assert (await _sign_in(client, "anna", "wrong", behind("203.0.113.66"))).status_code == 401
        assert (await _sign_in(client, "anna", PASSWORD, behind("203.0.113.66"))).status_code == 429
        forged = behind("203.0.113.7, 203.0.113.66")  # what somebody claims, then what the proxy saw
        assert (await _sign_in(client, "anna", PASSWORD, forged)).status_code == 429
        let_in = await _sign_in(client, "anna", PASSWORD, behind("203.0.113.7, 203.0.113.8:51234"))
        assert let_in.status_code == 200
        cookie = let_in.headers["set-cookie"]
        assert {"Secure", "HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))
        headers = behind("203.0.113.8", Cookie=cookie.partition(";")[0], Origin=f"https://{HOST}")
        word = {"X-CSRF-Token": let_in.json()["csrf"]}
        assert (await client.post("/api/v1/agents/all/pause", headers=headers | word)).status_code == 200
        assert await _addresses(served, "audit.login_failed") == ["203.0.113.66"] * 5
        assert await _addresses(served, "audit.login") == ["203.0.113.8"]
        assert (await _addresses(served, "audit.change"))[-1] == "203.0.113.8"
        plain = await _sign_in(client, "anna", PASSWORD, {})
        assert "Secure" not in plain.headers["set-cookie"]  # not through the proxy, so without TLS


async def test_behind_a_named_proxy_strangers_have_rates_of_their_own(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home", rate=2, names=[HOST], proxies=["127.0.0.0/8"])
    async with inside(settings) as served, served.stranger() as client:
        statuses = [(await client.get("/api/v1/queue", headers=behind("203.0.113.66"))).status_code for _ in range(8)]
        assert set(statuses) == {401, 429}
        assert (await client.get("/api/v1/queue", headers=behind("203.0.113.8"))).status_code == 401


@pytest.mark.usefixtures("timeless")
@pytest.mark.parametrize("proxies", [[], ["192.0.2.1", "10.0.0.0/8"]])
async def test_what_a_peer_without_trust_says_changes_nothing(tmp_path: Path, proxies: list[str]) -> None:
    settings = settings_for(tmp_path / "home", rate=100_000, names=[HOST], proxies=proxies)
    async with inside(settings) as served, served.stranger() as client:
        await served.accounts.add_user("anna", PASSWORD, "viewer", by="test", address="test")
        good = await _sign_in(client, "anna", PASSWORD, behind("192.0.2.1"))
        assert "Secure" not in good.headers["set-cookie"]
        for number in range(5):
            assert (await _sign_in(client, "anna", "wrong", behind(f"203.0.113.{number}"))).status_code == 401
        assert (await _sign_in(client, "anna", PASSWORD, behind("203.0.113.99"))).status_code == 429
        assert await _addresses(served, "audit.login") == ["127.0.0.1"]
        assert await _addresses(served, "audit.login_failed") == ["127.0.0.1"] * 5


async def test_who_comes_through_a_proxy_is_never_taken_for_somebody_on_this_machine(tmp_path: Path) -> None:
    """Neither by an address that was claimed, nor where the proxy was talked into leaving its headers out."""
    draft = {"prompt": "x", "repo": "http://127.0.0.1:1/shop.git"}
    plan = {"repo": draft["repo"], "tasks": [{"name": "a", "prompt": "x"}]}
    settings = settings_for(tmp_path / "home", rate=100_000, names=[HOST], proxies=["127.0.0.1"])
    async with inside(settings) as served, served.client() as client:
        local = {"Host": "localhost"}
        for headers in (behind("203.0.113.7"), behind("127.0.0.1") | local, {"X-Forwarded-Proto": "http"}, local):
            for path, asked in (("tasks", draft), ("plans/submit", plan)):
                answer = await client.post(f"/api/v1/{path}", json=asked, headers=headers)
                assert answer.status_code == 422
                assert "[server] internal" in answer.json()["detail"]
    async with inside(settings_for(tmp_path / "other", rate=100_000)) as served, served.client() as client:
        assert (await client.post("/api/v1/tasks", json=draft)).status_code == 424  # was looked at
        told = await client.post("/api/v1/tasks", json=draft, headers={"X-Forwarded-Proto": "http"})
        assert told.status_code == 422


async def test_people_come_back_from_their_provider_to_where_the_proxy_is(tmp_path: Path) -> None:
    async with open_id() as provider:
        given = {"issuer": provider.url, "client_id": CLIENT, "client_secret": SecretStr(SECRET)}
        settings = settings_for(tmp_path / "home", rate=100_000, names=[HOST], proxies=["127.0.0.1"]).model_copy(
            update={"oidc": OidcSettings.model_validate(given)}
        )
        async with inside(settings) as served, served.stranger() as client:
            left = await client.get(START, headers=behind("203.0.113.7"))
    assert parse_qs(urlsplit(left.headers["location"]).query)["redirect_uri"] == [
        f"https://{HOST}/api/v1/session/oidc/callback"
    ]
    assert "Secure" in left.headers["set-cookie"]


@pytest.mark.parametrize(
    ("peer", "headers", "client", "scheme"),
    [
        ("10.1.2.3", [("for", "203.0.113.7")], "203.0.113.7", "http"),
        ("::ffff:10.1.2.3", [("for", "203.0.113.7")], "203.0.113.7", "http"),
        ("fd00::2", [("for", "[2001:DB8::7]:443")], "2001:db8::7", "http"),
        ("fd00::3", [("for", "203.0.113.7"), ("proto", "https")], "fd00::3", "http"),
        ("10.1.2.3", [("for", "198.51.100.1, 203.0.113.7, 10.0.0.9")], "203.0.113.7", "http"),
        ("10.1.2.3", [("for", "198.51.100.1"), ("for", "203.0.113.7")], "203.0.113.7", "http"),
        ("10.1.2.3", [("for", "10.0.0.8, 10.0.0.9")], "10.0.0.8", "http"),
        ("10.1.2.3", [("for", "203.0.113.7, somebody")], "10.1.2.3", "http"),
        ("10.1.2.3", [("for", "somebody, 10.0.0.9")], "10.0.0.9", "http"),
        ("10.1.2.3", [("for", "fe80::1%" + "x" * 99)], "fe80::1", "http"),
        ("10.1.2.3", [("for", "")], "10.1.2.3", "http"),
        ("10.1.2.3", [("proto", "HTTPS")], "10.1.2.3", "https"),
        ("10.1.2.3", [("proto", "http"), ("proto", "https, http")], "10.1.2.3", "https"),
        ("10.1.2.3", [("proto", "javascript")], "10.1.2.3", "http"),
        ("unknown", [("for", "203.0.113.7"), ("proto", "https")], "unknown", "http"),
    ],
)
def test_the_last_address_that_is_no_proxy_counts(
    peer: str, headers: list[tuple[str, str]], client: str, scheme: str
) -> None:
    scope: Scope = {
        "type": "http",
        "scheme": "http",
        "client": (peer, 5000),
        "headers": [(f"x-forwarded-{name}".encode(), value.encode()) for name, value in headers],
    }
    Proxies(["10.0.0.0/8", "fd00::2"]).look_behind(scope)
    assert (scope["client"][0], scope["scheme"]) == (client, scheme)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("localhost", "neither an address nor a network"),
        ("10.1.2.3/8", "neither an address nor a network"),
        ("*", "neither an address nor a network"),
        ("", "neither an address nor a network"),
        ("0.0.0.0/0", "is everybody"),
        ("::/0", "is everybody"),
        ("::ffff:10.1.2.3", "write the IPv4 address"),
    ],
)
def test_a_proxy_that_is_none_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    monkeypatch.setenv("EZAIGENT_SERVER__PROXIES", f'["127.0.0.1", "{value}"]')
    with pytest.raises(UsageError) as wrong:
        load_settings(home=tmp_path)
    line = str(wrong.value)
    assert "\n" not in line
    assert "'server.proxies'" in line
    assert f"{value!r}" in line
    assert said in line
