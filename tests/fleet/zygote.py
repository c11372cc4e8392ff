"""Starts worker processes quickly: it has everything imported, and each worker is a fork of it.

A line on the standard input is an order; each is answered by one line. ``{"start": {"argv", "env", "log"}}`` forks a
process that does what ``python -m ezaigent`` does, and answers its pid; ``{"ended": pid}`` answers its exit code
(negative for a signal), or null while it runs.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from typing import Any

from ezaigent.cli import main as command_line
from ezaigent.core import failpoints

for name in (
    "anthropic",
    "uvloop",
    "ezaigent.agents.loop",
    "ezaigent.agents.mechanic",
    "ezaigent.agents.resilient",
    "ezaigent.cli.commands",
    "ezaigent.cli.serve",
    "ezaigent.fleet.worker",
    "ezaigent.live.redis",
    "ezaigent.store.postgres",
    "ezaigent.store.sqlite",
    "ezaigent.wiring",
):
    importlib.import_module(name)


def start(argv: list[str], env: dict[str, str], log: str) -> int:
    """Fork a process that runs the command line; return its pid."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.setsid()
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for stream in (1, 2):
            os.dup2(target, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(env)
        failpoints._armed.update(failpoints._parse(env.get("EZAIGENT_FAILPOINTS", "")))  # pyright: ignore[reportPrivateUsage]
        sys.argv = ["ezaigent", *argv]
        command_line()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - it must not go on as a second zygote
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int) -> int | None:
    """Return the exit code of a worker, or None while it runs."""
    done, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if done else None


def main() -> None:
    """Answer orders until the input ends."""
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        answer = start(**order["start"]) if "start" in order else ended(order["ended"])
        sys.stdout.write(f"{json.dumps(answer)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
