"""``ezaigent up`` serves, and lets people in: the first start, the port, the address, the commands for access."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from tests.api.conftest import PASSWORD, environment, running

from ezaigent.cli.demo import build
from ezaigent.wiring import Fleet, serve_api


def ezaigent(home: Path, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "ezaigent", *words],
        input=stdin,
        env=environment(home),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_first_start_prints_a_link_that_lets_one_person_in(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running(home, "--no-worker") as (_, said):
        link = httpx.URL(said["setup_url"])
        token = re.split(r"token=", said["setup_url"])[1]
        with httpx.Client(base_url=said["url"]) as client:
            given = {"token": token, "name": "anna", "password": "short"}
            assert client.post("/api/v1/setup", json=given).status_code == 422
            assert client.post("/api/v1/setup", json=given | {"name": "An na"}).status_code == 422
            made = client.post("/api/v1/setup", json=given | {"password": PASSWORD})
            assert made.json()["access"] == "admin"
            assert client.get("/api/v1/users").json()["items"][0]["name"] == "anna"
            assert client.post("/api/v1/setup", json=given | {"password": PASSWORD, "name": "eve"}).status_code == 401
        assert link.host == "127.0.0.1"
    with running(home, "--no-worker") as (_, said):
        assert "setup_url" not in said


async def test_the_form_behind_the_link_works_without_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezaigent.api.dashboard.built", lambda: False)
    monkeypatch.setattr("ezaigent.api.server.built", lambda: False)
    async with Fleet.connect(tmp_path / "home") as fleet, serve_api(fleet, port=0) as server:
        link = await server.setup_url()
        assert link is not None
        token = link.partition("/setup?token=")[2]
        async with httpx.AsyncClient(base_url=server.url, headers={"Origin": server.url}) as client:
            page = await client.get("/setup", params={"token": token + '"><script>alert(1)</script>'})
            assert "<script" not in page.text
            assert "default-src 'none'" in page.headers["content-security-policy"]
            form = {"token": token, "name": "anna", "password": "short"}
            wrong = await client.post("/setup", data=form)
            assert (wrong.status_code, "10 to 1024 characters" in wrong.text) == (422, True)
            assert (await client.post("/setup", data={"token": token})).status_code == 422
            assert (await client.post("/setup", data=form | {"token": "x", "password": PASSWORD})).status_code == 401
            done = await client.post("/setup", data=form | {"password": PASSWORD})
            assert "You are signed in" in done.text
            assert (await client.get("/api/v1/session")).json()["name"] == "anna"


def test_a_taken_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for words in (("--no-worker",), ("--agents", "1")):
            said = ezaigent(tmp_path / "home", "up", *words, "--port", str(port))
            assert said.returncode == 3
            assert said.stderr.count("\n") == 1
            assert f"127.0.0.1:{port} is taken" in said.stderr
            assert "--port" in said.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - that it refuses is the test
def test_it_does_not_listen_to_others_while_nobody_has_a_credential(tmp_path: Path, host: str) -> None:
    home = tmp_path / "home"
    said = ezaigent(home, "up", "--no-worker", "--port", "0", "--host", host)
    assert said.returncode == 2
    assert "ezaigent user add" in said.stderr
    ezaigent(home, "token", "create", "ci")
    with running(home, "--no-worker", "--host", host) as (_, ready):
        assert "setup_url" not in ready
        port = ready["url"].rpartition(":")[2]
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200


@pytest.mark.parametrize("words", [("--host", "no.such.host.invalid"), ("--host", "192.0.2.1"), ("--agents", "2")])
def test_an_address_that_cannot_be_had_is_told(tmp_path: Path, words: Sequence[str]) -> None:
    said = ezaigent(tmp_path / "home", "up", "--no-worker", "--port", "0", *words)
    assert said.returncode in {2, 3}
    assert said.stderr.count("\n") == 1


def test_tokens_and_users_from_the_command_line(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert "no tokens" in ezaigent(home, "token", "list").stderr
    assert "no users" in ezaigent(home, "user", "list").stderr
    token = ezaigent(home, "token", "create", "ci", "--scope", "operate", "--days", "30").stdout.strip()
    made = json.loads(ezaigent(home, "token", "create", "other", "--json").stdout)
    listed = ezaigent(home, "token", "list")
    assert "ci" in listed.stdout
    assert token.split("_", 2)[2] not in listed.stdout
    added = ezaigent(home, "user", "add", "anna", "--role", "viewer", "--password-stdin", stdin=PASSWORD + "\n")
    assert "anna may sign in as viewer" in added.stdout
    assert ezaigent(home, "user", "add", "anna", "--password-stdin", stdin=PASSWORD + "\n").returncode == 2
    assert ezaigent(home, "user", "add", "ben", "--password-stdin", stdin="short\n").returncode == 2
    assert ezaigent(home, "user", "add", "ben").returncode == 2
    assert ezaigent(home, "user", "add", "An Na", "--password-stdin", stdin=PASSWORD + "\n").returncode == 2
    assert [one["name"] for one in json.loads(ezaigent(home, "user", "list", "--json").stdout)["items"]] == ["anna"]
    assert "anna" in ezaigent(home, "user", "list").stdout
    with running(home, "--no-worker") as (_, said), httpx.Client(base_url=said["url"]) as client:
        bearer = {"Authorization": f"Bearer {token}"}
        assert client.get("/api/v1/session", headers=bearer).json()["access"] == "operate"
        assert client.post("/api/v1/session", json={"name": "anna", "password": PASSWORD}).status_code == 200
        assert ezaigent(home, "token", "revoke", "ci").returncode == 0
        assert client.get("/api/v1/queue", headers=bearer).status_code == 401
        assert ezaigent(home, "user", "remove", "anna").returncode == 0
        assert client.get("/api/v1/session").status_code == 401
    assert ezaigent(home, "token", "revoke", "ci").returncode == 2
    assert ezaigent(home, "token", "revoke", made["id"]).returncode == 0
    assert ezaigent(home, "user", "remove", "nobody").returncode == 2
    assert ezaigent(home, "token", "create", "x y").returncode == 2


def test_a_task_goes_through_the_api_and_the_worker_beside_it(tmp_path: Path) -> None:
    home, repo = tmp_path / "home", tmp_path / "bare.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(build(tmp_path)), str(repo)], check=True)
    token = ezaigent(home, "token", "create", "ci", "--scope", "operate").stdout.strip()
    with running(home, "--agents", "1") as (process, said):
        with httpx.Client(base_url=said["url"], headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
            wanted = {"prompt": "Remove unused imports in shop/tax.py", "repo": str(repo), "profile": "mechanic"}
            made = client.post("/api/v1/tasks", json=wanted).json()
            seen: list[str] = []
            with client.stream("GET", "/api/v1/events", params={"after": 0, "task": made["id"]}) as answer:
                for line in answer.iter_lines():
                    if line.startswith("event: "):
                        seen.append(line.removeprefix("event: "))
                    if seen and seen[-1] in {"task.review", "task.failed", "task.done"}:
                        break
            assert seen[0] == "task.submitted"
            assert seen[-1] == "task.review", seen
            where = f"/api/v1/tasks/{made['id']}"
            assert "diff --git" in client.get(f"{where}/diff").json()["diff"]
            merged = client.post(f"{where}/merge")
            assert merged.json().get("state") == "done", merged.text
            assert client.get("/api/v1/agents").json()["items"][0]["name"] == "mechanic-1"
            assert client.post("/api/v1/agents/mechanic-1/drain").json() == {"agents": ["mechanic-1"]}
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
