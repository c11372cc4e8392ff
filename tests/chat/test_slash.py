"""The slash grammar: exact, and a wrong line says what would be right."""

from __future__ import annotations

import pytest
from tests.chat.phrasings import KNOWN

from ezaigent.chat import command_type
from ezaigent.chat.commands import Command, Cost, ListTasks, Pause, Resume, Scale, ShowTask, Submit, Tell, harmless
from ezaigent.chat.slash import GRAMMAR, Usage, parse_slash
from ezaigent.core.errors import UsageError


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("/pause", Pause()),
        ("/PAUSE gpt", Pause(targets=("gpt",))),
        ("/pause all except claude-1, gpt", Pause(excepted=("claude-1", "gpt"))),
        ("/resume gpt-1", Resume(targets=("gpt-1",))),
        ("/scale gpt 0", Scale(pool="gpt", to=0)),
        ("/scale gpt -2", Scale(pool="gpt", by=-2)),
        ("/cost month", Cost(period="month")),
        ("/tasks failed, blocked", ListTasks(states=("failed", "blocked"))),
        ("/task 1m7k3x9q", ShowTask(task="1m7k3x9q")),
        ("/tell all: stop shouting", Tell(targets=("*",), text="stop shouting")),
        (
            '/task don\'t "quote" me --repo=~/shop --priority high',
            Submit(prompt='don\'t "quote" me', repo="~/shop", priority="high"),
        ),
        ('/task go --repo "/tmp/my shop"', Submit(prompt="go", repo="/tmp/my shop")),
    ],
)
def test_lines_that_are_commands(line: str, command: Command) -> None:
    assert parse_slash(line, KNOWN) == command


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("/nothing", "there are: /status /queue"),
        ("/status now", "write: /status"),
        ("/scale gpt many", "write: /scale"),
        ("/scale bob 2", "no profile 'bob'"),
        ("/cancel", "write: /cancel ID"),
        ("/cancel all", "write: /cancel ID"),
        ("/task", "write: /task"),
        ("/task go --profile bob", "no profile 'bob'"),
        ("/task go --priority soon", "write: /task"),
        ("/tasks lost", "write: /tasks"),
        ("/tell", "write: /tell"),
        ("/cost yesterday", "write: /cost"),
        ("/pause cluade-1", "write: /pause"),
        ("/pause bob", "no agent or profile 'bob'"),
    ],
)
def test_lines_that_are_not_say_what_would_be(line: str, error: str) -> None:
    with pytest.raises(UsageError, match=error.replace("[", r"\[")):
        parse_slash(line, KNOWN)


@pytest.mark.parametrize("usage", [usage for usage in GRAMMAR if usage.name not in {"task", "tell"}])
def test_every_command_of_the_grammar_shows_its_form(usage: Usage) -> None:
    with pytest.raises(UsageError, match=f"write: /{usage.name}|no agent or profile"):
        parse_slash(f"/{usage.name} \x01 \x01", KNOWN)


def test_commands_are_written_and_read_back() -> None:
    pause = Pause(targets=("gpt",), excepted=("gpt-2",))
    assert command_type.validate_json(command_type.dump_json(pause)) == pause
    assert not harmless(pause)
