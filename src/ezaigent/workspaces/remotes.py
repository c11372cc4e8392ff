"""Looking at a repository when a task is submitted: a mistake is told to the person who makes it."""

from __future__ import annotations

import re
from dataclasses import replace

from ezaigent.core.errors import UsageError
from ezaigent.core.outside import Inside
from ezaigent.workspaces.credentials import Credential
from ezaigent.workspaces.git import Git, GitFailed
from ezaigent.workspaces.guarding import Pin, pin
from ezaigent.workspaces.mirrors import parse_refs, unknown_base, unreachable
from ezaigent.workspaces.models import RepositoryInfo
from ezaigent.workspaces.repository import Repository, locate

_logins: dict[str, Credential] = {}  # by clean URL: a login that came in a URL lives as long as this process
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


def known_login(repository: Repository) -> Repository:
    """Return the repository with the login that its URL was once given with in this process."""
    if repository.credential is not None:
        _logins[repository.url] = repository.credential
        return repository
    return replace(repository, credential=_logins.get(repository.url))


async def check_repository(
    repo: str, base: str | None = None, *, git: Git | None = None, inside: Inside | None = None
) -> RepositoryInfo:
    """Look whether ``repo`` can be read and has ``base`` (a branch, tag or commit; None: its default branch).

    Raises ``UsageError`` for what is no repository or has no such base, naming near matches, and ``UnavailableError``
    when it cannot be reached. With ``inside`` a URL must lead to the public internet, or to what that admits, and no
    redirect is followed. A commit id of a repository on another machine is looked for when the task is opened.
    """
    git = git or Git()
    await git.version()
    repository = known_login(await locate(repo, git))
    guard = Pin() if inside is None else await pin(repository, inside)
    try:
        asked = await git.run(
            "ls-remote", "--symref", "--quiet", "--", repository.url,
            network=repository.network, credential=repository.credential, flags=guard.flags, ssh=guard.ssh,
        )  # fmt: skip
    except GitFailed as error:
        raise unreachable(repository, error) from None
    refs, head = parse_refs(asked)
    return RepositoryInfo(
        url=repository.url,
        default_branch=head,
        commit=await _find(repository, refs, base, git),
        has_credentials=repository.credential is not None,
    )


async def _find(repository: Repository, refs: dict[str, str], base: str | None, git: Git) -> str | None:
    if base is None or base == "HEAD":
        return refs.get("HEAD")
    short = base.removeprefix("refs/heads/").removeprefix("origin/")
    for ref in (f"refs/heads/{base.removeprefix('refs/heads/')}", f"refs/heads/{short}"):
        if ref in refs:
            return refs[ref]
    tag = f"refs/tags/{base.removeprefix('refs/tags/')}"
    if tag in refs:
        return refs.get(f"{tag}^{{}}", refs[tag])
    if _COMMIT.fullmatch(base):
        if repository.git_dir is None:
            return next((commit for commit in refs.values() if commit.startswith(base)), None)
        known = await git.run("rev-parse", "--verify", "--quiet", f"{base}^{{commit}}", at=repository.git_dir, ok=())
        if known.code == 0:
            return known.text
    raise UsageError(unknown_base(repository, base, list(refs)))
