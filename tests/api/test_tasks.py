"""Tasks over HTTP: submit once, look page by page, edit what is meant, and every text arrives as text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from pydantic import SecretStr
from tests.api.conftest import Inside, Place, inside, settings_for

from ezaigent.core.change import Change
from ezaigent.core.settings import ProviderSettings
from ezaigent.fleet import seats
from ezaigent.fleet.leader import LAUNCHING, Election
from ezaigent.store import NewEvent, Sql, emit_many
from ezaigent.tasks import NewTask, Slot, pending_messages

XSS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "</script><svg onload=alert(1)>",
    "{{constructor.constructor('alert(1)')()}}",
    "\u2028\u2029\r\n\r\ndata: {}\n\nevent: bye\n",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "\x1b[2J\x07 \U0001f600 \u202e",
)


@pytest.fixture
def api(place: Place) -> Iterator[httpx.Client]:
    with place.client("operate") as client:
        yield client


def draft(place: Place, **more: Any) -> dict[str, Any]:
    return {"prompt": "Mend the test", "repo": str(place.repo), **more}


def test_a_task_is_submitted_looked_at_and_steered(place: Place, api: httpx.Client) -> None:
    made = api.post(
        "/api/v1/tasks",
        json=draft(place, title="Mend", priority="high", checks=["true"], scope=["tests/**"], budget_usd=1.5),
    )
    assert made.status_code == 201
    task = made.json()
    assert made.headers["location"] == f"/api/v1/tasks/{task['id']}"
    assert (task["state"], task["priority"], task["budget_usd"]) == ("queued", "high", 1.5)
    assert (task["wanted_checks"], task["scope"], task["checks"]) == (["true"], ["tests/**"], [])
    where = f"/api/v1/tasks/{task['id']}"
    seen = api.get(where)
    assert seen.json() == task
    assert api.get(where, headers={"If-None-Match": seen.headers["etag"]}).status_code == 304
    assert "no living worker" in api.get(f"{where}/why").json()["why"]
    assert api.get(f"{where}/diff").status_code == 404  # no machine has worked it yet
    logs = api.get(f"{where}/logs").json()
    assert [event["kind"] for event in logs["items"]] == ["task.submitted"]
    assert logs["next"] is None
    assert api.post(f"{where}/cancel").json()["state"] == "cancelled"
    assert api.get(where, headers={"If-None-Match": seen.headers["etag"]}).status_code == 200
    assert api.post(f"{where}/retry").json()["state"] == "queued"
    for verb in ("approve", "merge", "retry"):
        assert api.post(f"{where}/{verb}").status_code == 409
    api.post(f"{where}/cancel")


def test_the_same_key_is_the_same_task(place: Place, api: httpx.Client) -> None:
    key = {"Idempotency-Key": "one-and-only"}
    first = [api.post("/api/v1/tasks", json=draft(place), headers=key) for _ in range(5)]
    assert {answer.status_code for answer in first} == {201}
    assert len({answer.json()["id"] for answer in first}) == 1
    other = api.post("/api/v1/tasks", json=draft(place, prompt="Something else"), headers=key)
    assert other.status_code == 422
    assert first[0].json()["id"] in other.json()["detail"]


async def test_a_key_used_again_asks_for_the_same_in_every_field(served: Inside, place: Place) -> None:
    async with served.client() as client:
        needed = (await client.post("/api/v1/tasks", json=draft(place), headers={"Idempotency-Key": "first"})).json()
        asked: dict[str, Any] = draft(place, checks=["true"], budget_usd=2, needs=["first"], profile="mechanic")
        key = {"Idempotency-Key": "second"}
        task = (await client.post("/api/v1/tasks", json=asked, headers=key)).json()
        assert task["needs"] == [needed["id"]]
        for field, other in (
            ("prompt", "Something else"),
            ("base", "HEAD"),
            ("title", "Mend"),
            ("profile", "claude"),
            ("profile", None),
            ("priority", "high"),
            ("needs", []),
            ("scope", ["tests/**"]),
            ("checks", ["true", "false"]),
            ("checks", []),
            ("budget_usd", 3),
            ("budget_usd", None),
            ("not_before", 4e9),
            ("max_attempts", 1),
        ):
            refused = await client.post("/api/v1/tasks", json=asked | {field: other}, headers=key)
            assert (refused.status_code, field) == (422, field)
            assert task["id"] in refused.json()["detail"]
        where = f"/api/v1/tasks/{task['id']}"
        edit = {"prompt": "Edited", "title": "Edited", "priority": "low"}
        assert (await client.patch(where, json=edit, headers={"If-Match": "*"})).status_code == 200
        again = await client.post("/api/v1/tasks", json=asked, headers=key)  # the same request, sent late
        assert (again.status_code, again.json()["id"], again.json()["prompt"]) == (201, task["id"], "Edited")
        await served.db.write(
            lambda conn: Sql("UPDATE events SET data = '{}' WHERE task_id = $1").run(conn, task["id"])
        )
        old = {"prompt": "Edited", "repo": str(place.repo)}  # submitted by a release that kept no draft
        assert (await client.post("/api/v1/tasks", json=old, headers=key)).json()["id"] == task["id"]
        assert (await client.post("/api/v1/tasks", json=asked, headers=key)).status_code == 422


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"repo": "/nowhere/at/all"}, 422),
        ({"profile": "nobody"}, 422),
        ({"needs": ["0000000000000000"]}, 404),
        ({"base": "no-such-branch"}, 422),
        ({"prompt": ""}, 422),
        ({"prompt": "a\u0000b"}, 422),
        ({"priority": "urgent"}, 422),
        ({"budget_usd": -1}, 422),
        ({"unknown": 1}, 422),
    ],
)
def test_a_task_that_cannot_be_worked_is_refused(
    place: Place, api: httpx.Client, change: dict[str, Any], status: int
) -> None:
    answer = api.post("/api/v1/tasks", json=draft(place) | change)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_that_is_no_json_is_refused_without_repeating_it(place: Place) -> None:
    with place.client(None) as client:
        answer = client.post("/api/v1/session", json={"name": "x", "password": 12345678})
        assert answer.status_code == 422
        assert "12345678" not in answer.text
        assert answer.json()["errors"][0]["where"] == ["body", "password"]
    with place.client("operate") as client:
        assert client.post("/api/v1/tasks", content=b"{").status_code == 422
        assert client.post("/api/v1/tasks", content=b"\xff\xfe").status_code == 422


async def test_pages_follow_each_other_without_gap_or_duplicate(served: Inside) -> None:
    queue = served.fleet.services.queue
    made = [
        task.id
        for task in await queue.submit_many(
            [
                NewTask(prompt=f"do {number}", repo="/srv/a" if number % 2 else "/srv/b", title=f"Title {number}")
                for number in range(120)
            ]
        )
    ]
    await queue.cancel(made[5], by="test")
    await queue.cancel(made[60], by="test")
    async with served.client() as client:
        assert await _all(client, limit=50) == made[::-1]
        assert await _all(client, limit=7, repo="/srv/a") == made[1::2][::-1]
        assert await _all(client, limit=1, state="cancelled") == [made[60], made[5]]
        assert await _all(client, limit=9, state=["cancelled", "queued"]) == made[::-1]
        assert await _all(client, text="TITLE 11") == [made[number] for number in range(119, 109, -1)] + [made[11]]
        assert await _all(client, text="100%") == []
        assert await _all(client, since=4e9) == []
        assert await _all(client, since=1.0, limit=100) == made[::-1]
        assert await _all(client, profile="claude") == []


async def _all(client: httpx.AsyncClient, **params: Any) -> list[str]:
    found: list[str] = []
    while True:
        page = (await client.get("/api/v1/tasks", params=params)).json()
        assert len(page["items"]) <= params.get("limit", 50)
        found += [item["id"] for item in page["items"]]
        if page["next"] is None:
            return found
        params["cursor"] = page["next"]


async def test_an_edit_is_for_what_was_seen(served: Inside) -> None:
    task = await served.fleet.services.queue.submit(NewTask(prompt="one", repo="/srv/a"))
    where = f"/api/v1/tasks/{task.id}"
    async with served.client() as client:
        seen = (await client.get(where)).headers["etag"]
        assert (await client.patch(where, json={"title": "New"})).status_code == 428
        edited = await client.patch(where, json={"title": "New", "priority": "low"}, headers={"If-Match": seen})
        assert (edited.json()["title"], edited.json()["priority"], edited.json()["prompt"]) == ("New", "low", "one")
        stale = await client.patch(where, json={"title": "Late"}, headers={"If-Match": seen})
        assert stale.status_code == 412
        again = await client.patch(where, json={"prompt": "two"}, headers={"If-Match": edited.headers["etag"]})
        assert again.json()["prompt"] == "two"
        await served.db.write(lambda conn: Sql("UPDATE tasks SET state = 'done' WHERE id = $1").run(conn, task.id))
        late = await client.patch(where, json={"title": "x"}, headers={"If-Match": "*"})
        assert late.status_code == 409
    events = await served.fleet.services.events.read(0, task_id=task.id)
    assert [(one.kind, one.data.get("fields")) for one in events][1:3] == [
        ("task.edited", ["priority", "title"]),
        ("task.edited", ["prompt"]),
    ]


@pytest.mark.parametrize("text", XSS)
async def test_hostile_text_comes_back_as_the_same_text_and_never_as_a_page(served: Inside, text: str) -> None:
    task = await served.fleet.services.queue.submit(NewTask(prompt=text, repo="/srv/a", title=text))
    await served.db.write(
        lambda conn: emit_many(conn, [NewEvent("run.step", task_id=task.id, data={"name": text, "what": text})])
    )
    async with served.client() as client:
        for path, field in ((f"/api/v1/tasks/{task.id}", "prompt"), (f"/api/v1/tasks/{task.id}", "title")):
            answer = await client.get(path)
            assert answer.json()[field] == text
            _inert(answer)
        listed = await client.get("/api/v1/tasks")
        assert listed.json()["items"][0]["title"] == text
        _inert(listed)
        logs = await client.get(f"/api/v1/tasks/{task.id}/logs")
        assert logs.json()["items"][-1]["data"]["name"] == text
        _inert(logs)
        name = quote(text.encode("utf-8", "replace"), safe="")
        for path in (f"/api/v1/tasks/{name}", f"/api/v1/tasks/{name}/why"):
            _inert(await client.get(path))


def _inert(answer: httpx.Response) -> None:
    assert answer.headers["content-type"] in {"application/json", "application/problem+json"}
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_agents_are_listed_by_status_and_profile(served: Inside) -> None:
    await served.db.write(lambda conn: seats.order(conn, "mistral", 2))
    term = await Election(served.db, LAUNCHING, "launcher", lease=600).campaign()  # somebody starts workers for them
    assert term is not None
    for paused in ("mistral-2", "gpt-7"):
        await served.fleet.services.queue.pause(paused, by="me")
    async with served.client() as client:

        async def shown(**wanted: list[str]) -> list[tuple[str, str]]:
            answer = await client.get("/api/v1/agents", params=wanted)
            assert answer.status_code == 200, answer.text
            return [(one["name"], one["status"]) for one in answer.json()["items"]]

        first, second, absent = ("mistral-1", "starting"), ("mistral-2", "paused"), ("gpt-7", "offline")
        assert await shown() == [first, second, absent]
        assert await shown(status=["paused"]) == [second]
        assert await shown(status=["offline", "starting"]) == [first, absent]
        assert await shown(profile=["gpt", "claude"]) == [absent]
        assert await shown(profile=["mistral"], status=["starting", "offline"]) == [first]
        assert await shown(profile=["mistra"]) == []
        refused = await client.get("/api/v1/agents", params={"status": "asleep"})
        assert refused.status_code == 422


async def test_agents_queue_costs_and_autoscaler_are_there(served: Inside) -> None:
    async with served.client() as client:
        assert (await client.get("/api/v1/agents")).json() == {"items": []}
        assert (await client.get("/api/v1/queue")).json()["states"]["queued"] == 0
        costs = (await client.get("/api/v1/costs", params={"by": "model"})).json()
        assert (costs["total"]["calls"], costs["items"]) == (0, [])
        assert (await client.post("/api/v1/agents/mechanic-9/message", json={"text": "hello"})).status_code == 404
        seen = await client.get("/api/v1/autoscaler")
        assert seen.json()["status"]["state"] == "no leader"
        given = {"changes": {"max": 7}}
        assert (await client.put("/api/v1/autoscaler", json=given)).status_code == 428
        match = {"If-Match": seen.headers["etag"]}
        changed = await client.put("/api/v1/autoscaler", json=given, headers=match)
        assert changed.json()["settings"]["max"] == 7
        assert (await client.put("/api/v1/autoscaler", json=given, headers=match)).status_code == 412
        wrong = await client.put("/api/v1/autoscaler", json={"changes": {"max": -1}}, headers={"If-Match": "*"})
        assert wrong.status_code == 422
        assert (await client.post("/api/v1/autoscaler/control", json={"action": "stop"})).json()["status"][
            "state"
        ] == "stopped"
        again = await client.post("/api/v1/autoscaler/control", json={"action": "restart"})
        assert again.json()["status"]["state"] == "no leader"
        assert (await client.get("/api/v1/autoscaler/history")).json() == {"items": [], "next": None}
        for by in ("repo", "hour"):
            assert (await client.get("/api/v1/costs", params={"by": by})).json()["items"] == []
        kinds = {one["name"]: one for one in (await client.get("/api/v1/profiles")).json()["items"]}
        assert kinds["mechanic"]["model"] is None
        assert kinds["claude"]["model"].startswith("anthropic:")
        past = (await client.get("/api/v1/autoscaler/series", params={"hours": 1, "slices": 4})).json()
        assert [point["queued"] for point in past["points"]] == [0, 0, 0, 0]
        trial = {"changes": {"max": 9}, "pool": "mechanic"}
        assert (await client.post("/api/v1/autoscaler/preview", json=trial)).json()["tasks"] == 0
        refused = await client.post("/api/v1/autoscaler/preview", json={**trial, "changes": {"max": -1}})
        assert refused.status_code == 422


async def test_providers_are_listed_without_their_keys(tmp_path: Path) -> None:
    settings = settings_for(tmp_path / "home").model_copy(
        update={
            "providers": {
                "own": ProviderSettings(
                    base_url="https://me:secret@models.example/v1?key=secret", api_key=SecretStr("sk-secret")
                )
            }
        }
    )
    async with inside(settings) as served, served.client() as client:
        answer = await client.get("/api/v1/providers")
        assert "secret" not in answer.text
        own = next(one for one in answer.json()["items"] if one["name"] == "own")
        assert own == {
            "name": "own",
            "key": True,
            "variables": ["OWN_API_KEY"],
            "base_url": "https://models.example/v1",
        }
        assert {one["name"] for one in answer.json()["items"]} >= {"anthropic", "openai"}


async def test_comments_reach_the_agent_as_one_message(served: Inside) -> None:
    queue = served.fleet.services.queue
    task = await queue.submit(NewTask(prompt="Do it.", repo="/srv/shop", profile="claude"))
    claim = (await queue.claim("w", [Slot(agent="claude-1", profile="claude")]))[0]
    change = Change(branch="b", commit="c" * 40, tree="t", base="b" * 40, files=1)
    await queue.finish(claim, change)
    comments = [
        {"path": "a.py", "line": 3, "side": "old", "code": "x = `1`", "text": "Why this?"},
        {"path": "b.py", "line": 7, "text": "And this?"},
    ]
    async with served.client() as client:
        where = f"/api/v1/tasks/{task.id}/feedback"
        assert (await client.post(where, json={})).status_code == 422
        sent = await client.post(where, json={"comments": comments, "text": "Otherwise fine."})
        assert sent.json()["state"] == "queued"
        assert (await client.post(where, json={"text": "again"})).status_code == 409
    waiting = await served.db.read(lambda conn: pending_messages(conn, agent="claude-1", task_id=task.id))
    [message] = waiting
    assert message.text.split("\n\n") == [
        "This is what token test says about your change.",
        "This is about `a.py`, line 3 before the change, `x = '1'`:",
        "Why this?",
        "This is about `b.py`, line 7 after the change:",
        "And this?",
        "Otherwise fine.",
    ]
