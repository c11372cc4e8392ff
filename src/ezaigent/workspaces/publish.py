"""Handing a branch back to the repository it came from, and nothing else.

On this machine the receiving side is a git process too, started in a repository that anybody may have configured. It is
told on its command line to run no hook and no program of that repository, and to refuse a branch that is checked out.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Final

from ezaigent.core.change import Change
from ezaigent.core.errors import EzAigentError
from ezaigent.workspaces.git import GitFailed, config_flags
from ezaigent.workspaces.mirrors import IDENTITY, ORIGIN, Mirror, unreachable
from ezaigent.workspaces.refs import branch_ref, published_ref
from ezaigent.workspaces.repository import Repository

RECEIVE: Final = f"--receive-pack=git {shlex.join(config_flags())} receive-pack"


class Rejected(EzAigentError):
    """The other side took the connection but not the ref; the text says why."""


async def publish(mirror: Mirror, task_id: str, change: Change) -> Change:
    """Push ``change`` to ``refs/heads/ezaigent/<task-id>`` of the source; never raises for a push that fails.

    A branch that somebody changed there since it was handed back is not overwritten.
    """
    if change.commit == change.base:
        return change
    before = await mirror.commit(published_ref(task_id)) or await _ours(mirror, task_id)
    try:
        await push(mirror, change.commit, branch_ref(task_id), expected=before or "")
    except EzAigentError as error:
        return change.model_copy(update={"published": False, "note": f"not handed back: {error}"})
    await mirror.set_ref(published_ref(task_id), change.commit)
    return change.model_copy(update={"published": True})


async def send(mirror: Mirror, commit: str, task_id: str, target: Repository) -> None:
    """Push a change to its branch of another repository than the one that it came from; there already is fine.

    Raises ``Rejected`` where the branch is something else there, ``UnavailableError`` when it cannot be reached.
    """
    ref = branch_ref(task_id)
    way = await mirror.guard(target)
    asked = await mirror.git.run(
        "ls-remote", "--quiet", "--", target.url, ref,
        network=target.network, credential=target.credential, flags=way.flags, ssh=way.ssh, ok=(),
    )  # fmt: skip
    if asked.code != 0:
        raise unreachable(target, GitFailed("ls-remote", asked))
    there = asked.text.partition("\t")[0]
    if there == commit:
        return
    if there:
        raise Rejected(f"{ref.removeprefix('refs/heads/')} is another one in {target}, and is not overwritten")
    await push(replace(mirror, repository=target), commit, ref, expected="")


async def _ours(mirror: Mirror, task_id: str) -> str | None:
    """Return what the branch was at the source when it was last looked at, if a fleet made it (on another machine)."""
    ref = f"{ORIGIN}ezaigent/{task_id}"
    shown = await mirror.git.run("show", "-s", "--format=%H %ce", ref, at=mirror.path, ok=())
    commit, _, mail = shown.text.partition(" ")
    return commit if shown.code == 0 and f"<{mail}>" in IDENTITY else None


async def push(mirror: Mirror, commit: str, ref: str, *, expected: str) -> None:
    """Set ``ref`` of the source to ``commit`` if it is ``expected`` there now (empty: if it is not there).

    Raises ``Rejected`` when the source refuses, ``UnavailableError`` when it cannot be reached.
    """
    source = mirror.repository
    way = await mirror.guard(source)
    receive = [] if source.network else [RECEIVE]
    result = await mirror.git.run(
        "push", "--porcelain", "--no-verify", "--no-signed", "--no-follow-tags", "--recurse-submodules=no",
        f"--force-with-lease={ref}:{expected}", *receive, "--", source.url, f"{commit}:{ref}",
        at=mirror.path, network=source.network, credential=source.credential, flags=way.flags, ssh=way.ssh, ok=(),
    )  # fmt: skip
    if result.code == 0:
        return
    # One line per ref: "<flag>\t<from>:<to>\t<summary> (<reason>)"
    refused = [line.split("\t") for line in result.text.splitlines() if line.startswith("!\t")]
    if not refused:
        raise unreachable(source, GitFailed("push", result))
    summary = refused[0][-1]
    if "stale info" in summary or "fetch first" in summary:
        raise Rejected(f"{ref.removeprefix('refs/heads/')} was changed in {source} meanwhile, and is not overwritten")
    if "checked out" in summary:
        raise Rejected(f"{ref.removeprefix('refs/heads/')} is checked out in {source}: switch to another branch there")
    raise Rejected(f"{source} refused it: {summary}")
