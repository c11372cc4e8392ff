"""Whether the fleet page's memory stays what it is under events."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, Final

from playwright.sync_api import Page

from benchmarks.browsing.sites import Wire

_TRIES: Final = 5
"""Collections for one sample, half a second apart; the least counts, for answers under way come and go."""


@dataclass(frozen=True)
class Sample:
    """Memory in bytes after a full collection, ``minute`` minutes after the page was there."""

    minute: float
    page: float
    """Of the page's own scripts."""
    hub: float | None
    """Of the shared worker that holds the connection; None where it cannot be asked."""
    nodes: int
    """Of the document, those included that are no longer in it."""


def sample(page: Page, wire: Wire, minutes: int) -> list[Sample]:
    """Take one sample now, at minute 0, and one a minute."""
    began = time.monotonic()
    found: list[Sample] = []
    for number in range(minutes + 1):
        page.wait_for_timeout(max(0.0, 1000 * (began + 60 * number - time.monotonic())))
        minute = (time.monotonic() - began) / 60
        used = min(_collected(page, wire) for _ in range(_TRIES))
        nodes = wire.ask("Memory.getDOMCounters")["nodes"]
        found.append(Sample(minute, used, _hub(page), nodes))
    return found


def _collected(page: Page, wire: Wire) -> float:
    page.wait_for_timeout(500)
    wire.ask("HeapProfiler.collectGarbage")
    return wire.ask("Runtime.getHeapUsage")["usedSize"]


def _hub(page: Page) -> float | None:
    """Ask the shared worker through the browser, to which it belongs and not to a page."""
    wire = Wire.to_browser(page)
    try:
        targets = wire.ask("Target.getTargets", filter=[{"type": "shared_worker"}])["targetInfos"]
        if not targets:
            return None
        session: str = wire.ask("Target.attachToTarget", targetId=targets[0]["targetId"])["sessionId"]
        answers: dict[int, dict[str, float]] = {}

        def heard(message: dict[str, str]) -> None:
            said: dict[str, Any] = json.loads(message["message"])
            answers[said.get("id", 0)] = said.get("result", {})

        wire.heed("Target.receivedMessageFromTarget", heard)
        for number, method in enumerate(("HeapProfiler.collectGarbage", "Runtime.getHeapUsage"), start=1):
            asked = json.dumps({"id": number, "method": method})
            wire.ask("Target.sendMessageToTarget", sessionId=session, message=asked)
        for _ in range(100):
            if 2 in answers:
                break
            page.wait_for_timeout(50)
        return answers.get(2, {}).get("usedSize")
    finally:
        wire.end()


def slope(samples: list[Sample]) -> float:
    """Return by how many bytes the page grows in a minute, by least squares."""
    times = [one.minute for one in samples]
    sizes = [one.page for one in samples]
    middle, mean = sum(times) / len(times), sum(sizes) / len(sizes)
    spread = sum((at - middle) ** 2 for at in times)
    together = sum((at - middle) * (size - mean) for at, size in zip(times, sizes, strict=True))
    return together / spread if spread else 0.0
