"""Look into tasks that nobody works, change them, and send them back."""

from __future__ import annotations

from pathlib import Path

from tests.cli.terminal import Terminal


def submitted(ezaigent: Terminal, repo: Path, prompt: str) -> str:
    task: str = ezaigent("submit", prompt, "--repo", str(repo), "--json").json["id"]
    return task


def test_a_task_is_changed_and_several_are_sent_back(ezaigent: Terminal, repo: Path) -> None:
    one, other = submitted(ezaigent, repo, "do one"), submitted(ezaigent, repo, "do another")
    for task in (one, other):
        ezaigent("tasks", "cancel", task)
    words = ("--prompt", "do it well", "--profile", "gpt", "--priority", "high", "--budget", "2.5", "--check", "true")
    said = ezaigent("tasks", "edit", one, *words, "--scope", "src/**", "--json")
    assert said.code == 0, said.err
    shown = said.json
    assert (shown["prompt"], shown["profile"], shown["priority"], shown["budget_usd"]) == (
        "do it well",
        "gpt",
        "high",
        2.5,
    )
    assert "tasks retry" in ezaigent("tasks", "edit", one, "--profile", "any").out
    assert ezaigent("tasks", "show", one, "--json").json["profile"] is None

    both = ezaigent("tasks", "retry", one, other, "--json")
    assert [task["state"] for task in both.json["items"]] == ["queued", "queued"]
    again = ezaigent("tasks", "retry", one, "nothing")
    assert (again.code, again.err.count("error:")) == (2, 2)
    assert ezaigent("tasks", "list", "--state", "queued", "--json").json["items"]
    assert ezaigent("tasks", "show", one, "--json").json["runs"] == []


def test_what_cannot_be_changed_is_told_in_one_line(ezaigent: Terminal, repo: Path) -> None:
    task = submitted(ezaigent, repo, "do it")
    for words, told in (
        ((), "nothing to change"),
        (("--profile", "cloud"), "no profile 'cloud'"),
        (("--prompt", " "), "the prompt is empty"),
    ):
        said = ezaigent("tasks", "edit", task, *words)
        assert (said.code, told in said.err, said.err.count("\n")) == (2, True, 1)


def test_a_pool_without_agents_is_paused_for_those_that_will_come(ezaigent: Terminal) -> None:
    said = ezaigent("agents", "pause", "mechanic")
    assert said.out.strip() == "mechanic (no agents now): paused"
    assert ezaigent("agents", "list", "--json").json["pauses"] == {"mechanic": True}
    ezaigent("agents", "resume", "all")
    assert ezaigent("agents", "list", "--json").json["pauses"] == {}
