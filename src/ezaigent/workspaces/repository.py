"""What a person calls a repository: a path or a URL, taken apart, with its credentials split off."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from ezaigent.core.errors import UnavailableError, UsageError
from ezaigent.workspaces.credentials import Credential
from ezaigent.workspaces.git import Git, scrub

Kind = Literal["local", "ssh", "http"]
_SCP = re.compile(r"(?:[\w.+-]+@)?[\w.-]+:(?!//).+", re.ASCII)
_SCHEMES = {"ssh": "ssh", "git+ssh": "ssh", "ssh+git": "ssh", "http": "http", "https": "http"}


@dataclass(frozen=True, slots=True)
class Repository:
    """Where a repository is. Its text form holds no secret."""

    kind: Kind
    url: str
    """What git is given: an absolute path, or a URL without credentials."""
    key: str
    """What is the same for two names of the same repository: the real git folder, or the URL without suffixes."""
    git_dir: Path | None = None
    """The git folder, common to all worktrees, of a repository on this machine."""
    credential: Credential | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Return the name for people and logs."""
        return self.url

    @property
    def network(self) -> bool:
        """Whether it is reached over a network, so that the person's git configuration counts."""
        return self.kind != "local"

    @property
    def folder(self) -> str:
        """Name of its mirror: readable, and unique by a hash."""
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", self.key.rstrip("/").rpartition("/")[2].removesuffix(".git"))
        if self.kind == "local" and name.strip("-") in ("", "git"):
            name = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(self.key).parent.name)
        digest = hashlib.sha256(os.fsencode(self.key)).hexdigest()[:16]
        return f"{name.strip('-')[:40] or 'repository'}-{digest}"


async def locate(repo: str, git: Git) -> Repository:
    """Understand ``repo``: a path, ``file://``, ``ssh://``, ``https://`` or ``user@host:path``.

    A repository on this machine is looked at; one on another machine is not contacted. Raises ``UsageError`` for
    what is no repository or no form that is known, ``UnavailableError`` when the path cannot be read.
    """
    if not repo.strip() or "\0" in repo or "\n" in repo:
        raise UsageError("the repository is empty or holds a line break: give a path or a URL")
    if repo.startswith("-"):
        raise UsageError(f"the repository {repo!r} starts with a dash: give a path such as './{repo}' or a URL")
    scheme, colon, rest = repo.partition("://")
    if colon:
        return await _from_url(repo, scheme.lower(), rest, git)
    if "::" in repo.partition("/")[0]:
        helper = repo.partition("::")[0]
        raise UsageError(f"the transport {helper!r} runs a program: use a path, or a file, ssh or https URL")
    if _SCP.fullmatch(repo) and not os.path.exists(repo):  # noqa: ASYNC240, PTH110  (one look at a submitted path)
        host, _, path = repo.partition(":")
        return Repository("ssh", repo, f"ssh:{host.rpartition('@')[2].lower()}/{_plain(path)}")
    return await _on_this_machine(Path(repo), git)


async def _from_url(repo: str, scheme: str, rest: str, git: Git) -> Repository:
    if scheme == "file":
        host, _, path = rest.partition("/")
        if host not in ("", "localhost"):
            raise UsageError(f"{repo!r} names the machine {host!r}: a file URL has three slashes, file:///path")
        return await _on_this_machine(Path(unquote(f"/{path}")), git)
    if scheme not in _SCHEMES:
        raise UsageError(f"the scheme {scheme!r} is not known: use a path, or a file, ssh or https URL")
    try:
        parts = urlsplit(repo)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if not host or host.startswith("-"):
        raise UsageError(f"{scrub(repo)!r} names no host: write {scheme}://host/path")
    if parts.query or parts.fragment:
        raise UsageError(f"the URL of {host} has a query or fragment, which may hold a secret: leave it out")
    user, secret = unquote(parts.username or ""), unquote(parts.password or "")
    place = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    kind: Kind = "ssh" if _SCHEMES[scheme] == "ssh" else "http"
    if kind == "ssh":
        shown = f"{user}@{place}" if user else place  # the user of an ssh URL is a name, not a secret
        return Repository("ssh", urlunsplit(("ssh", shown, parts.path, "", "")), f"ssh:{place}/{_plain(parts.path)}")
    credential = Credential(place, user, secret) if user or secret else None
    clean = urlunsplit((scheme, place, parts.path, "", ""))
    return Repository("http", clean, f"http:{place}/{_plain(parts.path)}", credential=credential)


def _plain(path: str) -> str:
    return path.strip("/").removesuffix(".git").rstrip("/")


async def _on_this_machine(path: Path, git: Git) -> Repository:
    real = await asyncio.to_thread(_real_folder, path)
    # Looked for from inside the folder, because a person may well name a folder below the top.
    found = await git.run(
        "-C", real, "rev-parse", "--path-format=absolute", "--is-bare-repository", "--git-common-dir", "--git-dir",
        ok=(),
    )  # fmt: skip
    lines = found.text.split("\n")
    if found.code != 0 or len(lines) != 3:  # noqa: PLR2004  (three questions, three answers)
        raise UsageError(f"{str(path)!r} is not a git repository: run `git init` there or give another path")
    bare = lines[0] == "true"
    common, own = Path(os.path.realpath(lines[1])), Path(os.path.realpath(lines[2]))  # noqa: ASYNC240
    if own != common:  # a linked worktree: its own HEAD is the default base, so it stays the place to fetch from
        top = Path((await git.run("-C", real, "rev-parse", "--show-toplevel")).text)
    else:
        top = own.parent if own.name == ".git" and not bare else own
    return Repository("local", str(top), str(common), git_dir=common)


def _real_folder(path: Path) -> Path:
    try:
        real = path.expanduser().resolve(strict=True)
    except FileNotFoundError:
        raise UsageError(f"there is nothing at {str(path)!r}: give the path or URL of a git repository") from None
    except (OSError, RuntimeError) as error:
        raise UnavailableError(f"{str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not real.is_dir():
        raise UsageError(f"{str(path)!r} is a file, not a repository: give the path of a git repository")
    return real
