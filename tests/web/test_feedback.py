"""Comments on the lines of a change go back to the agent, all at once; it goes on where it was."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect
from tests.web.conftest import Site
from tests.web.looking import faults


def test_comments_on_lines_go_back_to_the_agent_which_goes_on_with_its_change(site: Site, tmp_path: Path) -> None:
    page = site.set_up()
    task = site.submit(page, "Remove unused imports in shop/tax.py", "python3 -m unittest -q tests.test_tax")
    expect(page.locator("[data-why]")).to_contain_text("waits for a person to review", timeout=90_000)
    page.goto(f"{site.url}/#/tasks/{task}?part=diff")
    change = page.get_by_role("region", name="shop/tax.py", exact=True)
    send = page.get_by_role("button", name="Send back to the agent")
    expect(send).to_be_disabled()

    # by keyboard: the first number is one stop of the Tab key, arrows go on from there
    first = change.get_by_role("button", name="Comment on line").first
    first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(change.get_by_role("textbox", name="Comment on line")).to_be_focused()
    page.keyboard.type("Format the code in shop/invoice.py")
    page.keyboard.press("Control+Enter")
    expect(page.locator("[data-noted]")).to_have_text("1 comment")

    # beside each other, a removed line has a comment of its own
    page.get_by_role("button", name="Side by side").click()
    removed = change.get_by_role("button", name=", before the change")
    removed.first.click()
    change.get_by_role("textbox", name="Comment on line").fill("This one was of no use.")
    change.get_by_role("button", name="Note it").click()
    expect(page.locator("[data-noted]")).to_have_text("2 comments")
    page.reload()
    expect(page.locator("[data-noted]")).to_have_text("2 comments")
    change.get_by_role("button", name="Remove the comment").last.click()
    expect(page.locator("[data-noted]")).to_have_text("1 comment")
    page.get_by_role("button", name="Unified").click()
    assert faults(page, "comments", tmp_path) == {}

    send.click()
    expect(page.get_by_text("Sent: the agent goes on with it")).to_be_visible()
    expect(page.get_by_role("region", name="shop/invoice.py", exact=True)).to_be_visible(timeout=90_000)
    expect(change).to_be_visible()
    expect(page.locator("[data-why]")).to_contain_text("waits for a person to review", timeout=90_000)
    expect(page.locator("[data-noted]")).to_have_count(0)
    page.get_by_role("link", name="log").click()
    log = page.get_by_role("table", name="Log of the task")
    expect(log).to_contain_text("sent back with comments by ada")
    expect(log).to_contain_text("run.message")
    assert site.problems == []
