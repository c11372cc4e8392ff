"""Run the server as a process of its own: ``python -m ezaigent.testing --port 0 --script echo_tools``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from typing import Any, cast

import orjson

from ezaigent.core.errors import EzAigentError, UsageError
from ezaigent.testing.scripts import SCRIPTS, build
from ezaigent.testing.server import ModelServer


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; 2 for wrong usage, 3 when the port is taken."""
    parser = argparse.ArgumentParser(prog="python -m ezaigent.testing", description="A scripted model server.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port")
    parser.add_argument("--script", default="fix_failing_check", choices=sorted(SCRIPTS))
    parser.add_argument("--options", default="{}", help="the script's options as a JSON object")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before the first byte")
    parser.add_argument("--chunk-delay", type=float, default=0.0, help="seconds after each event of a stream")
    given = parser.parse_args(arguments)
    try:
        script = build(given.script, _options(given.options))
        server = ModelServer(
            script,
            host=given.host,
            port=given.port,
            latency=given.latency,
            chunk_delay=given.chunk_delay,
            keep_turns=0,
        )
        _loop_runner()(_serve(server))
    except (UsageError, orjson.JSONDecodeError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except EzAigentError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


def _options(text: str) -> dict[str, Any]:
    found: object = orjson.loads(text)
    if not isinstance(found, dict):
        raise UsageError("--options must be a JSON object")
    return cast("dict[str, Any]", found)


async def _serve(server: ModelServer) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with server:
        sys.stdout.write(f"listening on {server.url}\n")
        sys.stdout.flush()
        await stop.wait()


def _loop_runner():  # noqa: ANN202 - two libraries' functions of the same shape
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run


if __name__ == "__main__":
    sys.exit(main())
