"""Nothing is served to whom it is not meant for: every route of the OpenAPI document, without and with too little."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from tests.api.conftest import PASSWORD, SCOPES, Inside, Place, inside, settings_for

from ezaigent.api import bare_app

LEVEL = {scope: level for level, scope in enumerate(SCOPES)}


class Route(NamedTuple):
    method: str
    path: str
    access: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def _routes() -> Iterator[Route]:
    for path, methods in bare_app().openapi()["paths"].items():
        for method, described in methods.items():
            yield Route(method.upper(), re.sub(r"\{\w+\}", "0123456789abcdef", path), described["x-access"])


ROUTES = list(_routes())
CLOSED = [route for route in ROUTES if route.access != "public"]
WEAK = [(route, scope) for route in CLOSED for scope in SCOPES if LEVEL[scope] < LEVEL[route.access]]


def _problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["type"].startswith("urn:ezaigent:problem:")
    assert body["request"] == answer.headers["x-request-id"]
    assert "\n" not in body["detail"]
    return body


def test_only_the_probes_and_the_ways_in_are_open() -> None:
    assert {str(route) for route in ROUTES if route.access == "public"} == {
        "GET /healthz",
        "GET /readyz",
        "GET /api/v1/session/ways",
        "POST /api/v1/session",
        "POST /api/v1/setup",
        "POST /api/v1/webhooks/github",  # its credential is the signature: tests/hooks/test_github.py
    }


@pytest.mark.parametrize("route", CLOSED, ids=str)
def test_without_a_credential_nothing_is_done(place: Place, route: Route) -> None:
    with place.client(None) as client:
        answer = client.request(route.method, route.path)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        _problem(answer, 401)
        _problem(client.request(route.method, route.path, content=b"{ no JSON", headers={"If-Match": "x"}), 401)


@pytest.mark.parametrize("route", CLOSED, ids=str)
def test_a_wrong_credential_is_none(place: Place, route: Route) -> None:
    with place.client(None) as client:
        for wrong in ("Bearer nonsense", "Bearer eza_0123456789abcdef_" + "A" * 43, "Basic YTpi", "Bearer", ""):
            _problem(client.request(route.method, route.path, headers={"Authorization": wrong}), 401)
        for cookie in ("ezaigent_session=nonsense", "ezaigent_session=", "ezaigent_session", "a=b; ezaigent_session=x"):
            _problem(client.request(route.method, route.path, headers={"Cookie": cookie}), 401)


@pytest.mark.parametrize(("route", "scope"), WEAK, ids=str)
def test_too_weak_a_token_is_refused(place: Place, route: Route, scope: str) -> None:
    with place.client(scope) as client:
        assert scope in _problem(client.request(route.method, route.path), 403)["detail"]


def test_what_is_not_there_is_not_told_to_strangers(place: Place) -> None:
    with place.client(None) as client:
        for path in ("/api/v1/nothing", "/docs", "/redoc", "/api", "/api/v1/tasks/../../x", "//api/v1/tasks"):
            _problem(client.get(path), 401)
    with place.client("read") as client:
        _problem(client.get("/api/v1/nothing"), 404)
        _problem(client.delete("/api/v1/queue"), 405)


def test_a_page_of_another_site_may_not_use_the_server(place: Place) -> None:
    with place.client("admin") as client:
        for origin in ("https://evil.example", "null", "http://127.0.0.1:1", "file://"):
            _problem(client.get("/api/v1/queue", headers={"Origin": origin}), 403)
            _problem(client.post("/api/v1/agents/all/pause", headers={"Origin": origin}), 403)
        _problem(client.post("/api/v1/agents/all/pause", headers={"Sec-Fetch-Site": "cross-site"}), 403)
        assert client.get("/api/v1/queue", headers={"Origin": place.url}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", ""])
def test_another_host_name_is_refused(place: Place, host: str) -> None:
    """A name that somebody else owns can be made to point here, and a browser would call it the same site."""
    with place.client("admin") as client:
        _problem(client.get("/api/v1/queue", headers={"Host": host}), 421)
        assert client.get("/healthz", headers={"Host": host}).status_code == 200


async def test_a_person_signs_in_changes_something_and_signs_out(served: Inside) -> None:
    await served.accounts.add_user("anna", PASSWORD, "operator", by="test", address="test")
    async with served.stranger() as client:
        answer = await client.post("/api/v1/session", json={"name": "anna", "password": PASSWORD})
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        me = answer.json()
        assert (me["name"], me["access"], me["via"]) == ("anna", "operate", "session")
        word = {"X-CSRF-Token": me["csrf"]}
        _problem(await client.post("/api/v1/agents/mechanic/pause"), 403)
        _problem(await client.post("/api/v1/agents/mechanic/pause", headers={"X-CSRF-Token": "0" * 64}), 403)
        assert (await client.post("/api/v1/agents/mechanic/pause", headers=word)).status_code == 200
        assert (await client.get("/api/v1/session")).json()["csrf"] == me["csrf"]
        _problem(await client.get("/api/v1/users"), 403)
        kept = client.cookies["ezaigent_session"]
        assert (await client.delete("/api/v1/session", headers=word)).status_code == 204
        assert "ezaigent_session" not in client.cookies
        _problem(await client.get("/api/v1/session", headers={"Cookie": f"ezaigent_session={kept}"}), 401)
    events = await served.fleet.services.events.read(0, 500)
    changes = [event.data for event in events if event.kind == "audit.change" and event.data["by"] == "anna"]
    assert [(one["action"], one["target"], one["address"]) for one in changes] == [
        ("pause_agent", {"name": "mechanic"}, "127.0.0.1"),
        ("sign_out", {}, "127.0.0.1"),
    ]
    assert [event.data["by"] for event in events if event.kind == "audit.login"] == ["anna"]
    assert [event.data["by"] for event in events if event.kind == "agent.paused"] == ["anna"]


async def test_a_refused_change_is_written_down(served: Inside) -> None:
    _, weak = await served.accounts.create_token("weak", "read", owner=None, days=None, by="test", address="test")
    async with served.client(weak) as client:
        _problem(await client.post("/api/v1/agents/all/pause"), 403)
    refused = [event for event in await served.fleet.services.events.read(0) if event.kind == "audit.refused"]
    assert [(event.data["by"], event.data["action"]) for event in refused] == [("token weak", "pause_agent")]


async def test_a_token_is_no_mightier_than_its_owner_and_goes_with_them(served: Inside) -> None:
    await served.accounts.add_user("ben", PASSWORD, "operator", by="test", address="test")
    async with served.stranger() as client:
        me = (await client.post("/api/v1/session", json={"name": "ben", "password": PASSWORD})).json()
        word = {"X-CSRF-Token": me["csrf"]}
        _problem(await client.post("/api/v1/tokens", json={"name": "x", "scope": "admin"}, headers=word), 403)
        made = (await client.post("/api/v1/tokens", json={"name": "x", "scope": "operate"}, headers=word)).json()
        listed = (await client.get("/api/v1/tokens")).json()["items"]
        assert [one["id"] for one in listed] == [made["id"]]
        assert made["token"] not in str(listed)
    async with served.client(made["token"]) as program:
        assert (await program.get("/api/v1/queue")).status_code == 200
        _problem(await program.post("/api/v1/tokens", json={"name": "y"}), 403)
        await served.accounts.remove_user("ben", by="test", address="test")
        _problem(await program.get("/api/v1/queue"), 401)


async def test_a_revoked_token_opens_nothing(served: Inside) -> None:
    view, token = await served.accounts.create_token("gone", "admin", owner=None, days=None, by="t", address="t")
    async with served.client() as admin, served.client(token) as program:
        assert (await program.get("/api/v1/queue")).status_code == 200
        assert (await admin.delete(f"/api/v1/tokens/{view.id}")).status_code == 204
        _problem(await program.get("/api/v1/queue"), 401)
        _problem(await admin.delete(f"/api/v1/tokens/{view.id}"), 404)


async def test_the_database_holds_no_secret(served: Inside) -> None:
    await served.accounts.add_user("cleo", PASSWORD, "viewer", by="test", address="test")
    async with served.stranger() as client:
        await client.post("/api/v1/session", json={"name": "cleo", "password": PASSWORD})
        session = client.cookies["ezaigent_session"]
    folder = served.fleet.settings.home
    stored = b"".join(path.read_bytes() for path in folder.glob("ezaigent.db*"))
    for secret in (PASSWORD, session, served.token.split("_", 2)[2]):
        assert secret.encode() not in stored
    assert b"$argon2id$" in stored


@pytest.mark.usefixtures("timeless")
async def test_wrong_passwords_are_slowed_down(served: Inside) -> None:
    await served.accounts.add_user("dora", PASSWORD, "viewer", by="test", address="test")
    async with served.stranger() as client:
        wrong = {"name": "dora", "password": "wrong"}
        first = [(await client.post("/api/v1/session", json=wrong)).status_code for _ in range(5)]
        assert first == [401] * 5
        answer = await client.post("/api/v1/session", json={"name": "dora", "password": PASSWORD})
        assert int(answer.headers["retry-after"]) >= 1
        _problem(answer, 429)
        assert (await client.post("/api/v1/session", json={"name": "nobody", "password": "x"})).status_code == 401
    failed = [event for event in await served.fleet.services.events.read(0) if event.kind == "audit.login_failed"]
    assert [event.data["by"] for event in failed] == ["dora"] * 5 + ["nobody"]


@pytest.mark.usefixtures("timeless")
async def test_good_sign_ins_never_wait(served: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezaigent.api.throttle._FREE", 1)  # ten wrong tries from one address, instead of fifty
    await served.accounts.add_user("emil", PASSWORD, "viewer", by="test", address="test")
    good = {"name": "emil", "password": PASSWORD}
    async with served.stranger() as client:
        assert [(await client.post("/api/v1/session", json=good)).status_code for _ in range(12)] == [200] * 12
        for number in range(10):
            wrong = {"name": f"nobody-{number}", "password": "x"}
            assert (await client.post("/api/v1/session", json=wrong)).status_code == 401
        _problem(await client.post("/api/v1/session", json=good), 429)


async def test_one_caller_cannot_ask_without_end(tmp_path: Any) -> None:
    async with inside(settings_for(tmp_path / "home", rate=5)) as served, served.client() as client:
        answers = [await client.get("/api/v1/session") for _ in range(40)]
        late = [answer for answer in answers if answer.status_code == 429]
        assert late
        assert late[0].headers["retry-after"]
        _problem(late[0], 429)
        _, other = await served.accounts.create_token("other", "read", owner=None, days=None, by="t", address="t")
        async with served.client(other) as calm:
            assert (await calm.get("/api/v1/session")).status_code == 200
        async with served.stranger() as stranger:
            refused = [(await stranger.get("/api/v1/session")).status_code for _ in range(10)]
            assert set(refused) == {401, 429}


def test_bodies_and_headers_have_limits(place: Place) -> None:
    with place.client("operate") as client:
        _problem(client.post("/api/v1/tasks", content=b"x" * (3 * 1024**2)), 413)
        pieces = (b"x" * 65536 for _ in range(48))
        _problem(client.post("/api/v1/tasks", content=pieces), 413)
        _problem(client.get("/api/v1/queue", headers={"X-Long": "x" * 20_000}), 431)
    with place.client("operate") as client:
        try:
            status = client.get("/api/v1/queue", headers={"X-Longer": "x" * 1_000_000}).status_code
        except httpx.TransportError:  # closed on us while we were still sending
            status = 400
        assert status in {400, 431}
        assert client.get("/api/v1/queue").status_code == 200


def test_answers_tell_browsers_to_run_nothing(place: Place) -> None:
    with place.client("read") as client:
        for path in ("/api/v1/tasks", "/healthz", "/api/v1/nothing", "/metrics", "/openapi.json"):
            headers = client.get(path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["content-security-policy"].startswith("default-src 'none'; frame-ancestors 'none'")
            assert headers["x-frame-options"] == "DENY"
            assert headers["cache-control"] == "no-store"
            assert "server" not in headers
            assert not headers["content-type"].startswith("text/html")
