"""How evenly the fleet page paints while the fleet changes, on a processor that is made slower."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from playwright.sync_api import Page

from benchmarks.browsing.sites import Wire

_WATCH: Final = """() => {
  const found = { frames: [], long: [], painted: 0, changes: 0 };
  let last, changed = false, over = false;
  new MutationObserver((list) => { changed = true; found.changes += list.length; }).observe(
    document.getElementById('app'), { subtree: true, childList: true, characterData: true, attributes: true });
  new PerformanceObserver((list) => {
    for (const one of list.getEntries()) found.long.push(one.duration);
  }).observe({ type: 'longtask' });
  const frame = (at) => {
    if (over) return;
    if (last !== undefined) found.frames.push(at - last);
    last = at;
    if (changed) found.painted += 1;
    changed = false;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  window.watched = () => { over = true; return found; };
}"""


@dataclass(frozen=True)
class Frames:
    """What was seen of a page for ``seconds``."""

    seconds: float
    frames: Sequence[float]
    """Milliseconds from one animation frame to the next."""
    long: Sequence[float]
    """Milliseconds of each task of 50 ms and more."""
    painted: int
    """Frames in which something of the page had changed."""
    changes: int
    """Changes of the document."""

    def at(self, percent: int) -> float:
        """Return a percentile of the frame times in milliseconds."""
        return statistics.quantiles(self.frames, n=100)[percent - 1]


def slow_down(wire: Wire, times: float) -> None:
    """Make the page's thread slower; workers keep their speed, and so do the server and the fleet beside it."""
    wire.ask("Emulation.setCPUThrottlingRate", rate=times)


def watch(page: Page, seconds: float) -> Frames:
    """Watch the page for ``seconds``."""
    page.evaluate(_WATCH)
    began = time.monotonic()
    page.wait_for_timeout(seconds * 1000)
    found: dict[str, Any] = page.evaluate("window.watched()")
    return Frames(seconds=time.monotonic() - began, **found)
