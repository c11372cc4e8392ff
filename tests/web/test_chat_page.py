"""The chat in a browser: pause one agent, a card that waits for a yes, voice that is shown before it is sent."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, expect
from tests.web.conftest import Site, kill, sited
from tests.web.looking import faults

from ezaigent.testing import Conversation, ModelServer, Reply, ToolCall, Turn, from_steps

WORDS: Final = ", and then I look again".join(["First I look at the files"] * 120)

RECOGNISER = """
window.SpeechRecognition = class {
  start() {
    window.heard = (text) => this.onresult({ results: [Object.assign([{ transcript: text }], { isFinal: true })] });
    window.recognising = true;
  }
  stop() { window.recognising = false; this.onend(); }
  abort() { window.recognising = false; this.onend?.(); }
};
window.speechSynthesis.speak = (said) => (document.documentElement.dataset.spoken = said.text);
"""


def opened(site: Site, scripted: str = "") -> Page:
    """Return a tab on the chat."""
    page = site.set_up()
    if scripted:
        page.add_init_script(scripted)
        page.reload()
    page.goto(f"{site.url}/#/chat")
    expect(page.get_by_role("heading", name="Chat", level=1)).to_be_visible()
    return page


def say(page: Page, text: str) -> None:
    """Write a line and send it."""
    page.get_by_role("textbox", name="To ").fill(text)
    page.get_by_role("button", name="Send").click()


def test_one_agent_is_paused_by_a_sentence_and_started_by_a_button(site: Site, tmp_path: Path) -> None:
    page = opened(site)
    messages = page.get_by_role("region", name="Messages")
    say(page, "pause mechanic-2")
    expect(messages.get_by_role("listitem").last).to_contain_text("mechanic-2")
    page.get_by_role("link", name="mechanic-2").click()
    expect(page.get_by_role("region", name="Profile of mechanic-2")).to_contain_text("paused")
    assert faults(page, "chat-agent", tmp_path) == {}

    page.goto(f"{site.url}/#/")
    rows = page.get_by_role("table", name="Agents").get_by_role("row")
    expect(rows.filter(has_text="mechanic-2")).to_contain_text("paused")
    expect(rows.filter(has_text="mechanic-1")).to_contain_text("idle")
    page.goto(f"{site.url}/#/chat?with=mechanic-2")
    page.get_by_role("button", name="/start mechanic-2").click()
    expect(page.get_by_role("region", name="Profile of mechanic-2")).to_contain_text("idle")
    assert site.problems == []


def test_what_takes_work_away_waits_for_a_yes_on_a_card(site: Site, tmp_path: Path) -> None:
    page = opened(site)
    page.get_by_role("button", name="/pause", exact=True).click()
    site.submit(page, "Format the code in shop/")
    page.goto(f"{site.url}/#/chat")
    page.get_by_role("button", name="/clear", exact=True).click()
    card = page.get_by_role("region", name="Shall it be done?")
    expect(card).to_be_visible()
    assert faults(page, "chat-card", tmp_path) == {}
    card.get_by_role("button", name="No, leave it").click()
    expect(card).to_have_count(0)
    page.get_by_role("button", name="/clear", exact=True).click()
    card.get_by_role("button", name="Yes, do it").click()
    expect(card).to_have_count(0)
    page.goto(f"{site.url}/#/tasks?state=cancelled")
    expect(page.get_by_role("row").filter(has_text="Format the code")).to_contain_text("cancelled")
    assert site.problems == []


def test_what_was_spoken_is_shown_first_and_sent_by_a_second_word(site: Site) -> None:
    page = opened(site, RECOGNISER)
    line = page.get_by_role("textbox", name="To ")
    talk = page.get_by_role("button", name="Hold to talk")
    talk.dispatch_event("pointerdown")
    page.get_by_role("dialog").get_by_role("button", name="I agree").click()
    assert not page.evaluate("window.recognising"), "nothing listens before somebody agreed"
    page.get_by_label("read answers aloud").check()
    talk.dispatch_event("pointerdown")
    listening = page.get_by_role("button", name="Listening…")
    expect(listening).to_be_visible()
    page.evaluate("window.heard('pause')")
    page.evaluate("window.heard('pause mechanic-3')")
    listening.dispatch_event("pointerup")
    expect(line).to_have_value("pause mechanic-3")
    messages = page.get_by_role("region", name="Messages")
    expect(messages).to_contain_text("Nothing was said yet.")
    page.get_by_role("button", name="Send").click()
    expect(messages.get_by_role("listitem").last).to_contain_text("mechanic-3")
    expect(page.locator("html")).to_have_attribute("data-spoken", re.compile("mechanic-3"))
    expect(line).to_have_value("")
    assert site.problems == []


def test_the_end_stays_in_sight_until_somebody_reads_back(site: Site) -> None:
    page = opened(site)
    messages = page.get_by_role("region", name="Messages")
    for told in range(1, 7):
        say(page, "/help")
        expect(messages.locator("li.fleet").filter(has_text="/status")).to_have_count(told)
    expect(messages).to_have_attribute("data-at-end", "true")
    messages.evaluate("(box) => (box.scrollTop = 0)")
    expect(messages).to_have_attribute("data-at-end", "false")
    say(page, "/status")
    down = page.get_by_role("button", name="New messages ↓")
    expect(down).to_be_visible()
    assert messages.evaluate("(box) => box.scrollTop") == 0
    down.click()
    expect(messages).to_have_attribute("data-at-end", "true")


def test_a_line_for_every_agent_at_work_and_a_lost_connection(site: Site) -> None:
    page = opened(site)
    page.get_by_label("to every agent at work").check()
    page.get_by_role("textbox", name="To every agent at work").fill("Mind the tests.")
    page.get_by_role("button", name="Send").click()
    messages = page.get_by_role("region", name="Messages")
    expect(messages).to_contain_text("/tell all Mind the tests.")
    expect(messages).to_contain_text("nobody is at work now")
    expect(page.get_by_role("region", name="Shall it be done?")).to_have_count(0)
    kill(site.process)
    expect(page.locator("[data-away]")).to_be_visible(timeout=15_000)
    page.get_by_role("textbox", name="To every agent at work").fill("Anybody?")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()


def test_a_line_for_every_agent_at_work_asks_on_a_card_that_names_them(
    tmp_path: Path, browser: Browser, built: None
) -> None:
    told = threading.Event()

    async def script(turn: Turn, conversation: Conversation) -> Reply:
        """Think until the message was sent."""
        await asyncio.to_thread(told.wait, 120)
        return Reply(text="All done.")

    with served(ModelServer(script)) as url, sited(tmp_path, browser, **with_model(url)) as site:
        page = opened(site)
        other = site.page()
        other.goto(f"{site.url}/#/tasks")
        expect(other.locator("[data-connection]")).to_have_attribute("data-connection", "live")
        site.submit(other, "Look at the files")
        page.goto(f"{site.url}/#/chat?with=gpt-1")
        expect(page.get_by_role("region", name="Profile of gpt-1")).to_contain_text("active", timeout=60_000)
        page.goto(f"{site.url}/#/chat")
        page.get_by_label("to every agent at work").check()
        page.get_by_role("textbox", name="To every agent at work").fill("Mind the tests.")
        page.get_by_role("button", name="Send").click()
        card = page.get_by_role("region", name="Shall it be done?")
        expect(card).to_contain_text("tell everyone: Mind the tests.")
        expect(card).to_contain_text("Touches gpt-1")
        messages = page.get_by_role("region", name="Messages")
        expect(messages).not_to_contain_text("told gpt-1")
        card.get_by_role("button", name="Yes, do it").click()
        expect(messages).to_contain_text("told gpt-1: read before the next model request")
        told.set()
        expect(messages).to_contain_text("All done.", timeout=60_000)
        assert site.problems == []


def with_model(url: str) -> dict[str, str]:
    """Return what makes a fleet of one agent whose model is served there."""
    return {
        "EZAIGENT_PROVIDERS__OPENAI__BASE_URL": f"{url}/openai/v1",
        "OPENAI_API_KEY": "test-key",
        "EZAIGENT_FLEET__POOLS": '{"gpt": 1}',
    }


@contextmanager
def served(server: ModelServer) -> Generator[str]:
    """Serve models from a thread; yield their address."""
    ready, over = threading.Event(), threading.Event()
    found: list[str] = []

    async def serve() -> None:
        async with server as models:
            found.append(models.url)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(30)
        yield found[0]
    finally:
        over.set()
        thread.join()


def test_an_agent_is_read_while_its_model_speaks(tmp_path: Path, browser: Browser, built: None) -> None:
    steps = [Reply(text=WORDS, tool_calls=(ToolCall("list_files", {}),)), "All done."]
    models = ModelServer(from_steps(steps), chunk_delay=1.5, latency=0.3)
    with served(models) as url, sited(tmp_path, browser, **with_model(url)) as site:
        page = site.set_up()
        page.goto(f"{site.url}/#/chat?with=gpt-1")
        expect(page.get_by_role("region", name="Profile of gpt-1")).to_contain_text("idle")
        other = site.page()
        other.goto(f"{site.url}/#/tasks")
        expect(other.locator("[data-connection]")).to_have_attribute("data-connection", "live")
        task = site.submit(other, "Look at the files")
        saying = page.locator("[data-saying]")
        expect(saying).to_contain_text("First I look at the files, and then", timeout=60_000)
        models.chunk_delay = 5.0  # it speaks on until all of this was seen, however slow the machine is
        expect(saying).not_to_contain_text(WORDS)
        other.goto(f"{site.url}/#/tasks/{task}?part=log")
        expect(other.get_by_role("region", name="What gpt-1 is saying")).to_contain_text("look again")
        models.chunk_delay = 0.01
        expect(saying).to_have_count(0, timeout=60_000)
        expect(other.get_by_role("table", name="Log of the task")).to_contain_text("task.done", timeout=60_000)
        metrics = page.evaluate("fetch('/metrics').then((answer) => answer.text())")
        streams = re.search(r"^ezaigent_event_streams(?:_open)? (\d+)", metrics, re.MULTILINE)
        assert streams
        assert int(streams[1]) == 1, "the browser still has one connection"
        assert site.problems == []
