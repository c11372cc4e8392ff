"""The dashboard's fleet page in a real Chromium: frames, script, Lighthouse and memory while a large fleet changes.

Three processes on one SQLite file: the server (``ezaigent up --no-worker``), the fleet, and the browser, which is
signed in. 1,000 agents are there, and 200 of them hold a task. 20 times a second one transaction journals a step of
each of these 200 and tells it as an event, so every one of them changes 20 times a second, in the log, on the stream
and on the page; 10 tasks a second end and others take their place. ``--each`` makes it fewer steps a transaction, which
then go round among the 200.

Frames are the times between animation frames, with the page's own thread made four times slower (CDP), long tasks those
of 50 ms and more. The script of a first load is all that the browser fetches on an empty cache, with its workers and
what the service worker keeps for later. Lighthouse runs as it is by default (mobile, simulated slow network) and as
desktop, with the fleet at rest, and as mobile while it changes; the median of its runs counts. Memory is the JavaScript
heap after a full collection, the least of five, each minute; the last is compared with minute 2, when all lists and
windows are full and the engine has compiled what it compiles. On a machine of few cores the fleet and the server take
their part of what the browser would have.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import BrowserContext

from benchmarks.browsing import frames, heap, lighthouse, scripts
from benchmarks.browsing.driving import Pace, fill
from benchmarks.browsing.sites import Driver, Wire, chromium, fleet_page, served, sign_in
from benchmarks.conditions import conditions
from ezaigent import api

FRAME_GOAL = 33.0
"""Milliseconds, 95th percentile."""
SCRIPT_GOAL = 150 * 1024
PERFORMANCE_GOAL, ACCESSIBILITY_GOAL = 95, 100
MEMORY_GOAL = 0.10
"""Share by which the last minute's heap may be larger than the second's."""
PAINTS_GOAL = 10.0
PARTS = ("script", "lighthouse", "frames", "memory")


def met(good: bool) -> str:  # noqa: FBT001
    """Return the words for people."""
    return "met" if good else "MISSED"


def weigh(context: BrowserContext, url: str) -> None:
    """Print what script the first load fetches."""
    found = scripts.first_load(context, url)
    for one in sorted(found, key=lambda one: -one.zipped):
        sent = "unknown" if one.sent is None else f"{one.sent / 1024:.1f} KiB"
        print(
            f"  {one.name:<32} {one.plain / 1024:6.1f} KiB, gzip {one.zipped / 1024:5.1f}, sent {sent} ({one.encoding})"
        )
    total = sum(one.zipped for one in found)
    print(
        f"  script of a first load: {len(found)} files, {total / 1024:.1f} KiB gzip   "
        f"goal: <= {SCRIPT_GOAL / 1024:.0f} KiB: {met(total <= SCRIPT_GOAL)}"
    )


def judge(url: str, port: int, device: str, runs: int, *, fleet: str) -> None:
    """Print what Lighthouse says."""
    try:
        verdict = lighthouse.judge(url, port, device, runs)
    except (lighthouse.CannotRunError, subprocess.TimeoutExpired) as error:
        print(f"  Lighthouse, {device}, {fleet}: no result: {error}")
        return
    metrics = ", ".join(f"{name} {value}" for name, value in verdict.metrics.items())
    print(f"  Lighthouse {lighthouse.VERSION}, {device}, {fleet}: performance {verdict.performance}, {metrics}")
    print(
        f"    median {verdict.median:g}, goal: >= {PERFORMANCE_GOAL}: {met(verdict.median >= PERFORMANCE_GOAL)}; "
        f"accessibility {verdict.accessibility}, goal: {ACCESSIBILITY_GOAL}: "
        f"{met(verdict.accessibility >= ACCESSIBILITY_GOAL)}"
    )
    for complaint in verdict.complaints:
        print(f"    {complaint}")


def look(context: BrowserContext, url: str, *, throttle: float, seconds: float, minutes: int) -> None:
    """Print the frame times, then the memory, of one tab."""
    page = fleet_page(context, url)
    wire = Wire.to_page(page)
    frames.slow_down(wire, throttle)
    if seconds:
        page.wait_for_timeout(5_000)
        seen = frames.watch(page, seconds)
        spread = ", ".join(f"p{percent} {seen.at(percent):.1f}" for percent in (50, 90, 95, 99))
        longest = f", longest {max(seen.long):.0f} ms" if seen.long else ""
        print(f"  frames: {spread} ms, n={len(seen.frames)}   long tasks: {len(seen.long)}{longest}")
        print(f"    goal: p95 <= {FRAME_GOAL:g} ms: {met(seen.at(95) <= FRAME_GOAL)}")
        paints = seen.painted / seen.seconds
        print(f"    a second: {paints:.1f} frames with a change, {seen.changes / seen.seconds:.0f} changes in the page")
    if minutes:
        samples = heap.sample(page, wire, minutes)
        for one in samples:
            hub = "unknown" if one.hub is None else f"{one.hub / 1024**2:.2f} MiB"
            print(f"  minute {one.minute:4.1f}: page {one.page / 1024**2:6.2f} MiB, hub {hub}, {one.nodes} nodes")
        steady = samples[min(2, len(samples) - 1) :]
        grown = samples[-1].page / steady[0].page - 1
        print(
            f"  memory: slope {heap.slope(steady) / 1024:+.1f} KiB a minute from minute {steady[0].minute:.0f} on, "
            f"{grown:+.1%} at minute {samples[-1].minute:.0f}"
        )
        judged = met(grown <= MEMORY_GOAL) if minutes > 2 else "too short"
        print(f"    goal: within {MEMORY_GOAL:.0%} of minute 2: {judged}")
    page.close()


def main() -> None:
    """Start everything, measure, say what it came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--changing", type=int, default=200, help="agents that hold a task and make steps")
    parser.add_argument("--rate", type=float, default=20.0, help="transactions a second")
    parser.add_argument("--each", type=int, default=200, help="agents that one transaction changes")
    parser.add_argument("--throttle", type=float, default=4.0, help="how many times slower the page's thread is")
    parser.add_argument("--seconds", type=float, default=60.0, help="for which frames are watched")
    parser.add_argument("--minutes", type=int, default=10, help="for which memory is watched")
    parser.add_argument("--runs", type=int, default=3, help="of Lighthouse, on each of two kinds of devices")
    parser.add_argument("--only", choices=PARTS, nargs="*", default=PARTS)
    given = parser.parse_args()
    if not (Path(api.__file__).parent / "static" / "index.html").is_file():
        sys.exit("the dashboard is not built: make ui")
    pace = Pace(agents=given.agents, changing=given.changing, beats=given.rate, each=given.each)
    seconds = given.seconds if "frames" in given.only else 0.0
    minutes = given.minutes if "memory" in given.only else 0
    lasting = 120 + seconds + 60 * minutes + (given.runs * 3 * 60 if "lighthouse" in given.only else 0)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        asyncio.run(fill(home, pace, lasting))
        with served(home) as (url, setup_url), chromium(Path(folder) / "profile") as (context, port):
            version = context.browser.version if context.browser else "unknown"
            print(conditions(chromium=version, fleet=pace.told(), throttle=f"{given.throttle:g} x"))
            driver = Driver(home, pace)
            try:
                sign_in(context, setup_url)
                time.sleep(3)
                if "script" in given.only:
                    weigh(context, url)
                if "lighthouse" in given.only:
                    with driver.at_rest():
                        for device in ("mobile", "desktop"):
                            judge(url, port, device, given.runs, fleet="the fleet at rest")
                    judge(url, port, "mobile", given.runs, fleet="the fleet changing")
                if seconds or minutes:
                    look(context, url, throttle=given.throttle, seconds=seconds, minutes=minutes)
            finally:
                told = driver.stop()
            print(f"  driven: {told['beats']:g} transactions a second, {told['late']:.0%} of them late")


if __name__ == "__main__":
    main()
