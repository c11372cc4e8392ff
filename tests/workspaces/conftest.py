"""Fixtures for the room: real repositories of every odd shape, and workspaces on top of them."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ezaigent.core.settings import SandboxSettings, WorkspaceSettings
from ezaigent.workspaces import Sandbox, Workspaces, detect


class Source:
    """A person's repository, driven by plain git as that person would."""

    def __init__(self, path: Path, *init: str) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main", *init)

    def git(self, *words: str | bytes, check: bool = True, data: bytes | None = None) -> str:
        env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        env |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        flags = ("-c", "user.name=A Person", "-c", "user.email=person@example.invalid", "-c", "safe.directory=*")
        done = subprocess.run(
            ["git", *flags, *words], cwd=self.path, env=env, input=data, capture_output=True, check=False
        )
        if check and done.returncode != 0:
            raise AssertionError(f"git {words}: {done.stderr.decode()}")
        return done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def commit(self, files: dict[str, str | bytes] | None = None, message: str = "Work") -> str:
        for name, text in (files or {}).items():
            self.write(name, text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.tip()

    def tip(self, ref: str = "HEAD") -> str:
        return self.git("rev-parse", "--verify", f"{ref}^{{commit}}")

    def show(self, name: str, ref: str = "HEAD") -> str:
        return self.git("show", f"{ref}:{name}")

    def tree(self, ref: str) -> list[str]:
        """Names of all files of a commit."""
        return [name for name in self.git("ls-tree", "-r", "-z", "--name-only", ref).split("\0") if name]

    def state(self) -> dict[str, object]:
        """Everything of the person's that must not change: branches, checkout, index, stash, files."""
        refs = self.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return {
            "refs": [ref for ref in refs if "refs/heads/ezaigent/" not in ref],
            "head": (self.path / ".git" / "HEAD").read_text(),
            "index": (self.path / ".git" / "index").read_bytes(),
            "config": (self.path / ".git" / "config").read_bytes(),
            "files": {
                str(path.relative_to(self.path)): path.read_bytes()
                for path in self.path.rglob("*")
                if path.is_file() and ".git" not in path.relative_to(self.path).parts
            },
        }


@pytest.fixture
def make_source(tmp_path: Path) -> Callable[..., Source]:
    """Make a person's repository with one commit."""

    def make(name: str = "project", *init: str, files: dict[str, str | bytes] | None = None) -> Source:
        source = Source(tmp_path / name, *init)
        source.commit({"README.md": "# Project\n", "src/app.py": "x = 1\n"} if files is None else files)
        return source

    return make


@pytest.fixture
def source(make_source: Callable[..., Source]) -> Source:
    """A person's repository: README.md and src/app.py on main."""
    return make_source()


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    """The strongest sandbox of this machine."""
    return asyncio.run(detect(SandboxSettings(timeout=60)))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def workspaces(home: Path, sandbox: Sandbox) -> Workspaces:
    return Workspaces(home, WorkspaceSettings(), sandbox)


class Canary:
    """A file that only hostile code would make."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.command = f"touch '{path}'"

    def script(self, path: Path) -> Path:
        """Write a program that makes the file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{self.command}\nexec cat\n")
        path.chmod(0o755)
        return path

    @property
    def sang(self) -> bool:
        return self.path.exists()


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    return Canary(tmp_path / "canary-was-here")
