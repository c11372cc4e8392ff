"""A person signs in with an OpenID provider, in a real browser."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from tests.api.conftest import running
from tests.api.openid import CLIENT, SECRET, OpenId, open_id


@contextmanager
def beside() -> Generator[OpenId]:
    """Run a provider in a thread of its own, since the browser holds this one."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    opened = open_id()
    try:
        yield asyncio.run_coroutine_threadsafe(opened.__aenter__(), loop).result(10)
        asyncio.run_coroutine_threadsafe(opened.__aexit__(None, None, None), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@pytest.fixture
def provider() -> Iterator[OpenId]:
    with beside() as made:
        yield made


def test_the_button_leads_to_the_provider_and_back_in(
    tmp_path: Path, browser: Browser, built: None, provider: OpenId
) -> None:
    given = {
        "EZAIGENT_OIDC__ISSUER": provider.url,
        "EZAIGENT_OIDC__CLIENT_ID": CLIENT,
        "EZAIGENT_OIDC__CLIENT_SECRET": SECRET,
        "EZAIGENT_OIDC__NAME": "Example",
        "EZAIGENT_OIDC__EMAILS": json.dumps({"anna@example.org": "operator"}),
    }
    with running(tmp_path / "home", "--no-worker", **given) as (_, said):
        page = browser.new_page()
        page.goto(said["url"])
        page.get_by_role("link", name="Sign in with Example").click()
        page.get_by_role("heading", name="Fleet", exact=True).wait_for()
        page.goto(f"{said['url']}/#/settings")
        expect(page.get_by_text("anna@example.org").first).to_be_visible()
        page.context.clear_cookies()
        provider.person["email_verified"] = False
        page.goto(f"{said['url']}/api/v1/session/oidc/start")
        expect(page.get_by_role("alert")).to_contain_text("has no role here")
        page.get_by_role("link", name="Back").click()
        expect(page.get_by_role("link", name="Sign in with Example")).to_be_visible()
