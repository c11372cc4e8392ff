"""Repositories on other machines: HTTP with a token, and ssh; the login shows nowhere."""

from __future__ import annotations

import base64
import logging
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import pytest
from tests.workspaces.conftest import Source

from ezaigent.core.errors import UnavailableError
from ezaigent.core.settings import WorkspaceSettings
from ezaigent.workspaces import Sandbox, Workspaces, check_repository

TOKEN = "s3cr3t/t0ken+x"
TOKEN_IN_URL = "s3cr3t%2Ft0ken%2Bx"


class _Server(ThreadingHTTPServer):
    root: Path
    seen: list[str]
    logins: list[str]
    elsewhere: str | None = None
    """Where all requests are sent instead."""


class _Handler(BaseHTTPRequestHandler):
    """Serves repositories with git's own CGI program, to those who know the token."""

    protocol_version = "HTTP/1.0"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        server = cast("_Server", self.server)
        server.seen.append(f"{self.command} {self.path}")
        server.logins.append(self.headers.get("Authorization", ""))
        if server.elsewhere is not None:
            self.send_response(301)
            self.send_header("Location", server.elsewhere + self.path)
            self.end_headers()
            return
        wanted = "Basic " + base64.b64encode(f"robot:{TOKEN}".encode()).decode()
        if self.headers.get("Authorization") != wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        body = self._body()
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "robot",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.receivepack",
            "GIT_CONFIG_VALUE_0": "true",
        }
        done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line]
        status = next((value for name, value in headers if name == "Status"), "200 OK")
        self.send_response(int(status.split()[0]))
        for name, value in headers:
            if name != "Status":
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            pieces: list[bytes] = []
            while size := int(self.rfile.readline(), 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))


@pytest.fixture
def shared(make_source: Callable[..., Source], tmp_path: Path) -> Source:
    source = make_source()
    path = tmp_path / "served" / "team" / "project.git"
    source.git("clone", "--quiet", "--bare", str(source.path), str(path))
    bare = Source.__new__(Source)
    bare.path = path
    return bare


@pytest.fixture
def server(tmp_path: Path, shared: Source) -> Iterator[_Server]:
    yield from serve(tmp_path)


@pytest.fixture
def thief(tmp_path: Path) -> Iterator[_Server]:
    """A second server, which writes down the logins that it is given."""
    yield from serve(tmp_path)


def serve(tmp_path: Path) -> Iterator[_Server]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.root, server.seen, server.logins = tmp_path / "served", [], []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The person's own configuration counts for these: give it a known content."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def texts_below(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path, path.read_bytes()


async def test_a_token_in_the_url_works_and_is_written_nowhere(
    workspaces: Workspaces, home: Path, server: _Server, shared: Source, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"http://robot:{TOKEN_IN_URL}@127.0.0.1:{server.server_port}/team/project.git"
    clean = f"http://127.0.0.1:{server.server_port}/team/project.git"
    info = await check_repository(url, "main")
    assert (info.url, info.has_credentials, info.default_branch) == (clean, True, "main")
    workspace = await workspaces.open(task_id="t1", repo=url, base="main")
    (workspace.path / "a").write_text("a")
    change = await workspace.publish(await workspace.commit(message="M", author="a", trailers={}))
    assert change.published, change.note
    assert shared.show("a", "ezaigent/t1") == "a"
    inside = await workspace.run("env; cat .git; git config --list; grep -r s3cr3t . ; true")
    for text in (repr(info), repr(change), inside.output, caplog.text, *server.seen):
        assert "s3cr3t" not in text
    for path, content in texts_below(home):
        assert b"s3cr3t" not in content, path


async def test_this_process_remembers_the_login_for_the_clean_url(
    workspaces: Workspaces, server: _Server, shared: Source
) -> None:
    info = await check_repository(f"http://robot:{TOKEN_IN_URL}@127.0.0.1:{server.server_port}/team/project.git")
    assert (await workspaces.open(task_id="t1", repo=info.url, base=None)).base == shared.tip("main")


async def test_no_login_and_a_wrong_one_are_told_apart(
    workspaces: Workspaces, server: _Server, home: Path, sandbox: Sandbox
) -> None:
    clean = f"http://127.0.0.1:{server.server_port}/team/project.git"
    spaces = Workspaces(home, WorkspaceSettings(), sandbox)
    with pytest.raises(UnavailableError, match="set up a git credential helper") as caught:
        await spaces.open(task_id="t1", repo=clean, base=None)
    assert "\n" not in str(caught.value)
    wrong = f"http://robot:wr0ng@127.0.0.1:{server.server_port}/team/project.git"
    with pytest.raises(UnavailableError, match="the login in the URL was refused") as caught:
        await workspaces.open(task_id="t1", repo=wrong, base=None)
    assert "wr0ng" not in str(caught.value)


async def test_the_persons_credential_helper_is_asked(
    workspaces: Workspaces, server: _Server, shared: Source, tmp_path: Path
) -> None:
    (tmp_path / "store").write_text(f"http://robot:{TOKEN_IN_URL}@127.0.0.1:{server.server_port}\n")
    (tmp_path / ".gitconfig").write_text(f"[credential]\n\thelper = store --file '{tmp_path}/store'\n")
    url = f"http://127.0.0.1:{server.server_port}/team/project.git"
    workspace = await workspaces.open(task_id="t1", repo=url, base=None)
    (workspace.path / "a").write_text("a")
    change = await workspace.publish(await workspace.commit(message="M", author="a", trailers={}))
    assert change.published, change.note
    assert await workspaces.merge("t1", url, "main", change, []) == change.commit
    assert shared.tip("main") == change.commit


async def test_a_login_in_the_url_is_not_handed_to_the_persons_helper(
    workspaces: Workspaces, server: _Server, tmp_path: Path
) -> None:
    (tmp_path / ".gitconfig").write_text(f"[credential]\n\thelper = store --file '{tmp_path}/store'\n")
    url = f"http://robot:{TOKEN_IN_URL}@127.0.0.1:{server.server_port}/team/project.git"
    await workspaces.open(task_id="t1", repo=url, base=None)
    assert not (tmp_path / "store").exists()


async def test_a_redirect_to_another_host_does_not_get_the_login(
    workspaces: Workspaces, server: _Server, thief: _Server
) -> None:
    server.elsewhere = f"http://127.0.0.1:{thief.server_port}"
    url = f"http://robot:{TOKEN_IN_URL}@127.0.0.1:{server.server_port}/team/project.git"
    with pytest.raises(UnavailableError):
        await workspaces.open(task_id="t1", repo=url, base=None)
    assert thief.seen
    assert not any(thief.logins)


async def test_a_repository_that_is_not_there(workspaces: Workspaces, server: _Server) -> None:
    url = f"http://robot:{TOKEN_IN_URL}@127.0.0.1:{server.server_port}/team/nothing.git"
    with pytest.raises(UnavailableError, match=r"team/nothing\.git cannot be read: ") as caught:
        await check_repository(url)
    assert "s3cr3t" not in str(caught.value)


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of ssh that runs the command here, and writes down how it was called."""
    log, program = tmp_path / "ssh.log", tmp_path / "ssh.sh"
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$*" >> {log}\nfor last; do :; done\n'
        'export GIT_CONFIG_GLOBAL=/dev/null\nexec sh -c "$last"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_VARIANT", "ssh")
    return program


@pytest.mark.parametrize("how", ["variable", "setting"])
@pytest.mark.parametrize("form", ["url", "scp"])
async def test_ssh_uses_the_persons_own_command_and_never_asks(
    workspaces: Workspaces,
    shared: Source,
    ssh: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    form: str,
    how: str,
) -> None:
    if how == "variable":
        monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    else:
        (tmp_path / ".gitconfig").write_text(f"[core]\n\tsshCommand = {ssh}\n")
    repo = f"ssh://git@host.invalid{shared.path}" if form == "url" else f"git@host.invalid:{shared.path}"
    assert (await check_repository(repo, "main")).url == repo
    workspace = await workspaces.open(task_id="t1", repo=repo, base=None)
    (workspace.path / "a").write_text("a")
    change = await workspace.publish(await workspace.commit(message="M", author="a", trailers={}))
    assert change.published, change.note
    calls = (tmp_path / "ssh.log").read_text()
    assert "git@host.invalid" in calls
    assert all("-o BatchMode=yes" in call for call in calls.splitlines())


async def test_a_password_in_an_ssh_url_is_dropped(workspaces: Workspaces) -> None:
    with pytest.raises(UnavailableError) as caught:
        await workspaces.open(task_id="t1", repo="ssh://git:hunter2@127.0.0.1:9/x.git", base=None)
    assert "hunter2" not in str(caught.value)
    assert "ssh://git@127.0.0.1:9/x.git" in str(caught.value)
