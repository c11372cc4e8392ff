"""The governor in a 429 storm: 100 agents against a model server with a token bucket, beside two usual ways.

Every agent asks for one answer after the other, without a pause. The server holds one bucket for the key, answers 429
when it is empty, and runs in a process of its own. For each subject: the share of its requests that got a 429, and its
answers as a share of what the server would have allowed in that time (the whole bucket, and all that flowed in).

``ours`` is ``ResilientModel`` behind the governor: two worker processes that share one Redis where there is one, else
one process. ``sdk`` is pydantic-ai with the provider SDK's own retries (exponential back-off, two tries, the SDK's
default; an agent whose call has failed for good asks again at once, which is most of its 429s). ``patient`` is the same
with ten tries, so that an agent's back-off reaches the SDK's longest, eight seconds. ``limiter`` is the first with
pydantic-ai's concurrency limiter in front, at a width at which one worker's calls take as long as the server's rate
allows: a person must know the rate and the latency for it, and it holds in one process only.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.conditions import conditions

RATE = 20.0
"""Requests a second that the server allows."""
WINDOW = 10.0
"""Seconds of its bucket: it holds RATE x WINDOW requests."""
LATENCY = 0.5
SUBJECTS = ("ours", "sdk", "patient", "limiter")
GOAL_429, GOAL_SHARE = 0.01, 0.90


@asynccontextmanager
async def ours(url: str, provider: str, redis: str | None) -> AsyncGenerator[Callable[[], Awaitable[object]]]:
    """Calls through the product's model and its governor."""
    from pydantic_ai.messages import ModelRequest
    from pydantic_ai.models import ModelRequestParameters

    from ezaigent.agents.governor import Governor
    from ezaigent.agents.meter import Meter
    from ezaigent.agents.profiles import Profile
    from ezaigent.agents.providers import build_model
    from ezaigent.agents.resilient import ResilientModel
    from ezaigent.agents.transport import Transport
    from ezaigent.core.settings import Settings
    from ezaigent.live import open_bus

    given = {"base_url": f"{url}{PATHS[provider]}", "api_key": "k-bench"}
    settings = Settings.model_validate({"home": Path("/nowhere"), "providers": {provider: given}})
    profile = Profile(name="bench", model=f"{provider}:bench-model", context_window=200_000)
    bus = await open_bus(redis)
    try:
        async with Transport() as transport, Governor(settings, bus) as governor:

            async def call() -> object:
                model = ResilientModel(profile, settings, transport, meter=Meter(), gate=governor)
                return await model.request(
                    [ModelRequest.user_text_prompt("Say hello.")], None, ModelRequestParameters()
                )

            build_model(profile.model, settings, transport)  # takes seconds, which are not the storm's
            yield call
    finally:
        await bus.close()


@asynccontextmanager
async def peers(
    url: str, provider: str, *, width: int | None, tries: int
) -> AsyncGenerator[Callable[[], Awaitable[object]]]:
    """Calls through pydantic-ai, with the SDK's own retries."""
    import httpx2
    from openai import AsyncOpenAI
    from pydantic_ai.direct import model_request
    from pydantic_ai.messages import ModelRequest
    from pydantic_ai.models import Model
    from pydantic_ai.models.concurrency import ConcurrencyLimitedModel
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    async with httpx2.AsyncClient(timeout=600, limits=httpx2.Limits(max_connections=None)) as client:
        sdk = AsyncOpenAI(base_url=f"{url}{PATHS[provider]}", api_key="k-bench", http_client=client, max_retries=tries)
        model: Model = OpenAIChatModel("bench-model", provider=OpenAIProvider(openai_client=sdk))
        if width is not None:
            model = ConcurrencyLimitedModel(model, limiter=width)

        async def call() -> object:
            return await model_request(model, [ModelRequest.user_text_prompt("Say hello.")])

        yield call


PATHS = {"openai": "/openai/v1", "deepseek": "/deepseek/v1"}


async def storm(name: str, url: str, *, provider: str, agents: int, seconds: float, redis: str | None) -> None:
    """Run the agents of one process until the time is over."""
    from pydantic_ai.exceptions import ModelAPIError

    from ezaigent.core.errors import RunError

    if name == "ours":
        subject = ours(url, provider, redis)
    else:
        width = round(RATE * LATENCY) if name == "limiter" else None
        subject = peers(url, provider, width=width, tries=10 if name == "patient" else 2)
    async with subject as call:

        async def agent() -> None:
            while True:
                try:
                    await call()
                except (RunError, ModelAPIError):
                    await asyncio.sleep(0)  # a task would fail; the agent goes on

        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)  # all workers begin together
        async with asyncio.timeout(seconds + 30):
            tasks = [asyncio.create_task(agent()) for _ in range(agents)]
            broken, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for task in broken:
                task.result()


def control(url: str, path: str, data: object = None) -> Any:
    """Ask the server's control endpoint."""
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(f"{url}/control/{path}", data=body)  # noqa: S310 - our own server
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - the same
        return json.load(answer)


@contextlib.contextmanager
def redis_server() -> Any:
    """Start a Redis, where there is one to start; yields its address or None."""
    from tests.services import RedisServer, ServiceMissing

    with TemporaryDirectory() as folder:
        try:
            server = RedisServer(Path(folder))
        except ServiceMissing:
            yield None
            return
        server.start()
        try:
            yield server.url
        finally:
            server.stop()


def measure(name: str, provider: str, agents: int, seconds: float) -> dict[str, float]:
    """Run one subject against a fresh server; return its figures."""
    serve = [sys.executable, "-m", "ezaigent.testing", "--script", "echo_tools", "--options", '{"n": 0}']
    with (
        redis_server() as redis,
        subprocess.Popen([*serve, "--latency", str(LATENCY)], stdout=subprocess.PIPE, text=True) as server,
    ):
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[-1]
            control(url, "limits", {"requests": round(RATE * WINDOW), "window": WINDOW})
            workers = 2 if name == "ours" and redis is not None else 1
            command = [sys.executable, "-m", "benchmarks.governor", "--subject", name, "--url", url]
            command += ["--provider", provider, "--agents", str(agents // workers), "--seconds", str(seconds)]
            command += ["--redis", redis] if redis is not None else []
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            running = [subprocess.Popen(command, **pipes) for _ in range(workers)]
            try:
                for one in running:
                    assert one.stdout is not None
                    assert one.stdout.readline() == "ready\n", "a worker did not start"
                for one in running:
                    assert one.stdin is not None
                    one.stdin.write("go\n")
                    one.stdin.flush()
                if any(one.wait(timeout=seconds + 120) for one in running):
                    raise RuntimeError(f"{name} failed")
            finally:
                for one in running:
                    one.kill()
                    one.communicate()
            records: list[dict[str, Any]] = control(url, "requests")["items"]
        finally:
            server.terminate()
    first = records[0]["at"]
    inside = [record for record in records if record["at"] - first < seconds]
    refused = sum(record["fault"] == "limit" for record in inside)
    began = len(inside) - refused
    late = [record for record in inside if record["at"] - first >= seconds / 3]
    late_refused = sum(record["fault"] == "limit" for record in late)
    return {
        "requests": len(inside),
        "refused": refused / len(inside),
        "share": began / (RATE * WINDOW + RATE * seconds),
        "steady_refused": late_refused / max(1, len(late)),
        "steady_share": (len(late) - late_refused) / (RATE * seconds * 2 / 3),
        "workers": workers,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures of all subjects, with and without headers that tell the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subject", choices=SUBJECTS)
    parser.add_argument("--url", default="")
    parser.add_argument("--redis")
    parser.add_argument("--provider", choices=sorted(PATHS), help="openai tells its limits in headers, deepseek not")
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=90.0)
    given = parser.parse_args(arguments)
    if given.url:
        more = {"provider": given.provider, "agents": given.agents, "seconds": given.seconds, "redis": given.redis}
        asyncio.run(storm(given.subject, given.url, **more))
        return
    print(conditions(agents=given.agents, seconds=given.seconds, rate=RATE, bucket=RATE * WINDOW, latency=LATENCY))
    print(f"goal: at most {GOAL_429:.0%} of requests get a 429, at {GOAL_SHARE:.0%} or more of the allowed throughput")
    for provider in (given.provider,) if given.provider else ("openai", "deepseek"):
        told = "limits told in headers" if provider == "openai" else "limits learned from 429s alone"
        for name in (given.subject,) if given.subject else SUBJECTS:
            found = measure(name, provider, given.agents, given.seconds)
            mark = ""
            if name == "ours":
                met = found["refused"] <= GOAL_429 and found["share"] >= GOAL_SHARE
                mark = "  goal met" if met else "  goal NOT met"
            print(
                f"{told:<31} {name:<8} {found['requests']:>6.0f} requests, 429s {found['refused']:7.2%}, "
                f"throughput {found['share']:6.1%} of what is allowed; in the last two thirds 429s "
                f"{found['steady_refused']:.2%}, {found['steady_share']:.1%} of the rate "
                f"({found['workers']:.0f} workers){mark}",
                flush=True,
            )


if __name__ == "__main__":
    os.environ.setdefault("OPENAI_API_KEY", "k-bench")
    main()
