"""The fleet page and the log of a task tell what a run really does: its model after a failover, its commands."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from playwright.sync_api import Browser, expect
from tests.web.conftest import WIDE, sited
from tests.web.looking import faults
from tests.web.test_chat_page import served, with_model

from ezaigent.testing import Conversation, Fault, ModelServer, Reply, ToolCall, Turn

COMMAND = "API_TOKEN=S3cr3tWord ls -l && echo the end of what is seen"
TITLE = "Describe the files of the shop, each in a sentence"


def test_the_model_in_use_and_each_command_are_shown_while_a_run_works(
    tmp_path: Path, browser: Browser, built: None
) -> None:
    seen = threading.Event()

    async def script(turn: Turn, conversation: Conversation) -> Reply:
        """Run a command, then think until all was seen."""
        if not any(message.results for message in turn.messages):
            return Reply(tool_calls=(ToolCall("shell", {"command": COMMAND}),))
        await asyncio.to_thread(seen.wait, 300)
        return Reply(text="All done.")

    models = ModelServer(script)
    models.fail(Fault("billing", provider="openai", times=None))
    with served(models) as url:
        other = {"EZAIGENT_PROVIDERS__ANTHROPIC__BASE_URL": f"{url}/anthropic", "ANTHROPIC_API_KEY": "test-key"}
        with sited(tmp_path, browser, **with_model(url), **other) as site:
            page = site.set_up()
            row = page.get_by_role("table", name="Agents").get_by_role("row").filter(has_text="gpt-1")
            expect(row.locator("[data-model]")).to_have_text("openai:gpt-6.1-sol")
            task = site.submit(page, TITLE)
            page.get_by_role("link", name="log", exact=True).click()
            log = page.get_by_role("table", name="Log of the task")
            expect(log).to_contain_text(
                "tool shell · API_TOKEN=*** ls -l && echo the end of what is seen", timeout=60_000
            )
            expect(log).not_to_contain_text("S3cr3tWord")
            log.get_by_role("row").filter(has_text="tool shell").get_by_role("button").click()
            whole = page.get_by_role("dialog")
            expect(whole).to_contain_text("API_TOKEN=*** ls -l")
            expect(whole).not_to_contain_text("S3cr3tWord")
            whole.get_by_role("button", name="Close", exact=True).click()

            page.goto(f"{site.url}/#/")
            expect(row.locator("[data-model]")).to_have_text("anthropic:claude-sonnet-5-5")
            expect(row).to_contain_text("tokens")
            assert faults(page, "fleet-at-work", tmp_path) == {}
            page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
            title = row.get_by_role("link", name=TITLE)
            expect(title).to_be_visible()
            cut = title.evaluate("(link) => link.parentElement.scrollHeight - link.parentElement.clientHeight")
            assert cut <= 1, "the whole title is seen"
            seen.set()
            expect(row.locator("[data-model]")).to_have_text("openai:gpt-6.1-sol", timeout=60_000)
            expect(row).to_contain_text("no task")
            assert task
            assert site.problems == []
