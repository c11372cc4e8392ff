"""The launcher's parts that need no sandbox, on this process's own memory and files."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
import subprocess
from pathlib import Path

import pytest

from ezaigent.workspaces.sandbox.launcher.attributes import Call
from ezaigent.workspaces.sandbox.launcher.plan import parse
from ezaigent.workspaces.sandbox.launcher.questions import descendants

AT_FDCWD = -100
NOFOLLOW, EMPTY_PATH = 0x100, 0x1000
NOW, OMIT = 0x3FFFFFFF, 0x3FFFFFFE


def ask(root: Path, name: str, *arguments: int | bytes | Path) -> None:
    """Decide on a call as if this process had made it: texts and paths are handed over by address."""
    held = [ctypes.create_string_buffer(os.fsencode(a)) for a in arguments if isinstance(a, bytes | Path)]
    addresses = iter([ctypes.addressof(buffer) for buffer in held])
    words = [a & (2**64 - 1) if isinstance(a, int) else next(addresses) for a in arguments]
    Call(os.getpid(), name, [*words, 0, 0, 0, 0, 0, 0][:6]).decide(lambda: None, [str(root)])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    (folder / "file").write_text("x")
    (tmp_path / "outside").write_text("x")
    (tmp_path / "outside").chmod(0o600)
    return folder


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_modes_are_changed_inside_in_every_way_to_ask(root: Path) -> None:
    file = root / "file"
    fd = os.open(file, os.O_RDONLY)
    folder = os.open(root, os.O_RDONLY)
    try:
        ask(root, "chmod", file, 0o700)
        assert mode(file) == 0o700
        ask(root, "fchmod", fd, 0o640)
        assert mode(file) == 0o640
        ask(root, "fchmodat", folder, b"file", 0o755)
        assert mode(file) == 0o755
        ask(root, "fchmodat2", fd, b"", 0o4711, EMPTY_PATH)
        assert mode(file) == 0o711, "no set-id bit"
    finally:
        os.close(fd)
        os.close(folder)


def test_nothing_outside_is_changed_by_name_or_link(root: Path) -> None:
    outside = root.parent / "outside"
    (root / "link").symlink_to(outside)
    for path in (outside, root / "link", root / ".." / "outside"):
        with pytest.raises(PermissionError):
            ask(root, "chmod", path, 0o777)
    assert mode(outside) == 0o600
    with pytest.raises(FileNotFoundError):
        ask(root, "chmod", root / "missing", 0o777)
    with pytest.raises(FileNotFoundError):
        ask(root, "fchmodat", AT_FDCWD, b"", 0o777)
    with pytest.raises(OSError, match=r"name too long|path") as caught:
        ask(root, "chmod", b"x" * 20000, 0o777)
    assert caught.value.errno == errno.ENAMETOOLONG
    with pytest.raises(OSError, match="unknown call"):
        ask(root, "other", AT_FDCWD, root / "file")


def test_times_are_set_kept_or_taken_from_the_clock(root: Path) -> None:
    file = root / "file"
    times = struct.pack("=qqqq", 100, 5, 200, 7)
    ask(root, "utimensat", AT_FDCWD, file, times)
    assert (file.stat().st_atime_ns, file.stat().st_mtime_ns) == (100 * 10**9 + 5, 200 * 10**9 + 7)
    ask(root, "utimensat", AT_FDCWD, file, struct.pack("=qqqq", 0, OMIT, 0, NOW))
    assert file.stat().st_atime_ns == 100 * 10**9 + 5
    assert file.stat().st_mtime > 10**9
    ask(root, "utimensat", AT_FDCWD, file)
    assert file.stat().st_atime > 10**9


def test_owners_stay(root: Path) -> None:
    file = root / "file"
    same = file.stat()
    ask(root, "chown", file, same.st_uid, same.st_gid)
    ask(root, "lchown", file, -1, -1)
    ask(root, "fchownat", AT_FDCWD, file, -1, same.st_gid, NOFOLLOW)
    with pytest.raises(PermissionError):
        ask(root, "chown", file, same.st_uid + 1, -1)
    assert (file.stat().st_uid, file.stat().st_gid) == (same.st_uid, same.st_gid)


def test_the_plan_is_read_from_words() -> None:
    words = "--status 3 --gate 4 --filter 5 --abi 6 --network own --chdir /w --read /a --read /b --write /w --device /d"
    plan = parse([*words.split(), "--env", "A=b=c", "echo hello"])
    assert (plan.status, plan.gate, plan.filter, plan.abi, plan.folder) == (3, 4, 5, 6, "/w")
    assert (plan.readable, plan.writable, plan.devices) == (["/a", "/b"], ["/w"], ["/d"])
    assert (plan.confined, plan.scoped, plan.no_network, plan.own_network) == (True, True, True, True)
    assert (plan.environment, plan.command) == ({"A": "b=c"}, "echo hello")
    assert not parse(["--network", "host", "true"]).no_network
    with pytest.raises(ValueError, match="unknown option '--other'"):
        parse(["--other", "1", "true"])


def test_descendants_are_found_through_their_parents() -> None:
    with subprocess.Popen(["/bin/sh", "-c", "sleep 100 & echo $!; wait"], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        try:
            found = descendants()
            assert found.index(child.pid) < found.index(grandchild)
        finally:
            child.kill()
            os.kill(grandchild, signal.SIGKILL)
