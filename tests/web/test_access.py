"""Everybody can use each page: axe, light and dark, wide and narrow; the keyboard alone; a page that is not there."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Locator, Page, expect
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


_UNSEEN = """() => {
  const one = document.activeElement;
  if (one === null || one === document.body) return '';  // beyond the end of the page
  const look = getComputedStyle(one);
  const box = one.getBoundingClientRect();
  const name = one.outerHTML.slice(0, 120);
  if (!one.matches(':focus-visible') || look.outlineStyle === 'none' || parseFloat(look.outlineWidth) < 2)
    return `nothing shows that the focus is on ${name}`;
  const [left, right] = [Math.max(box.left, 0), Math.min(box.right, innerWidth)];
  const [top, bottom] = [Math.max(box.top, 0), Math.min(box.bottom, innerHeight)];
  const seen = [0.1, 0.5, 0.9].some((x) => [0.1, 0.5, 0.9].some((y) => {
    const at = document.elementFromPoint(left + x * (right - left), top + y * (bottom - top));
    return at !== null && (one.contains(at) || at.contains(one));
  }));
  return right > left && bottom > top && seen ? '' : `out of sight: ${name}`;
}"""
"""Says what is wrong with how the focus is seen; empty: nothing."""


def reach(page: Page, wanted: Locator, key: str = "Tab") -> None:
    """Press the key until the focus is on what is wanted; wherever it is meanwhile, it is seen."""
    expect(wanted).to_be_visible()
    for _ in range(60):
        page.keyboard.press(key)
        assert page.evaluate(_UNSEEN) == ""
        if wanted.evaluate("(one) => one === document.activeElement"):
            return
    raise AssertionError(f"{key} does not lead to {wanted}")


def comment_in_vain(page: Page, change: Locator) -> None:
    """Comment on a line by keyboard, and think better of it."""
    numbers = change.get_by_role("button", name=re.compile("^Comment on line"))
    reach(page, numbers.first)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(change.get_by_role("textbox", name="Comment on line")).to_be_focused()
    page.keyboard.type("Why this one?")
    page.keyboard.press("Control+Enter")
    expect(page.locator("[data-noted]")).to_have_text("1 comment")
    expect(numbers.nth(1)).to_be_focused()
    reach(page, change.get_by_role("button", name="Remove the comment"))
    page.keyboard.press("Enter")
    expect(page.locator("[data-noted]")).to_have_count(0)
    expect(numbers.nth(1)).to_be_focused()


def test_the_keyboard_alone_gets_from_the_start_to_an_approved_change(site: Site) -> None:
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
    page.keyboard.type("Remove unused imports in shop/tax.py")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type(str(site.repo))
    page.keyboard.press("Enter")
    page.wait_for_url("**/#/tasks/*")
    expect(page.get_by_role("heading", level=1)).to_have_text("Remove unused imports in shop/tax.py")
    expect(page.locator("[data-why]")).to_contain_text("waits for a person to review", timeout=90_000)
    page.goto(f"{site.url}/#/tasks")
    expect(page.get_by_role("button", name="Close this notice")).to_have_count(0)

    # open the task
    expect(page.get_by_role("main")).to_be_focused()
    reach(page, page.get_by_role("table", name="Tasks").get_by_role("link", name="Remove unused imports"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/#/tasks/*")
    expect(page.locator("[data-why]")).to_contain_text("waits for a person to review")
    expect(page.get_by_role("main")).to_be_focused()

    # read the change
    reach(page, page.get_by_role("link", name="diff", exact=True))
    page.keyboard.press("Enter")
    change = page.get_by_role("region", name="shop/tax.py", exact=True)
    reach(page, page.get_by_role("navigation", name="Files of the change").get_by_role("link", name="tax.py"))
    page.keyboard.press("Enter")
    expect(change).to_be_focused()
    expect(change).to_contain_text("-import")

    comment_in_vain(page, change)
    reach(page, page.get_by_role("button", name="Approve", exact=True), "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator("[data-why]")).to_contain_text("is done")
    expect(page.get_by_role("main")).to_be_focused()
