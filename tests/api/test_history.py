"""The event log over HTTP, from the newest event back."""

from __future__ import annotations

from typing import Any

from tests.api.conftest import Inside

from ezaigent.store import NewEvent, emit_many

HISTORY = "/api/v1/events/history"


async def test_events_are_listed_newest_first_page_by_page(served: Inside) -> None:
    rows = [NewEvent("task.queued", f"t{number}", agent="x-1", data={"reason": "<b>"}) for number in range(5)]
    rows += [NewEvent("agent.paused", agent="x-2", data={"target": "x-2", "by": "tim"})]
    await served.db.write(lambda conn: emit_many(conn, rows))
    async with served.client() as client:

        async def get(**asked: Any) -> dict[str, Any]:
            answer = await client.get(HISTORY, params=asked)
            assert answer.status_code == 200, answer.text
            body: dict[str, Any] = answer.json()
            return body

        page = await get(limit=2)
        assert [one["kind"] for one in page["items"]] == ["agent.paused", "task.queued"]
        seen = list(page["items"])
        while page["next"] is not None:
            page = await get(limit=2, before=page["next"])
            seen += page["items"]
        numbers = [one["seq"] for one in seen]
        assert numbers == sorted(set(numbers), reverse=True)
        assert [one["task_id"] for one in seen if one["kind"] == "task.queued"] == ["t4", "t3", "t2", "t1", "t0"]
        assert [one["task_id"] for one in (await get(kind=["task."], agent="x-1", limit=2))["items"]] == ["t4", "t3"]
        assert [one["kind"] for one in (await get(kind=["agent.paused", "task."], limit=2))["items"]] == [
            "agent.paused",
            "task.queued",
        ]
        assert [one["data"] for one in (await get(task="t1"))["items"]] == [{"reason": "<b>"}]
        assert [one["kind"] for one in (await get(by="tim"))["items"]] == ["agent.paused"]
        assert await get(kind=["nothing."]) == {"items": [], "next": None}
        assert (await client.get(HISTORY, params={"limit": 1001})).status_code == 422


async def test_audit_events_are_for_administrators(served: Inside) -> None:
    _, token = await served.accounts.create_token("weak", "operate", owner=None, days=None, by="t", address="t")
    async with served.client() as admin, served.client(token) as operator:
        kinds = {one["kind"] for one in (await admin.get(HISTORY)).json()["items"]}
        assert "audit.credential" in kinds
        for asked in ({}, {"kind": ["audit."]}, {"kind": ["audit.credential"]}):
            shown = (await operator.get(HISTORY, params=asked)).json()["items"]
            assert [one for one in shown if one["kind"].startswith("audit.")] == []
