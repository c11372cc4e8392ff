"""Notifications in a browser: switched on with consent, shown as they come, approved from where they are shown.

The push service is ours, in place of the one of the browser's maker; what it takes is handed to the browser over the
debugging protocol, as the maker's service would hand it over.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.api.conftest import running
from tests.push.services import PushService, push_service
from tests.web.conftest import NARROW, WIDE, Site
from tests.web.looking import overflow, violations

from ezaigent.cli.demo import build

_SUBSCRIBE = """([endpoint, keys]) => {
  let now = null;
  const made = {
    endpoint,
    toJSON: () => ({ endpoint, keys }),
    unsubscribe: async () => ((now = null), true),
  };
  PushManager.prototype.subscribe = async (options) => {
    if (!options.userVisibleOnly || options.applicationServerKey.length !== 87) throw new Error('wrong options');
    return (now = made);
  };
  PushManager.prototype.getSubscription = async () => now;
}"""
_CLICK = """async (action) => {
  const [notification] = await self.registration.getNotifications();
  const event = new NotificationEvent('notificationclick', { notification, action });
  const waits = [];
  event.waitUntil = (one) => waits.push(one);
  self.dispatchEvent(event);
  await Promise.all(waits);
}"""
_SHOWN = """async () => (await self.registration.getNotifications()).map((one) => ({
  title: one.title, body: one.body, actions: one.actions.map((action) => action.action) }))"""


@pytest.fixture
def service() -> Iterator[PushService]:
    """A push service, in a thread of its own: the browser is driven in this one."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def call(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(30)

    opened = push_service()
    try:
        yield call(opened.__aenter__())
        call(opened.__aexit__(None, None, None))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def site(tmp_path: Path, browser: Browser, built: None, service: PushService) -> Generator[Site]:
    """A fresh server that may post to this machine, and a browser that may show notifications."""
    del service
    with running(tmp_path / "home", "--agents", "2", EZAIGENT_SERVER__INTERNAL='["127.0.0.1"]') as (process, said):
        context = browser.new_context(viewport={"width": WIDE[0], "height": WIDE[1]}, reduced_motion="reduce")
        context.grant_permissions(["notifications"], origin=said["url"])
        yield Site(said["url"], said["setup_url"], process, build(tmp_path), browser, context, [])
        context.close()


def wait_for(page: Page, condition: Callable[[], Any], what: str) -> None:
    """Wait while the browser goes on."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"did not happen: {what}"
        page.wait_for_timeout(50)


class Phone:
    """A tab with notifications, and what brings them there."""

    def __init__(self, site: Site, service: PushService) -> None:
        self.service = service
        site.context.add_init_script(
            f"({_SUBSCRIBE})({json.dumps([service.endpoint('phone'), service.client('phone').keys])})"
        )
        self.page: Page = site.set_up()
        self.page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        self.site = site
        self._registration = ""
        self._debugger: Any = site.context.new_cdp_session(self.page)
        self._debugger.on("ServiceWorker.workerRegistrationUpdated", self._registered)
        self._debugger.send("ServiceWorker.enable")

    def _registered(self, said: Any) -> None:
        for one in said["registrations"]:
            self._registration = one["registrationId"]

    def switch_on(self) -> None:
        self.page.goto(f"{self.site.url}/#/settings")
        self.page.get_by_role("button", name="Switch on").click()
        expect(self.page.locator("[data-notifications]")).to_have_attribute("data-notifications", "on")

    @property
    def worker(self) -> Any:
        return self.site.context.service_workers[0]

    def bring(self, title: str) -> dict[str, Any]:
        """Wait until the push service has a notification, and hand it to the browser."""
        wait_for(self.page, lambda: any(one.note["title"] == title for one in tuple(self.service.got)), title)
        note = next(one.note for one in self.service.got if one.note["title"] == title)
        where = {"origin": self.site.url, "registrationId": self._registration}
        self._debugger.send("ServiceWorker.deliverPushMessage", {**where, "data": json.dumps(note)})
        return note

    def shown(self) -> list[dict[str, Any]]:
        return self.worker.evaluate(_SHOWN)

    def click(self, action: str) -> None:
        self.worker.evaluate(_CLICK, action)


@pytest.fixture
def phone(site: Site, service: PushService) -> Phone:
    return Phone(site, service)


def test_a_change_is_approved_from_its_notification(site: Site, phone: Phone) -> None:
    phone.switch_on()
    task = site.submit(phone.page, "Remove unused imports in shop/tax.py")
    note = phone.bring("Ready to review")
    assert note["task"] == task
    wait_for(phone.page, phone.shown, "the notification")
    assert phone.shown() == [
        {"title": "Ready to review", "body": "Remove unused imports in shop/tax.py", "actions": ["approve", "open"]}
    ]
    phone.page.goto(f"{site.url}/#/")
    phone.click("approve")
    assert [one["title"] for one in phone.shown()] == ["Approved"]
    phone.click("open")
    phone.page.wait_for_url(f"**/#/tasks/{task}")
    expect(phone.page.locator("[data-why]")).to_contain_text("is done")
    assert site.problems == []


def test_nobody_approves_who_is_signed_in_no_longer_or_what_has_changed(site: Site, phone: Phone) -> None:
    phone.switch_on()
    task = site.submit(phone.page, "Remove unused imports in shop/tax.py")
    phone.bring("Ready to review")
    wait_for(phone.page, phone.shown, "the notification")
    phone.page.get_by_role("button", name="Retry").click()
    phone.page.get_by_role("dialog").get_by_role("button", name="Retry").click()
    expect(phone.page.locator("[data-why]")).not_to_contain_text("waits for a person")
    phone.click("approve")
    assert [one["title"] for one in phone.shown()] == ["Not approved"]

    expect(phone.page.locator("[data-why]")).to_contain_text("waits for a person to review", timeout=90_000)
    old = phone.service.got[-1].note
    phone.worker.evaluate("(note) => self.registration.showNotification('Ready', { data: note, tag: note.tag })", old)
    site.context.clear_cookies()
    phone.click("approve")
    phone.page.wait_for_url(f"**/#/tasks/{task}")
    expect(phone.page.get_by_role("heading", name="Sign in")).to_be_visible()
    site.problems[:] = [text for text in site.problems if "401" not in text]
    assert site.problems == []


def test_notifications_are_chosen_tried_and_switched_off_also_by_thumb(site: Site, phone: Phone) -> None:
    page = phone.page
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    phone.switch_on()
    assert violations(page) == []
    assert overflow(page) == 0
    targets = page.locator("[data-notifications] button, [data-notifications] label")
    heights: Any = targets.evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().height)")
    assert min(heights) >= 40
    page.get_by_label("A task failed for good").uncheck()
    expect(page.get_by_role("region", name="Notices")).to_contain_text("Saved")
    page.get_by_role("button", name="Send a test").click()
    phone.bring("Notifications work")
    wait_for(phone.page, phone.shown, "the notification")
    kinds: Any = page.evaluate("fetch('/api/v1/push').then((answer) => answer.json())")
    assert kinds["items"][0]["kinds"] == ["approvals", "budget"]
    page.get_by_role("button", name="Switch off").click()
    expect(page.locator("[data-notifications]")).to_have_attribute("data-notifications", "off")
    phone.switch_on()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.evaluate("navigator.serviceWorker.ready.then((one) => one.pushManager.getSubscription())") is None
