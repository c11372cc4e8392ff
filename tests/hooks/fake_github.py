"""As much of GitHub as is asked for: collaborators, comments, pull requests, and the webhooks that it sends."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from aiohttp import web

NAME = "acme/shop"
SECRET = "it's a secret to everybody"
TOKEN = "ghp_0123456789"


@dataclass
class FakeGitHub:
    """Its state; ``url`` is where its API answers."""

    url: str = ""
    permissions: dict[str, str] = field(default_factory=lambda: {"ada": "admin", "wim": "write", "rita": "read"})
    comments: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    pulls: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    asked: list[str] = field(default_factory=list[str])
    broken: int = 0
    """So many requests are answered with 502 first."""

    @web.middleware
    async def guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        if self.broken:
            self.broken -= 1
            return web.json_response({"message": "bad gateway"}, status=502)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"message": "Bad credentials"}, status=401)
        found: web.StreamResponse = await handler(request)
        return found

    async def permission(self, request: web.Request) -> web.Response:
        known = self.permissions.get(request.match_info["login"])
        if known is None:
            return web.json_response({"message": "Not Found"}, status=404)
        return web.json_response({"permission": known})

    async def repository(self, request: web.Request) -> web.Response:
        return web.json_response({"default_branch": "main", "full_name": NAME})

    async def list_comments(self, request: web.Request) -> web.Response:
        mine = [one for one in self.comments if one["issue"] == int(request.match_info["number"])]
        page, size = int(request.query["page"]), int(request.query["per_page"])
        return web.json_response(mine[(page - 1) * size : page * size])

    async def add_comment(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        made = {"issue": number, "html_url": f"{self.url}/c/{len(self.comments)}", **await request.json()}
        self.comments.append(made)
        return web.json_response(made, status=201)

    async def list_pulls(self, request: web.Request) -> web.Response:
        head = request.query["head"].partition(":")[2]
        return web.json_response([one for one in self.pulls if one["head"]["ref"] == head])

    async def add_pull(self, request: web.Request) -> web.Response:
        given = await request.json()
        if any(one["head"]["ref"] == given["head"] for one in self.pulls):
            return web.json_response({"message": "A pull request already exists"}, status=422)
        made = {**given, "html_url": f"{self.url}/pull/{len(self.pulls)}", "head": {"ref": given["head"]}}
        self.pulls.append(made)
        return web.json_response(made, status=201)


@asynccontextmanager
async def fake_github() -> AsyncGenerator[FakeGitHub]:
    """Answer while the block runs."""
    hub = FakeGitHub()
    app = web.Application(middlewares=[hub.guarded])
    app.router.add_get(f"/repos/{NAME}", hub.repository)
    app.router.add_get(f"/repos/{NAME}/collaborators/{{login}}/permission", hub.permission)
    app.router.add_get(f"/repos/{NAME}/issues/{{number}}/comments", hub.list_comments)
    app.router.add_post(f"/repos/{NAME}/issues/{{number}}/comments", hub.add_comment)
    app.router.add_get(f"/repos/{NAME}/pulls", hub.list_pulls)
    app.router.add_post(f"/repos/{NAME}/pulls", hub.add_pull)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield hub
    finally:
        await runner.cleanup()


def labelled(title: str, body: str | None = "", *, number: int = 7, by: str = "wim", **more: Any) -> dict[str, Any]:
    """Return what GitHub says when somebody puts a label on an issue."""
    return {
        "action": more.get("action", "labeled"),
        "label": {"name": more.get("label", "ezaigent")},
        "issue": {"number": number, "title": title, "body": body, "state": more.get("state", "open"), "user": {}},
        "repository": {"full_name": more.get("repository", NAME), "private": True},
        "sender": {"login": by, "type": more.get("type", "User")},
        "at": more.get("at", 1),
    }


def signature(body: bytes, secret: str = SECRET) -> str:
    """Return the signature that GitHub sends with a body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


async def deliver(
    client: httpx.AsyncClient, message: dict[str, Any] | bytes, delivery: str = "d-1", **headers: str
) -> httpx.Response:
    """Send a message as GitHub does; ``headers`` replace its own."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    sent = {
        "X-GitHub-Event": "issues",
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": signature(body),
        "Content-Type": "application/json",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return await client.post("/api/v1/webhooks/github", content=body, headers=sent)
