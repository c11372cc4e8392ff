"""The part of GitHub's REST API that is needed: who may write, comments, pull requests."""

from __future__ import annotations

from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote, urlsplit

import orjson

from ezaigent.core.errors import UnavailableError

if TYPE_CHECKING:
    import aiohttp

_TIMEOUT: Final = 20.0
"""Seconds for one request."""
_LARGEST: Final = 8 * 1024**2
"""Bytes of an answer that is read."""
_PAGES: Final = 30
"""Pages of 100 comments that are looked through."""


class GitHubRefused(UnavailableError):
    """GitHub answered, but not with what was asked for; ``status`` says how."""

    def __init__(self, message: str, status: int) -> None:
        """Tell what GitHub said."""
        super().__init__(message)
        self.status = status


def web_host(api_url: str) -> str:
    """Return the host of repositories and pages that belong to an API, with its port where it has one."""
    return urlsplit(api_url).netloc.rpartition("@")[2].removeprefix("api.")


class GitHub:
    """Requests with one token; an async context manager. Every request raises ``UnavailableError`` when it fails."""

    def __init__(self, api_url: str, token: str) -> None:
        """Ask ``api_url``."""
        self._base = api_url.rstrip("/")
        self._token = token
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        import aiohttp  # slow to load, and most fleets have nothing to do with GitHub

        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT),
            headers={
                "Authorization": f"Bearer {self._token}",
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": "2022-11-28",
                "User-Agent": "ezaigent",
            },
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def may_write(self, repository: str, login: str) -> bool:
        """Tell whether a person may write to a repository."""
        try:
            found = await self._ask("GET", f"/repos/{repository}/collaborators/{quote(login, safe='')}/permission")
        except GitHubRefused as error:
            if error.status == 404:  # noqa: PLR2004 - nobody whom the repository knows
                return False
            raise
        return found.get("permission") in {"admin", "maintain", "write"}

    async def default_branch(self, repository: str) -> str:
        """Return the branch that pull requests go to."""
        return str((await self._ask("GET", f"/repos/{repository}")).get("default_branch", "main"))

    async def comment_with(self, repository: str, number: int, mark: str, since: float) -> str | None:
        """Return the address of a comment that holds ``mark`` and was written after ``since``; None without one."""
        moment = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for page in range(1, _PAGES + 1):
            path = f"/repos/{repository}/issues/{number}/comments?per_page=100&since={moment}&page={page}"
            found = await self._ask("GET", path)
            for one in found:
                if mark in str(one.get("body", "")):
                    return str(one.get("html_url", ""))
            if len(found) < 100:  # noqa: PLR2004 - the page's size
                return None
        return None

    async def comment(self, repository: str, number: int, text: str) -> str:
        """Write a comment; return its address."""
        made = await self._ask("POST", f"/repos/{repository}/issues/{number}/comments", {"body": text})
        return str(made.get("html_url", ""))

    async def pull_of(self, repository: str, branch: str) -> str | None:
        """Return the address of the pull request of a branch, open or closed; None without one."""
        head = quote(f"{repository.partition('/')[0]}:{branch}", safe="")
        found = await self._ask("GET", f"/repos/{repository}/pulls?state=all&head={head}")
        return next(
            (str(one.get("html_url", "")) for one in found if one.get("head", {}).get("ref", branch) == branch), None
        )

    async def pull(self, repository: str, *, branch: str, base: str, title: str, text: str) -> str:
        """Open a pull request; return its address."""
        given = {"title": title, "head": branch, "base": base, "body": text, "maintainer_can_modify": True}
        return str((await self._ask("POST", f"/repos/{repository}/pulls", given)).get("html_url", ""))

    async def _ask(self, verb: str, path: str, given: dict[str, Any] | None = None) -> Any:
        import aiohttp

        assert self._session is not None
        data = None if given is None else orjson.dumps(given)
        headers = {} if data is None else {"Content-Type": "application/json"}
        try:
            async with self._session.request(
                verb, self._base + path, data=data, headers=headers, allow_redirects=False
            ) as answer:
                text = await answer.content.read(_LARGEST)
                while len(text) < _LARGEST and (more := await answer.content.read(_LARGEST - len(text))):
                    text += more
                if not 200 <= answer.status < 300:  # noqa: PLR2004 - HTTP
                    raise GitHubRefused(_said(verb, path, answer.status, text), answer.status)
        except TimeoutError:
            raise UnavailableError(f"GitHub did not answer within {_TIMEOUT:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise UnavailableError(f"GitHub cannot be reached: {' '.join(str(error).split())[:200]}") from None
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            raise UnavailableError(f"GitHub's answer to {verb} {path.partition('?')[0]} is no JSON") from None


def _said(verb: str, path: str, status: int, text: bytes) -> str:
    try:
        message = str(orjson.loads(text)["message"])[:200]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message = "it said nothing"
    return f"GitHub answered {status} to {verb} {path.partition('?')[0]}: {message}"
