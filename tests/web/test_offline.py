"""Without the server: the page opens with what was last seen, what is written waits, and is sent once."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Error, Page, expect
from tests.api.conftest import running
from tests.web.conftest import NARROW, Site, kill
from tests.web.looking import overflow, violations


@contextmanager
def back(site: Site, tmp_path: Path) -> Generator[Any]:
    """Start the server again where it was, on what it had; yield its process."""
    with running(tmp_path / "home", "--agents", "3", "--port", str(urlsplit(site.url).port)) as (process, _):
        yield process


def ready(page: Page) -> None:
    """Wait until the page is kept and the worker has it."""
    page.evaluate(
        """navigator.serviceWorker.ready.then(() => navigator.serviceWorker.controller !== null || new Promise((then) =>
        navigator.serviceWorker.addEventListener('controllerchange', () => then(true), { once: true })))"""
    )


def write(page: Page, site: Site, prompt: str) -> None:
    page.goto(f"{site.url}/#/new")
    page.get_by_label("What is to be done?").fill(prompt)
    page.get_by_label("Repository").fill(str(site.repo))
    page.get_by_role("button", name="Submit").click()


def titles(page: Page) -> list[str]:
    """Return the titles of all tasks, as the server tells them."""
    found: Any = page.evaluate("fetch('/api/v1/tasks').then((answer) => answer.json())")
    return [task["title"] for task in found["items"]]


def connected(page: Page) -> None:
    expect(page.locator("[data-connection]")).to_have_attribute("data-connection", "live")


def test_the_page_can_be_installed(site: Site) -> None:
    page = site.set_up()
    ready(page)
    session: Any = site.context.new_cdp_session(page)
    said = session.send("Page.getAppManifest")
    assert said["errors"] == []
    assert said["url"] == f"{site.url}/manifest.webmanifest"
    wrong = {one["errorId"] for one in session.send("Page.getInstallabilityErrors")["installabilityErrors"]}
    assert wrong <= {"in-incognito"}, "a test's context counts as a private window"
    assert site.problems == []


def test_without_the_server_the_page_opens_with_what_was_last_seen(site: Site) -> None:
    page = site.set_up()
    ready(page)
    task = site.submit(page, "Remove unused imports in shop/tax.py")
    expect(page.locator("[data-why]")).to_contain_text("waits for a person to review", timeout=90_000)
    page.goto(f"{site.url}/#/tasks")
    expect(page.get_by_role("row").filter(has_text="Remove unused imports")).to_be_visible()
    page.goto(f"{site.url}/#/")
    expect(page.get_by_role("table", name="Agents")).to_contain_text("mechanic-3")
    kill(site.process)

    page.reload()
    expect(page.get_by_role("table", name="Agents")).to_contain_text("mechanic-3")
    expect(page.locator("[data-stale]")).to_contain_text("as of")
    expect(page.locator("[data-connection]")).to_have_attribute("data-connection", "lost")
    page.goto(f"{site.url}/#/tasks")
    expect(page.get_by_role("row").filter(has_text="Remove unused imports")).to_be_visible()
    page.goto(f"{site.url}/#/tasks/{task}")
    expect(page.get_by_role("heading", level=1)).to_have_text("Remove unused imports in shop/tax.py")
    expect(page.locator("[data-stale]")).to_contain_text("as of")


def test_nothing_is_kept_of_a_person_who_signed_out(site: Site) -> None:
    page = site.set_up()
    ready(page)
    expect(page.get_by_role("table", name="Agents")).to_contain_text("mechanic-3")
    page.goto(f"{site.url}/#/settings")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    kill(site.process)
    page.goto(f"{site.url}/?again#/")
    expect(page.get_by_role("heading", name="The server cannot be reached")).to_be_visible()
    expect(page.get_by_text("mechanic")).to_have_count(0)


def test_a_task_written_without_the_server_is_submitted_once_with_two_tabs_and_a_reload(
    site: Site, tmp_path: Path
) -> None:
    first = site.set_up()
    ready(first)
    second = site.page()
    second.goto(f"{site.url}/#/tasks")
    connected(second)
    kill(site.process)

    write(first, site, "Format the code in shop/")
    expect(first.locator("[data-outbox]")).to_contain_text("Format the code in shop/")
    expect(second.locator("[data-outbox]")).to_contain_text("Format the code in shop/")
    write(first, site, "Never mind")
    expect(first.locator("[data-outbox]")).to_have_attribute("data-outbox", "2")
    first.get_by_role("button", name="Drop Never mind").click()
    expect(second.locator("[data-outbox]")).to_have_attribute("data-outbox", "1")
    first.reload()
    expect(first.locator("[data-outbox]")).to_contain_text("Format the code in shop/")
    first.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    assert violations(first) == []
    assert overflow(first) == 0

    with back(site, tmp_path):
        for page in (first, second):
            connected(page)
            expect(page.locator("[data-outbox]")).to_have_count(0)
        expect(second.get_by_role("row").filter(has_text="Format the code")).to_be_visible()
        first.reload()
        connected(first)
        assert titles(first) == ["Format the code in shop/"]


def test_an_answer_that_got_lost_makes_no_second_task(site: Site) -> None:
    """The server took the task, the browser never heard so."""
    page = site.set_up()
    ready(page)
    lost: list[str] = []

    def lose(route: Any) -> None:
        if route.request.method != "POST" or lost:
            route.continue_()
            return
        route.fetch()
        lost.append(route.request.headers["idempotency-key"])
        route.abort()

    page.route("**/api/v1/tasks", lose)
    write(page, site, "Format the code in shop/")
    page.wait_for_url("**/#/tasks")
    page.reload()
    connected(page)
    expect(page.locator("[data-outbox]")).to_have_count(0)
    assert lost
    assert titles(page) == ["Format the code in shop/"]


def test_what_the_server_refuses_later_is_kept_with_its_reason(site: Site, tmp_path: Path) -> None:
    page = site.set_up()
    ready(page)
    kill(site.process)
    page.goto(f"{site.url}/#/new")
    page.get_by_label("What is to be done?").fill("Anything")
    page.get_by_label("Repository").fill("/nowhere/at/all")
    page.get_by_role("button", name="Submit").click()
    expect(page.locator("[data-outbox]")).to_contain_text("sent once when the server is back")
    with back(site, tmp_path):
        connected(page)
        expect(page.locator("[data-outbox]").get_by_role("alert")).to_contain_text("/nowhere/at/all")
        page.reload()
        expect(page.locator("[data-outbox]").get_by_role("alert")).to_contain_text("/nowhere/at/all")
        assert violations(page) == []
        page.get_by_role("button", name="Drop Anything").click()
        expect(page.locator("[data-outbox]")).to_have_count(0)
        assert titles(page) == []


def test_a_message_written_without_the_server_is_kept_and_its_fate_told(site: Site, tmp_path: Path) -> None:
    """Its agent has no task any more when the server is back, which is said in place of losing it."""
    page = site.set_up()
    ready(page)
    page.route("**/api/v1/agents", hold_busy)
    page.reload()
    page.get_by_role("button", name="Write to mechanic-1").click()
    kill(site.process)
    page.get_by_role("dialog").get_by_label("Message").fill("Mind the gap.")
    page.get_by_role("dialog").get_by_role("button", name="Send").click()
    expect(page.locator("[data-outbox]")).to_contain_text("To mechanic-1")
    expect(page.locator("[data-outbox]")).to_contain_text("Mind the gap.")
    with back(site, tmp_path):
        connected(page)
        expect(page.locator("[data-outbox]").get_by_role("alert")).to_contain_text("has no task now")


def hold_busy(route: Any) -> None:
    """Show the agents as if each had a task, so that they can be written to."""
    try:
        answer = route.fetch()
    except Error:  # the server was killed meanwhile
        route.abort()
        return
    agents = answer.json()
    for agent in agents["items"]:
        agent["task_id"] = "0" * 16
    route.fulfill(response=answer, json=agents)


def test_no_command_that_takes_something_away_waits(site: Site) -> None:
    page = site.set_up()
    ready(page)
    page.get_by_role("button", name="Pause pool mechanic").click()
    expect(page.get_by_role("table", name="Agents").get_by_text("paused")).to_have_count(3)
    task = site.submit(page, "Format the code in shop/")
    expect(page.locator("[data-why]")).to_contain_text("paused")
    kill(site.process)
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the task").click()
    expect(page.get_by_role("region", name="Notices")).to_contain_text("nothing was changed")
    page.goto(f"{site.url}/#/")
    page.get_by_role("button", name="Resume pool mechanic").click()
    expect(page.get_by_role("region", name="Notices").get_by_text("nothing was changed")).to_have_count(2)
    assert task
    expect(page.locator("[data-outbox]")).to_have_count(0)


def test_a_server_that_says_nothing_any_more_is_told_too(site: Site) -> None:
    """Its port still takes connections: only silence tells."""
    page = site.set_up()
    connected(page)
    site.process.send_signal(signal.SIGSTOP)
    try:
        expect(page.locator("[data-connection]")).to_have_attribute("data-connection", "lost")
        expect(page.locator("[data-stale]")).to_contain_text("as of")
    finally:
        site.process.send_signal(signal.SIGCONT)
    connected(page)


def test_a_silent_server_is_told_within_five_seconds_of_the_browser_s_own_time(site: Site) -> None:
    """However long the machine takes for them: the browser's clock goes on by five seconds and not further."""
    site.context.add_init_script("delete window.SharedWorker")  # whose clock nobody else can hold
    page = site.page()
    page.clock.install()
    signed = site.set_up()
    signed.close()
    page.goto(site.url)
    expect(page.get_by_role("table", name="Agents")).to_contain_text("mechanic-3")
    connected(page)
    with page.expect_response("**/healthz"):  # after ten seconds without a word; from its answer on it is quiet
        page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 10)
    connected(page)
    site.process.send_signal(signal.SIGSTOP)
    try:
        page.clock.run_for(5_000)
        expect(page.locator("[data-connection]")).to_have_attribute("data-connection", "lost")
        expect(page.locator("[data-stale]")).to_contain_text("as of")
    finally:
        site.process.send_signal(signal.SIGCONT)


def test_a_stream_that_died_without_a_word_is_opened_anew_though_the_server_answers(site: Site) -> None:
    """As when a phone changes its network, or a proxy forgets a connection."""
    site.context.add_init_script("delete window.SharedWorker")
    page = site.page()
    page.clock.install()
    site.set_up().close()
    page.goto(site.url)
    connected(page)
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 60)
    with page.expect_response("**/api/v1/events"):
        for _ in range(100):
            page.clock.run_for(500)
            if page.locator("[data-connection=lost]").count():
                page.clock.run_for(5_000)
                break
            page.wait_for_timeout(50)
    connected(page)
