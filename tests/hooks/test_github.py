"""Issues of GitHub become tasks when somebody who may write says so, and hear once what became of them."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.api.conftest import running
from tests.fleet.scene import git
from tests.hooks.fake_github import NAME, SECRET, TOKEN, FakeGitHub, deliver, fake_github, labelled, signature
from tests.services.conditions import until

from ezaigent.api import Accounts
from ezaigent.cli.demo import build
from ezaigent.core.events import Event
from ezaigent.wiring import Fleet, load_settings, sending, serve_api

WORK = "Remove unused imports in shop/tax.py"
ODD = "Sing `@everyone` a song"


@dataclass(frozen=True)
class Door:
    """A server that takes GitHub's webhooks."""

    fleet: Fleet
    hub: FakeGitHub
    stranger: httpx.AsyncClient
    remote: Path

    async def events(self, *kinds: str) -> list[Event]:
        return [event for event in await self.fleet.services.events.read(0, 5000) if event.kind.startswith(kinds)]

    async def told(self, kind: str, count: int = 1) -> list[Event]:
        """Wait for so many events of a kind."""

        async def there() -> bool:
            return len(await self.events(kind)) >= count

        await until(there, within=60, what=f"{count} events {kind}")
        return await self.events(kind)


@pytest.fixture
async def hub() -> AsyncIterator[FakeGitHub]:
    """GitHub."""
    async with fake_github() as started:
        yield started


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """The repository on this machine, and beside it ``remote.git``, the one at GitHub."""
    made = build(tmp_path)
    subprocess.run(["git", "clone", "-q", "--bare", str(made), str(tmp_path / "remote.git")], check=True)
    return made


def github(hub: FakeGitHub, repo: Path, **more: Any) -> dict[str, Any]:
    """Return the section of the settings."""
    linked = {"name": NAME, "repo": str(repo), "remote": str(repo.parent / "remote.git")}
    return {"secret": SECRET, "token": TOKEN, "api_url": hub.url, "repositories": [linked], **more}


@asynccontextmanager
async def opened(tmp_path: Path, hub: FakeGitHub, repo: Path, *, agents: int = 1, **more: Any) -> AsyncGenerator[Door]:
    """Serve, work and report in this process."""
    settings = load_settings(home=tmp_path / "home", github=github(hub, repo, **more), server={"rate": 100_000})
    async with Fleet.embedded(settings=settings, agents={"mechanic": agents} if agents else {}) as fleet:
        await Accounts(fleet.services.db).create_token("t", "admin", owner=None, days=None, by="t", address="t")
        async with (
            sending(fleet.services),
            serve_api(fleet, port=0) as server,
            httpx.AsyncClient(base_url=server.url, timeout=30) as stranger,
        ):
            yield Door(fleet, hub, stranger, repo.parent / "remote.git")


async def test_a_labelled_issue_becomes_a_task_and_a_pull_request(tmp_path: Path, hub: FakeGitHub, repo: Path) -> None:
    async with opened(tmp_path, hub, repo) as door:
        hub.broken = 1  # a hiccup of theirs is waited out
        answer = await deliver(door.stranger, labelled(WORK, "Please.\r\n\x00"))
        assert (answer.status_code, answer.json()) == (202, {"result": "taken"})
        [told] = await door.told("issue.reported")
        [task] = await door.fleet.tasks()
        assert (task.state, told.task_id, task.title) == ("review", task.id, f"#7 {WORK}")
        [submitted] = await door.events("task.submitted")
        assert submitted.data["by"] == "github:wim"
        prompt = (await door.fleet.services.queue.get(task.id)).prompt
        assert prompt == f"{WORK}\n\nPlease."
        [pull] = hub.pulls
        assert told.data["url"] == pull["html_url"]
        assert (pull["head"]["ref"], pull["base"]) == (f"ezaigent/{task.id}", "main")
        assert pull["title"] == f"{WORK} (#7)"
        assert pull["body"].startswith("For #7.")
        assert git(door.remote, "rev-parse", f"ezaigent/{task.id}") == task.commit
        assert hub.comments == []
        assert [event.kind for event in await door.events("issue.")] == [
            "issue.received",
            "issue.accepted",
            "issue.reported",
        ]


async def test_what_cannot_be_done_is_told_in_a_comment_that_names_nobody(
    tmp_path: Path, hub: FakeGitHub, repo: Path
) -> None:
    async with opened(tmp_path, hub, repo) as door:
        await deliver(door.stranger, labelled(ODD, "``` @acme/all ```"))
        await door.told("issue.reported")
        [comment] = hub.comments
        [task] = await door.fleet.tasks()
        assert task.state == "failed"
        said = comment["body"]
        assert said.startswith("The task failed.")
        assert task.reason.splitlines()[0] in said
        fence = said.split("text\n")[0].rpartition("\n")[2]
        assert set(fence) == {"`"}
        outside = said.split(f"{fence}text\n")[0] + said.rpartition(f"\n{fence}")[2]
        assert "@" not in outside
        assert hub.pulls == []


async def test_a_comment_is_all_when_the_settings_say_so(tmp_path: Path, hub: FakeGitHub, repo: Path) -> None:
    async with opened(tmp_path, hub, repo, result="comment") as door:
        await deliver(door.stranger, labelled(WORK))
        await door.told("issue.reported")
        [task] = await door.fleet.tasks()
        [comment] = hub.comments
        assert comment["issue"] == 7
        assert f"on branch `ezaigent/{task.id}`" in comment["body"]
        assert "1 file changed" in comment["body"]
        assert hub.pulls == []
        assert git(door.remote, "branch", "--list", "ezaigent/*") == ""


async def test_a_branch_that_is_another_one_there_is_not_overwritten(
    tmp_path: Path, hub: FakeGitHub, repo: Path
) -> None:
    async with opened(tmp_path, hub, repo, agents=0) as door:
        await deliver(door.stranger, labelled(WORK))
        [accepted] = await door.told("issue.accepted")
        main = git(door.remote, "rev-parse", "main")
        git(door.remote, "update-ref", f"refs/heads/ezaigent/{accepted.task_id}", main)
        async with Fleet.embedded(settings=door.fleet.settings, agents={"mechanic": 1}):
            await door.told("issue.reported")
        [comment] = hub.comments
        assert "It could not be made a pull request:" in comment["body"]
        assert "is not overwritten" in comment["body"]
        assert git(door.remote, "rev-parse", f"ezaigent/{accepted.task_id}") == main


@pytest.mark.parametrize(
    "change",
    [
        {"action": "opened"},
        {"action": "unlabeled"},
        {"label": "bug"},
        {"repository": "evil/shop"},
        {"state": "closed"},
        {"type": "Bot"},
    ],
    ids=str,
)
async def test_what_asks_for_nothing_is_ignored(
    tmp_path: Path, hub: FakeGitHub, repo: Path, change: dict[str, Any]
) -> None:
    async with opened(tmp_path, hub, repo, agents=0) as door:
        answer = await deliver(door.stranger, labelled(WORK, **change))
        assert (answer.status_code, answer.json()) == (202, {"result": "ignored"})
        answer = await deliver(door.stranger, {"zen": "Speak like a human."}, X_GitHub_Event="ping")
        assert (answer.status_code, answer.json()) == (202, {"result": "ignored"})
        assert await door.events("issue.", "task.") == []
        assert hub.asked == []


@pytest.mark.parametrize("by", ["rita", "nobody"])
async def test_who_may_not_write_makes_no_task(tmp_path: Path, hub: FakeGitHub, repo: Path, by: str) -> None:
    async with opened(tmp_path, hub, repo, agents=0) as door:
        assert (await deliver(door.stranger, labelled(WORK, by=by))).status_code == 202
        [refused] = await door.told("issue.refused")
        assert refused.data["reason"] == f"{by} may not write to acme/shop"
        assert await door.fleet.tasks() == []
        assert hub.comments == []


async def test_forged_messages_are_refused_before_anything_is_done(tmp_path: Path, hub: FakeGitHub, repo: Path) -> None:
    async with opened(tmp_path, hub, repo, agents=0) as door:
        message = json.dumps(labelled(WORK)).encode()
        good = signature(message)
        sha1 = "sha1=" + good[7:47]
        for wrong in (
            signature(message, "another secret"),
            signature(message + b" "),
            good[:-1],
            good + "0",
            good.upper(),
            good[7:],
            "sha256=",
            "",
            sha1,
            "sha256=é".encode().decode("latin-1"),
        ):
            answer = await door.stranger.post(
                "/api/v1/webhooks/github",
                content=message,
                headers=[
                    (b"X-GitHub-Event", b"issues"),
                    (b"X-GitHub-Delivery", b"d"),
                    (b"X-Hub-Signature-256", wrong.encode("latin-1")),
                ],
            )
            assert answer.status_code == 401, wrong
            assert answer.headers["content-type"] == "application/problem+json"
        assert (
            await deliver(door.stranger, message.replace(b"tax", b"tex"), X_Hub_Signature_256=good)
        ).status_code == 401
        assert await door.events("issue.", "task.") == []
        assert (await deliver(door.stranger, b"{}")).status_code == 422
        assert (await deliver(door.stranger, b"\xff[")).status_code == 422
        assert (await deliver(door.stranger, labelled(WORK, by="../x"))).status_code == 422
        assert (await deliver(door.stranger, labelled(WORK), "d/../1")).status_code == 422
        assert (await deliver(door.stranger, labelled(WORK))).json() == {"result": "taken"}


async def test_a_replayed_message_does_nothing(tmp_path: Path, hub: FakeGitHub, repo: Path) -> None:
    async with opened(tmp_path, hub, repo) as door:
        message = labelled(WORK)
        answers = await asyncio.gather(*(deliver(door.stranger, message, "d-1") for _ in range(10)))
        assert sorted(one.json()["result"] for one in answers) == ["known"] * 9 + ["taken"]
        # The id is not signed: whoever has the signed text can send it under another one.
        assert (await deliver(door.stranger, message, "d-2")).json() == {"result": "known"}
        # While the issue is worked, its label asks for nothing new.
        assert (await deliver(door.stranger, labelled(WORK, at=2), "d-3")).json() == {"result": "ignored"}
        await door.told("issue.reported")
        for delivery in ("d-1", "d-2", "d-3", "d-4"):
            assert (await deliver(door.stranger, message, delivery)).json() == {"result": "known"}
        assert (await deliver(door.stranger, labelled(WORK, at=2), "d-5")).json() == {"result": "known"}
        assert len(await door.fleet.tasks()) == 1
        assert len(hub.pulls) == 1
        # Labelled anew after the end, it is asked for anew.
        assert (await deliver(door.stranger, labelled(WORK, at=3), "d-6")).json() == {"result": "taken"}
        await door.told("issue.reported", 2)
        assert len(await door.fleet.tasks()) == 2


async def test_ten_megabytes_are_refused_before_they_are_read(tmp_path: Path, hub: FakeGitHub, repo: Path) -> None:
    async with opened(tmp_path, hub, repo, agents=0) as door:
        ten = json.dumps(labelled(WORK, "x" * 10 * 1024**2)).encode()
        where = httpx.URL(door.stranger.base_url)
        reader, writer = await asyncio.open_connection(where.host, where.port)
        head = f"POST /api/v1/webhooks/github HTTP/1.1\r\nHost: {where.host}\r\nContent-Length: {len(ten)}\r\n"
        writer.write(f"{head}X-Hub-Signature-256: {signature(ten)}\r\n\r\n".encode())
        await writer.drain()
        said = await asyncio.wait_for(reader.readline(), 10)  # nothing of the body was sent yet
        assert b" 413 " in said
        writer.close()

        async def pieces() -> AsyncGenerator[bytes]:
            for start in range(0, len(ten), 65536):
                yield ten[start : start + 65536]

        try:
            answer = await door.stranger.post(
                "/api/v1/webhooks/github", content=pieces(), headers={"X-Hub-Signature-256": signature(ten)}
            )
            assert answer.status_code == 413
        except httpx.TransportError:
            pass  # closed on us while we were still sending
        assert await door.events("issue.") == []


async def test_without_the_settings_the_door_is_shut(tmp_path: Path, hub: FakeGitHub, repo: Path) -> None:
    closed: list[dict[str, Any]] = [{"secret": None}, {"token": None}, {"repositories": []}]
    for more in closed:
        async with opened(tmp_path, hub, repo, agents=0, **more) as door:
            assert (await deliver(door.stranger, labelled(WORK))).status_code == 401


async def test_a_task_that_cannot_be_made_is_told_in_the_log(tmp_path: Path, hub: FakeGitHub, repo: Path) -> None:
    linked = {"name": NAME, "repo": str(tmp_path / "nowhere")}
    async with opened(tmp_path, hub, repo, agents=0, repositories=[linked]) as door:
        await deliver(door.stranger, labelled(WORK))
        [failed] = await door.told("issue.failed")
        assert "nowhere" in failed.data["reason"]


@pytest.mark.parametrize("place", ["issue.reporting", "issue.reported"])
async def test_over_a_kill_it_is_told_exactly_once(tmp_path: Path, hub: FakeGitHub, repo: Path, place: str) -> None:
    """Killed before or behind the request that opens the pull request, the next process neither forgets nor doubles."""
    home = tmp_path / "home"
    given = {f"EZAIGENT_GITHUB__{name.upper()}": _text(value) for name, value in github(hub, repo).items()}
    with running(home, "--agents", "1", EZAIGENT_FAILPOINTS=f"{place}=kill", **given) as (process, said):
        async with httpx.AsyncClient(base_url=said["url"], timeout=30) as stranger:
            assert (await deliver(stranger, labelled(WORK))).json() == {"result": "taken"}
        await asyncio.to_thread(process.wait, 60)
    assert len(hub.pulls) == (1 if place == "issue.reported" else 0)
    with running(home, "--agents", "1", **given) as (_, said):
        async with Fleet.connect(settings=load_settings(home=home)) as fleet:

            async def reported() -> bool:
                return any(event.kind == "issue.reported" for event in await fleet.services.events.read(0, 5000))

            await until(reported, within=60, what="the issue is told")
    assert len(hub.pulls) == 1
    assert hub.comments == []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
