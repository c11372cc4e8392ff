"""A server with a fleet behind it, and a Chromium with a profile of its own before it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import BrowserContext, CDPSession, Page, sync_playwright

from benchmarks.browsing.driving import Pace

_BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
_WINDOW: Final = (1280, 800)
_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-component-update",
    "--disable-extensions",
    "--remote-debugging-port=0",
)


class Driver:
    """The fleet, in a process of its own."""

    def __init__(self, home: Path, pace: Pace) -> None:
        """Start it; return when it drives."""
        words = [sys.executable, "-m", "benchmarks.browsing.driving", str(home), json.dumps(asdict(pace))]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._said = self._process.stdout
        assert self._said.readline() == "ready\n", "the fleet did not start"

    @contextmanager
    def at_rest(self) -> Generator[None]:
        """Let nothing change meanwhile but the heartbeats."""
        self._process.send_signal(signal.SIGUSR1)
        time.sleep(2)
        yield
        self._process.send_signal(signal.SIGUSR2)

    def stop(self) -> dict[str, float]:
        """End it; return ``beats`` a second that it came to, and the share of them that was ``late``."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        told = self._said.read().strip()
        self._process.wait(60)
        return json.loads(told) if told else {"beats": 0.0, "late": 1.0}


@contextmanager
def served(home: Path) -> Generator[tuple[str, str]]:
    """Run the server without a worker; yield its address and the link that makes the first account."""
    environment = {**os.environ, "EZAIGENT_HOME": str(home)}
    server = subprocess.Popen(
        [sys.executable, "-m", "ezaigent", "up", "--no-worker", "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert server.stdout is not None
    try:
        ready = json.loads(server.stdout.readline())
        yield ready["url"], ready["setup_url"]
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


@contextmanager
def chromium(folder: Path) -> Generator[tuple[BrowserContext, int]]:
    """Run Chromium on an empty profile; yield its only context, and the port at which other programs steer it, too."""
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if found is None:
        raise SystemExit("there is no Chromium here; tests/services/install.sh installs it with apt-get")
    words = [found, *_FLAGS, f"--user-data-dir={folder}", f"--window-size={_WINDOW[0]},{_WINDOW[1]}", "about:blank"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port = _port(folder / "DevToolsActivePort")
        with sync_playwright() as play:
            yield play.chromium.connect_over_cdp(f"http://127.0.0.1:{port}").contexts[0], port
    finally:
        process.terminate()
        process.wait(30)


def _port(file: Path) -> int:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        lines = file.read_text(encoding="ascii").splitlines() if file.exists() else []
        if len(lines) > 1:
            return int(lines[0])
        time.sleep(0.05)
    raise SystemExit("Chromium did not say its port within 60 s")


class Wire:
    """The browser's own protocol (CDP), to a page or to the browser as a whole."""

    def __init__(self, session: CDPSession) -> None:
        """Speak over ``session``."""
        self._session: Any = session

    @classmethod
    def to_page(cls, page: Page) -> Wire:
        """Speak to a page."""
        return cls(page.context.new_cdp_session(page))

    @classmethod
    def to_browser(cls, page: Page) -> Wire:
        """Speak to the browser of a page."""
        browser = page.context.browser
        assert browser is not None
        return cls(browser.new_browser_cdp_session())

    def ask(self, method: str, **params: object) -> dict[str, Any]:
        """Call a method; return its answer."""
        return self._session.send(method, params)

    def heed(self, event: str, heard: Callable[[dict[str, Any]], None]) -> None:
        """Call ``heard`` with each such event."""
        self._session.on(event, heard)

    def end(self) -> None:
        """Speak no more."""
        self._session.detach()


def sign_in(context: BrowserContext, setup_url: str) -> None:
    """Make the first account in this browser; it stays signed in."""
    page = context.new_page()
    page.goto(setup_url)
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Make the first account").click()
    page.get_by_role("heading", name="Fleet", exact=True).wait_for()
    page.close()


def fleet_page(context: BrowserContext, url: str) -> Page:
    """Open the fleet in a new tab; return it when it shows the agents and is connected."""
    page = context.new_page()
    page.set_viewport_size({"width": _WINDOW[0], "height": _WINDOW[1]})
    page.goto(f"{url}/#/")
    page.locator("[data-connection=live]").wait_for(timeout=60_000)
    page.get_by_role("table", name="Agents").get_by_role("row").nth(5).wait_for(timeout=60_000)
    return page
