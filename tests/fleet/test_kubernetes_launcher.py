"""The Kubernetes launcher against a small API server that knows one Deployment's scale."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ezaigent.fleet import KubernetesLauncher, Seat, WorkerInfo
from ezaigent.store import Database, EventLog

PODS = "/api/v1/namespaces/fleet/pods/{name}"
COST = "controller.kubernetes.io/pod-deletion-cost"
PATH = "/apis/apps/v1/namespaces/fleet/deployments/ezaigent-worker/scale"


class ApiServer:
    """Holds the replicas; a request without the token is refused."""

    def __init__(self) -> None:
        self.spec: dict[str, Any] = {"replicas": 1}
        self.patches: list[dict[str, Any]] = []
        self.costs: dict[str, str] = {}
        self.gone = ""
        self.forbidden = False
        self.token = "first"
        self.url = ""

    async def scale(self, request: web.Request) -> web.Response:
        if request.headers["Authorization"] != f"Bearer {self.token}":
            return web.json_response({"kind": "Status", "message": "Unauthorized"}, status=401)
        if request.method == "PATCH":
            assert request.content_type == "application/merge-patch+json"
            body = await request.json()
            self.patches.append(body)
            self.spec |= body["spec"]
        return web.json_response({"kind": "Scale", "apiVersion": "autoscaling/v1", "spec": self.spec})

    async def pod(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/merge-patch+json"
        if self.forbidden:
            return web.json_response({"kind": "Status", "message": "pods is forbidden"}, status=403)
        if request.match_info["name"] == self.gone:
            return web.json_response({"kind": "Status", "message": "not found"}, status=404)
        body = await request.json()
        self.costs[request.match_info["name"]] = body["metadata"]["annotations"][COST]
        return web.json_response({"kind": "Pod"})


class Play:
    """A launcher with a clock of its own."""

    def __init__(self, db: Database, server: ApiServer) -> None:
        self.now = 0.0
        self.db = db
        self.server = server
        self.tokens = ["first"]
        self.launcher = KubernetesLauncher(
            db,
            url=server.url,
            token=lambda: self.tokens[-1],
            namespace="fleet",
            deployment="ezaigent-worker",
            room=4,
            most=5,
            idle=60,
            clock=lambda: self.now,
        )

    async def look(self, seats: Sequence[Seat], workers: Sequence[WorkerInfo] = (), *, after: float = 1.0) -> int:
        self.now += after
        await self.launcher.ensure(seats, workers)
        return int(self.server.spec["replicas"])

    async def told(self, kind: str) -> list[dict[str, Any]]:
        return [event.data for event in await EventLog(self.db).read(0, limit=100, kinds=[kind])]


@pytest.fixture
async def server() -> AsyncGenerator[ApiServer]:
    started = ApiServer()
    app = web.Application()
    app.router.add_route("GET", PATH, started.scale)
    app.router.add_route("PATCH", PATH, started.scale)
    app.router.add_route("PATCH", PODS, started.pod)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    started.url = site.name if ":0" not in site.name else f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield started
    await runner.cleanup()


@pytest.fixture
async def play(tmp_path: Path, server: ApiServer) -> AsyncGenerator[Play]:
    db = await Database.open(f"sqlite:///{tmp_path / 'store.db'}")
    playing = Play(db, server)
    yield playing
    await playing.launcher.close()
    await db.close()


def seats(count: int, worker: str | None = None) -> list[Seat]:
    return [
        Seat(f"claude-{number}", "claude", worker, pinned, 0.0, None, None, None, pinned)
        for pinned in (False,)
        for number in range(1, count + 1)
    ]


def pod(name: str, *hosts: str) -> WorkerInfo:
    return WorkerInfo(id=name, host=name, pid=1, version="1", sandbox="off", hosts=hosts or ("claude",), room=4)


ONE, TWO, THREE = (f"ezaigent-worker-abc-{number}" for number in (1, 2, 3))


async def test_replicas_follow_the_seats_up_at_once_and_down_after_a_while(play: Play) -> None:
    assert await play.look(seats(4)) == 1
    assert play.server.patches == []
    assert await play.look(seats(9)) == 3
    assert await play.look(seats(100)) == 5, "as many as are allowed"
    assert await play.look(seats(4)) == 5
    assert await play.look(seats(4), after=59) == 5
    assert await play.look(seats(4), after=2) == 1
    assert await play.look([], after=1) == 1
    assert await play.look(seats(4), after=59) == 1
    assert await play.look([], after=59) == 1, "the wait begins anew"
    assert await play.look([], after=61) == 0
    assert [(one["before"], one["after"]) for one in await play.told("launcher.scaled")] == [
        (1, 3),
        (3, 5),
        (5, 1),
        (1, 0),
    ]
    play.launcher.hurry()
    assert play.launcher.lasting


async def test_seats_that_other_workers_host_need_no_replica(play: Play) -> None:
    workers = [pod("ezaigent-worker-abc-1"), pod("laptop")]
    there = [*seats(5, "ezaigent-worker-abc-1"), *seats(8, "laptop")]
    assert await play.look(there, workers) == 2


async def test_a_pod_that_hosts_an_agent_is_never_one_too_many(play: Play) -> None:
    play.server.spec["replicas"] = 3
    play.server.gone = "ezaigent-worker-abc-4"
    pods = [pod(ONE), pod(TWO), pod(THREE), pod(play.server.gone)]
    there = [*seats(1, ONE), *seats(2, THREE)]
    await play.look(there, pods)
    assert await play.look(there, pods, after=61) == 2, "one pod of four agents were room enough for the three"
    assert play.server.costs == {ONE: "1", TWO: "0", THREE: "2"}, "the empty one goes first"
    await play.look(there, [pod(ONE), pod(THREE)])
    assert await play.look(there, [pod(ONE), pod(THREE)], after=61) == 2
    ending = pod(THREE).model_copy(update={"hosts": ()})
    await play.look(there, [pod(ONE), ending])
    assert await play.look(there, [pod(ONE), ending], after=61) == 1, "one that is ending is none of the replicas"
    assert await play.look([*there, *seats(2)], [pod(ONE), ending]) == 2, "who waits needs room beside the others"


async def test_without_the_right_to_name_the_empty_pods_only_empty_ones_shrink(play: Play) -> None:
    play.server.forbidden = True
    play.server.spec["replicas"] = 2
    await play.look(seats(1, ONE), [pod(ONE), pod(TWO)])
    assert await play.look(seats(1, ONE), [pod(ONE), pod(TWO)], after=61) == 2
    (told,) = await play.told("launcher.failed")
    assert told["reason"].startswith(f"Kubernetes refuses PATCH of /api/v1/namespaces/fleet/pods/{ONE}: 403 ")
    assert await play.look([], [pod(ONE), pod(TWO)]) == 0


async def test_a_refusal_is_told_once_and_tried_again(play: Play) -> None:
    play.server.token = "second"
    for _ in range(3):
        assert await play.look(seats(9)) == 1
    (told,) = await play.told("launcher.failed")
    assert "401" in told["reason"]
    assert "Unauthorized" in told["reason"]
    assert "first" not in told["reason"], "no token is shown"
    play.tokens.append("second")
    assert await play.look(seats(9)) == 3, "the token is read for each call"
    play.server.token = "third"
    await play.look(seats(1))
    assert len(await play.told("launcher.failed")) == 2


async def test_an_api_that_is_not_there_is_named(tmp_path: Path) -> None:
    db = await Database.open(f"sqlite:///{tmp_path / 'store.db'}")
    server = ApiServer()
    server.url = "http://127.0.0.1:9"
    play = Play(db, server)
    try:
        await play.look(seats(9))
        (told,) = await play.told("launcher.failed")
        assert told["reason"].startswith("Kubernetes does not answer at http://127.0.0.1:9/apis/")
    finally:
        await play.launcher.close()
        await play.launcher.close()
        await db.close()
