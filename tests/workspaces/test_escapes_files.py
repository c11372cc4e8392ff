"""The escape corpus for files, secrets and privileges, on every confined level that works on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from confined import CONFINED, build

from ezaigent.core.settings import SandboxSettings
from ezaigent.workspaces.sandbox import Sandbox

pytestmark = pytest.mark.sandbox

DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "pts/ptmx")
SECRET = "planted-secret-5f0e"  # never part of a command


@dataclass(frozen=True)
class World:
    """A worker's surroundings with a secret in each place that commands must not see."""

    tree: Path
    data: Path
    """A file of the data folder."""
    neighbour: Path
    """A file of another task's workspace, a sibling of the tree."""
    home: Path
    """A file in the real home folder of this user."""
    victim: subprocess.Popen[bytes]
    """A process of the same user that holds the secret in its environment and its arguments."""

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.data, self.neighbour, self.home)

    def dots(self, path: Path) -> str:
        """Return the way from the tree to ``path`` that climbs out of it."""
        return os.path.relpath(path, self.tree)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    for name in ("tree", "data", "neighbour"):
        (tmp_path / name).mkdir()
    with (
        tempfile.TemporaryDirectory(dir=Path.home(), prefix=".ezaigent-test-") as home,
        subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()", SECRET],
            stdin=subprocess.PIPE,
            env={"OPENAI_API_KEY": SECRET},
        ) as victim,
    ):
        made = World(tmp_path / "tree", tmp_path / "data/db", tmp_path / "neighbour/file", Path(home) / "key", victim)
        for file in made.files:
            file.write_text(SECRET)
            file.chmod(0o600)
        yield made
        assert victim.poll() is None, "the process of the same user was ended by a command"
        victim.kill()


@pytest.fixture(params=CONFINED)
async def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return await build(request.param)


def state(path: Path) -> tuple[object, ...]:
    found = path.lstat()
    names = sorted(child.name for child in path.iterdir()) if path.is_dir() else []
    content = path.read_bytes() if path.is_file() else b""
    return (found.st_mode, found.st_uid, found.st_size, found.st_mtime_ns, found.st_nlink, content, names)


READING = """
cat {path}; head -c 100 < {path}; cp {path} copied; dd if={path} of=dumped; tar cf - {path}
cat {dots}; cat ./{dots}; cat //{path}; (cd / && cat .{path}); (cd {folder} && cat {name}); ls {folder}
ln -s {path} link; cat link; cp -L link linked; ln -s {folder} there; cat there/{name}; ln -s / top; cat top{path}
ln {path} hard; cat hard; mv {path} moved; ln -s {dots} dotted; cat dotted
for p in self 1 $$ $PPID {worker} {victim}; do cat /proc/$p/root{path}; cat /proc/$p/cwd/{dots}; ls -l /proc/$p/fd; done
python3 -c 'import os,sys
for flags in (os.O_RDONLY, os.O_RDWR, os.O_PATH):
    try:
        fd = os.open(sys.argv[1], flags); print(os.read(os.open(f"/proc/self/fd/{{fd}}", 0), 99))
    except OSError as error: print(error)
' {path}
exec 7< {path}; cat <&7; . {path}; sh {path}; diff {path} /dev/null; git diff --no-index /dev/null {path}
cat copied dumped linked moved
"""


async def test_no_way_of_naming_it_makes_a_secret_readable(sandbox: Sandbox, world: World) -> None:
    for path in world.files:
        before = state(path)
        command = READING.format(
            path=path,
            dots=world.dots(path),
            folder=path.parent,
            name=path.name,
            worker=os.getpid(),
            victim=world.victim.pid,
        )
        result = await sandbox.run(command, cwd=world.tree, writable=world.tree)
        assert result.limit is None
        assert SECRET not in result.output
        assert state(path) == before
        for left in world.tree.iterdir():
            if left.is_file() and not left.is_symlink():
                assert SECRET not in left.read_text()
            left.unlink()


async def test_what_a_command_leaves_as_a_link_does_not_serve_the_next(sandbox: Sandbox, world: World) -> None:
    for number, path in enumerate(world.files):
        (world.tree / f"link-{number}").symlink_to(path)
        (world.tree / f"folder-{number}").symlink_to(path.parent)
        command = f"cat link-{number} folder-{number}/{path.name}; echo x >> link-{number}; touch folder-{number}/new"
        result = await sandbox.run(command, cwd=world.tree, writable=world.tree)
        assert SECRET not in result.output
        assert path.read_text() == SECRET
        assert not (path.parent / "new").exists()


PROCESSES = """
cat /proc/*/environ | tr '\\0' '\\n'; cat /proc/*/cmdline | tr '\\0' '\\n'; ps auxeww; set; export
for p in 1 self $PPID {worker} {victim}; do
  cat /proc/$p/environ; cat /proc/$p/cmdline; cat /proc/$p/task/*/environ; head -3 /proc/$p/maps; ls /proc/$p/root/
done
python3 -c 'import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for pid in ({worker}, {victim}):
    print("ptrace", libc.ptrace(16, pid, 0, 0), os.strerror(ctypes.get_errno()))
    for name in ("mem", "environ"):
        try: print(open(f"/proc/{{pid}}/{{name}}", "rb").read(4096))
        except OSError as error: print(error)
'
"""


def test_environments_of_other_processes_are_never_readable(world: World) -> None:
    """The worker here is a process of its own, started with keys in its environment as a real one is."""
    program = (
        "import asyncio, os, pathlib, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from confined import CONFINED, build\n"
        "async def main():\n"
        "    for name in CONFINED:\n"
        "        try: sandbox = await build(name)\n"
        "        except BaseException as error: print('skipped', name, type(error)); continue\n"
        "        tree = pathlib.Path(sys.argv[2])\n"
        "        command = sys.argv[3].replace('{worker}', str(os.getpid()))\n"
        "        result = await sandbox.run(command, cwd=tree, writable=tree)\n"
        "        print('ran', name, result.output)\n"
        "asyncio.run(main())\n"
    )
    command = PROCESSES.replace("{victim}", str(world.victim.pid)).replace("{{", "{").replace("}}", "}")
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent), str(world.tree), command],
        env={**os.environ, "ANTHROPIC_API_KEY": SECRET, "PYTHONPATH": str(root)},
        capture_output=True,
        check=True,
        timeout=100,
    )
    output = done.stdout.decode(errors="replace")
    assert "ran " in output
    assert "ptrace -1" in output
    assert "ptrace 0" not in output
    assert SECRET not in output


WRITING = """
echo x > {path}; echo x >> {path}; : > {path}; truncate -s 0 {path}; cp /etc/hostname {path}; tee {path} < /dev/null
rm -f {path}; mv {path} gone; ln -f /dev/null {path}; ln -sf x {path}; rm -rf {folder}; mkdir {folder}/d
touch {folder}/new
ln -s {path} out; echo x > out; chmod 666 out; chown 1:1 out; touch -d 2001-01-01 out
ln {path} hard; echo x > hard; mv {folder} folder; mkfifo {folder}/fifo; mknod {folder}/null c 1 3; rmdir {folder}
chmod 777 {path} {folder}; chown 1:1 {path}; chgrp 1 {path}; touch {path}; touch -d 2001-01-01 {path}
setfattr -n user.x -v y {path}; sed -i s/x/y/ {path}; git init {folder}/repo
python3 -c 'import os, shutil, sys
path, folder = sys.argv[1:]
attempts = [
    lambda: os.truncate(path, 0), lambda: os.unlink(path), lambda: os.rename("mine", path),
    lambda: os.chmod(path, 0o777), lambda: os.utime(os.open(folder, os.O_RDONLY), (1, 1)),
    lambda: os.utime(path, (1, 1)), lambda: os.chown(path, 1, 1), lambda: os.setxattr(path, "user.x", b"y"),
    lambda: os.replace("mine", folder + "/new"), lambda: os.link("mine", folder + "/new"),
    lambda: os.chmod("name", 0o777, dir_fd=os.open(folder, os.O_PATH)), lambda: shutil.rmtree(folder),
    lambda: os.symlink("x", folder + "/new"), lambda: os.fchmod(os.open(folder, os.O_RDONLY), 0o777),
    lambda: os.open(folder, os.O_TMPFILE | os.O_RDWR), lambda: os.mkdir(folder + "/new"), lambda: os.lchown(path, 1, 1),
]
for attempt in attempts:
    open("mine", "w").close()
    try: attempt()
    except OSError as error: print(error)
    else: print("DID IT")
' {path} {folder}
"""


async def test_nothing_outside_of_the_tree_can_be_changed(sandbox: Sandbox, world: World) -> None:
    for path in world.files:
        before = state(path), state(path.parent)
        command = WRITING.format(path=path, folder=path.parent)
        result = await sandbox.run(command, cwd=world.tree, writable=world.tree)
        assert (state(path), state(path.parent)) == before, result.output
        assert "DID IT" not in result.output


async def test_the_system_cannot_be_changed(sandbox: Sandbox, world: World) -> None:
    system = [Path("/usr/bin/env"), Path("/etc/passwd"), Path("/etc"), Path("/usr"), Path(sys.prefix), Path("/")]

    def look() -> list[object]:  # others may work on this machine meanwhile: only what the command tries is compared
        return [
            state(path)[:3] if path.is_file() else (path.stat().st_mode, (path / "made").exists()) for path in system
        ]

    before = look()
    for path in system:
        await sandbox.run(
            f"echo x >> {path}; chmod 777 {path}; touch {path}; touch {path}/made; rm -f {path}; mv {path} {path}.x; "
            f"python3 -c 'import os; os.fchmod(os.open(\"{path}\", 0), 0o777)'; echo 1 > /proc/sys/vm/drop_caches; "
            "echo c > /proc/sysrq-trigger; echo x > /sys/power/state; sysctl -w kernel.hostname=x",
            cwd=world.tree,
            writable=world.tree,
        )
    assert look() == before


async def test_a_race_of_links_against_attributes_changes_nothing_outside(sandbox: Sandbox, world: World) -> None:
    before = state(world.data)
    program = """
import os, sys, threading, time
stop = time.monotonic() + 2
def swap():
    while time.monotonic() < stop:
        for make in (lambda: os.symlink(sys.argv[1], "new"), lambda: open("new", "w").close()):
            make(); os.rename("new", "target")
thread = threading.Thread(target=swap); thread.start()
while time.monotonic() < stop:
    for change in (os.chmod, os.utime, lambda name, mode: open(name, "a").write("x")):
        try: change("target", (1, 1) if change is os.utime else 0o777)
        except OSError: pass
thread.join()
"""
    (world.tree / "race.py").write_text(program)
    result = await sandbox.run(f"python3 race.py {world.data}", cwd=world.tree, writable=world.tree)
    assert result.exit_code == 0, result.output
    assert state(world.data) == before


async def test_the_data_folder_is_hidden_inside_readable_folders_too(world: World, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "data").mkdir(parents=True)
    (shared / "data" / "db").write_text(SECRET)
    (shared / "tool").write_text("a tool")
    for name in CONFINED:
        sandbox = await build(name, SandboxSettings(readable=[shared]), hidden=(shared / "data",))
        result = await sandbox.run(f"cat {shared}/tool {shared}/data/db", cwd=world.tree, writable=world.tree)
        assert result.output.startswith("a tool")
        assert SECRET not in result.output
        assert result.exit_code != 0


async def test_private_parts_of_the_system_are_hidden(sandbox: Sandbox, world: World) -> None:
    result = await sandbox.run(
        "for f in /etc/shadow /etc/gshadow /etc/sudoers /etc/environment /etc/gitconfig /root /home /run /var/lib /srv "
        "/mnt /boot /proc/kcore /proc/kmsg /proc/kallsyms /sys/kernel /dev/mem /dev/kmsg /dev/sda /dev/vda "
        "/dev/fuse; do "
        'test -e $f || continue; head -c 1 $f >/dev/null 2>&1 && echo "READ $f"; done; '
        "ls /root/ /home/ /run/ /var/lib/ /srv/ /mnt/; cat ~root/.ssh/* ~/.ssh/*",
        cwd=world.tree,
        writable=world.tree,
    )
    shown = [line for line in result.output.splitlines() if line.startswith("READ") and "kallsyms" not in line]
    assert not shown
    # In these folders nothing is listed but the way to the toolchain.
    ways = {part for prefix in (sys.prefix, sys.base_prefix) for part in Path(prefix).parts}
    listed = [line for line in result.output.splitlines() if line and "/" not in line and line not in ways]
    assert not listed


async def test_devices_are_few_and_none_can_be_made(sandbox: Sandbox, world: World) -> None:
    result = await sandbox.run(
        "for d in null zero full random urandom; do head -c 1 /dev/$d > /dev/null || echo missing $d; done; "
        "find /dev \\( -type b -o -type c \\) -readable 2>/dev/null; "
        "mknod sda b 8 0 && echo MADE; mknod mem c 1 1 && echo MADE; "
        "python3 -c 'import os; os.mknod(\"kmsg\", 0o20600, os.makedev(1, 11))' && echo MADE",
        cwd=world.tree,
        writable=world.tree,
    )
    found = {line for line in result.output.splitlines() if line.startswith("/dev/")}
    if sandbox.level == "bubblewrap":
        assert found <= {f"/dev/{name}" for name in DEVICES}
    else:
        assert not found  # the folder itself cannot be listed
    assert "missing" not in result.output
    assert "MADE" not in result.output


PRIVILEGES = """
unshare -U true && echo GOT unshare-user; unshare -Ur mount -t tmpfs none /mnt && echo GOT userns-mount
unshare -m true && echo GOT unshare-mount; unshare -n true && echo GOT unshare-net
unshare -p -f true && echo GOT unshare-pid
mount -t tmpfs none /mnt && echo GOT mount; mount --bind / mnt && echo GOT bind; umount /proc && echo GOT umount
mount -o remount,rw / && echo GOT remount; chroot . true && echo GOT chroot; nsenter -t 1 -m true && echo GOT nsenter
nsenter -t {worker} -m true && echo GOT nsenter-worker
bwrap --ro-bind / / true && echo GOT bwrap; sudo -n true && echo GOT sudo; echo | su -c true && echo GOT su
cp /bin/sh suid && chmod 4755 suid && echo GOT chmod-suid; chmod g+s suid && echo GOT chmod-sgid
setpriv --reuid 1 true && echo GOT setuid; renice -n -5 $$ && echo GOT nice
hostname intruder && echo GOT hostname; date -s 2001-01-01 && echo GOT date; dmesg && echo GOT dmesg
python3 -c 'import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(39, 0, 0, 0, 0) == 1, "privileges can be gained"
for name, call in {{
    "clone-newuser": lambda: libc.syscall(56, 0x10000011, 0, 0, 0, 0), "keyctl": lambda: libc.syscall(250, 0, -3, 1),
    "io_uring": lambda: libc.syscall(425, 1, ctypes.create_string_buffer(256)),
    "bpf": lambda: libc.syscall(321, 0, 0, 0),
    "ptrace-worker": lambda: libc.ptrace(16, {worker}, 0, 0), "open_by_handle": lambda: libc.syscall(304, 0, 0, 0),
    "setns": lambda: libc.setns(os.open("/proc/self/ns/mnt", 0), 0), "perf": lambda: libc.syscall(298, 0, 0, -1, -1, 0),
    "chmod-suid": lambda: os.chmod("suid", 0o4755), "fchmod-suid": lambda: os.fchmod(os.open("suid", 0), 0o6755),
    "i386-ptrace": lambda: libc.syscall(0x40000000 + 101, 16, {worker}, 0, 0),
    "prlimit-worker": lambda: libc.prlimit({victim}, 7, ctypes.byref((ctypes.c_ulong * 2)(5, 5)), 0),
}}.items():
    if name != "setns" and os.uname().machine != "x86_64": continue  # the numbers are its
    try: got = call()
    except OSError as error: got = -1
    if got != -1: print("GOT", name, got)
'
"""


async def test_no_privilege_can_be_gained(sandbox: Sandbox, world: World) -> None:
    command = PRIVILEGES.format(worker=os.getpid(), victim=world.victim.pid)
    result = await sandbox.run(command, cwd=world.tree, writable=world.tree)
    got = [line for line in result.output.splitlines() if line.startswith("GOT")]
    assert not got
    assert "privileges can be gained" not in result.output
    assert not [path for path in world.tree.rglob("*") if path.lstat().st_mode & 0o6000]


async def test_set_id_programs_run_as_nobody_special(sandbox: Sandbox, world: World) -> None:
    program = world.tree / "identity"
    program.write_bytes(Path("/usr/bin/id").read_bytes())  # noqa: ASYNC240
    program.chmod(0o6755)
    result = await sandbox.run("./identity -u; id -u; ./identity; capsh --print", cwd=world.tree, writable=world.tree)
    first, second, *rest = result.output.splitlines()
    assert first == second
    assert "euid" not in rest[0]
    assert "egid" not in rest[0]


async def test_nothing_can_be_typed_into_the_workers_terminal(sandbox: Sandbox, world: World) -> None:
    program = (
        "import errno, fcntl, os\n"
        "for fd in (0, 1, 2):\n"
        "    try: fcntl.ioctl(fd, 0x5412, b'x'); print('TYPED')\n"
        "    except OSError as error: print(errno.errorcode[error.errno])\n"
        "try: os.open('/dev/tty', os.O_RDWR); print('TERMINAL')\n"
        "except OSError: pass\n"
        "print(os.getsid(0) == os.getpid() or os.getsid(0) != int(os.environ['WORKER']))\n"
    )
    (world.tree / "type.py").write_text(program)
    result = await sandbox.run(
        "python3 type.py", cwd=world.tree, writable=world.tree, env={"WORKER": str(os.getsid(0))}
    )
    assert result.output == "EPERM\nEPERM\nEPERM\nTrue\n"
