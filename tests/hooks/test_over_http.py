"""Webhooks through the doors: the API and the command line, on a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
from tests.api.conftest import environment, running, tokens_in
from tests.hooks.targets import Receiver
from tests.services.conditions import until


def _cli(home: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ezaigent", *words],
        env=environment(home, EZAIGENT_SERVER__INTERNAL='["127.0.0.1"]'),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


async def test_a_webhook_is_added_over_http_and_told_what_happens(tmp_path: Path, receiver: Receiver) -> None:
    import asyncio

    home = tmp_path / "home"
    tokens = await asyncio.to_thread(tokens_in, home)
    with running(home, "--no-worker", EZAIGENT_SERVER__INTERNAL='["127.0.0.1"]') as (_, said):
        headers = {"Authorization": f"Bearer {tokens['admin']}"}
        async with httpx.AsyncClient(base_url=said["url"], headers=headers, timeout=30) as client:
            refused = await client.post("/api/v1/webhooks", json={"url": "http://169.254.169.254/latest"})
            assert refused.status_code == 422
            assert "public internet" in refused.json()["detail"]
            answer = await client.post("/api/v1/webhooks", json={"url": receiver.url, "kinds": ["agent."]})
            assert answer.status_code == 201
            made = answer.json()
            place = answer.headers["Location"]
            assert (await client.post(f"{place}/test")).json()["ok"] is True
            await client.post("/api/v1/agents/all/pause")
            await until(lambda: len(receiver.got) == 2, what="the test message and the event are there")
            assert receiver.got[1].event["type"] == "agent.paused"
            assert all(got.signed_with(made["secret"]) for got in receiver.got)

            async def sent() -> bool:
                found = (await client.get(f"{place}/deliveries", params={"state": "sent", "limit": 1})).json()
                return [one["kind"] for one in found["items"]] == ["agent.paused"] and found["next"] is not None

            await until(sent, what="the delivery is listed")
            shown = await client.get("/api/v1/webhooks")
            assert made["secret"] not in shown.text
            assert shown.json()["items"][0]["id"] == made["id"]
            assert (await client.post(f"{place}/retry", json={})).json() == {"deliveries": 0}
            changed = await client.patch(place, json={"enabled": False}, headers={"If-Match": answer.headers["etag"]})
            assert changed.json()["enabled"] is False
            assert (await client.delete(place)).status_code == 204
            assert (await client.get(place)).status_code == 404


async def test_the_command_line_does_the_same(tmp_path: Path, receiver: Receiver) -> None:
    import asyncio

    home = tmp_path / "home"

    async def cli(*words: str, code: int = 0) -> str:
        return await asyncio.to_thread(_cli, home, *words, code=code)

    assert "no webhooks" in await cli("webhook", "list")
    assert "public internet" in await cli("webhook", "add", "http://10.0.0.1/", code=2)
    made = json.loads(await cli("webhook", "add", receiver.url, "--kind", "task.", "--off", "--json"))
    assert made["secret"].startswith("whsec_")
    assert "is on" in await cli("webhook", "on", made["id"][:8])
    assert "taken with 204" in await cli("webhook", "test", made["id"])
    receiver.answer = lambda _: 500
    assert "it answered 500" in await cli("webhook", "test", made["id"], code=1)
    assert json.loads(await cli("webhook", "test", made["id"], "--json", code=1))["status"] == 500
    listed = json.loads(await cli("webhook", "list", "--json"))
    assert [one["url"] for one in listed["items"]] == [receiver.url]
    assert "secret" not in listed["items"][0]
    assert receiver.url in await cli("webhook", "list")
    assert "no deliveries" in await cli("webhook", "deliveries", made["id"])
    assert json.loads(await cli("webhook", "deliveries", made["id"], "--json")) == {"items": []}
    assert "0 deliveries are sent again" in await cli("webhook", "retry", made["id"])
    assert "is off" in await cli("webhook", "off", made["id"])
    assert "is removed" in await cli("webhook", "remove", made["id"])
    assert "there is no webhook" in await cli("webhook", "remove", made["id"], code=2)
    said = await cli("webhook", "add", receiver.url)
    assert "whsec_" in said
    assert "not shown again" in said
