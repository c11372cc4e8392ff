"""Lines that are made to keep a matcher busy come to an end, and to nothing destructive."""

from __future__ import annotations

import pytest
from tests.chat.phrasings import KNOWN

from ezaigent.chat import destructive, understand

UNITS = (
    "a ", "show ", "the all ", "please ", "how much ", "tell claude-1, ", "gpt-1 and ", "all of ", "except ", ", ", "?",
    "a, ", " .", "we need ", "a@", "c.", "a/", "x", "1", "in ~/a ", "\u2019", "leave keep ", "do not ", "#", "```\n",
)  # fmt: skip
FRAMES = ("{}", "pause {}", "fix {} in ~/shop", "tell {}: {}", "@{}", "/{}", "/task {}", "{} please fix it", "clear {}")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("frame", FRAMES)
def test_long_lines_come_to_an_end(frame: str) -> None:
    for unit in UNITS:
        for length in (200, 20_000):
            line = frame.replace("{}", unit * (length // len(unit)))[:20_000]
            command = understand(line, KNOWN).command
            if command is not None and destructive(command):
                assert command.kind == "pause", line[:80]
                assert set(command.model_dump()["targets"]) <= {"*", "gpt-1"}, line[:80]
