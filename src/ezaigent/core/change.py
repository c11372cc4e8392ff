"""What a run produced: a commit, its diff in numbers, and the check results for that exact tree."""

from __future__ import annotations

from typing import Final, Self

from pydantic import BaseModel, ConfigDict

PATHS: Final = 200
"""File names that a change keeps."""


class CheckResult(BaseModel):
    """One check command, run in the sandbox on one exact tree."""

    model_config = ConfigDict(frozen=True)

    command: str
    """The command as the person wrote it; run by ``/bin/sh -c``."""
    ok: bool
    """Whether it exited with 0 within its limits."""
    exit_code: int
    """The real exit code; 124 when it ran out of time, 128 + n when signal n ended it."""
    output: str = ""
    """The end of its output, at most 16 KiB."""
    seconds: float = 0.0
    tree: str = ""
    """Hash of the git tree it ran on."""


class Change(BaseModel):
    """A commit on branch ``ezaigent/<task-id>``."""

    model_config = ConfigDict(frozen=True)

    branch: str
    commit: str
    tree: str
    base: str
    """The commit that the branch starts from."""
    files: int = 0
    paths: tuple[str, ...] = ()
    """Names of the files, at most ``PATHS`` of them."""
    insertions: int = 0
    deletions: int = 0
    published: bool = False
    """Whether the branch was handed back to the repository it came from."""
    note: str = ""
    """Why not, when it was not published; or that there was nothing to change."""
    checks: tuple[CheckResult, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every check passed on this very tree."""
        return all(check.ok and check.tree == self.tree for check in self.checks)

    def with_checks(self, checks: tuple[CheckResult, ...]) -> Self:
        """Return the change with these check results."""
        return self.model_copy(update={"checks": checks})
