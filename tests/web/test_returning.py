"""Who comes back to a page sees what was there at once, dated, until it was read anew."""

from __future__ import annotations

import re

from playwright.sync_api import Route, expect
from tests.web.conftest import Site


def test_a_page_that_is_come_back_to_shows_its_last_data_dated_until_it_is_read_anew(site: Site) -> None:
    page = site.set_up()
    task = site.submit(page, "Remove unused imports in shop/tax.py")
    expect(page.locator("[data-why]")).to_contain_text("waits for a person to review", timeout=90_000)
    agents = page.get_by_role("table", name="Agents", exact=True)
    places = (
        ("tasks", page.get_by_role("table", name="Tasks", exact=True).get_by_text("Remove unused imports")),
        ("events", page.get_by_role("table", name="Events", exact=True).get_by_text("task.review", exact=True)),
        (f"tasks/{task}?part=diff", page.get_by_role("region", name="shop/tax.py", exact=True)),
        ("", agents.get_by_text("mechanic-3", exact=True)),
    )
    stale = page.locator("[data-stale]")
    for name, there in places:
        page.goto(f"{site.url}/#/{name}")
        expect(there).to_be_visible()
        expect(stale).to_have_count(0)

    held: list[Route] = []
    open_again: list[bool] = []

    def hold(route: Route) -> None:
        route.continue_() if open_again else held.append(route)

    page.route(re.compile(r"/api/v1/"), hold)
    other = site.page()
    other.goto(site.url)
    other.get_by_role("button", name="Pause pool mechanic", exact=True).click()
    expect(other.get_by_role("table", name="Agents").get_by_text("paused")).to_have_count(3)
    for name, there in places:
        page.goto(f"{site.url}/#/{name}")
        expect(there).to_be_visible()
        expect(stale).to_contain_text("as of")
        expect(page.get_by_text("Reading")).to_have_count(0)
    expect(page.locator("[data-connection]")).to_have_attribute("data-connection", "live")
    expect(agents.get_by_text("paused")).to_have_count(0)

    open_again.append(True)
    for one in held:
        one.continue_()
    expect(agents.get_by_text("paused")).to_have_count(3)
    expect(stale).to_have_count(0)
    assert site.problems == []
