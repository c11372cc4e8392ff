"""The server alone, the worker elsewhere: ``up --no-worker`` against PostgreSQL and Redis, as a fleet is deployed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from tests.api.conftest import environment, running
from tests.services import RedisServer
from tests.services.unmeasured import unmeasured

from ezaigent.cli.demo import build

ENDS = {"task.review", "task.done", "task.failed", "task.blocked"}


@contextmanager
def worker(home: Path, stores: dict[str, str]) -> Generator[subprocess.Popen[bytes]]:
    """Run ``ezaigent worker`` on a home of its own; end it in order."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ezaigent", "worker", "--agents", "1"], env=unmeasured(environment(home, **stores))
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
            process.wait()


def told(client: httpx.Client, task: str, after: int) -> Iterator[tuple[int, str]]:
    """Yield place and kind of the task's events from behind a place on, as a browser asks for them after a break."""
    headers, params = {"Last-Event-ID": str(after)}, {"task": task}
    with client.stream("GET", "/api/v1/events", headers=headers, params=params) as answer:
        assert answer.status_code == 200, answer.read()
        place = None
        for line in answer.iter_lines():
            if line.startswith("id: "):
                place = int(line.removeprefix("id: "))
            elif line.startswith("event: "):
                assert place is not None
                yield place, line.removeprefix("event: ")


@pytest.mark.postgres
@pytest.mark.redis
def test_a_server_alone_serves_a_fleet_on_postgresql_and_redis(
    tmp_path: Path, postgres_database: str, redis_server: RedisServer, redis_database: str
) -> None:
    repo, home = build(tmp_path), tmp_path / "server"
    stores = {"EZAIGENT_DATABASE_URL": postgres_database, "EZAIGENT_REDIS_URL": redis_database}
    token = subprocess.run(
        [sys.executable, "-m", "ezaigent", "token", "create", "ci", "--scope", "operate"],
        env=unmeasured(environment(home, **stores)),
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    bearer = {"Authorization": f"Bearer {token}"}
    seen: list[tuple[int, str]] = []
    with worker(tmp_path / "worker", stores):
        with (
            running(home, "--no-worker", **stores) as (_, said),
            httpx.Client(base_url=said["url"], timeout=60) as client,
        ):
            assert client.get("/api/v1/tasks").status_code == 401
            client.headers.update(bearer)
            wanted = {"prompt": "Remove unused imports in shop/tax.py", "repo": str(repo), "profile": "mechanic"}
            made = client.post("/api/v1/tasks", json=wanted)
            assert made.status_code == 201, made.text
            task = made.json()["id"]
            for place, kind in told(client, task, 0):
                seen.append((place, kind))
                if kind == "task.claimed":
                    break
        # The worker goes on while nobody serves.
        with (
            running(home, "--no-worker", **stores) as (_, said),
            httpx.Client(base_url=said["url"], headers=bearer, timeout=60) as client,
        ):
            for place, kind in told(client, task, seen[-1][0]):
                seen.append((place, kind))
                if kind in ENDS:
                    break
            assert [kind for _, kind in seen][:: len(seen) - 1] == ["task.submitted", "task.review"]
            logs = client.get(f"/api/v1/tasks/{task}/logs").json()["items"]
            assert seen == [(one["seq"], one["kind"]) for one in logs][: len(seen)], "a gap, or an event told twice"
            [listed] = client.get("/api/v1/tasks", params={"state": "review"}).json()["items"]
            assert (listed["id"], listed["agent"]) == (task, "mechanic-1")
            assert "-import os" in client.get(f"/api/v1/tasks/{task}/diff").json()["diff"]
            [agent] = client.get("/api/v1/agents").json()["items"]
            assert (agent["name"], agent["status"]) == ("mechanic-1", "idle")
            answer = client.post("/api/v1/chat/messages", json={"text": "/pause mechanic-1"}).json()
            assert (answer["ok"], answer["text"]) == (True, "paused: mechanic-1")
            [agent] = client.get("/api/v1/agents").json()["items"]
            assert agent["status"] == "paused"
        with redis_server.client() as redis:
            assert redis.dbsize(), "nobody used the bus"  # pyright: ignore[reportUnknownMemberType]
