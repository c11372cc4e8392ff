"""A tab that stays open all day: held still, upgraded, signed out elsewhere, before a slow server, half-written."""

from __future__ import annotations

import signal

from playwright.sync_api import Route, expect
from tests.api.conftest import PASSWORD
from tests.web.conftest import Site
from tests.web.test_offline import connected, ready, titles

_LET_BOB_IN = """async (password) => {
  const { csrf } = await (await fetch('/api/v1/session')).json();
  const headers = { 'X-CSRF-Token': csrf, 'Content-Type': 'application/json' };
  const body = JSON.stringify({ name: 'bob', password, role: 'viewer' });
  const answer = await fetch('/api/v1/users', { method: 'POST', headers, body });
  if (!answer.ok) throw new Error(await answer.text());
}"""


def test_nothing_moves_by_itself_while_everything_is_held_still(site: Site) -> None:
    page = site.set_up()
    paused = page.get_by_role("table", name="Agents").get_by_text("paused")
    other = site.page()
    other.goto(site.url)
    connected(other)
    hold = page.get_by_role("button", name="Hold everything still")
    hold.click()
    expect(page.locator("[data-stale]")).to_contain_text("as of")
    expect(page.get_by_text("Held still")).to_be_visible()

    other.get_by_role("button", name="Pause pool mechanic").click()
    expect(other.get_by_role("table", name="Agents").get_by_text("paused")).to_have_count(3)
    expect(paused).to_have_count(0)
    page.get_by_role("button", name="Pause mechanic-1").click()
    expect(paused).to_have_count(3)  # what the person does is answered
    other.get_by_role("button", name="Resume pool mechanic").click()
    expect(other.get_by_role("table", name="Agents").get_by_text("paused")).not_to_have_count(3)
    expect(paused).to_have_count(3)

    hold.click()
    expect(paused).not_to_have_count(3)
    expect(page.locator("[data-stale]")).to_have_count(0)
    assert site.problems == []


def test_a_tab_is_told_of_a_newer_dashboard_and_loads_it_when_the_person_wants(site: Site) -> None:
    page = site.set_up()
    newer = page.get_by_role("region", name="A newer dashboard")
    with page.expect_response("**/?newest"):
        page.reload()
    connected(page)
    expect(newer).to_have_count(0)
    page.route("**/?newest", lambda route: route.fulfill(body='<script type="module" src="/assets/index-other.js">'))
    page.reload()
    expect(newer).to_contain_text("newer dashboard")
    page.unroute("**/?newest")
    with page.expect_response("**/?newest"):
        newer.get_by_role("button", name="Load it").click()
    expect(newer).to_have_count(0)
    assert site.problems == []


def test_signing_out_and_in_as_somebody_else_reaches_every_tab(site: Site) -> None:
    first = site.set_up()
    first.evaluate(_LET_BOB_IN, PASSWORD)
    second = site.page()
    second.goto(f"{site.url}/#/tasks")
    connected(second)
    new_task = second.get_by_role("link", name="New task")
    expect(new_task).to_be_visible()

    first.goto(f"{site.url}/#/settings")
    first.get_by_role("button", name="Sign out").click()
    expect(first.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(second.get_by_role("heading", name="Sign in")).to_be_visible()
    first.get_by_label("Name").fill("bob")
    first.get_by_label("Password").fill(PASSWORD)
    first.get_by_role("button", name="Sign in").click()
    expect(second.get_by_role("heading", name="Tasks")).to_be_visible()
    expect(second.get_by_title("Signed in")).to_have_text("bob")
    expect(new_task).to_have_count(0)
    for page in (first, second):
        connected(page)
    site.problems[:] = [text for text in site.problems if "401" not in text]
    assert site.problems == []


def test_a_half_written_task_outlives_a_session_that_ended(site: Site) -> None:
    page = site.set_up()
    page.goto(f"{site.url}/#/new")
    prompt = page.get_by_label("What is to be done?")
    prompt.fill("Format the code in shop/")
    page.get_by_label("Repository").fill(str(site.repo))
    page.get_by_text("More: base").click()
    page.get_by_label("Budget").fill("2.5")
    site.context.clear_cookies()
    page.get_by_role("button", name="Submit").click()
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(prompt).to_have_value("Format the code in shop/")
    page.reload()
    expect(prompt).to_have_value("Format the code in shop/")
    expect(page.get_by_label("Budget")).to_have_value("2.5")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("[data-why]")).to_be_visible()
    page.goto(f"{site.url}/#/new")
    expect(prompt).to_have_value("")
    expect(page.get_by_label("Repository")).to_have_value(str(site.repo))


def test_what_a_silent_server_took_and_never_answered_is_one_task(site: Site) -> None:
    page = site.page()
    page.clock.install()
    site.set_up().close()
    page.goto(f"{site.url}/#/new")
    held: list[Route] = []

    def hold(route: Route) -> None:
        if route.request.method == "POST":
            route.fetch()
            held.append(route)
        else:
            route.continue_()

    page.route("**/api/v1/tasks", hold)
    page.get_by_label("What is to be done?").fill("Format the code in shop/")
    page.get_by_label("Repository").fill(str(site.repo))
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("button", name="Submitting…")).to_be_visible()
    for _ in range(600):
        if held:
            break
        page.wait_for_timeout(50)
    page.clock.fast_forward(21_000)
    expect(page.locator("[data-outbox]")).to_contain_text("Format the code in shop/")
    page.unroute("**/api/v1/tasks")
    page.reload()
    connected(page)
    expect(page.locator("[data-outbox]")).to_have_count(0)
    assert titles(page) == ["Format the code in shop/"]


def test_before_a_server_that_takes_its_time_the_last_things_are_shown_dated(site: Site) -> None:
    page = site.set_up()
    ready(page)
    agents = page.get_by_role("table", name="Agents")
    expect(agents).to_contain_text("mechanic-3")
    site.process.send_signal(signal.SIGSTOP)
    try:
        page.reload()
        expect(agents).to_contain_text("mechanic-3")
        expect(page.locator("[data-stale]")).to_contain_text("as of")
    finally:
        site.process.send_signal(signal.SIGCONT)
    connected(page)
    expect(page.locator("[data-stale]")).to_have_count(0)
    page.get_by_role("button", name="Pause pool mechanic").click()
    expect(agents.get_by_text("paused")).to_have_count(3)


def test_a_huge_change_is_shown_in_part_and_the_rest_when_it_is_asked_for(site: Site) -> None:
    page = site.set_up()
    page.get_by_role("button", name="Pause pool mechanic").click()
    task = site.submit(page, "Format the code in shop/")
    lines = "".join(f"+x = {number}\n" for number in range(300))
    patch = "".join(
        f"diff --git a/f{number}.py b/f{number}.py\nnew file mode 100644\n--- /dev/null\n+++ b/f{number}.py\n"
        f"@@ -0,0 +1,300 @@\n{lines}"
        for number in range(40)
    )
    page.route("**/diff", lambda route: route.fulfill(json={"diff": patch}))
    page.goto(f"{site.url}/#/tasks/{task}?part=diff")
    expect(page.locator("[data-summary]")).to_contain_text("40 files, +12000")
    expect(page.get_by_role("region", name="f0.py", exact=True)).to_contain_text("+x = 299")
    last = page.get_by_role("region", name="f39.py", exact=True)
    expect(last).not_to_contain_text("x = 299")
    assert page.locator("tr").count() < 5_000
    last.get_by_role("button", name="Show 300 lines").click()
    expect(last).to_contain_text("+x = 299")
    assert site.problems == []
