"""The host guard reads what the kernel says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from ezaigent.fleet import Host
from ezaigent.fleet.scaler import host


class Memory(NamedTuple):
    total: int
    available: int


class Disk(NamedTuple):
    total: int
    used: int
    free: float


def has(free: float) -> Callable[[object], Disk]:
    return lambda _: Disk(100, 0, free)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine at rest; its files can be changed."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(100, 50))
    monkeypatch.setattr(host.shutil, "disk_usage", has(2 * 1024**3))
    (tmp_path / "io").write_text("some avg10=99.00 avg60=0\nfull avg10=1.50 avg60=0.0 avg300=0 total=1\n")
    return tmp_path


def guard(machine: Path) -> Host:
    return Host(machine / "not" / "yet", pressure=machine, cgroup=machine)


def test_at_rest_nothing_speaks_against_growth(machine: Path) -> None:
    assert guard(machine).strained() == ""


def test_little_memory(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine / "memory.max").write_text("1000\n")
    (machine / "memory.current").write_text("980\n")
    (machine / "memory.stat").write_text("anon 3\ninactive_file 200\n")
    assert guard(machine).strained() == "", "what is only cached counts as free"
    (machine / "memory.stat").write_text("anon 3\ninactive_file 30\n")
    assert guard(machine).strained() == "5% of the memory is left", "the container's limit counts"
    (machine / "memory.max").write_text("max\n")
    assert guard(machine).strained() == ""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(100, 8))
    assert guard(machine).strained() == "8% of the memory is left"


def test_a_full_disk(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.shutil, "disk_usage", has(1024**3 / 2))
    assert guard(machine).strained() == "0.5 GiB are free on its disk"


def test_pressure(machine: Path) -> None:
    (machine / "memory").write_text("nonsense")
    assert guard(machine).strained() == ""
    (machine / "io").write_text("some avg10=99.00 avg60=0\nfull avg10=71.20 avg60=0.0 avg300=0 total=1\n")
    assert guard(machine).strained() == "all work waits 71 % of the time for io"
