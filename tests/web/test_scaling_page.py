"""The scaling page: the past on one time axis, a change tried on it, and a threshold at which the scaler acts."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect
from tests.web.conftest import Site
from tests.web.looking import faults

FILES = ("shop/tax.py", "shop/invoice.py", "shop/prices.py", "shop/stock.py")


def test_a_threshold_is_changed_and_the_scaler_acts(scaled_site: Site, tmp_path: Path) -> None:
    site = scaled_site
    page = site.set_up()
    page.route("**/api/v1/agents", lambda route: route.fulfill(json={"items": []}))
    page.reload()
    expect(page.get_by_role("region", name="Pool mechanic")).to_contain_text("0 of 1 wanted")
    page.unroute("**/api/v1/agents")
    page.goto(f"{site.url}/#/scaling")
    pool = page.get_by_role("region", name="Pool mechanic")
    expect(pool).to_contain_text("slo, 1 to 10")
    pool.get_by_role("button", name="Change the limits of mechanic").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Policy").select_option("threshold")
    dialog.get_by_label("Cooldown").fill("0")
    dialog.get_by_label("Grow above").fill("100")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)
    expect(pool).to_contain_text("threshold, 1 to 10")
    for file in FILES:
        site.submit(page, f"Format the code in {file}", "sleep 30")
    page.goto(f"{site.url}/#/")
    expect(page.get_by_role("table", name="Agents")).to_contain_text("active")
    expect(page.locator("[data-summary]")).to_contain_text("1 agent,")

    page.goto(f"{site.url}/#/scaling")
    pool.get_by_role("button", name="Change the limits of mechanic").click()
    dialog.get_by_label("Grow above").fill("1")
    dialog.get_by_label("Shrink below").fill("3")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_contain_text("down_threshold: 3 is not below up_threshold")
    dialog.get_by_label("Shrink below").fill("0")
    assert faults(page, "pool-settings", tmp_path) == {}
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_have_count(0)

    expect(page.get_by_role("table", name="Decisions")).to_contain_text("more than 1", timeout=60_000)
    pool.get_by_text("What it was made of").click()
    expect(pool.locator("details")).to_contain_text("tasks queued")
    page.goto(f"{site.url}/#/")
    expect(page.get_by_role("table", name="Agents")).to_contain_text("mechanic-4", timeout=60_000)
    expect(page.get_by_role("region", name="Pool mechanic")).to_contain_text("wanted")
    page.goto(f"{site.url}/#/scaling?hours=1")
    chart = page.get_by_role("img", name="at most 4 agents")
    expect(chart).to_be_visible(timeout=60_000)
    assert faults(page, "history", tmp_path, place=chart) == {}
    assert [text for text in site.problems if "422" not in text] == []


def test_the_past_is_seen_and_a_change_is_tried_on_it(scaled_site: Site, tmp_path: Path) -> None:
    site = scaled_site
    page = site.set_up()
    site.submit(page, "Remove unused imports in shop/tax.py")
    expect(page.locator("[data-why]")).to_contain_text("waits for a person to review", timeout=90_000)

    page.goto(f"{site.url}/#/scaling?hours=1")
    chart = page.get_by_role("img", name="at most 1 agents")
    expect(chart).to_be_visible()
    moment = page.get_by_label("Moment")
    moment.focus()
    moment.press("Home")
    expect(page.locator("[data-moment]")).to_contain_text("queued")
    page.get_by_text("The same as a table").click()
    table = page.get_by_role("region", name="History as a table")
    expect(table.get_by_role("row")).to_have_count(97)
    page.get_by_role("region", name="Pool mechanic").get_by_text("What it was made of").click()
    assert faults(page, "scaling", tmp_path) == {}

    page.get_by_role("button", name="Change the limits of mechanic").click()
    page.get_by_label("Least agents").fill("5")
    page.get_by_role("button", name="Try on the last day").click()
    preview = page.locator("[data-preview]")
    expect(preview).to_contain_text("1 task of the last day, run again")
    expect(preview.get_by_role("row").filter(has_text="Agents at most")).to_contain_text("5")
    assert faults(page, "preview", tmp_path) == {}
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("region", name="Pool mechanic")).not_to_contain_text("5 to")
    assert site.problems == []


def test_a_change_made_meanwhile_is_said_before_it_is_overwritten(scaled_site: Site) -> None:
    site = scaled_site
    page = site.set_up()
    page.goto(f"{site.url}/#/scaling")
    page.get_by_role("button", name="Change the limits of mechanic").click()
    page.get_by_label("Most agents").fill("8")
    page.evaluate(
        """async () => {
            const { csrf } = await (await fetch('/api/v1/session')).json();
            await fetch('/api/v1/autoscaler', { method: 'PUT', body: '{"changes": {"error_share": 0.5}}',
                headers: { 'X-CSRF-Token': csrf, 'If-Match': '*', 'Content-Type': 'application/json' } });
        }"""
    )
    # the page sees the event and reads anew, but a person who saves faster than that is told
    page.route("**/api/v1/autoscaler", lambda route: route.fulfill(status=412, json={"detail": "stale"}), times=1)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("Somebody else changed the settings")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("region", name="Pool mechanic")).to_contain_text("to 8")
