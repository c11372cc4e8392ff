"""The main job in a browser: set up, submit, watch, read the change, approve."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, expect
from tests.api.conftest import PASSWORD
from tests.fleet.scene import git
from tests.web.conftest import NARROW, Site, kill


def test_a_person_sets_up_submits_watches_reads_the_change_and_approves(site: Site) -> None:
    page = site.set_up()
    expect(page.locator("[data-connection]")).to_have_attribute("data-connection", "live")
    expect(page.get_by_role("table", name="Agents")).to_contain_text("mechanic-3")

    task = site.submit(page, "Remove unused imports in shop/tax.py", "python3 -m unittest -q tests.test_tax")
    expect(page.locator("[data-why]")).to_contain_text("waits for a person to review", timeout=90_000)
    expect(page.get_by_text("python3 -m unittest -q tests.test_tax")).to_be_visible()

    page.get_by_role("link", name="log").click()
    expect(page.get_by_role("table", name="Log of the task")).to_contain_text("task.review")

    expect(page.get_by_role("table", name="Log of the task")).to_contain_text("test_tax passed ·")
    page.get_by_role("button", name="task.review, all of it").click()
    whole = page.get_by_role("dialog")
    expect(whole).to_contain_text(f"ezaigent/{task}")
    whole.get_by_role("button", name="Close").click()

    page.get_by_role("link", name="diff").click()
    files = page.get_by_role("navigation", name="Files of the change")
    expect(files.locator("details").filter(has_text="shop/")).to_be_visible()
    files.get_by_role("link", name="tax.py").click()
    change = page.get_by_role("region", name="shop/tax.py", exact=True)
    expect(change).to_contain_text("-import")
    page.get_by_role("button", name="Side by side").click()
    expect(change.locator("tr").filter(has_text="import").first.locator("td")).to_have_count(4)

    page.get_by_role("button", name="Approve").click()
    expect(page.locator("[data-why]")).to_contain_text("is done")
    page.goto(f"{site.url}/#/tasks?state=done,failed,cancelled")
    row = page.get_by_role("row").filter(has_text="Remove unused imports")
    expect(row).to_contain_text("done")
    assert row.get_by_role("link").get_attribute("href") == f"#/tasks/{task}"
    page.get_by_label("Search in title and prompt").fill("nothing like it")
    expect(page.get_by_text("No task is like that.")).to_be_visible()
    page.get_by_label("Search in title and prompt").fill("UNUSED imports")
    page.get_by_label("Repository").select_option(str(site.repo))
    expect(row).to_be_visible()
    page.get_by_label("Profile").select_option("gpt")
    expect(page.get_by_text("No task is like that.")).to_be_visible()
    page.get_by_label("Profile").select_option("")
    expect(row).to_be_visible()
    assert site.problems == []


def test_a_change_is_merged_after_a_question_and_a_refusal_changes_nothing(site: Site) -> None:
    page = site.set_up()
    page.get_by_role("link", name="New task", exact=True).click()
    page.get_by_label("What is to be done?").fill("Remove unused imports in shop/tax.py")
    page.get_by_label("Repository").fill(str(site.repo))
    page.get_by_label("Checks").fill("python3 -m unittest -q tests.test_tax")
    page.get_by_text("More: base").click()
    page.get_by_label("Base").fill("main")
    page.get_by_role("button", name="Submit", exact=True).click()
    page.wait_for_url("**/#/tasks/*")
    why = page.locator("[data-why]")
    expect(why).to_contain_text("waits for a person to review", timeout=90_000)
    before = git(site.repo, "rev-parse", "main")
    merge = page.get_by_role("button", name="Merge", exact=True)
    question = page.get_by_role("dialog", name="Merge this change?", exact=True)

    merge.click()
    expect(question).to_contain_text("if the merged tree passes the checks")
    question.get_by_role("button", name="Cancel", exact=True).click()
    expect(question).to_have_count(0)
    merge.click()
    question.get_by_role("button", name="Merge", exact=True).click()
    refused = page.get_by_role("region", name="Notices", exact=True).get_by_text("checked out")
    expect(refused).to_be_visible(timeout=60_000)  # the person's own work tree would look changed
    expect(why).to_contain_text("waits for a person to review")
    assert git(site.repo, "rev-parse", "main") == before

    git(site.repo, "checkout", "-q", "-b", "elsewhere")
    merge.click()
    question.get_by_role("button", name="Merge", exact=True).click()
    expect(why).to_contain_text("is done", timeout=60_000)
    expect(merge).to_have_count(0)
    commit = git(site.repo, "rev-parse", "main")
    assert commit != before
    assert git(site.repo, "diff", "--name-only", before, commit) == "shop/tax.py"
    page.get_by_role("link", name="log", exact=True).click()
    done = page.get_by_role("table", name="Log of the task").get_by_role("row").filter(has_text="task.done")
    expect(done).to_contain_text("by: ada")
    expect(done).to_contain_text(commit)
    site.problems[:] = [text for text in site.problems if "409" not in text]  # the browser tells of the refusal
    assert site.problems == []


def test_a_paused_pool_takes_no_task_until_it_is_resumed(site: Site) -> None:
    page = site.set_up()
    page.get_by_role("button", name="Pause pool mechanic").click()
    agents = page.get_by_role("table", name="Agents")
    expect(agents.get_by_text("paused")).to_have_count(3)

    site.submit(page, "Format the code in shop/", "echo ready")
    expect(page.locator("[data-why]")).to_contain_text("paused")
    expect(page.get_by_role("listitem").filter(has_text="echo ready")).to_contain_text("runs on the finished work")
    page.goto(f"{site.url}/#/queue")
    expect(page.get_by_role("table", name="Waiting tasks")).to_contain_text("Format the code")

    page.goto(f"{site.url}/#/")
    page.get_by_role("button", name="Resume pool mechanic").click()
    page.goto(f"{site.url}/#/tasks")
    expect(page.get_by_role("row").filter(has_text="Format the code")).to_contain_text("review", timeout=90_000)
    assert site.problems == []


def test_a_pool_s_limits_are_changed_and_a_wrong_value_is_said(site: Site) -> None:
    page = site.set_up()
    page.goto(f"{site.url}/#/scaling")
    pool = page.get_by_role("region", name="Pool mechanic")
    pool.get_by_role("button", name="Change the limits of mechanic").click()
    page.get_by_label("Least agents").fill("7")
    page.get_by_label("Most agents").fill("5")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_be_visible()
    page.get_by_label("Least agents").fill("2")
    page.get_by_role("button", name="Save").click()
    expect(pool).to_contain_text("to 5")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("[data-scaler]")).to_contain_text("stopped")


def test_a_task_can_be_cancelled_and_retried_after_a_question(site: Site) -> None:
    page = site.set_up()
    page.get_by_role("button", name="Pause pool mechanic").click()
    site.submit(page, "Format the code in shop/")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the task").click()
    expect(page.locator("[data-why]")).to_contain_text("was cancelled")
    page.get_by_role("button", name="Retry").click()
    page.get_by_role("dialog").get_by_role("button", name="Retry").click()
    expect(page.locator("[data-why]")).to_contain_text("is queued")
    assert site.problems == []


def test_what_the_server_refuses_is_said_at_the_form(site: Site) -> None:
    page = site.set_up()
    page.goto(f"{site.url}/#/new")
    page.get_by_label("What is to be done?").fill("Anything")
    page.get_by_label("Repository").fill("/nowhere/at/all")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("alert")).to_contain_text("/nowhere/at/all")


def test_two_tabs_share_one_connection_and_both_see_the_work(site: Site) -> None:
    first = site.set_up()
    second = site.page()
    second.goto(f"{site.url}/#/tasks")
    expect(second.locator("[data-connection]")).to_have_attribute("data-connection", "live")
    site.submit(first, "Remove unused imports in shop/tax.py")
    expect(second.get_by_role("row").filter(has_text="Remove unused imports")).to_be_visible()
    metrics = second.evaluate("fetch('/metrics').then((answer) => answer.text())")
    streams = re.search(r"^ezaigent_event_streams(?:_open)? (\d+)", metrics, re.MULTILINE)
    assert streams, metrics[:2000]
    assert int(streams[1]) == 1
    assert site.problems == []


def test_a_lost_connection_is_said_and_what_is_shown_is_dated(site: Site) -> None:
    page = site.set_up()
    expect(page.get_by_role("table", name="Agents")).to_contain_text("mechanic-1")
    kill(site.process)
    expect(page.locator("[data-connection]")).to_have_attribute("data-connection", "lost")
    expect(page.locator("[data-stale]")).to_contain_text("as of")
    expect(page.get_by_role("table", name="Agents")).to_contain_text("mechanic-1")


def test_a_person_signs_out_and_in_and_lets_another_one_look(site: Site, browser: Browser) -> None:
    page = site.set_up()
    page.goto(f"{site.url}/#/settings")
    people = page.get_by_role("region", name="People", exact=True)
    people.get_by_label("Name").fill("bob")
    people.get_by_label("Password").fill(PASSWORD)
    people.get_by_role("button", name="Let in").click()
    expect(people.get_by_role("button", name="Remove bob")).to_be_visible()
    tokens = page.get_by_role("region", name="Tokens for programs")
    tokens.get_by_label("Name of a new token").fill("ci")
    tokens.get_by_role("button", name="Make it").click()
    expect(tokens.get_by_role("status")).to_contain_text("eza_")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()

    context = browser.new_context(viewport={"width": NARROW[0], "height": NARROW[1]})
    other = context.new_page()
    other.goto(site.url)
    other.get_by_label("Name").fill("bob")
    other.get_by_label("Password").fill("wrong " + PASSWORD)
    other.get_by_role("button", name="Sign in").click()
    expect(other.get_by_role("alert")).to_contain_text("wrong name or password")
    other.get_by_label("Password").fill(PASSWORD)
    other.get_by_role("button", name="Sign in").click()
    expect(other.get_by_role("heading", name="Fleet", exact=True)).to_be_visible()
    expect(other.get_by_role("button", name="Pause pool mechanic")).to_have_count(0)
    context.close()
