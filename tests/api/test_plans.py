"""Plans over HTTP: a document becomes a graph; an edited one is queued whole, once, or not at all."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.agents.stage import settings_for as models_at
from tests.api.conftest import Inside, inside

from ezaigent.cli.demo import build
from ezaigent.core.settings import ChatSettings, ProfileSettings
from ezaigent.store import Sql
from ezaigent.testing import ModelServer, ToolCall, from_steps

PLANS = "/api/v1/plans"
PRD = "# Shop\n\n- [ ] Write the changelog\n- [x] Found a company\n"
LIST = (
    "1. Add a price\n2. Show the price in the cart (high)\n3. Sum it up, depends on #1\n\n## Checks\n\n- `make test`\n"
)


async def _queued(served: Inside) -> int:
    return len(await served.fleet.services.queue.list())


async def _drafted(client: httpx.AsyncClient, text: str, **more: Any) -> dict[str, Any]:
    answer = await client.post(PLANS, json={"text": text, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_document_is_drafted_edited_and_queued_once(served: Inside, tmp_path: Path) -> None:
    repo = str(build(tmp_path))
    async with served.client() as client:
        drafted = await _drafted(client, LIST, repo=repo)
        plan = drafted["plan"]
        assert (plan["repo"], drafted["profile"]) == (repo, None)
        first, second, third = plan["tasks"]
        assert (second["needs"], second["priority"]) == ([first["name"]], "high")
        assert third["needs"] == [first["name"], second["name"]]
        assert all(task["checks"] == ["make test"] for task in plan["tasks"])
        assert await _queued(served) == 0

        first["scope"], second["title"] = ["shop/**"], "In the cart"
        key = {"Idempotency-Key": "monday"}
        answers = await asyncio.gather(
            *(client.post(f"{PLANS}/submit", json=plan, headers=key) for _ in range(4)),
        )
        assert {answer.status_code for answer in answers} == {201}, answers[0].text
        ids = [[task["id"] for task in answer.json()["items"]] for answer in answers]
        assert all(one == ids[0] for one in ids)
        assert await _queued(served) == 3
        made = [(await client.get(f"/api/v1/tasks/{one}")).json() for one in ids[0]]
        assert [task["state"] for task in made] == ["queued", "waiting", "waiting"]
        assert (made[0]["scope"], made[1]["title"]) == (["shop/**"], "In the cart")
        assert (made[1]["needs"], sorted(made[2]["needs"])) == (ids[0][:1], sorted(ids[0][:2]))
        events = await client.get("/api/v1/events/history", params={"kind": "task.submitted", "by": "token test"})
        assert len(events.json()["items"]) == 3

        for other in ([first], [first, {"name": "new", "prompt": "Do more."}], [first | {"prompt": "Else."}, second]):
            refused = await client.post(f"{PLANS}/submit", json={**plan, "tasks": other}, headers=key)
            assert refused.status_code == 422
            assert "'monday' was used for another plan" in refused.json()["detail"]
        assert await _queued(served) == 3

        await served.db.write(Sql("UPDATE begun_lines SET at = at - 30.5 * 86400").run)
        later = await client.post(f"{PLANS}/submit", json={**plan, "tasks": [first]}, headers=key)
        assert later.status_code == 201
        assert await _queued(served) == 4


async def test_two_plans_under_one_key_at_once_are_one_of_them(served: Inside, tmp_path: Path) -> None:
    repo = str(build(tmp_path))
    async with served.client() as client:
        plans = [
            {"repo": repo, "tasks": [{"name": f"a{n}", "prompt": "x"}, {"name": "b", "prompt": "y"}]} for n in "123"
        ]
        answers = await asyncio.gather(
            *(client.post(f"{PLANS}/submit", json=plan, headers={"Idempotency-Key": "k"}) for plan in plans)
        )
        assert sorted(answer.status_code for answer in answers) == [201, 422, 422]
        assert await _queued(served) == 2


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ([{"name": "a", "prompt": "x", "needs": ["b"]}, {"name": "b", "prompt": "y", "needs": ["a"]}], "a → b → a"),
        ([{"name": "a", "prompt": "x", "needs": ["a"]}], "a → a"),
        ([{"name": "a", "prompt": "x", "needs": ["z"]}], "needs 'z', which is not in the plan"),
        ([{"name": "a", "prompt": "x"}, {"name": "a", "prompt": "y"}], "two tasks are named 'a'"),
        ([{"name": "a", "prompt": "x"}, {"name": "b", "prompt": "y", "profile": "bob"}], "no profile 'bob'"),
        ([{"name": "a", "prompt": "x\u0000"}], "NUL"),
        ([{"name": "a"}], "prompt"),
        ([], "at least 1"),
    ],
)
async def test_a_plan_that_is_not_sound_queues_nothing(
    served: Inside, tmp_path: Path, tasks: list[dict[str, Any]], said: str
) -> None:
    async with served.client() as client:
        plan = {"repo": str(build(tmp_path)), "tasks": tasks}
        refused = await client.post(f"{PLANS}/submit", json=plan, headers={"Idempotency-Key": "k"})
        assert refused.status_code == 422
        assert refused.headers["content-type"] == "application/problem+json"
        assert said in refused.json()["detail"]
        assert await _queued(served) == 0
        sound = {**plan, "tasks": [{"name": "a", "prompt": "x"}]}
        assert (await client.post(f"{PLANS}/submit", json=sound, headers={"Idempotency-Key": "k"})).status_code == 201


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1. A after 2\n2. B\n", "circle"),
        ("# Only a title\n", "asks for nothing"),
        ("\n".join(f"- [ ] do {number}" for number in range(501)), "501 open tasks"),
        ("- [ ] a\n- [ ] b " + "x" * 5001, "line 2 has"),
    ],
)
async def test_a_document_that_is_no_plan_is_refused(served: Inside, text: str, said: str) -> None:
    async with served.client() as client:
        refused = await client.post(PLANS, json={"text": text})
        assert refused.status_code == 422
        assert said in refused.json()["detail"]


async def test_the_configured_model_reads_the_document_unless_told_otherwise(tmp_path: Path) -> None:
    answer = {"title": "Shop", "tasks": [{"name": "price", "prompt": "Add a price."}]}
    async with ModelServer(from_steps([ToolCall("final_result", answer)])) as server:
        tester = {"tester": ProfileSettings(model="openai:gpt-test", context_window=200_000)}
        settings = models_at(tmp_path / "home", server.url).model_copy(
            update={"profiles": tester, "chat": ChatSettings(profile="tester")}
        )
        async with inside(settings) as served, served.client() as client:
            drafted = await _drafted(client, PRD, repo="/srv/shop")
            assert drafted["profile"] == "tester"
            assert [task["name"] for task in drafted["plan"]["tasks"]] == ["price"]
            assert drafted["plan"]["repo"] == "/srv/shop"
            assert len(server.requests) == 1
            plain = await _drafted(client, PRD, structure=True)
            assert plain["profile"] is None
            assert [task["title"] for task in plain["plan"]["tasks"]] == ["Write the changelog"]
            assert len(server.requests) == 1
            costs = await client.get("/api/v1/costs", params={"by": "agent"})
            assert [one["name"] for one in costs.json()["items"]] == ["plan"]
