"""Run the command line as a person does: in a process of its own, with a home of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Said:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)


class Terminal:
    """Commands on one home."""

    def __init__(self, home: Path, **environment: str) -> None:
        """``environment`` adds to a bare one."""
        self.home = home
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in {"PATH", "LANG", "TMPDIR"} or name.startswith("COVERAGE_")
        }
        self.environment = {
            **kept,
            "HOME": str(home.parent),
            "EZAIGENT_HOME": str(home),
            "COLUMNS": "160",
            "NO_COLOR": "1",
            "EZAIGENT_SERVER__PORT": "0",
            **environment,
        }

    def __call__(self, *words: str, stdin: str | None = None, timeout: float = 100) -> Said:
        """Run ``ezaigent WORDS`` to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "ezaigent", *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env=self.environment,
            cwd=self.home.parent,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def running(self, *words: str) -> Generator[subprocess.Popen[str]]:
        """Run ``ezaigent WORDS`` beside the test until the block ends; its first line says that it is ready."""
        with subprocess.Popen(
            [sys.executable, "-m", "ezaigent", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd=self.home.parent,
            start_new_session=True,
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline(), process.stderr.read() if process.stderr else ""
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                    process.communicate(timeout=60)
