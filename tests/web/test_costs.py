"""Money, views that are kept, and what is configured: seen without a secret."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect
from tests.web.conftest import Site
from tests.web.looking import faults


def test_what_is_left_of_today_s_budget_is_drawn_and_costs_are_by_repository(
    budgeted_site: Site, tmp_path: Path
) -> None:
    site = budgeted_site
    page = site.set_up()
    page.goto(f"{site.url}/#/costs")
    expect(page.locator("[data-burn]")).to_contain_text("$5.00 of $5.00 left today")
    page.get_by_role("button", name="by repository").click()
    expect(page.get_by_text("Nothing was spent yet.")).to_be_visible()
    page.get_by_role("button", name="7 days").click()
    page.wait_for_url("**/#/costs?by=repo&days=7")
    expect(page.get_by_text("Nothing was spent then.")).to_be_visible()
    assert faults(page, "costs", tmp_path) == {}
    assert site.problems == []


def test_a_view_of_the_tasks_is_kept_in_the_browser(site: Site, tmp_path: Path) -> None:
    page = site.set_up()
    site.submit(page, "Remove unused imports in shop/tax.py")
    page.goto(f"{site.url}/#/tasks?state=review&q=tax")
    page.get_by_role("button", name="Keep this view").click()
    page.get_by_label("Name").fill("Tax to read")
    page.get_by_role("button", name="Keep it").click()
    page.goto(f"{site.url}/#/tasks")
    page.reload()
    page.get_by_role("link", name="Tax to read").click()
    expect(page.get_by_label("Search in title and prompt")).to_have_value("tax")
    expect(page.get_by_role("row").filter(has_text="shop/tax.py")).to_contain_text("review", timeout=90_000)
    assert faults(page, "view", tmp_path) == {}
    page.get_by_role("button", name="Forget the view Tax to read").click()
    expect(page.get_by_role("link", name="Tax to read")).to_have_count(0)
    assert site.problems == []


def test_profiles_and_providers_are_shown_without_keys(budgeted_site: Site) -> None:
    page = budgeted_site.set_up()
    page.goto(f"{budgeted_site.url}/#/settings")
    expect(page.get_by_role("region", name="List of profiles")).to_contain_text("mechanic")
    row = page.get_by_role("region", name="List of providers").get_by_role("row").filter(has_text="mistral")
    expect(row).to_contain_text("ok")
    expect(row).to_contain_text("MISTRAL_API_KEY")
    assert "sk-never-shown" not in page.content()
