"""Notifications over HTTP: each person has their own browsers, a program has none."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.conftest import PASSWORD, Inside, inside, settings_for
from tests.push.services import PushService, push_service


@pytest.fixture
async def service() -> AsyncIterator[PushService]:
    async with push_service() as started:
        yield started


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Inside]:
    """A server for which this machine may be a push service, with an operator and an administrator."""
    settings = settings_for(tmp_path / "home", rate=100_000, internal=["127.0.0.1"])
    async with inside(settings) as started:
        await started.accounts.add_user("ada", PASSWORD, "operator", by="test", address="test")
        await started.accounts.add_user("root", PASSWORD, "admin", by="test", address="test")
        yield started


@asynccontextmanager
async def person(here: Inside, name: str) -> AsyncGenerator[httpx.AsyncClient]:
    """Sign in as a browser does."""
    async with here.stranger() as client:
        me = await client.post("/api/v1/session", json={"name": name, "password": PASSWORD})
        client.headers["X-CSRF-Token"] = me.json()["csrf"]
        yield client


def browser(service: PushService, name: str, **more: Any) -> dict[str, Any]:
    return {"endpoint": service.endpoint(name), "keys": service.client(name).keys, "kinds": ["failures"], **more}


async def test_a_person_s_browsers_are_their_own_also_before_an_administrator(
    here: Inside, service: PushService
) -> None:
    async with person(here, "ada") as ada, person(here, "root") as root:
        made = await ada.post("/api/v1/push", json=browser(service, "phone", label="Chrome on Android"))
        assert made.status_code == 201
        key = made.json()["id"]
        assert "endpoint" not in made.json(), "who knows it can notify the browser"
        listed = (await ada.get("/api/v1/push")).json()
        assert listed["items"] == [made.json()]
        assert (made.json()["label"], made.json()["service"]) == ("Chrome on Android", "127.0.0.1")
        seen = (await root.get("/api/v1/push")).json()
        assert (seen["items"], seen["public_key"]) == ([], listed["public_key"])
        assert (await root.patch(f"/api/v1/push/{key}", json={"kinds": []})).status_code == 404
        assert (await root.post(f"/api/v1/push/{key}/trial")).status_code == 404
        assert (await root.delete(f"/api/v1/push/{key}")).status_code == 404
        changed = await ada.patch(f"/api/v1/push/{key}", json={"kinds": ["approvals", "budget"]})
        assert changed.json()["kinds"] == ["approvals", "budget"]
        assert (await ada.post(f"/api/v1/push/{key}/trial")).json() == {"ok": True, "error": ""}
        assert service.got[0].signed_by(listed["public_key"])["sub"].startswith("mailto:")
        assert (await ada.delete(f"/api/v1/push/{key}")).status_code == 204
        assert (await ada.get("/api/v1/push")).json()["items"] == []


async def test_a_browser_that_is_gone_is_forgotten_at_the_trial(here: Inside, service: PushService) -> None:
    async with person(here, "ada") as ada:
        key = (await ada.post("/api/v1/push", json=browser(service, "old"))).json()["id"]
        service.answer = lambda _name, _times: 410
        assert (await ada.post(f"/api/v1/push/{key}/trial")).json() == {"ok": False, "error": "it answered 410"}
        assert (await ada.get("/api/v1/push")).json()["items"] == []


async def test_a_person_who_comes_again_under_the_same_name_has_none_of_the_old_browsers(
    here: Inside, service: PushService
) -> None:
    async with person(here, "ada") as ada:
        assert (await ada.post("/api/v1/push", json=browser(service, "old"))).status_code == 201
    await here.accounts.remove_user("ada", by="test", address="test")
    await here.accounts.add_user("ada", PASSWORD, "viewer", by="test", address="test")
    async with person(here, "ada") as ada:
        assert (await ada.get("/api/v1/push")).json()["items"] == []


async def test_a_program_has_no_browser(here: Inside, service: PushService) -> None:
    async with here.client() as client:
        for answer in (await client.get("/api/v1/push"), await client.post("/api/v1/push", json=browser(service, "x"))):
            assert answer.status_code == 403
            assert "sign in" in answer.json()["detail"]


async def test_a_page_of_another_site_cannot_subscribe(here: Inside, service: PushService) -> None:
    async with person(here, "ada") as ada:
        del ada.headers["X-CSRF-Token"]
        assert (await ada.post("/api/v1/push", json=browser(service, "x"))).status_code == 403
        assert (await ada.get("/api/v1/push")).json()["items"] == []


async def test_a_server_that_allows_nothing_inside_refuses_such_an_endpoint(
    served: Inside, service: PushService
) -> None:
    await served.accounts.add_user("ada", PASSWORD, "viewer", by="test", address="test")
    async with person(served, "ada") as ada:
        for endpoint in (service.endpoint("x"), "https://192.168.1.1/x", "https://localhost.localdomain@10.1.1.1/"):
            answer = await ada.post("/api/v1/push", json=browser(service, "x", endpoint=endpoint))
            assert answer.status_code in {400, 422}, answer.text
        wrong = await ada.post("/api/v1/push", json=browser(service, "x", kinds=["everything"]))
        assert wrong.status_code == 422
    assert service.got == []
