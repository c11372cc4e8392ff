"""A script that mends a failing check with whatever tools are offered, as a careful but simple model would."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ezaigent.testing.conversation import Conversation, Reply, Script, ToolCall, Turn
from ezaigent.testing.scripts.failure import check_command, own_path, passed, places, severity, unwrapped
from ezaigent.testing.scripts.guesses import Guess, difference, guesses, is_test
from ezaigent.testing.toolbox import Toolbox

_NUMBERED = re.compile(r"^\s*\d+[\t|:→] ?")


def fix_failing_check(check: str | None = None, *, attempts: int = 25) -> Script:
    """Find out why a check fails and mend it: list, run the check, read what it names, edit, run again, answer.

    The check is ``check``, or the commands that the prompt names (in backticks), or ``python -m pytest -q``. Every
    decision follows from the tools offered and from their real results; after an edit that does not help the edit is
    taken back and the next guess is tried, ``attempts`` at most. Mends what a table of small edits can mend (a swapped
    operator, a wrong constant or name, a missing colon, an unused import); says so where it can't.
    """

    async def script(turn: Turn, conversation: Conversation) -> Reply:
        command = check or check_command(conversation.prompt) or "python -m pytest -q"
        tools = Toolbox(turn.tools)
        state = _State(command=command, attempts=attempts)
        for call, result in conversation.exchanges:
            state.take(tools, call, unwrapped(result.text), failed=result.error)
        if conversation.said_last and conversation.replies:
            # A person or a failed check sent the work back: what was true before must be looked at again.
            state.verdict = None
        return state.act(tools)

    return script


@dataclass
class _State:
    """What the conversation so far has taught."""

    command: str
    attempts: int
    files: dict[str, None] = field(default_factory=dict[str, None])
    listings: int = 0
    """Attempts to list the files, whatever came of them."""
    listed: bool = False
    """Whether one of them told the names, so that ``files`` is complete."""
    sources: dict[str, str] = field(default_factory=dict[str, str])
    unreadable: set[str] = field(default_factory=set[str])
    failing: str = ""
    verdict: bool | None = None
    """Whether the last run of the check passed; None: there was none since the last edit."""
    applied: tuple[str, str, str] | None = None
    """An edit that waits for its verdict, or that has to be taken back: path, text before, text after."""
    tried: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """Texts that files were given."""
    kept: list[str] = field(default_factory=list[str])
    """Files whose edits helped."""

    def take(self, tools: Toolbox, call: ToolCall, result: str, *, failed: bool) -> None:
        """Learn from one call and its result."""
        found = tools.role_of(call)
        if found is None:
            return
        role, arguments = found
        if role == "list" or (role == "shell" and arguments.get("command") == _LIST):
            self.listings += 1
            names = [] if failed else _file_names(result)
            self.listed = self.listed or bool(names)
            self.files |= dict.fromkeys(names)
        elif role == "read":
            self._read(str(arguments.get("path")), result, failed=failed)
        elif role in {"edit", "write"}:
            self._edited(arguments, failed=failed or result.startswith(("Error", "error")))
        elif role == "shell" and arguments.get("command") == self.command:
            self._checked(result)

    def _read(self, path: str, result: str, *, failed: bool) -> None:
        if failed or "not found" in result[:200].lower():
            self.unreadable.add(path)
        else:
            self.files.setdefault(path)
            self.sources[path] = _plain(result)

    def _edited(self, arguments: dict[str, object], *, failed: bool) -> None:
        path = str(arguments.get("path"))
        before = self.sources.get(path, "")
        if "content" in arguments:
            after = str(arguments["content"])
        else:
            after = before.replace(str(arguments.get("old")), str(arguments.get("new")), 1)
        back = self.applied is not None and (path, after) == self.applied[:2]
        if not back:
            self.tried.add((path, after))
        if failed:
            return
        self.sources[path] = after
        self.applied = None if back else (path, before, after)
        self.verdict = False if back else None

    def _checked(self, result: str) -> None:
        self.verdict = passed(result)
        better = severity(result) < severity(self.failing)
        if self.applied is not None and (self.verdict or better):
            self.kept.append(self.applied[0])
            self.applied = None
        if self.applied is None:
            self.failing = result

    def act(self, tools: Toolbox) -> Reply:  # noqa: PLR0911 - one return for each thing to do next
        """Decide what to do next."""
        if self.verdict is None:
            ways = [tools.call("list", path="."), tools.call("shell", command=_LIST)]
            call = next((way for way in ways[self.listings :] if way is not None), None)
            if call is not None and not self.listed:
                return Reply(text="First I look at what is there.", tool_calls=(call,))
            return _do(tools.call("shell", command=self.command), "Now I run the check.")
        if self.verdict:
            return Reply(text=self._summary())
        if self.applied is not None:
            path, before, after = self.applied
            return _do(self._edit(tools, difference(path, after, before)), "That did not help; I take it back.")
        known = self.sources.keys() | self.unreadable
        wanted = [path for path in dict.fromkeys(self._wanted()) if path not in known][:3]
        calls = [call for path in wanted if (call := tools.call("read", path=path)) is not None]
        if calls:
            return Reply(text="The failure points at this; I read it.", tool_calls=tuple(calls))
        found = places(self.failing, self.files)
        if len(self.tried) < self.attempts:
            for guess in guesses(self.failing, found, self.sources):
                if (guess.path, guess.result(self.sources[guess.path])) not in self.tried:
                    return _do(self._edit(tools, guess), f"I change {guess.path}.")
        return Reply(text=f"I could not make `{self.command}` pass; {len(self.tried)} edits were tried and taken back.")

    def _wanted(self) -> Iterator[str]:
        """Yield the files worth reading: those that the failure names, and what they import."""
        for place in places(self.failing, self.files):
            yield place.path
        for match in re.finditer(r"[\w./-]+\.py\b", self.failing):
            path = own_path(match[0], self.files)
            if path is not None:
                yield path
        for path, text in list(self.sources.items()):
            if is_test(path) or path in self.failing:
                yield from self._imports(text)

    def _imports(self, text: str) -> Iterator[str]:
        for match in re.finditer(r"^\s*(?:from|import)\s+([\w.]+)", text, re.MULTILINE):
            tail = match[1].strip(".").replace(".", "/")
            guessed = (f"{tail}.py", f"{tail}/__init__.py")
            for path in self.files if self.listed else guessed:
                if tail and re.search(rf"(^|/){re.escape(tail)}(\.py|/__init__\.py)$", path):
                    yield path

    def _edit(self, tools: Toolbox, guess: Guess) -> ToolCall | None:
        edit = tools.call("edit", path=guess.path, old=guess.old, new=guess.new)
        if edit is not None:
            return edit
        return tools.call("write", path=guess.path, content=guess.result(self.sources[guess.path]))

    def _summary(self) -> str:
        if not self.kept:
            return f"`{self.command}` passes; nothing had to be changed."
        changed = ", ".join(dict.fromkeys(self.kept))
        return f"`{self.command}` passes now. Changed: {changed}."


_LIST = "git ls-files --cached --others --exclude-standard 2>/dev/null || find . -type f -not -path './.git/*'"
"""How files are listed where only a shell is offered, or the tool for it does not work."""


def _do(call: ToolCall | None, text: str) -> Reply:
    if call is None:
        return Reply(text="I can't go on: no tool was offered for the next step.")
    return Reply(text=text, tool_calls=(call,))


def _file_names(listing: str) -> list[str]:
    return [word.removeprefix("./") for word in re.findall(r"[^\s`'\"\[\]()]+\.\w+", listing)]


def _plain(text: str) -> str:
    """Return a file's text from a read tool's result: without a heading and without line numbers."""
    lines = text.splitlines(keepends=True)
    if lines and re.match(r"\[.*\]$|<\w+>$", lines[0].strip()):
        lines = lines[1:]
    if lines and re.match(r"\.\.\. \(|</\w+>$|\[exit code", lines[-1].strip()):
        lines = lines[:-1]
    if lines and all(_NUMBERED.match(line) or not line.strip() for line in lines):
        lines = [_NUMBERED.sub("", line, count=1) for line in lines]
    return "".join(lines)
