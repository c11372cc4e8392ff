"""Text of others is shown, never run: hostile text wherever some is kept, over the API and on each page."""

from __future__ import annotations

import time
from typing import Any, Final
from urllib.parse import quote

import httpx
from playwright.sync_api import Page, expect
from tests.fleet.scene import git
from tests.web.conftest import Site

HOSTILE: Final = (
    "<script>window.hit=1</script>",
    '"><img src=x onerror="window.hit=1">',
    "<svg/onload=window.hit=1>",
    "'-window.hit++-'",
    "</textarea></title></style></script><script>window.hit=1</script>",
    "javascript:window.hit=1",
    '[click](javascript:window.hit=1) ![x](x" onerror="window.hit=1)',
    "{{constructor.constructor('window.hit=1')()}} ${window.hit=1} {@html '<script>window.hit=1</script>'}",
    "<iframe srcdoc='<script>parent.hit=1</script>'></iframe>",
    '<a href="data:text/html,<script>window.hit=1</script>">x</a><base href=//evil.example>',
    '<math><mi//xlink:href="javascript:window.hit=1">click',
    "\u202e<b>gnp</b>\u2066 \x1b[31mred\x1b]8;;http://evil.example\x07x",
)
TEXT: Final = "Format the code in shop/ " + " ".join(HOSTILE)
FILE: Final = "<img src=x onerror=window.hit=1>.py"
PAGES: Final = ("", "tasks", "queue", "events", "scaling", "costs", "chat", "settings", "new")


def harmless(page: Page) -> None:
    """Nothing ran, nothing of it became an element, and nothing was asked of another place."""
    assert page.evaluate("window.hit") is None
    made = page.evaluate(
        "[...document.querySelectorAll('script:not([src]), iframe, base[href], math, img[src=x], [onerror], [onload], "
        'a[href^="javascript:"], a[href^="data:"]\')].map((one) => one.outerHTML.slice(0, 200))'
    )
    assert made == []


def test_hostile_text_is_data_over_the_api_and_text_on_every_page(site: Site) -> None:
    page = site.set_up()
    elsewhere: list[str] = []
    page.on("request", lambda asked: None if asked.url.startswith((site.url, "data:")) else elsewhere.append(asked.url))
    page.on("dialog", lambda dialog: elsewhere.append(dialog.message))
    word = page.evaluate("fetch('/api/v1/session').then((answer) => answer.json())")["csrf"]
    kept = {one.get("name", ""): one.get("value", "") for one in site.context.cookies()}
    headers = {"X-CSRF-Token": word}
    with httpx.Client(base_url=site.url, cookies=kept, headers=headers, timeout=30) as client:
        # a file name and lines of a diff
        (site.repo / "shop" / FILE).write_text("\n".join(f"x =  {one!r}" for one in HOSTILE) + "\n")
        git(site.repo, "add", "-A")
        git(site.repo, "commit", "-q", "-m", HOSTILE[0])
        client.post("/api/v1/agents/all/pause").raise_for_status()
        waiting = _submit(client, site, TEXT, TEXT[:400])
        client.post(f"/api/v1/tasks/{waiting}/cancel").raise_for_status()
        for text in HOSTILE:
            said = client.post("/api/v1/chat/messages", json={"text": _plain(text)})
            assert said.status_code < 500, said.text
        client.post("/api/v1/agents/all/resume").raise_for_status()
        for text in HOSTILE:
            assert client.post(f"/api/v1/agents/{quote(text, safe='')}/pause").status_code in {404, 422}
        formatted = _submit(client, site, "Format the code in shop/", HOSTILE[1])
        assert _ended(client, formatted)["state"] == "review"
        for path in (
            "tasks", f"tasks/{waiting}", f"tasks/{waiting}/logs", f"tasks/{waiting}/why", f"tasks/{formatted}",
            f"tasks/{formatted}/diff", f"tasks/{formatted}/logs", "agents", "chat/messages",
        ):  # fmt: skip
            answer = client.get(f"/api/v1/{path}")
            assert answer.status_code == 200, (path, answer.text)
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
            answer.json()
        assert client.get(f"/api/v1/tasks/{waiting}").json()["prompt"] == TEXT
        assert FILE in client.get(f"/api/v1/tasks/{formatted}/diff").json()["diff"]
        wrong = client.get(f"/api/v1/tasks/{HOSTILE[1]}")
        assert wrong.headers["content-type"] == "application/problem+json"

    for name in (*PAGES, f"tasks/{waiting}", f"tasks/{formatted}"):
        page.goto(f"{site.url}/#/{name}")
        expect(page.get_by_role("heading", level=1).first).to_be_visible()
        page.wait_for_timeout(300)
        harmless(page)
    page.goto(f"{site.url}/#/tasks/{waiting}")
    expect(page.get_by_text(HOSTILE[1]).first).to_be_visible()
    for tab in ("log", "diff"):
        page.goto(f"{site.url}/#/tasks/{formatted}")
        page.get_by_role("link", name=tab).first.click()
        page.wait_for_timeout(500)
        harmless(page)
    page.goto(f"{site.url}/#/chat")
    expect(page.get_by_role("region", name="Messages")).to_contain_text(HOSTILE[0])
    harmless(page)
    assert elsewhere == []
    assert [one for one in site.problems if "Content Security Policy" in one or "hit" in one] == []


def _plain(text: str) -> str:
    return "Do this: " + text


def _submit(client: httpx.Client, site: Site, prompt: str, title: str) -> str:
    answer = client.post("/api/v1/tasks", json={"prompt": prompt, "title": title, "repo": str(site.repo)})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def _ended(client: httpx.Client, task: str) -> dict[str, Any]:
    deadline = time.monotonic() + 90
    while True:
        found: dict[str, Any] = client.get(f"/api/v1/tasks/{task}").json()
        if found["state"] in {"review", "done", "failed", "blocked"}:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
