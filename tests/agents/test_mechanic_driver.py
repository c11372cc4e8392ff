"""A plain local driver: real agent loop, real files, real commands, a real git repository; no sandbox, no fleet."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelRetry
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart

from ezaigent.agents.mechanic import MechanicModel, programs

_PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"


@dataclass
class Bench:
    """A repository on which the mechanic works for real."""

    root: Path
    messages: list[ModelMessage] = field(default_factory=list[ModelMessage])
    commands: list[str] = field(default_factory=list[str])

    @classmethod
    def of(cls, root: Path, files: dict[str, str]) -> Bench:
        """Make a repository with these files in one commit."""
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(text.encode())
        bench = cls(root)
        bench.git("init", "-q", "-b", "main")
        # What the product keeps out of every change, too.
        (root / ".git/info/exclude").write_text("__pycache__/\n.pytest_cache/\n.ruff_cache/\n")
        bench.git("add", "-A")
        bench.git("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "start")
        return bench

    def git(self, *words: str) -> str:
        """Run git and return what it prints."""
        env = {"PATH": _PATH, "HOME": str(self.root), "GIT_CONFIG_NOSYSTEM": "1"}
        return subprocess.run(
            ["git", *words], cwd=self.root, env=env, check=True, capture_output=True, text=True
        ).stdout

    def shell(self, command: str, timeout: float = 60.0) -> str:
        """Run a command as the loop's tool does."""
        self.commands.append(command)
        if command.startswith("python3 -I - <<'EZAIGENT_PROGRAM'"):
            return self._in_process(command)
        env = {"PATH": _PATH, "LANG": "C.UTF-8"}
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.root,
            env=env,
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        return f"exit code: {done.returncode}\n{done.stdout}{done.stderr}"

    def _in_process(self, command: str) -> str:
        """Run a recipe's program as the modules that it is made of, so that what it does is measured.

        As the one text that the sandbox gets, it runs in the demo's tests and in ``test_programs_run_as_one_text``.
        """
        arguments = ast.literal_eval(command.splitlines()[-2].removeprefix("main(").removesuffix(")"))
        folder = Path(programs.__file__).parent
        texts = {
            path.stem: path.read_text().splitlines()[-3:] for path in folder.glob("*.py") if path.stem != "__init__"
        }
        last = max(texts, key=lambda name: command.rfind("\n".join(texts[name])))
        printed = io.StringIO()
        code: object = 0
        with contextlib.chdir(self.root), contextlib.redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", _PATH)
            try:
                importlib.import_module(f"ezaigent.agents.mechanic.programs.{last}").main(arguments)
            except SystemExit as stop:
                code = stop.code or 0
        return f"exit code: {code}\n{printed.getvalue()}"

    def edit_file(self, path: str, old_text: str, new_text: str) -> str:
        """Replace a text that stands once in a file."""
        file = self.root / path
        text = file.read_bytes().decode()
        if text.count(old_text) != 1:
            raise ModelRetry(f"old_text found {text.count(old_text)} times in {path}")
        file.write_bytes(text.replace(old_text, new_text).encode())
        return f"Edited {path}."

    async def ask(self, prompt: str, *, checks: tuple[str, ...] = (), scope: tuple[str, ...] = ()) -> str:
        """Let the mechanic work a prompt to its end, in the same conversation as before."""
        instructions = "You work in a repository.\n"
        for title, lines in (("Checks", checks), ("Scope", scope)):
            instructions += f"\n{title}:\n" + "".join(f"- {line}\n" for line in lines) if lines else ""
        agent = Agent(MechanicModel(), instructions=instructions, tools=[self.shell, self.edit_file])
        done = await agent.run(prompt, message_history=self.messages)
        self.messages = done.all_messages()
        return done.output

    @property
    def changed(self) -> dict[str, str]:
        """Return every changed or new file with its text."""
        out = self.git("status", "--porcelain", "-uall").splitlines()
        paths = [line[3:].strip('"') for line in out]
        return {path: (self.root / path).read_bytes().decode() if (self.root / path).exists() else "" for path in paths}

    def calls(self) -> list[str]:
        """Return the names of the tools called, in order."""
        return [
            part.tool_name
            for message in self.messages
            if isinstance(message, ModelResponse)
            for part in message.parts
            if isinstance(part, ToolCallPart)
        ]


def closing_words(messages: list[ModelMessage]) -> str:
    """Return the text of the last response."""
    last = messages[-1]
    assert isinstance(last, ModelResponse)
    return "".join(part.content for part in last.parts if isinstance(part, TextPart))


async def test_driver_runs_commands_in_the_repository(tmp_path: Path) -> None:
    bench = Bench.of(tmp_path, {"a.py": "import os\n"})
    words = await bench.ask("Remove unused imports")
    assert bench.changed == {"a.py": ""}
    assert words == closing_words(bench.messages)
    assert bench.calls() == ["shell"]
    assert bench.git("status", "--porcelain", "--ignored") == " M a.py\n"


async def test_driver_hands_a_failed_edit_back(tmp_path: Path) -> None:
    bench = Bench.of(tmp_path, {"a.py": "x = 1\nx = 1\n"})
    with pytest.raises(ModelRetry, match="2 times"):
        bench.edit_file("a.py", "x = 1", "x = 2")
