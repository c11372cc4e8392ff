"""Taking what GitHub sends: look at the signature, keep what is meant for us, answer; the work is done later."""

from __future__ import annotations

import hashlib
import re
from typing import Final, Literal

from ezaigent.core.errors import UsageError
from ezaigent.core.settings import GitHubRepository, GitHubSettings
from ezaigent.hooks.github import queries
from ezaigent.hooks.github.messages import IssueMessage, read_issue
from ezaigent.hooks.signing import signed_by
from ezaigent.store import Connection, Database, emit

Taken = Literal["taken", "known", "ignored"]

_DELIVERY: Final = re.compile(r"[0-9A-Za-z-]{1,64}")


class Intake:
    """The door for GitHub's webhooks."""

    def __init__(self, db: Database, settings: GitHubSettings) -> None:
        """Keep in ``db`` what the ``settings`` ask for."""
        self._db = db
        self._settings = settings

    @property
    def open(self) -> bool:
        """Whether anything is taken: there must be a secret, a token and a repository."""
        settings = self._settings
        return settings.secret is not None and settings.token is not None and bool(settings.repositories)

    def genuine(self, body: bytes, signature: str) -> bool:
        """Tell whether GitHub, or somebody else who has the secret, signed the body."""
        secret = self._settings.secret
        return secret is not None and signed_by(secret.get_secret_value().encode(), body, signature)

    async def take(self, *, event: str, delivery: str, body: bytes) -> Taken:
        """Keep a genuine message, once; the same id or the same text again changes nothing.

        Raises ``UsageError`` for one that cannot be read.
        """
        if event != "issues":
            return "ignored"
        if not _DELIVERY.fullmatch(delivery):
            raise UsageError("X-GitHub-Delivery is no id of a delivery")
        message = read_issue(body)
        linked = repository_of(self._settings, message.repository.full_name)
        if linked is None or not self._asks(message):
            return "ignored"
        digest = hashlib.sha256(body).hexdigest()  # the id is not signed, the text is

        def take(conn: Connection) -> bool | None:
            taken = queries.take(
                conn,
                delivery=delivery,
                digest=digest,
                repository=linked.name,
                number=message.issue.number,
                sender=message.sender.login,
                title=message.title,
                body=message.body,
            )
            if taken:
                data = {"repository": linked.name, "number": message.issue.number, "by": message.sender.login}
                emit(conn, "issue.received", data=data)
            return taken

        taken = await self._db.write(take)
        return "known" if taken is None else "taken" if taken else "ignored"

    def _asks(self, message: IssueMessage) -> bool:
        """Whether a person put our label on an open issue."""
        return (
            message.action == "labeled"
            and message.label is not None
            and message.label.name.casefold() == self._settings.label.casefold()
            and message.issue.state == "open"
            and message.sender.type == "User"
        )


def repository_of(settings: GitHubSettings, name: str) -> GitHubRepository | None:
    """Return what is set for a repository; names are the same in any case."""
    return next((one for one in settings.repositories if one.name.casefold() == name.casefold()), None)
