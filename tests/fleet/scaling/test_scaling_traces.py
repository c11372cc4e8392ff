"""Traces from CSV files, and their replay."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fleet.scaling.pools import settings

from ezaigent.core.errors import UsageError
from ezaigent.fleet import Trace, read_trace, replay_trace


def file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_trace_names_arrivals_and_perhaps_services(tmp_path: Path) -> None:
    assert read_trace(file(tmp_path, "arrival,service\n12,3\n10,5\n")) == Trace((0.0, 2.0), (5.0, 3.0))
    dated = "TIMESTAMP,tokens\n2023-11-16 18:15:46.6805900,3\n2023-11-16T18:15:50.6805900,4\n"
    found = read_trace(file(tmp_path, dated), seed=3)
    assert found.arrivals == (0.0, 4.0)
    assert all(0 < seconds <= 14_400 for seconds in found.services)
    assert read_trace(file(tmp_path, dated), seed=3) == found
    assert read_trace(file(tmp_path, dated), seed=4) != found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "has no column of arrivals; name one of them 'arrival'"),
        ("", "has no column of arrivals"),
        ("arrival\n", "holds no task"),
        ("arrival\n1\nsoon\n", "line 3: arrival is 'soon', which is neither seconds nor a date and time"),
        ("arrival\ninf\n", "line 2: arrival is 'inf', which is no time"),
        ("arrival,service\n1,-2\n", "line 2: service is '-2', which is no number of seconds"),
        ("arrival,service\n1\n", "line 2: service is '', which is no number of seconds"),
        ("arrival,service\n1,x\n", "line 2: service is 'x'"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_trace(file(tmp_path, text))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_trace(tmp_path / "none.csv")


def test_a_replay(tmp_path: Path) -> None:
    trace = Trace(tuple(float(second) for second in range(30)), (20.0,) * 30)
    made = replay_trace(trace, 1.0, settings(max=40))
    assert (made.tasks, made.late_share) == (30, 0.0)
