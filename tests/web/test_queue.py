"""Who needs whom as a picture that the keyboard reaches, and as a list; draining from the fleet's page."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect
from tests.web.conftest import Site
from tests.web.looking import faults


def test_the_needs_are_a_picture_and_a_list(site: Site, tmp_path: Path) -> None:
    page = site.set_up()
    page.get_by_role("button", name="Pause pool mechanic").click()
    ids: list[str] = []
    for title, needs in (("shop/tax.py", ()), ("shop/prices.py", (0,)), ("shop/stock.py", (0,)), ("shop/", (1, 2))):
        page.goto(f"{site.url}/#/new?needs={','.join(ids[one] for one in needs)}")
        page.reload()
        page.get_by_label("What is to be done?").fill(f"Format the code in {title}")
        page.get_by_label("Repository").fill(str(site.repo))
        page.get_by_role("button", name="Submit").click()
        page.wait_for_url("**/#/tasks/*")
        ids.append(page.url.rpartition("/")[2])

    page.goto(f"{site.url}/#/new")
    page.get_by_text("More: base").click()
    page.get_by_label("Add a task that it needs").select_option(ids[1])
    expect(page.locator("#needs")).to_have_value(ids[1])

    page.goto(f"{site.url}/#/queue")
    picture = page.get_by_role("region", name="Picture of who needs whom")
    expect(picture.get_by_role("link")).to_have_count(4)
    expect(picture.locator("path.edge")).to_have_count(4)
    last = picture.get_by_role("link", name="Format the code in shop/, waiting, needs")
    expect(last).to_have_accessible_name(
        "Format the code in shop/, waiting, needs Format the code in shop/prices.py, Format the code in shop/stock.py"
    )
    assert faults(page, "queue", tmp_path, place=picture.get_by_role("link").last) == {}
    picture.focus()
    page.keyboard.press("Tab")
    expect(picture.get_by_role("link").first).to_be_focused()
    expect(picture.locator("path.edge.hot")).to_have_count(2)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Format the code in shop/tax.py")

    page.goto(f"{site.url}/#/queue")
    page.get_by_role("button", name="As a list").click()
    needs = page.get_by_role("region", name="Who needs whom")
    expect(needs.get_by_role("listitem").first).to_contain_text(
        "is needed by Format the code in shop/prices.py, Format the code in shop/stock.py"
    )
    assert faults(page, "queue-list", tmp_path) == {}
    table = page.get_by_role("table", name="Waiting tasks")
    expect(table).to_have_attribute("aria-rowcount", "5")
    assert site.problems == []


def test_an_agent_is_drained_after_a_question(site: Site, tmp_path: Path) -> None:
    page = site.set_up()
    agents = page.get_by_role("table", name="Agents")
    page.get_by_role("button", name="Drain mechanic-2").click()
    assert faults(page, "drain", tmp_path) == {}
    page.get_by_role("dialog").get_by_role("button", name="Drain", exact=True).click()
    expect(agents.get_by_role("row").filter(has_text="mechanic-2")).to_have_count(0, timeout=30_000)
    expect(agents).to_contain_text("mechanic-1")
    page.get_by_role("button", name="Drain pool mechanic").click()
    page.get_by_role("dialog").get_by_role("button", name="Drain", exact=True).click()
    expect(page.get_by_text("No agent is there.")).to_be_visible(timeout=30_000)
    assert site.problems == []
