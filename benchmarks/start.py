"""Start-up: ``ezaigent --help``, ``import ezaigent`` and ``up`` until ready, beside a bare Python and Alembic's CLI.

Wall time of whole processes, taken in turn (A B C A B C …), so that a drift of the machine meets all alike; medians.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.conditions import conditions

ROUNDS = 15
UP_ROUNDS = 5
GOALS = {"ezaigent --help": 0.3, "import ezaigent": 0.15, "up until ready": 2.0}
BIN = Path(sys.executable).parent


ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""As where it is installed: the first start keeps the byte code for the next."""


def _wall(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=ENVIRONMENT)
    return time.perf_counter() - began


def _up() -> float:
    with tempfile.TemporaryDirectory() as home:
        environment = {**ENVIRONMENT, "EZAIGENT_HOME": home, "EZAIGENT_SERVER__PORT": "0"}
        began = time.perf_counter()
        with subprocess.Popen(
            [str(BIN / "ezaigent"), "up", "--agents", "3", "--json"], stdout=subprocess.PIPE, env=environment
        ) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["ready"]
            took = time.perf_counter() - began
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
        return took


def main() -> None:
    """Print medians, ratios to a bare Python, and the goals."""
    subjects: dict[str, Callable[[], float]] = {
        "python -c pass": lambda: _wall(sys.executable, "-c", "pass"),
        "alembic --help": lambda: _wall(str(BIN / "alembic"), "--help"),
        "import ezaigent": lambda: _wall(sys.executable, "-c", "import ezaigent"),
        "ezaigent --help": lambda: _wall(str(BIN / "ezaigent"), "--help"),
    }
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for run in subjects.values():
        run()  # warm the file cache
    _up()
    for _ in range(ROUNDS):
        for name, run in subjects.items():
            times[name].append(run())
    times["up until ready"] = [_up() for _ in range(UP_ROUNDS)]
    floor = statistics.median(times["python -c pass"])
    print(conditions(rounds=ROUNDS, up_rounds=UP_ROUNDS))
    print(f"{'':<18}{'median s':>10}{'min':>8}{'max':>8}{'x python':>10}{'goal s':>8}")
    for name, taken in times.items():
        middle = statistics.median(taken)
        goal = GOALS.get(name)
        mark = "" if goal is None else f"{goal:>8.2f}  {'met' if middle <= goal else 'NOT met'}"
        print(f"{name:<18}{middle:>10.3f}{min(taken):>8.3f}{max(taken):>8.3f}{middle / floor:>10.1f}{mark}")


if __name__ == "__main__":
    main()
