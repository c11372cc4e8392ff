"""The conditions that every figure is printed with."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path


def conditions(**more: object) -> str:
    """Return one line: processor, cores, memory, kernel, Python, product version, and what the benchmark adds."""
    cpu = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    parts = [
        cpu,
        f"{os.cpu_count()} cores",
        f"{memory:.0f} GiB",
        f"Linux {platform.release().split('-')[0]}",
        f"Python {platform.python_version()}",
        f"ezaigent {version('ezaigent')}",
        f"load {os.getloadavg()[0]:.1f}",
        *(f"{name}={value}" for name, value in more.items()),
    ]
    return "conditions: " + ", ".join(parts)
