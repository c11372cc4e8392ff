"""The file tools never leave the work tree, whatever a path, a link or a command makes of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import RunContext
from pydantic_ai.exceptions import ModelRetry, ToolFailed
from pydantic_ai.models.test import TestModel
from pydantic_ai.usage import RunUsage
from pydantic_ai_harness.planning import InMemoryPlanStore
from tests.agents.stage import staged

from ezaigent.agents import files
from ezaigent.agents.confined import NotPlainFile, open_for_reading, open_for_writing
from ezaigent.agents.deps import Deps
from ezaigent.agents.files import READ_BYTES, TreeFiles
from ezaigent.testing import ModelServer, ToolCall, from_steps

SECRET = "planted-and-never-to-be-seen"
REFUSALS = (ToolFailed, ModelRetry, PermissionError)


class Place:
    """A work tree beside a folder that must not be touched."""

    def __init__(self, folder: Path) -> None:
        self.outside = folder / "outside"
        self.outside.mkdir()
        (self.outside / "secret.txt").write_text(SECRET)
        self.tree = folder / "tree"
        self.tree.mkdir()
        (self.tree / "plain.txt").write_text("plain\n")
        (self.tree / ".git").write_text(f"gitdir: {SECRET}\n")
        workplace: Any = None  # no tool here runs a command
        deps = Deps(workplace, TreeFiles(self.tree), InMemoryPlanStore(), ())
        self.ctx = RunContext(deps=deps, model=TestModel(), usage=RunUsage())

    async def read(self, path: str) -> str:
        return await files.read_file(self.ctx, path)

    async def every(self, path: str) -> list[str]:
        """Try every tool on ``path``; return what they answered."""
        ctx, said = self.ctx, list[str]()
        for attempt in (
            files.read_file(ctx, path),
            files.write_file(ctx, path, "overwritten"),
            files.edit_file(ctx, path, SECRET, "overwritten"),
            files.list_files(ctx, path),
            files.grep(ctx, ".", path=path),
        ):
            try:
                said.append(await attempt)
            except REFUSALS as error:
                said.append(f"refused: {error}")
        return said

    def untouched(self) -> bool:
        return [one.name for one in self.outside.iterdir()] == ["secret.txt"] and (
            self.outside / "secret.txt"
        ).read_text() == SECRET


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


async def escapes(place: Place, path: str) -> None:
    said = await place.every(path)
    assert not any(SECRET in text for text in said), said
    assert place.untouched()


@pytest.mark.parametrize(
    "path",
    [
        "../outside/secret.txt",
        "a/../../outside/secret.txt",
        "./.././outside/secret.txt",
        "plain.txt/../../outside/secret.txt",
        "{outside}/secret.txt",
        "~/secret.txt",
        "/proc/self/environ",
        "..",
        "../outside/new.txt",
        "x\0y",
        "n" * 5000,
        "",
    ],
    ids=repr,
)
async def test_no_path_leads_out(place: Place, path: str) -> None:
    await escapes(place, path.replace("{outside}", str(place.outside)))


@pytest.mark.parametrize("path", [".git", ".git/config", "sub/.git", "./.git", "sub/../.git"])
async def test_gits_own_files_are_closed(place: Place, path: str) -> None:
    said = await place.every(path)
    assert all(text.startswith("refused") for text in said[:3]), said
    assert (place.tree / ".git").read_text() == f"gitdir: {SECRET}\n"
    assert not (place.tree / "sub").exists()


@pytest.mark.parametrize("kind", ["file", "folder", "dangling", "chain"])
async def test_links_lead_nowhere(place: Place, kind: str) -> None:
    link = place.tree / "link"
    if kind == "file":
        link.symlink_to(place.outside / "secret.txt")
    elif kind == "folder":
        link.symlink_to(place.outside)
        await escapes(place, "link/secret.txt")
        await escapes(place, "link/new/deep.txt")
    elif kind == "dangling":
        link.symlink_to(place.outside / "made.txt")
    else:
        (place.tree / "second").symlink_to("../outside")
        link.symlink_to("second/secret.txt")
    await escapes(place, "link")


async def test_a_hard_link_is_not_written_through(place: Place) -> None:
    os.link(place.outside / "secret.txt", place.tree / "hard.txt")
    for attempt in (
        files.write_file(place.ctx, "hard.txt", "overwritten"),
        files.edit_file(place.ctx, "hard.txt", SECRET, "overwritten"),
    ):
        with pytest.raises(REFUSALS):
            await attempt
    assert place.untouched()


@pytest.mark.parametrize("path", ["pipe", "socket-like/../pipe"])
async def test_a_pipe_keeps_nobody_waiting(place: Place, path: str) -> None:
    os.mkfifo(place.tree / "pipe")
    with pytest.raises(ToolFailed, match="is not a regular file"):
        await place.read(path)
    said = await place.every("pipe")
    assert all(text.startswith("refused") for text in said[:3]), said


async def test_a_huge_sparse_file_is_not_read_into_memory(place: Place) -> None:
    with (place.tree / "huge").open("wb") as huge:
        huge.truncate(50 * 1024**3)
    with pytest.raises(ToolFailed, match=r"53,687,091,200 bytes, more than this tool reads; use shell"):
        await place.read("huge")
    with pytest.raises(ToolFailed, match="more than this tool reads"):
        await files.edit_file(place.ctx, "huge", "a", "b")
    assert READ_BYTES < 50 * 1024**2


async def test_an_unreadable_file_is_refused_in_words(place: Place) -> None:
    place.ctx.deps.files.refuse_unreadable("missing.txt")  # the tool itself says that
    (place.tree / "closed").mkdir()
    place.ctx.deps.files.refuse_unreadable("closed")


async def test_what_is_swapped_between_check_and_use_is_not_followed(place: Place) -> None:
    tree, inside = place.tree, Path("sub/file.txt")
    (tree / "sub").mkdir()
    (tree / inside).write_text("mine")
    checked = place.ctx.deps.files.locate("sub/file.txt")
    assert checked == inside

    (tree / inside).unlink()
    (tree / inside).symlink_to(place.outside / "secret.txt")
    with pytest.raises(NotPlainFile):
        open_for_reading(tree, inside)
    with pytest.raises(NotPlainFile):
        open_for_writing(tree, inside, read_back=False, create=True)

    (tree / inside).unlink()
    (tree / "sub").rmdir()
    (tree / "sub").symlink_to(place.outside)
    for name in ("sub/secret.txt", "sub/new.txt"):
        with pytest.raises(OSError, match=r"regular file|Not a directory"):
            open_for_writing(tree, Path(name), read_back=True, create=True)
    assert place.untouched()


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", ".", "a/../../x"])
def test_only_paths_below_the_root_are_opened(place: Place, path: str) -> None:
    with pytest.raises(NotPlainFile, match="not a file below the root"):
        open_for_reading(place.tree, Path(path))


def test_a_missing_file_is_made_only_when_asked(place: Place) -> None:
    with pytest.raises(FileNotFoundError):
        open_for_writing(place.tree, Path("new.txt"), read_back=False, create=False)
    opened, created = open_for_writing(place.tree, Path("new.txt"), read_back=True, create=True)
    with opened:
        assert created
    opened, created = open_for_writing(place.tree, Path("new.txt"), read_back=False, create=True)
    with opened:
        assert not created
    with pytest.raises(NotPlainFile):
        open_for_reading(place.tree, Path("new.txt/../.."))


async def test_folders_are_made_on_the_way_but_not_through_a_file(place: Place) -> None:
    await files.write_file(place.ctx, "a/b/c.txt", "deep")
    assert (place.tree / "a/b/c.txt").read_text() == "deep"
    with pytest.raises(REFUSALS):
        await files.write_file(place.ctx, "plain.txt/x.txt", "no")
    assert (place.tree / "plain.txt").read_text() == "plain\n"


async def test_a_link_that_a_command_makes_is_not_followed_by_the_next_tool(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text(SECRET)
    script = from_steps(
        [
            ToolCall(
                "shell", {"command": f"ln -s {outside} link; ln -s {tmp_path} up; ln -s /etc/passwd pw; mkfifo p"}
            ),
            (
                ToolCall("read_file", {"path": "link"}),
                ToolCall("read_file", {"path": "up/outside.txt"}),
                ToolCall("read_file", {"path": "pw"}),
                ToolCall("read_file", {"path": "p"}),
                ToolCall("write_file", {"path": "link", "content": "overwritten"}),
                ToolCall("write_file", {"path": "up/made.txt", "content": "made"}),
                ToolCall("grep", {"pattern": "planted", "path": "up"}),
                ToolCall("shell", {"command": "rm -f link up pw p"}),
            ),
            "Done.",
        ]
    )
    async with ModelServer(script) as server, staged(tmp_path / "home", server=server) as stage:
        await stage.run(await stage.claim())
        texts = [result.text for message in server.turns[-1].messages for result in message.results]
        assert len(texts) == 9
        assert not any(SECRET in text or "root:" in text for text in texts)
    assert outside.read_text() == SECRET
    assert not (tmp_path / "made.txt").exists()
