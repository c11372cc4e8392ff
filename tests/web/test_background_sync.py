"""What was written without the server is sent by the service worker, too: with no tab open, and once with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect
from tests.web.conftest import Site, kill
from tests.web.test_offline import back, connected, ready, write

_FORGE = """(letter) => new Promise((then, fail) => {
    const opening = indexedDB.open('ezaigent', 1);
    opening.onerror = () => fail(opening.error);
    opening.onsuccess = () => {
        const writing = opening.result.transaction('outbox', 'readwrite');
        writing.objectStore('outbox').put(letter);
        writing.oncomplete = () => { opening.result.close(); then(true); };
    };
})"""


class Sync:
    """The browser's voice to the service worker, from a tab that has nothing of the site."""

    def __init__(self, site: Site) -> None:
        self._origin = site.url
        self._page = site.context.new_page()
        self._session: Any = site.context.new_cdp_session(self._page)
        self._known: list[str] = []
        self._session.on("ServiceWorker.workerRegistrationUpdated", self._note)
        self._session.send("ServiceWorker.enable")
        while not self._known:
            self._page.wait_for_timeout(50)

    def _note(self, said: Any) -> None:
        found = [one for one in said["registrations"] if one["scopeURL"].startswith(self._origin)]
        self._known += [one["registrationId"] for one in found if not one["isDeleted"]]

    def __call__(self) -> None:
        """Say that the network is back."""
        given = {"origin": self._origin, "registrationId": self._known[-1], "tag": "outbox", "lastChance": False}
        self._session.send("ServiceWorker.dispatchSyncEvent", given)

    def until(self, site: Site, count: int) -> list[str]:
        """Return the titles of all tasks once there are so many."""
        found = titles(site)
        for _ in range(600):
            if len(found) >= count:
                break
            self._page.wait_for_timeout(100)
            found = titles(site)
        return found


def titles(site: Site) -> list[str]:
    """Return the titles of all tasks, asked for with the browser's cookie but by no page."""
    return [task["title"] for task in site.context.request.get(f"{site.url}/api/v1/tasks").json()["items"]]


def refused(page: Page) -> Any:
    return expect(page.locator("[data-outbox]").get_by_role("alert"))


def test_the_worker_sends_what_waits_with_no_tab_open_and_once_beside_one(site: Site, tmp_path: Path) -> None:
    page = site.set_up()
    ready(page)
    sync = Sync(site)
    kill(site.process)
    write(page, site, "Format the code in shop/")
    expect(page.locator("[data-outbox]")).to_contain_text("Format the code in shop/")
    common: dict[str, object] = {"owner": "ada", "body": {}, "at": 0, "refused": None, "text": "Stop them"}
    page.evaluate(_FORGE, {"id": "f" * 32, "kind": "pause", "to": "mechanic-1", **common})
    sync()  # too early: it goes on waiting
    page.close()

    with back(site, tmp_path) as server:
        assert titles(site) == []
        sync()
        assert sync.until(site, 1) == ["Format the code in shop/"]
        page = site.page()
        page.goto(f"{site.url}/#/tasks")
        connected(page)
        refused(page).to_contain_text("only tasks and messages are sent later")
        agents = site.context.request.get(f"{site.url}/api/v1/agents").json()["items"]
        assert [agent["name"] for agent in agents if agent["paused"]] == []
        page.get_by_role("button", name="Drop Stop them").click()
        kill(server)
        write(page, site, "Remove unused imports in shop/tax.py")
        expect(page.locator("[data-outbox]")).to_contain_text("Remove unused imports")

    with back(site, tmp_path):
        for _ in range(5):
            sync()
        connected(page)
        expect(page.locator("[data-outbox]")).to_have_count(0, timeout=30_000)
        sync()
        assert sync.until(site, 2) == ["Remove unused imports in shop/tax.py", "Format the code in shop/"]
