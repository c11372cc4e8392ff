"""The event log in a browser: the whole of it, filtered by links, held still while it is read, dated when it is old."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.web.conftest import Site, kill, sited
from tests.web.looking import faults

from ezaigent.store import NewEvent, emit_many
from ezaigent.wiring import Fleet

OLD = 650
"""Events of the past: more than three pages."""


@pytest.fixture
def past(tmp_path: Path) -> None:
    """Events from before the server's start; asked for before a browser, which has an event loop of its own."""

    async def write() -> None:
        rows = [
            NewEvent("task.queued", f"old-{number}", agent="elder-1", data={"reason": f"<b>{number}</b>"}, at=number)
            for number in range(OLD)
        ]
        async with Fleet.connect(tmp_path / "home") as fleet:
            await fleet.services.db.write(lambda conn: emit_many(conn, rows))

    asyncio.run(write())


def paused(page: Page, word: str) -> None:
    """Have the pool paused or resumed by the person who is signed in."""
    page.evaluate(
        """async (word) => {
            const { csrf } = await (await fetch('/api/v1/session')).json();
            const headers = { 'X-CSRF-Token': csrf };
            const answer = await fetch(`/api/v1/agents/mechanic/${word}`, { method: 'POST', headers });
            if (!answer.ok) throw new Error(await answer.text());
        }""",
        word,
    )


def test_the_whole_log_is_read_backwards_and_holds_still_meanwhile(
    past: None, tmp_path: Path, browser: Browser, built: None
) -> None:
    with sited(tmp_path, browser, "--agents", "1") as site:
        page = site.set_up()
        page.goto(f"{site.url}/#/events?agent=elder-1")
        table = page.get_by_role("table", name="Events")
        expect(table).to_contain_text(f"old-{OLD - 1}")
        expect(table).to_have_attribute("aria-rowcount", "-1")
        first = table.get_by_role("row").filter(has=page.get_by_role("link", name="old-0", exact=True))
        box = table.get_by_role("rowgroup").last
        page.wait_for_function(
            """(box) => {
                box.scrollTo(0, box.scrollHeight);
                return box.closest('[role=table]').getAttribute('aria-rowcount') !== '-1';
            }""",
            arg=box.element_handle(),
            polling=100,
        )
        expect(table).to_have_attribute("aria-rowcount", str(OLD + 1))
        box.evaluate("(box) => box.scrollTo(0, box.scrollHeight)")
        expect(first).to_have_attribute("aria-rowindex", str(OLD + 1))
        expect(first).to_contain_text("<b>0</b>")
        assert table.get_by_role("row").count() < 100

        page.get_by_role("button", name="Show all").click()
        expect(page.locator("[data-summary]")).not_to_contain_text("held still")
        top = table.get_by_role("row").nth(1)
        paused(page, "pause")
        expect(table).to_contain_text("agent.paused")
        page.get_by_role("button", name="Hold still").click()
        before = top.inner_text()
        paused(page, "resume")
        newer = page.get_by_role("button", name="newer event")
        expect(newer).to_be_visible(timeout=20_000)
        assert top.inner_text() == before
        newer.click()
        expect(table).to_contain_text("agent.resumed")
        assert site.problems == []


def test_who_did_what_from_where_is_found_by_a_link_and_dated_without_the_server(site: Site, tmp_path: Path) -> None:
    page = site.set_up()
    paused(page, "pause")
    page.goto(f"{site.url}/#/events?kind=audit.&by=ada")
    table = page.get_by_role("table", name="Events")
    deed = table.get_by_role("row").filter(has_text="audit.change").first
    expect(deed).to_contain_text("ada")
    expect(deed).to_contain_text("pause agent mechanic · from 127.0.0.1 · by session")
    expect(table).not_to_contain_text("agent.paused")
    assert faults(page, "events", tmp_path) == {}

    deed.get_by_role("button", name="audit.change").click()
    details = page.get_by_role("dialog")
    expect(details).to_contain_text('"action": "pause_agent"')
    assert faults(page, "event", tmp_path) == {}
    details.get_by_role("button", name="Only audit.change").click()
    page.wait_for_url("**/#/events?kind=audit.change&by=ada")
    expect(table).not_to_contain_text("audit.login")
    page.get_by_label("Who").fill("bob")
    page.wait_for_url("**/#/events?kind=audit.change&by=bob")
    expect(page.get_by_text("No event is like that.")).to_be_visible()
    page.get_by_label("Who").fill("ada")
    expect(deed).to_be_visible()
    assert site.problems == []

    kill(site.process)
    expect(page.locator("[data-stale]")).to_contain_text("as of")
    page.reload()
    expect(deed).to_contain_text("pause agent mechanic")
    expect(page.locator("[data-stale]")).to_contain_text("as of")
