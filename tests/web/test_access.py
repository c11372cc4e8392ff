"""Everybody can use each page: axe, light and dark, wide and narrow; the keyboard alone; a page that is not there."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect
from tests.web.conftest import Site
from tests.web.looking import faults

_PAGES = (
    "",
    "tasks",
    "tasks?view=board",
    "new",
    "chat",
    "queue",
    "events",
    "costs",
    "scaling",
    "settings",
    "more",
    "nowhere",
)


def test_every_page_is_accessible_in_both_schemes_and_widths(site: Site, tmp_path: Path) -> None:
    page = site.page()
    found: dict[str, object] = {}

    def look(name: str) -> None:
        found.update(faults(page, name or "fleet", tmp_path))

    page.goto(site.url)
    page.get_by_role("heading", name="Sign in").wait_for()
    look("sign-in")
    page.goto(site.setup_url)
    page.get_by_role("heading", name="Set up").wait_for()
    look("set-up")
    page.close()

    page = site.set_up()
    task = site.submit(page, "Remove unused imports in shop/tax.py", "python3 -m unittest -q tests.test_tax")
    expect(page.locator("[data-why]")).to_contain_text("waits for a person to review", timeout=90_000)
    for name in (*_PAGES, *(f"tasks/{task}?part={part}" for part in ("overview", "log", "diff"))):
        page.goto(f"{site.url}/#/{name}")
        page.get_by_role("heading", level=1).wait_for()
        expect(page.get_by_text("Reading", exact=False).or_(page.get_by_text("Fetching the page…"))).to_have_count(0)
        look(name.replace("/", "-").replace("?", "-").replace(task, "task"))
    assert found == {}


def test_the_keyboard_alone_gets_from_the_start_to_a_submitted_task(site: Site) -> None:
    page = site.set_up()
    page.reload()
    page.get_by_role("heading", name="Fleet", exact=True).wait_for()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="New task")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="New task").wait_for()
    expect(page.get_by_role("main")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.type("Format the code in shop/")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type(str(site.repo))
    page.keyboard.press("Enter")
    page.wait_for_url("**/#/tasks/*")
    expect(page.get_by_role("heading", level=1)).to_have_text("Format the code in shop/")
