"""A change of a webhook is for what was seen of it, as one of a task is."""

from __future__ import annotations

import pytest
from tests.api.conftest import Inside

from ezaigent.core.errors import ConflictError
from ezaigent.store import Sql
from ezaigent.wiring import hooking

URL = "https://192.0.32.10/hook"  # on the public internet; nothing is sent there while it is off


async def test_a_webhook_is_changed_for_what_was_seen_of_it(served: Inside) -> None:
    async with served.client() as client:
        made = await client.post("/api/v1/webhooks", json={"url": URL, "kinds": ["task."], "enabled": False})
        where, seen = made.headers["location"], made.headers["etag"]
        assert (await client.get(where)).headers["etag"] == seen
        assert (await client.patch(where, json={"kinds": []})).status_code == 428
        narrowed = await client.patch(where, json={"kinds": ["task.review"]}, headers={"If-Match": seen})
        assert (narrowed.status_code, narrowed.json()["kinds"]) == (200, ["task.review"])
        late = await client.patch(where, json={"kinds": ["task.failed"]}, headers={"If-Match": seen})
        assert late.status_code == 412
        assert (await client.get(where)).json()["kinds"] == ["task.review"]
        newer = narrowed.headers["etag"]
        await served.db.write(lambda conn: Sql("UPDATE webhooks SET error = 'it answered 500'").run(conn))
        moved = await client.patch(where, json={"url": f"{URL}/2"}, headers={"If-Match": newer})
        assert moved.status_code == 200, "a delivery that failed meanwhile changes nothing that one can choose"
        assert (await client.patch(where, json={"kinds": []}, headers={"If-Match": newer})).status_code == 412
        anyhow = await client.patch(where, json={"kinds": []}, headers={"If-Match": "*"})
        assert (anyhow.json()["url"], anyhow.json()["kinds"]) == (f"{URL}/2", [])
        assert (await client.get(where)).headers["etag"] == anyhow.headers["etag"]
    events = await served.fleet.services.events.read(0, 500)
    assert len([event for event in events if event.kind == "webhook.changed"]) == 3


async def test_of_two_changes_in_one_moment_one_is_told(served: Inside) -> None:
    """Both were found up to date before either was written."""
    async with served.client() as client:
        given = (await client.post("/api/v1/webhooks", json={"url": URL, "enabled": False})).json()
        webhooks = hooking.webhooks(served.fleet.services)
        seen = await webhooks.get(given["id"])
        await webhooks.change(seen.id, kinds=["task."], by="one", seen=seen)
        with pytest.raises(ConflictError, match="changed meanwhile"):
            await webhooks.change(seen.id, kinds=["agent."], by="other", seen=seen)
        assert (await client.get(f"/api/v1/webhooks/{seen.id}")).json()["kinds"] == ["task."]
