"""Whose task is it? Every door writes who asked into the event of the submit, and the event log finds it by them."""

from __future__ import annotations

import getpass
import json
from pathlib import Path

from tests.api.conftest import Inside
from tests.api.test_mcp import over_http, use
from tests.cli.terminal import Terminal

from ezaigent.cli.demo import build


async def test_each_door_says_who_asked_for_a_task(served: Inside, tmp_path: Path) -> None:
    repo = str(build(tmp_path))
    fleet, asked = served.fleet, dict[str, str | None]()
    _, token = await served.accounts.create_token("ada", "operate", owner=None, days=None, by="test", address="test")
    async with served.client(token) as ada:
        key = {"Idempotency-Key": "k"}
        made = await ada.post("/api/v1/tasks", json={"prompt": "Over HTTP", "repo": repo}, headers=key)
        assert made.status_code == 201, made.text
        asked[made.json()["id"]] = "token ada"
        said = await ada.post("/api/v1/chat/messages", json={"text": f"/task Over the chat in {repo}"})
        assert said.status_code == 200, said.text
        if card := said.json().get("confirmation"):
            said = await ada.post(f"/api/v1/chat/confirmations/{card['token']}", json={"yes": True})
        asked[said.json()["data"]["task"]] = "token ada"
    async with over_http(served.server.url, served.token) as client:
        asked[(await use(client, "submit_task", prompt="As a tool", repo=repo))["task"]["id"]] = "token test"
    async with served.client() as other:  # whose submit it was stays
        again = await other.post("/api/v1/tasks", json={"prompt": "Over HTTP", "repo": repo}, headers=key)
        assert again.json()["id"] == made.json()["id"]
        asked[(await fleet.submit("A program", repo)).id] = None
        asked[(await fleet.submit("A program", repo, by="nightly")).id] = "nightly"
        events = [event for event in await fleet.services.events.read(0) if event.kind == "task.submitted"]
        assert {event.task_id: event.data["by"] for event in events} == asked
        found = await other.get("/api/v1/events/history", params={"kind": "task.submitted", "by": "token ada"})
        assert {one["task_id"] for one in found.json()["items"]} == {
            task for task, by in asked.items() if by == "token ada"
        }


def test_the_command_line_asks_as_the_person_of_the_machine(tmp_path: Path) -> None:
    repo, ezaigent = build(tmp_path), Terminal(tmp_path / "home")
    single = ezaigent("submit", "Mend it", "--repo", str(repo), "--json").json["id"]
    (tmp_path / "todo.md").write_text("# Shop\n\n- [ ] Mend the tax\n", encoding="utf-8")
    planned = ezaigent("plan", str(tmp_path / "todo.md"), "--repo", str(repo), "--submit", "--json").json["queued"]
    for task in (single, *planned):
        first = json.loads(ezaigent("tasks", "logs", task, "--json").out.splitlines()[0])
        assert (first["kind"], first["data"]["by"]) == ("task.submitted", getpass.getuser())
    assert planned
