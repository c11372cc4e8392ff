"""A real browser on a real server with a real fleet of mechanics."""

from __future__ import annotations

import runpy
import shutil
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from tests.api.conftest import PASSWORD, running
from tests.conftest import require

from ezaigent.cli.demo import build

ROOT = Path(__file__).parents[2]
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDE, NARROW = (1280, 800), (360, 740)

expect.set_options(timeout=30_000)  # a machine that runs other tests beside is slow


@pytest.fixture(scope="session")
def built() -> None:
    """The dashboard as the sources make it."""
    sys.path.insert(0, str(ROOT / "web"))
    try:
        assets = runpy.run_path(str(ROOT / "web" / "assets.py"))
    finally:
        sys.path.remove(str(ROOT / "web"))
    try:
        assets["build"]()
    except assets["BuildError"] as error:
        require(condition=False, reason=str(error))


@pytest.fixture
def browser() -> Iterator[Browser]:
    """Chromium of the system, one for each test, so that nothing is left of it."""
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    require(found, "no Chromium here; tests/services/install.sh installs it with apt-get")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


@dataclass
class Site:
    """A server, and the browser's way to it."""

    url: str
    setup_url: str
    process: Any
    repo: Path
    browser: Browser
    context: BrowserContext
    problems: list[str]
    """What browsers wrote to their consoles as errors, and scripts that broke."""

    def page(self) -> Page:
        """Return a new tab."""
        return self.watched(self.context.new_page())

    def watched(self, page: Page) -> Page:
        """Note what goes wrong in the tab."""
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", lambda said: self.problems.append(said.text) if said.type == "error" else None)
        return page

    def set_up(self) -> Page:
        """Make the first account behind the link that the server printed; return the tab, on the fleet."""
        page = self.page()
        page.goto(self.setup_url)
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Make the first account").click()
        page.get_by_role("heading", name="Fleet", exact=True).wait_for()
        self.problems[:] = [text for text in self.problems if "401" not in text]  # who is there was asked before
        return page

    def submit(self, page: Page, prompt: str, *checks: str) -> str:
        """Submit a task with the form; return its id."""
        page.goto(f"{self.url}/#/new")
        page.get_by_label("What is to be done?").fill(prompt)
        page.get_by_label("Repository").fill(str(self.repo))
        page.get_by_label("Checks").fill("\n".join(checks))
        page.get_by_role("button", name="Submit").click()
        page.wait_for_url("**/#/tasks/*")
        return page.url.rpartition("/")[2]


def kill(process: Any) -> None:
    """End the server without a word."""
    process.kill()
    process.wait(60)


@pytest.fixture
def site(tmp_path: Path, browser: Browser, built: None) -> Generator[Site]:
    """A fresh server with three mechanics, on which nobody has an account yet."""
    with sited(tmp_path, browser, "--agents", "3") as made:
        yield made


@pytest.fixture
def scaled_site(tmp_path: Path, browser: Browser, built: None) -> Generator[Site]:
    """The same, but the autoscaler says how many mechanics there are."""
    with sited(tmp_path, browser) as made:
        yield made


@pytest.fixture
def budgeted_site(tmp_path: Path, browser: Browser, built: None) -> Generator[Site]:
    """The same with a cap for a day, and a key for one provider."""
    given = {"EZAIGENT_COSTS__DAILY_BUDGET_USD": "5", "MISTRAL_API_KEY": "sk-never-shown"}
    with sited(tmp_path, browser, "--agents", "1", **given) as made:
        yield made


@contextmanager
def sited(tmp_path: Path, browser: Browser, *words: str, **more: str) -> Generator[Site]:
    """Run a server with these words and variables, and a browser before it."""
    with running(tmp_path / "home", *words, **{"EZAIGENT_FLEET__DRAIN": "2", **more}) as (process, said):
        context = browser.new_context(viewport={"width": WIDE[0], "height": WIDE[1]}, reduced_motion="reduce")
        yield Site(said["url"], said["setup_url"], process, build(tmp_path), browser, context, [])
        context.close()
