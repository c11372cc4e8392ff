"""Which pool gets a task of no profile."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ezaigent.fleet.scaler.sharing import share


def test_idle_agents_first_then_the_most_room() -> None:
    assert share(1, {"a": 0, "b": 1}, {"a": 10, "b": 3}) == {"a": 0, "b": 1}
    assert share(3, {"a": 0, "b": 1}, {"a": 10, "b": 3}) == {"a": 2, "b": 1}
    assert share(2, {"a": 0, "b": 0}, {"a": 5, "b": 5}) == {"a": 1, "b": 1}
    assert share(1, {"a": 0, "b": 0}, {"a": 5, "b": 5}) == {"a": 1, "b": 0}, "the first by name of equals"
    assert share(2, {"a": 0, "b": 0}, {"a": 0, "b": 9}) == {"a": 0, "b": 2}, "nothing to a pool that cannot grow"
    assert share(5, {"a": 0, "b": 0}, {"a": 1, "b": 1}) == {"a": 3, "b": 2}, "beyond all room in turn"
    assert share(5, {}, {}) == {}


@given(st.integers(0, 200), st.dictionaries(st.sampled_from("abcd"), st.tuples(st.integers(0, 9), st.integers(0, 40))))
def test_every_task_goes_somewhere_and_room_is_used_before_it_is_passed(
    tasks: int, pools: dict[str, tuple[int, int]]
) -> None:
    room = {name: idle + more for name, (idle, more) in pools.items()}
    got = share(tasks, {name: idle for name, (idle, _) in pools.items()}, room)
    assert sum(got.values()) == (tasks if pools else 0)
    if tasks <= sum(room.values()):
        assert all(got[name] <= room[name] for name in got)
