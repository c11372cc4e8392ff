"""What GitHub sends, as far as it is read. All of it is somebody else's text."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, Field, ValidationError

from ezaigent.core.errors import UsageError

LONGEST: Final = 100_000
"""Characters of an issue that are kept; GitHub itself allows 65,536."""


class _Label(BaseModel):
    name: str


class _Issue(BaseModel):
    number: Annotated[int, Field(gt=0, lt=2**53)]
    title: str
    body: str | None = None
    state: str = "open"


class _Repository(BaseModel):
    full_name: str


class _Sender(BaseModel):
    login: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,64}$")]
    type: str


class IssueMessage(BaseModel):
    """An ``issues`` message."""

    action: str
    label: _Label | None = None
    issue: _Issue
    repository: _Repository
    sender: _Sender

    @property
    def title(self) -> str:
        """The issue's title, in one line."""
        return " ".join(_storable(self.issue.title).split())[:500] or "(no title)"

    @property
    def body(self) -> str:
        """The issue's text."""
        return _storable(self.issue.body or "")[:LONGEST]


def read_issue(body: bytes) -> IssueMessage:
    """Return the message. Raises ``UsageError`` for one that is not as GitHub describes it."""
    try:
        return IssueMessage.model_validate_json(body)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise UsageError(f"the message is no issues event of GitHub: look at {where or 'its JSON'}") from None


def _storable(text: str) -> str:
    return text.replace("\x00", "").replace("\r\n", "\n")
