"""The one place that runs git: locked down, never asking, within a time limit, telling no secrets.

Two environments. *Local* commands (mirror, worktree, a repository on this machine) read no configuration but this
room's own: none of the person's, none of the machine's. *Network* commands (fetch from, push to another machine) keep
the person's git and ssh configuration, because that is where their proxies, keys and credential helpers are. In both,
hooks, file-system monitors, pagers, editors, external diffs and command transports are off, and the ``GIT_*``
variables of the caller are dropped.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from ezaigent.core.errors import UnavailableError
from ezaigent.workspaces.credentials import Credential
from ezaigent.workspaces.stale_locks import AGE, is_of_index, named_in, remove_stale

LOCAL_TIMEOUT: Final = 600.0
"""Seconds for one command on this machine; only a huge repository comes near it."""
NETWORK_TIMEOUT: Final = 1800.0
"""Seconds for one transfer: a first fetch of a large repository over a slow line."""
OLDEST: Final = (2, 38)
"""``git merge-tree --write-tree`` came with 2.38."""

_GRACE: Final = 2.0
"""Seconds that a command gets to remove its lock files and half-written packs when it is stopped."""
_LOCKED: Final = 0.2
"""Seconds between two tries where another git holds a lock."""
_AT_ONCE = 16  # processes: a hundred agents that step together must not fork a hundred times at once
_LOCKED_DOWN: Final = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.untrackedCache": "false",
    "core.alternateRefsCommand": "true",  # a repository on this machine may name a program here
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "core.autocrlf": "false",
    "core.protectNTFS": "false",  # names such as "git~1" are plain names on this system: an agent may write them
    "core.protectHFS": "false",
    "core.quotePath": "false",
    "core.fsync": "committed,reference",
    "core.pager": "cat",
    "commit.gpgSign": "false",
    "tag.gpgSign": "false",
    "push.gpgSign": "false",
    "push.followTags": "false",
    "push.recurseSubmodules": "no",
    "submodule.recurse": "false",
    "fetch.recurseSubmodules": "false",
    "diff.external": "",
    "diff.ignoreSubmodules": "all",
    "protocol.ext.allow": "never",
    "protocol.fd.allow": "never",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "receive.autoGC": "false",
    "receive.denyCurrentBranch": "refuse",
    "safe.directory": "*",  # what a repository's owner wrote into its configuration is overruled, so he may be anyone
}
_NETWORK_KEPT: Final = frozenset(
    {
        "GIT_SSH",
        "GIT_SSH_COMMAND",
        "GIT_SSH_VARIANT",
        "GIT_SSL_CAINFO",
        "GIT_SSL_CAPATH",
        "GIT_SSL_CERT",
        "GIT_SSL_KEY",
        "GIT_PROXY_SSL_CAINFO",
    }
)
_USERINFO = re.compile(r"(?<=://)[^/@\s'\"]+@")


class GitFailed(UnavailableError):
    """A git command ended with an error that its caller did not expect; the text is git's last line, scrubbed."""

    def __init__(self, verb: str, result: GitResult) -> None:
        """Tell which ``verb`` failed and how."""
        super().__init__(f"git {verb} failed with {result.code}: {result.reason}")
        self.result = result


@dataclass(frozen=True, slots=True)
class GitResult:
    """How a git command ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Standard output as text, without the last line break; bytes that are no UTF-8 survive as surrogates."""
        return self.out.decode("utf-8", "surrogateescape").rstrip("\n")

    @property
    def reason(self) -> str:
        """The line of git's error output that says most, scrubbed of credentials."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        telling = [line for line in lines if line.startswith(("fatal:", "error:", "! [", "remote:"))]
        best = next((line for line in telling if line.startswith("fatal:")), None)
        return best or (telling or lines or ["it said nothing"])[-1]


def config_flags(settings: Mapping[str, str] = _LOCKED_DOWN) -> list[str]:
    """Return ``settings`` as ``-c`` options; the default is everything that is locked down."""
    return [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]


def scrub(text: str, secrets: Sequence[str] = ()) -> str:
    """Return ``text`` without user information in URLs and without any of ``secrets``."""
    text = _USERINFO.sub("", text)
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


@dataclass
class Git:
    """Runs git commands; one per ``Workspaces``, so that together they stay within a bounded number of processes."""

    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))
    _version: tuple[int, ...] | None = None
    _ssh_command: str | None = None

    async def run(
        self,
        *words: str | bytes | Path,
        at: Path | None = None,
        tree: Path | None = None,
        index: Path | None = None,
        data: bytes = b"",
        mark: Path | None = None,
        network: bool = False,
        credential: Credential | None = None,
        flags: Sequence[str] = (),
        ssh: str = "",
        timeout: float | None = None,
        ok: Sequence[int] = (0,),
    ) -> GitResult:
        """Run ``git words…`` and return how it ended.

        ``at`` is the git folder, named to git explicitly: nothing that lies in a work tree is searched for or
        trusted. ``tree`` is the work tree and ``index`` the index file to use. ``mark`` is a file that stays locked for
        as long as the command lives, whatever becomes of this process. ``network`` keeps the person's own
        configuration. ``credential`` answers git's questions for a login without showing on any command line.
        ``flags`` are further options of git, ``ssh`` those of ssh.

        Raises ``GitFailed`` when the exit code is not among ``ok`` (empty: any code is fine), ``UnavailableError``
        when git is missing or cannot be started, or when it took longer than ``timeout`` seconds. Cancelling ends the
        command.
        """
        argv: list[str | bytes] = ["git", *config_flags(), *flags]
        if credential is not None:
            argv += ["-c", "credential.helper="]  # ours is for this command; no helper may keep it
        if at is not None:
            argv.append(f"--git-dir={at}")
        if tree is not None:
            argv.append(f"--work-tree={tree}")
        argv += [os.fspath(word) for word in words]
        env = self._environment(network=network, credential=credential)
        if network and "GIT_SSH" not in env:
            env["GIT_SSH_COMMAND"] = f"{await self._ssh(env)} -o BatchMode=yes -o ConnectTimeout=30{ssh}"
        if index is not None:
            env["GIT_INDEX_FILE"] = str(index)
        limit = timeout or (NETWORK_TIMEOUT if network else LOCAL_TIMEOUT)
        secrets = credential.secrets if credential else ()
        ours = [folder for folder in (at, index.parent if index is not None else None) if folder is not None]
        waited = 0.0
        while True:
            async with self._slots:
                code, out, err = await _communicate(argv, env, tree or at or Path("/"), data, limit, mark=mark)
            result = GitResult(code, out, scrub(err.decode("utf-8", "replace"), secrets))
            lock = named_in(result.err, ours) if code else None
            if lock is None or waited > AGE:
                break
            if not is_of_index(lock, at, index):
                remove_stale(lock)
            await asyncio.sleep(_LOCKED)
            waited += _LOCKED
        if ok and code not in ok:
            raise GitFailed(os.fsdecode(words[0]), result)
        return result

    async def line(self, *words: str | bytes | Path, at: Path) -> str:
        """Run a local command on the git folder ``at`` and return its output as text."""
        return (await self.run(*words, at=at)).text

    async def version(self) -> tuple[int, ...]:
        """Return git's version. Raises ``UnavailableError`` when git is missing or too old."""
        if self._version is None:
            said = (await self.run("version")).text
            numbers = re.search(r"\d+(\.\d+)+", said)
            version = tuple(int(part) for part in numbers.group().split(".")) if numbers else ()
            if version < OLDEST:
                needed = ".".join(map(str, OLDEST))
                raise UnavailableError(f"{said or 'this git'} is too old: install git {needed} or newer")
            self._version = version
        return self._version

    async def _ssh(self, env: Mapping[str, str]) -> str:
        if self._ssh_command is None:
            asked = await _communicate(
                ["git", "config", "--global", "--get", "core.sshCommand"], env, Path("/"), b"", LOCAL_TIMEOUT
            )
            configured = asked[1].decode("utf-8", "surrogateescape").strip()
            self._ssh_command = env.get("GIT_SSH_COMMAND") or configured or "ssh"
        return self._ssh_command

    def _environment(self, *, network: bool, credential: Credential | None) -> dict[str, str]:
        kept = _NETWORK_KEPT if network else frozenset[str]()
        env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in kept}
        for name in ("SSH_ASKPASS", "PAGER", "EDITOR", "VISUAL"):
            env.pop(name, None)
        env |= {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_NO_LAZY_FETCH": "1",  # a partial clone could name the program that fetches what it lacks
            "GIT_PAGER": "cat",
            "GIT_EDITOR": "false",
            "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
            "LC_ALL": "C",
            "LANGUAGE": "",
        }
        if not network:
            env["GIT_CONFIG_NOSYSTEM"] = "1"
            env["GIT_CONFIG_GLOBAL"] = _global_configuration()
            env["GIT_ATTR_NOSYSTEM"] = "1"
        if credential is not None:
            env |= credential.environment()
        return env


async def _communicate(
    argv: Sequence[str | bytes],
    env: Mapping[str, str],
    cwd: Path,
    data: bytes,
    limit: float,
    *,
    mark: Path | None = None,
) -> tuple[int, bytes, bytes]:
    try:
        with _locked(mark) as handles:
            process = await _start(argv, env, cwd, handles, stdin=bool(data))
    except FileNotFoundError:
        if not cwd.is_dir():  # noqa: ASYNC240  (one look, where the start has failed already)
            raise UnavailableError(f"the folder {str(cwd)!r} is gone: open the workspace again") from None
        raise UnavailableError("git is not installed: install git and try again") from None
    except OSError as error:
        raise UnavailableError(
            f"git cannot be started in {str(cwd)!r}: {error.strerror}: see to that and try again"
        ) from None
    try:
        async with asyncio.timeout(limit):
            out, err = await process.communicate(data or None)
    except TimeoutError:
        verb = next((word for word in argv[1:] if word in _VERBS), "command")
        raise UnavailableError(f"git {os.fsdecode(verb)} took longer than {limit:.0f} s: try again later") from None
    finally:
        await _end(process)
    return process.returncode or 0, out, err


async def _start(
    argv: Sequence[str | bytes], env: Mapping[str, str], cwd: Path, handles: Sequence[int], *, stdin: bool
) -> asyncio.subprocess.Process:
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=env,
            cwd=cwd,
            pass_fds=handles,
            start_new_session=True,  # no terminal to prompt on, and one group to end
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        # Cancelled while it starts, asyncio would end git but not git's children, and wait for those.
        with suppress(OSError):
            await _end(await starting)
        raise


@contextmanager
def _locked(mark: Path | None) -> Generator[tuple[int, ...]]:
    """Give handles for a command to inherit: with the last process that has one the lock of ``mark`` goes."""
    if mark is None:
        yield ()
        return
    handle = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        yield (handle,)
    finally:
        os.close(handle)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a command that still runs, with all that it has started."""
    if process.returncode is not None:
        return
    try:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                await process.wait()
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # what git has started, too
        await process.wait()


@cache
def _global_configuration() -> str:
    """Return a file that takes the place of the person's configuration.

    It is the only way to tell the other end of a transfer on this machine, which git starts without the settings of
    this end, that a repository's owner does not matter.
    """
    file = os.memfd_create("gitconfig")  # nothing is left behind, however this process ends
    os.write(file, b"[safe]\n\tdirectory = *\n[core]\n\thooksPath = /dev/null\n\tfsmonitor = false\n[gc]\n\tauto = 0\n")
    return f"/proc/{os.getpid()}/fd/{file}"


_VERBS: Final = frozenset({"fetch", "push", "ls-remote", "read-tree", "gc", "fast-import", "merge-tree", "ls-files"})
