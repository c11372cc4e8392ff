"""A server that trusts an OpenID provider, and browsers that sign in there."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr
from tests.api.conftest import Inside, inside, settings_for
from tests.api.openid import CLIENT, SECRET, OpenId, open_id

from ezaigent.core.settings import OidcSettings

START = "/api/v1/session/oidc/start"
CALLBACK = "/api/v1/session/oidc/callback"


@dataclass
class Scene:
    """A server that trusts a provider."""

    provider: OpenId
    served: Inside

    def browser(self) -> httpx.AsyncClient:
        return self.served.stranger()

    async def go(self, browser: httpx.AsyncClient) -> str:
        """Begin to sign in, and go through the provider; return where it sends the browser."""
        begun = await browser.get(START)
        assert begun.status_code == 303, begun.text
        async with httpx.AsyncClient() as elsewhere:
            return str((await elsewhere.get(begun.headers["location"])).headers["location"])

    async def sign_in(self, browser: httpx.AsyncClient) -> httpx.Response:
        return await browser.get(await self.go(browser))

    async def refused(self, status: int = 401) -> str:
        """Sign in, which must fail; return the one line that says why."""
        async with self.browser() as browser:
            return await self.line(await self.sign_in(browser), browser, status)

    async def line(self, answer: httpx.Response, browser: httpx.AsyncClient, status: int = 401) -> str:
        assert answer.status_code == status, answer.text
        assert "ezaigent_session" not in browser.cookies
        assert (await browser.get("/api/v1/session")).status_code == 401
        found = re.search(r"<strong>(.*?)</strong>", answer.text)
        assert found
        return html.unescape(found[1])

    async def events(self, kind: str) -> list[dict[str, Any]]:
        found = await self.served.fleet.services.events.read(0)
        return [event.data for event in found if event.kind == kind]


@asynccontextmanager
async def trusting(home: Path, provider: OpenId, **more: Any) -> AsyncGenerator[Scene]:
    given = {"issuer": provider.url, "client_id": CLIENT, "client_secret": SecretStr(SECRET), **more}
    settings = settings_for(home, rate=100_000).model_copy(update={"oidc": OidcSettings.model_validate(given)})
    async with inside(settings) as served:
        yield Scene(provider, served)


@asynccontextmanager
async def staged(tmp_path: Path) -> AsyncGenerator[Scene]:
    """Give a server that trusts a provider, where ``anna@example.org`` is an operator."""
    async with (
        open_id() as provider,
        trusting(tmp_path / "home", provider, emails={"anna@EXAMPLE.org": "operator"}) as made,
    ):
        yield made


def put(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda given: given.update(values)


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda given: given.pop(name)
