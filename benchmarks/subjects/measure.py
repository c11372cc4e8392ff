"""Measures one subject: starts its processes, watches their counters, and takes the time."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.subjects import marks

_STALL = 15.0  # seconds without progress after which a subject counts as stuck
_LONGEST = 60.0  # seconds that one role may take


class StuckSubject(RuntimeError):
    """A subject stopped making progress or failed; the text says which."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A system in one configuration."""

    name: str
    module: str
    tasks: int
    """Tasks for one throughput figure: enough for a second or so on a quiet machine."""
    database: str | None = None
    redis: bool = True
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    samples: int = 40
    """Tasks for the latency figure."""
    embedded: bool = False
    """Whether the latency is measured with submitter and worker in one process."""

    @property
    def peer(self) -> bool:
        """Whether it is not ours."""
        return not self.module.startswith("ezaigent")


@dataclass
class Figures:
    """What one round found. Rates per second, times in milliseconds."""

    submit_one: float = 0.0
    submit_many: float = 0.0
    drain_one: float = 0.0
    drain_two: float = 0.0
    cpu: float = 0.0
    """CPU milliseconds of worker and servers per task, while one worker drains."""
    latencies: list[float] = field(default_factory=list[float])


class Bench:
    """Runs the roles of one subject against one fresh store."""

    def __init__(
        self, subject: Subject, python: str, folder: Path, env: Mapping[str, str], servers: Sequence[int]
    ) -> None:
        """Run with ``python``; counters go below ``folder``; ``servers`` are process ids whose CPU counts."""
        self.subject = subject
        self._command = [python, "-m", f"benchmarks.subjects.{subject.module}"]
        self._folder = folder
        self._env = {**os.environ, **env, **subject.env, "PYTHONPATH": str(Path(__file__).parents[2])}
        self._servers = servers
        self._marks = folder

    def run(self) -> Figures:
        """Measure everything once."""
        subject, figures = self.subject, Figures()
        self._role("prepare")
        few = max(subject.tasks // 10, 20)
        figures.submit_one = few / self._role("submit", few, 1)["seconds"]
        figures.submit_many = subject.tasks / self._role("submit", subject.tasks, 100)["seconds"]
        figures.drain_one, figures.cpu = self._drain(1, subject.tasks + few)
        self._role("submit", subject.tasks, 100)
        figures.drain_two, _ = self._drain(2, subject.tasks)
        if subject.embedded:
            figures.latencies = self._role("embedded-latency", subject.samples)["ms"]
        else:
            with self._workers(1, "work" if subject.peer else "work-latency"):
                figures.latencies = self._role("latency", subject.samples, fresh=False)["ms"]
        return figures

    def _drain(self, workers: int, count: int) -> tuple[float, float]:
        """Return tasks per second while all workers run, and CPU milliseconds per task.

        The clock runs from the moment that each worker has done something until 95 % are done.
        """
        with self._workers(workers) as processes:
            self._until(lambda counts: len(counts) >= workers or sum(counts) >= 0.5 * count)
            began, before, cpu = time.monotonic(), sum(self._counts()), self._cpu(processes)
            self._until(lambda counts: sum(counts) >= 0.95 * count)
            took, done = time.monotonic() - began, sum(self._counts()) - before
            cpu = self._cpu(processes) - cpu
            self._until(lambda counts: sum(counts) >= count)
        return done / took, 1000 * cpu / done

    def _until(self, reached: Callable[[list[int]], bool]) -> None:
        seen, since = -1, time.monotonic()
        while not reached(counts := self._counts()):
            if sum(counts) != seen:
                seen, since = sum(counts), time.monotonic()
            elif time.monotonic() - since > _STALL:
                raise StuckSubject(f"no task was done for {_STALL:.0f} s; {seen} were")
            time.sleep(0.005)

    def _counts(self) -> list[int]:
        return [count for count, _ in marks.read(self._marks)]

    @contextmanager
    def _workers(self, count: int, role: str = "work") -> Generator[list[psutil.Process], None, None]:
        self._fresh_marks()
        with (self._folder / "worker.log").open("ab") as log:
            processes = [
                subprocess.Popen([*self._command, role], env=self._env, stdout=log, stderr=log) for _ in range(count)
            ]
            try:
                yield [psutil.Process(process.pid) for process in processes]
            finally:
                for process in processes:
                    _end(process)

    def _fresh_marks(self) -> None:
        self._marks = self._folder / f"marks-{time.monotonic_ns()}"
        self._marks.mkdir()
        self._env["BENCH_MARKS"] = str(self._marks)

    def _role(self, role: str, *numbers: int, fresh: bool = True) -> dict[str, Any]:
        if fresh:
            self._fresh_marks()
        command = [*self._command, role, *map(str, numbers)]
        try:
            done = subprocess.run(command, env=self._env, capture_output=True, text=True, check=False, timeout=_LONGEST)
        except subprocess.TimeoutExpired:
            raise StuckSubject(f"{role} took more than {_LONGEST:.0f} s") from None
        if done.returncode:
            raise StuckSubject(f"{role}: {done.stderr.strip()[-400:]}")
        lines = done.stdout.strip().splitlines()
        return json.loads(lines[-1]) if lines else {}

    def _cpu(self, workers: Iterable[psutil.Process]) -> float:
        total = 0.0
        for head in [*workers, *map(psutil.Process, self._servers)]:
            for process in [head, *head.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    total += times.user + times.system
        return total


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a worker process that was started here, and the children that it made."""
    family: list[psutil.Process] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
