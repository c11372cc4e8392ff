"""The chat over HTTP: from a line to its answer, for slash commands and for sentences, while the fleet works.

The server (``ezaigent up --no-worker``), a fleet that claims, steps and finishes, and the speaker are three processes
on one SQLite file; the conversation is full. Lines are an open loop: one is sent when its time has come, whether the
one before has been answered or not, and its time counts from then. Sentences that ask first are answered by their card.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import aiohttp

from benchmarks.api import WARM_UP, at, spread
from benchmarks.atwork import CLAIMS, STEPS, at_work, fill
from benchmarks.conditions import conditions

GOAL = 0.200


async def converse(home: Path) -> str:
    """Fill the conversation, and return a token that may say everything."""
    from ezaigent.chat import KEPT
    from ezaigent.wiring import Fleet, accounts, open_chat

    async with Fleet.connect(home) as fleet:
        chat = open_chat(fleet.services)
        for number in range(KEPT // 2):
            await chat.say(f"/why {number}", by="bench")
        _, token = await accounts(fleet).create_token(
            "speaker", "operate", owner=None, days=None, by="bench", address="bench"
        )
        return token


def lines(ids: list[str], agents: int) -> dict[str, Callable[[], str]]:
    """Return what is said, by kind: each time another agent or task."""

    def agent() -> str:
        return f"claude-{random.randrange(agents) + 1}"

    return {
        "/status": lambda: "/status",
        "/queue": lambda: "/queue",
        "/agents": lambda: "/agents",
        "/tasks": lambda: "/tasks failed",
        "/why": lambda: f"/why {random.choice(ids)}",
        "/cost": lambda: "/cost",
        "/pause": lambda: f"/pause {agent()}",
        "/start": lambda: f"/start {agent()}",
        "how deep is the queue?": lambda: "how deep is the queue?",
        "what did we spend?": lambda: "what did we spend today?",
        "pause one": lambda: f"please pause {agent()} for now",
        "resume one": lambda: f"let {agent()} go on",
        "pause all but one": lambda: f"pause everything except {agent()}",
        "work": lambda: f"fix the failing test in /srv/project-{random.randrange(50)}",
        "not understood": lambda: "the weather is nice over there",
    }


async def speak(url: str, token: str, *, agents: int, rate: float, seconds: float) -> None:
    """Say lines at ``rate`` a second; print how long the answers took."""
    headers = {"Authorization": f"Bearer {token}"}
    times: dict[str, list[float]] = defaultdict(list)
    unexpected: dict[str, int] = defaultdict(int)
    async with aiohttp.ClientSession(url, headers=headers, connector=aiohttp.TCPConnector(limit=0)) as session:
        async with session.get("/api/v1/tasks?limit=500") as answer:
            ids = [item["id"] for item in (await answer.json())["items"]]
        said = lines(ids, agents)

        async def one(name: str, text: str, due: float, *, counts: bool) -> None:
            async with session.post("/api/v1/chat/messages", json={"text": text}) as answer:
                reply = await answer.json()
            if counts:
                times[name].append(time.perf_counter() - due)
            if answer.status != 200 or reply["ok"] is (name == "not understood"):
                unexpected[f"{name}: {answer.status} {reply.get('text', '')[:60]}"] += 1

        begun = time.perf_counter()
        names = list(said)
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                due = begun + number / rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                name = names[number % len(names)]
                group.create_task(one(name, said[name](), due, counts=due - begun > WARM_UP))
    for name, found in times.items():
        print(f"  {name:<24} {spread(found)}")
    for title, slash in (("slash commands", True), ("sentences", False)):
        every = [one for name, found in times.items() if name.startswith("/") is slash for one in found]
        met = "met" if at(every, 95) <= GOAL * 1000 else "MISSED"
        print(f"  {title:<24} {spread(every)}   goal: p95 <= {GOAL * 1000:.0f} ms: {met}")
    print(f"  answers that were not as expected: {dict(unexpected) or 'none'}")


def main() -> None:
    """Fill, start the server and the fleet, speak."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=5.0, help="lines a second")
    parser.add_argument("--seconds", type=float, default=90.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        asyncio.run(fill(home, given.tasks))
        token = asyncio.run(converse(home))
        with at_work(home, agents=given.agents, seconds=given.seconds + 60) as url:
            print(
                conditions(
                    tasks=given.tasks,
                    agents=given.agents,
                    lines=f"{given.rate:g} a second",
                    seconds=f"{given.seconds:.0f}",
                    fleet=f"{CLAIMS} tasks and {STEPS} steps a second",
                )
            )
            asyncio.run(speak(url, token, agents=given.agents, rate=given.rate, seconds=given.seconds))


if __name__ == "__main__":
    main()
