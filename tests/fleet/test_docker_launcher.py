"""The Docker launcher's site against a small Engine: HTTP on a unix socket, containers in a dictionary."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from ezaigent.core.errors import LauncherError
from ezaigent.fleet import DockerSite, WorkerInfo

IMAGE = "ezaigent:1"


class Engine:
    """What the launcher needs of the Docker Engine's API 1.41."""

    def __init__(self) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self.signals: list[tuple[str, str]] = []
        self.broken = False

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1.41/containers/json", self.list)
        app.router.add_post("/v1.41/containers/create", self.create)
        app.router.add_post("/v1.41/containers/{name}/start", self.start)
        app.router.add_post("/v1.41/containers/{name}/kill", self.kill)
        app.router.add_delete("/v1.41/containers/{name}", self.remove)
        return app

    async def list(self, request: web.Request) -> web.Response:
        assert request.query["all"] == "true"
        (label,) = orjson.loads(request.query["filters"])["label"]
        key, _, value = label.partition("=")
        found = [
            {"Names": [f"/{name}"], "State": one["State"]}
            for name, one in self.containers.items()
            if one["Labels"].get(key) == value
        ]
        return web.json_response(found)

    async def create(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["Image"] != IMAGE:
            return web.json_response({"message": f"No such image: {body['Image']}"}, status=404)
        self.containers[request.query["name"]] = {**body, "State": "created"}
        return web.json_response({"Id": "0" * 64, "Warnings": []}, status=201)

    async def start(self, request: web.Request) -> web.Response:
        if self.broken:
            return web.Response(text="driver failed", status=500)
        self._of(request)["State"] = "running"
        return web.Response(status=204)

    async def kill(self, request: web.Request) -> web.Response:
        if request.match_info["name"] not in self.containers:
            return web.json_response({"message": "No such container"}, status=404)
        self.signals.append((request.match_info["name"], request.query["signal"]))
        return web.Response(status=204)

    async def remove(self, request: web.Request) -> web.Response:
        assert request.query["force"] == "true"
        if self.containers.pop(request.match_info["name"], None) is None:
            return web.json_response({"message": "No such container"}, status=404)
        return web.Response(status=204)

    def _of(self, request: web.Request) -> dict[str, Any]:
        return self.containers[request.match_info["name"]]


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncGenerator[Engine]:
    started = Engine()
    runner = web.AppRunner(started.app())
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "docker.sock")).start()
    yield started
    await runner.cleanup()


@pytest.fixture
async def site(tmp_path: Path, engine: Engine) -> AsyncGenerator[DockerSite]:
    del engine
    made = docker(f"unix://{tmp_path / 'docker.sock'}")
    yield made
    await made.close(patience=0)


def docker(url: str, **more: Any) -> DockerSite:
    options: dict[str, Any] = {
        "fleet": "postgresql://db/fleet",
        "image": IMAGE,
        "command": ["worker", "--pools", "claude", "--agents", "{room}"],
        "environment": {"EZAIGENT_DATABASE_URL": "postgresql://u:p@db/fleet", "ANTHROPIC_API_KEY": "key"},
        "network": "fleet",
        "volumes": ["/srv/repos:/srv/repos"],
        "drain": 90.0,
    }
    return DockerSite(url, **{**options, **more})


async def test_a_container_is_started_asked_to_end_and_removed(site: DockerSite, engine: Engine) -> None:
    assert await site.running() == set()
    await site.start("ezaigent-1", 25)
    assert await site.running() == {"ezaigent-1"}
    made = engine.containers["ezaigent-1"]
    assert made["Cmd"] == ["worker", "--pools", "claude", "--agents", "25"]
    assert made["Env"] == ["ANTHROPIC_API_KEY=key", "EZAIGENT_DATABASE_URL=postgresql://u:p@db/fleet"]
    assert made["HostConfig"] == {"Init": True, "Binds": ["/srv/repos:/srv/repos"], "NetworkMode": "fleet"}
    assert (made["Hostname"], made["StopTimeout"], made["State"]) == ("ezaigent-1", 90, "running")
    this = WorkerInfo(id="w", host="ezaigent-1", pid=1, version="1", sandbox="off")
    assert site.is_it("ezaigent-1", this)
    assert not site.is_it("ezaigent-2", this)
    await site.stop("ezaigent-1")
    assert engine.signals == [("ezaigent-1", "SIGTERM")]
    made["State"] = "exited"
    assert await site.running() == set()
    assert engine.containers == {}, "what has ended is removed"
    await site.stop("ezaigent-1")
    await site.kill("ezaigent-1")


async def test_containers_of_others_are_left_alone(site: DockerSite, engine: Engine) -> None:
    engine.containers["theirs"] = {"Labels": {}, "State": "running"}
    engine.containers["other-fleet"] = {"Labels": {"ezaigent.fleet": "postgresql://other/db"}, "State": "exited"}
    engine.containers["going"] = {"Labels": {"ezaigent.fleet": "postgresql://db/fleet"}, "State": "removing"}
    await site.start("mine", 1)
    assert await site.running() == {"mine"}
    await site.kill("mine")
    assert set(engine.containers) == {"theirs", "other-fleet", "going"}
    site.hurry()


async def test_what_the_engine_refuses_is_said_in_one_line(engine: Engine, tmp_path: Path) -> None:
    unknown = docker(f"unix://{tmp_path / 'docker.sock'}", image="nothing:1", network=None)
    with pytest.raises(LauncherError, match="404 No such image: nothing:1"):
        await unknown.start("one", 1)
    await unknown.close(patience=0)
    engine.broken = True
    broken = docker(f"unix://{tmp_path / 'docker.sock'}")
    with pytest.raises(LauncherError, match="500 driver failed"):
        await broken.start("one", 1)
    assert engine.containers == {}, "nothing is left behind"
    await broken.close(patience=0)


async def test_an_engine_that_is_not_there_is_named(tmp_path: Path) -> None:
    for url, shown in ((f"unix://{tmp_path / 'none.sock'}", "none.sock"), ("http://127.0.0.1:9/", "127.0.0.1:9")):
        site = docker(url)
        with pytest.raises(LauncherError, match=f"{shown}.*does not answer"):
            await site.running()
        await site.close(patience=0)
