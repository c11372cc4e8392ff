"""What somebody far away named leads a worker nowhere either: by a name that changes, a redirect, a later address."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.api.conftest import Inside as Served
from tests.api.conftest import inside, settings_for
from tests.hooks.targets import Receiver

from ezaigent.cli.demo import build
from ezaigent.core.errors import NotFoundError, UnavailableError, UsageError
from ezaigent.wiring.services import open_workspaces

AFAR = {"X-Forwarded-For": "203.0.113.7"}
NAME = "code.example"


@dataclass
class Host:
    """A code host at 127.0.0.2, which a server with ``internal = ["127.0.0.2"]`` takes for one of the internet."""

    port: int = 0
    asked: list[str] = field(default_factory=list[str])
    elsewhere: str = ""
    """Where it sends everybody, once that is set."""

    def url(self, host: str) -> str:
        return f"http://{host}:{self.port}/shop.git"


def _published(folder: Path) -> None:
    """Put a repository there that plain files over HTTP are enough for."""
    bare = folder / "shop.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", build(folder), bare], check=True)
    subprocess.run(["git", "-C", bare, "update-server-info"], check=True)


@asynccontextmanager
async def _hosting(folder: Path) -> AsyncGenerator[Host]:
    host = Host()

    async def give(request: web.Request) -> web.StreamResponse:
        host.asked.append(request.path)
        if host.elsewhere:
            return web.Response(status=302, headers={"Location": f"{host.elsewhere}{request.path_qs}"})
        path = folder / request.path.lstrip("/")
        return web.FileResponse(path) if path.is_file() else web.Response(status=404)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", give)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.2", 0).start()
    host.port = runner.addresses[0][1]
    try:
        yield host
    finally:
        await runner.cleanup()


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    _published(tmp_path)
    async with _hosting(tmp_path) as started:
        yield started


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    settings = settings_for(tmp_path / "home", rate=100_000, internal=["127.0.0.2"])
    async with inside(settings) as started:
        yield started


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Addresses of names that only this process can resolve, so that git gets there by what it is told alone."""
    real = socket.getaddrinfo
    found: dict[str, str] = {NAME: "127.0.0.2"}

    def resolve(host: Any, *rest: Any, **more: Any) -> Any:
        return real(found.get(host, host), *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return found


async def _submitted(served: Served, repo: str, headers: dict[str, str]) -> str:
    async with served.client() as client:
        answer = await client.post("/api/v1/tasks", json={"prompt": "x", "repo": repo}, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def _fetch(served: Served, task: str, repo: str) -> None:
    """Go to the repository as a worker does; it ends with ``NotFoundError`` when that was reached."""
    workspaces = await open_workspaces(served.fleet.services, confined=False)
    await workspaces.diff(task, repo, None)


async def test_a_name_that_leads_inside_after_the_submit_is_refused(
    served: Served, host: Host, names: dict[str, str], receiver: Receiver
) -> None:
    repo = host.url(NAME)
    task = await _submitted(served, repo, AFAR)
    with pytest.raises(NotFoundError):
        await _fetch(served, task, repo)
    asked = len(host.asked)
    assert any("objects" in path for path in host.asked), "it was fetched, from the address that was looked at"
    names[NAME] = "127.0.0.1"
    with pytest.raises(UsageError, match=r"'code.example' is not on the public internet.*\[server\] internal"):
        await _fetch(served, task, repo)
    assert len(host.asked) == asked
    assert receiver.got == []


async def test_a_redirect_after_the_submit_is_not_followed(served: Served, host: Host, receiver: Receiver) -> None:
    receiver.answer = lambda _: 404
    repo = host.url("127.0.0.2")
    task = await _submitted(served, repo, AFAR)
    host.elsewhere = receiver.url.removesuffix("/hook")
    with pytest.raises(UnavailableError):
        await _fetch(served, task, repo)
    assert receiver.got == []


async def test_who_is_on_this_machine_may_send_a_worker_to_the_own_network(
    tmp_path: Path, host: Host, receiver: Receiver
) -> None:
    """Nothing is listed, and the server sends git on: for a person's own repository that is her own business."""
    receiver.answer = lambda _: 404
    async with inside(settings_for(tmp_path / "home", rate=100_000)) as served:
        repo = host.url("127.0.0.2")
        task = await _submitted(served, repo, {})
        with pytest.raises(NotFoundError):
            await _fetch(served, task, repo)
        async with served.client() as client:
            body = {"prompt": "x", "repo": repo}
            refused = await client.post("/api/v1/tasks", json=body, headers=AFAR)
        assert refused.status_code == 422
        with pytest.raises(NotFoundError):  # what was refused changes nothing for her
            await _fetch(served, task, repo)
        host.elsewhere = receiver.url.removesuffix("/hook")
        with pytest.raises(UnavailableError):
            await _fetch(served, task, repo)
        assert receiver.got
