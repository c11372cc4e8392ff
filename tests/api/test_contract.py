"""The live server against its own OpenAPI document, asked by schemathesis with what nobody would think of."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.api.conftest import PASSWORD, Place
from tests.fleet.scene import git

from ezaigent.api import Accounts
from ezaigent.core.change import Change, CheckResult
from ezaigent.core.outside import Inside
from ezaigent.hooks import Webhooks
from ezaigent.tasks import NewTask, Slot
from ezaigent.wiring import Fleet

TASK: Final = "/api/v1/tasks/{task_id}"
HOOK: Final = "/api/v1/webhooks/{key}"
_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "ignored_auth",
    "unsupported_method",
)


def test_every_answer_is_as_the_document_says(place: Place, tmp_path: Path) -> None:
    """No 5xx, no undocumented status, no body that its schema does not describe; streams never end, so are left out.

    What a route about one thing says when the thing is there was looked at, too.
    """
    report = tmp_path / "answers.json"
    there = asyncio.run(_there(place))
    hooks = {
        "SCHEMATHESIS_HOOKS": str(Path(__file__).with_name("contract_hooks.py")),
        "CONTRACT_THERE": json.dumps(there),
        "CONTRACT_REPORT": str(report),
    }
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"),
            *("run", f"{place.url}/openapi.json", "-H", f"Authorization: Bearer {place.tokens['admin']}"),
            *("--exclude-path", "/api/v1/events", "--phases", "coverage,fuzzing", "--checks", ",".join(_CHECKS)),
            *("--max-examples", "12", "--seed", "1", "--no-color", "--request-timeout", "20", "--warnings", "off"),
            *("--suppress-health-check", "all", "--generation-database", "none"),
        ],
        cwd=tmp_path,
        env={**os.environ, **hooks},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    answers: dict[str, dict[str, int]] = json.loads(report.read_text(encoding="utf-8"))
    unseen = {route for route in there if not any(status.startswith("2") for status in answers.get(route, {}))}
    assert not unseen, "no body of a success was looked at"


async def _there(place: Place) -> dict[str, dict[str, Any]]:
    """Put something there for each route that is about one thing; return what to ask it with."""
    repo = place.home.parent / "contract.git"
    git(place.repo, "clone", "-q", "--bare", str(place.repo), str(repo))
    base, blob = git(repo, "rev-parse", "main"), git(repo, "rev-parse", "main:shop/tax.py")
    git(repo, "read-tree", "main")
    git(repo, "update-index", "--add", "--cacheinfo", f"100644,{blob},shop/second.py")
    tree = git(repo, "write-tree")
    commit = git(repo, "commit-tree", tree, "-p", base, "-m", "Add a second one")
    async with Fleet.connect(place.home) as fleet:
        queue, db = fleet.services.queue, fleet.services.db

        async def ready() -> dict[str, Any]:
            """Return how to ask for a task of its own, whose change waits for a person."""
            task = await queue.submit(
                NewTask(prompt="Add a second one", repo=str(repo), base="main", scope=("shop/**",))
            )
            [claim] = await queue.claim("nobody", [Slot(agent="claude-1", profile="claude")], only=[task.id])
            check = CheckResult(command="true", ok=True, exit_code=0, output="fine", seconds=0.1, tree=tree)
            git(repo, "branch", f"ezaigent/{task.id}", commit)
            change = Change(
                branch=f"ezaigent/{task.id}",
                commit=commit,
                tree=tree,
                base=base,
                files=1,
                published=True,
                checks=(check,),
            )
            await queue.finish(claim, change)
            return {"path_parameters": {"task_id": task.id}}

        async def user(name: str) -> dict[str, Any]:
            await accounts.add_user(name, PASSWORD, "viewer", by="test", address="test")
            return {"path_parameters": {"name": name}}

        async def token() -> dict[str, Any]:
            made, _ = await accounts.create_token("spare", "read", owner=None, days=None, by="test", address="test")
            return {"path_parameters": {"key": made.id}}

        async def webhook() -> dict[str, Any]:
            made, _ = await hooks.add("http://127.0.0.1:9/", enabled=False, by="test")
            return {"path_parameters": {"key": made.id}}

        accounts = Accounts(db)
        hooks = Webhooks(db, fleet.services.events, Inside.read(["127.0.0.1"]))  # the server itself sends nothing there
        task, hook = await ready(), await webhook()
        return {
            **{f"GET {TASK}{part}": task for part in ("", "/diff", "/logs", "/why")},
            f"PATCH {TASK}": {**await ready(), "headers": {"If-Match": "*"}},
            **{f"POST {TASK}/{verb}": await ready() for verb in ("cancel", "retry", "feedback", "approve", "merge")},
            f"GET {HOOK}": hook,
            f"PATCH {HOOK}": {**hook, "headers": {"If-Match": "*"}},
            f"GET {HOOK}/deliveries": hook,
            f"POST {HOOK}/retry": hook,
            f"DELETE {HOOK}": await webhook(),
            "DELETE /api/v1/users/{name}": await user("spare"),
            "DELETE /api/v1/tokens/{key}": await token(),
        }
