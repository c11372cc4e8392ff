"""A server in a process of its own, reached through its port; and one inside the test, where the test must see in."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.services.unmeasured import unmeasured

from ezaigent.api import Accounts, Server
from ezaigent.api.throttle import SignIns
from ezaigent.cli.demo import build
from ezaigent.core.settings import ServerSettings, Settings
from ezaigent.store import Database
from ezaigent.wiring import Fleet, load_settings, serve_api

SCOPES = ("read", "operate", "admin")
PASSWORD = "correct horse battery"


@dataclass(frozen=True)
class Place:
    """Where a server listens, and the tokens that open it, by scope."""

    url: str
    tokens: dict[str, str]
    home: Path
    repo: Path
    setup_url: str | None = None

    def client(self, scope: str | None = "admin", **more: Any) -> httpx.Client:
        """Return a client with a token of this scope; None for no credential."""
        headers = {"Authorization": f"Bearer {self.tokens[scope]}"} if scope else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, **more)


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return variables for a command on a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EZAIGENT_")}
    return {
        **kept,
        "HOME": str(home.parent),
        "EZAIGENT_HOME": str(home),
        "EZAIGENT_SERVER__RATE": "100000",
        "NO_COLOR": "1",
        **more,
    }


def tokens_in(home: Path) -> dict[str, str]:
    """Make a token of each scope, as the command line does."""

    async def make() -> dict[str, str]:
        async with Fleet.connect(home) as fleet:
            accounts = Accounts(fleet.services.db)
            made: dict[str, str] = {}
            for scope in SCOPES:
                made[scope] = (
                    await accounts.create_token(scope, scope, owner=None, days=None, by="test", address="test")
                )[1]
            return made

    return asyncio.run(make())


@contextmanager
def running(home: Path, *words: str, **more: str) -> Generator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Run ``ezaigent up WORDS``; yield the process and what it says when it is ready; end it in order."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ezaigent", "up", "--json", "--port", "0", *words],
        stdout=subprocess.PIPE,
        text=True,
        env=unmeasured(environment(home, **more)),
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, f"the server ended with {process.wait()}"
        yield process, json.loads(line)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server without a worker, shared by the tests that leave nothing behind that others mind."""
    folder = tmp_path_factory.mktemp("api")
    home = folder / "home"
    tokens = tokens_in(home)
    with running(home, "--no-worker") as (_, said):
        yield Place(said["url"], tokens, home, build(folder), said.get("setup_url"))


@dataclass(frozen=True)
class Inside:
    """A server in this process."""

    fleet: Fleet
    server: Server
    accounts: Accounts
    token: str

    @property
    def db(self) -> Database:
        """Its store."""
        return self.fleet.services.db

    def client(self, token: str | None = None, **more: Any) -> httpx.AsyncClient:
        """Return a client with the administrator's or the given token."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return httpx.AsyncClient(base_url=self.server.url, headers=headers, timeout=30, **more)

    def stranger(self, **more: Any) -> httpx.AsyncClient:
        """Return a client without a credential."""
        return httpx.AsyncClient(base_url=self.server.url, timeout=30, **more)


@asynccontextmanager
async def inside(settings: Settings, *, port: int = 0) -> AsyncGenerator[Inside]:
    """Serve in this process."""
    async with Fleet.connect(settings=settings) as fleet:
        accounts = Accounts(fleet.services.db)
        _, token = await accounts.create_token("test", "admin", owner=None, days=None, by="test", address="test")
        async with serve_api(fleet, port=port) as server:
            yield Inside(fleet, server, accounts, token)
        await accounts.settled()


def settings_for(home: Path, **server: Any) -> Settings:
    """Return settings with these fields of ``[server]``."""
    return load_settings(home=home, server=ServerSettings(**server))


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Inside]:
    """A server in this process on a home of its own."""
    async with inside(settings_for(tmp_path / "home", rate=100_000)) as started:
        yield started


@pytest.fixture
def timeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that are started from now on forget no wrong password, however long the next request takes."""
    monkeypatch.setattr("ezaigent.api.app.SignIns", lambda: SignIns(lambda: 0.0))
