"""Agents: CPU per turn, wall time and memory of many agents in one process, beside bare pydantic-ai and a raw loop.

Every agent makes 10 calls of a tool with 4 KB results (no process is started), then answers: 11 turns, a turn being
one model request and the tool call it asks for. The scripted model server runs in a process of its own, each subject
in fresh ones; CPU is the subject's user and system time between its first and its last request, memory what it grew
by beside one agent.

Ours is the whole loop: journal in SQLite with synchronous FULL, a checkpoint question after each tool, events, usage,
gates and stuck detection. The others keep nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.conditions import conditions

CALLS = 10
TURNS = CALLS + 1
SIZE = 4096
SUBJECTS = ("ours", "pydantic-ai", "aiohttp")
SLOWEST = 1.6
"""Times the ideal after which a subject is given up."""


class Folder:
    """A work tree without git or processes: the loop's own cost is measured."""

    notes = ()

    def __init__(self, path: Path) -> None:
        self.path = path

    async def checkpoint(self, label: str) -> str | None:
        """Find nothing changed."""
        del label
        return None

    async def run(self, command: str, *, timeout: float | None = None, on_output: object = None) -> Any:
        """Pretend that the command printed 4 KB."""
        del command, timeout, on_output
        return SimpleNamespace(output="x" * SIZE, exit_code=0, truncated=False, timed_out=False, limit=None)

    async def check(self, commands: Sequence[str]) -> tuple[()]:
        """Have nothing to check."""
        assert not commands
        return ()

    async def violations(self, scope: Sequence[str]) -> list[str]:
        """Have no scope."""
        assert not scope
        return []


def memory() -> float:
    """Resident memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


async def measured(run_one: Callable[[int], Awaitable[None]], agents: int, latency: float) -> dict[str, float]:
    """Run one agent to warm up, then all at once."""
    await run_one(0)
    gc.collect()
    before, cpu, wall = memory(), time.process_time(), time.perf_counter()
    peak = before
    done = asyncio.Event()

    async def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, memory())
            await asyncio.sleep(0.1)

    watcher = asyncio.create_task(watch())
    await asyncio.gather(*(run_one(number) for number in range(1, agents + 1)))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = max(peak, memory())
    done.set()
    await watcher
    return {
        "cpu_ms": cpu * 1000 / (agents * TURNS),
        "wall": wall,
        "ideal": latency * TURNS,
        "mib": (peak - before) / agents,
    }


async def ours(url: str, agents: int, latency: float, folder: Path) -> dict[str, float]:
    """The product's runtime with its store."""
    from ezaigent.agents import Controls, Job, build_runtime, load_profiles
    from ezaigent.core.settings import CostSettings, ProfileSettings, ProviderSettings, QueueSettings, Settings
    from ezaigent.costs import CostBook
    from ezaigent.store import Database
    from ezaigent.tasks import NewTask, Slot, TaskQueue

    settings = Settings(
        home=folder,
        providers={"openai": ProviderSettings.model_validate({"base_url": f"{url}/openai/v1", "api_key": "k-bench"})},
        profiles={"bench": ProfileSettings(model="openai:gpt-5.2", context_window=200_000)},
    )
    profile = load_profiles(settings)["bench"]
    db = await Database.open(f"sqlite:///{folder}/bench.db")
    queue = TaskQueue(db, QueueSettings(lease=3600))
    await queue.submit_many([NewTask(prompt=f"Look {n} times.", repo="/bench") for n in range(agents + 1)])
    slots = [Slot(agent=f"bench-{n}", profile="bench") for n in range(agents + 1)]
    claims = await queue.claim(f"worker-{os.getpid()}", slots)
    assert len(claims) == agents + 1
    tree = Folder(folder)
    async with build_runtime(db, settings, CostBook(db, CostSettings()), None) as runtime:

        async def one(number: int) -> None:
            job = Job(claim=claims[number], profile=profile, workspace=tree, controls=Controls())
            outcome = await runtime.run(job)
            assert outcome.steps == TURNS + CALLS + 1

        result = await measured(one, agents, latency)
    await db.close()
    return result


async def bare(url: str, agents: int, latency: float, _: Path) -> dict[str, float]:
    """pydantic-ai with one tool and its default client."""
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel("gpt-5.2", provider=OpenAIProvider(base_url=f"{url}/openai/v1", api_key="k-bench"))
    agent = Agent(model, instructions="You are a software engineer.")

    @agent.tool_plain
    async def shell(command: str) -> str:
        """Run a command."""
        del command
        return "x" * SIZE

    async def one(number: int) -> None:
        result = await agent.run(f"Look {number} times.")
        assert result.output

    return await measured(one, agents, latency)


async def raw(url: str, agents: int, latency: float, _: Path) -> dict[str, float]:
    """The smallest loop that does the same: aiohttp, json, a list of messages."""
    import aiohttp

    tool = {
        "type": "function",
        "function": {
            "name": "shell",
            "description": "Run a command.",
            "parameters": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
        },
    }
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def one(number: int) -> None:
            messages: list[dict[str, Any]] = [
                {"role": "system", "content": "You are a software engineer."},
                {"role": "user", "content": f"Look {number} times."},
            ]
            while True:
                body = {"model": "gpt-5.2", "messages": messages, "tools": [tool]}
                key = {"authorization": "Bearer k-bench"}
                async with session.post(f"{url}/openai/v1/chat/completions", json=body, headers=key) as response:
                    message = (await response.json())["choices"][0]["message"]
                messages.append(message)
                if not message.get("tool_calls"):
                    return
                for call in message["tool_calls"]:
                    assert json.loads(call["function"]["arguments"])["command"]
                    messages.append({"role": "tool", "tool_call_id": call["id"], "content": "x" * SIZE})

        return await measured(one, agents, latency)


def subject(name: str, url: str, agents: int, latency: float, folder: Path) -> None:
    """Run one subject in this process and print its figures as JSON."""
    import uvloop

    if name != "ours":  # which tells the garbage collector the same by itself
        for library in ("aiohttp", "pydantic_ai.models.openai"):
            import_module(library)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
    run = {"ours": ours, "pydantic-ai": bare, "aiohttp": raw}[name]
    print(json.dumps(uvloop.run(run(url, agents, latency, folder))))


def measure(name: str, agents: int, latency: float, *, processes: int = 1, limit: float = 600) -> dict[str, float]:
    """Start a server and a subject, in processes of their own; return the subject's figures.

    With several ``processes`` the agents are shared out among them; ours then share one store. The wall time is that
    of the slowest.
    """
    options = json.dumps({"n": CALLS, "size": SIZE})
    serve = [sys.executable, "-m", "ezaigent.testing", "--script", "echo_tools", "--options", options]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen([*serve, "--latency", str(latency)], stdout=subprocess.PIPE, text=True) as server,
    ):
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[-1]
            command = [sys.executable, "-m", "benchmarks.agents", "--subject", name, "--url", url, "--folder", folder]
            command += ["--agents", str(agents // processes), "--latency", str(latency)]
            running = [
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for _ in range(processes)
            ]
            try:
                ended = [one.communicate(timeout=limit) for one in running]
            finally:
                for one in running:
                    one.kill()
        finally:
            server.terminate()
    for one, (_, said) in zip(running, ended, strict=True):
        if one.returncode:
            raise RuntimeError(said[-2000:])
    found: list[dict[str, float]] = [json.loads(out.splitlines()[-1]) for out, _ in ended]
    return {key: (max if key == "wall" else statistics.mean)(one[key] for one in found) for key in found[0]}


def main() -> None:
    """Print CPU, wall time and memory for 1, 100 and 1,000 agents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subject", choices=SUBJECTS)
    parser.add_argument("--url", default="")
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--quick", action="store_true", help="leave out the 1,000 agents")
    given = parser.parse_args()
    if given.subject:
        subject(given.subject, given.url, given.agents, given.latency, given.folder)
        return
    print(conditions(turns=TURNS, result_bytes=SIZE))
    raw_cpu = 0.0
    rows: list[tuple[int, float, int, tuple[str, ...]]] = [(1, 0.0, 1, SUBJECTS), (100, 0.5, 1, SUBJECTS)]
    if not given.quick:
        rows += [(1000, 5.0, 1, ("aiohttp",)), (1000, 5.0, 2, ("ours",))]
    for agents, latency, processes, names in rows:
        for name in reversed(names):
            limit = 30 + (1 + SLOWEST) * latency * TURNS  # one agent warms each process up, then all go
            try:
                found = measure(name, agents, latency, processes=processes, limit=limit)
            except subprocess.TimeoutExpired:
                print(f"{agents:>5} agents, {latency:g} s latency, {name:<12} did not finish in {limit:.0f} s")
                continue
            raw_cpu = found["cpu_ms"] if name == "aiohttp" else raw_cpu
            crew = f"{agents} agents" + f" in {processes} processes" * (processes > 1)
            ideal = f"{found['wall'] / found['ideal']:.2f} x ideal" if found["ideal"] else f"{found['wall']:.2f} s"
            print(
                f"{crew}, {latency:g} s latency, {name:<12} {found['cpu_ms']:6.2f} ms CPU a turn "
                f"({found['cpu_ms'] / raw_cpu:4.1f} x raw), wall {ideal}, {found['mib']:.2f} MiB an agent"
            )


if __name__ == "__main__":
    main()
