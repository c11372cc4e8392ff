from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ezaigent.workspaces.sandbox.output import FLOOD, BoundedOutput


def test_short_output_is_kept_whole() -> None:
    output = BoundedOutput(100)
    output.feed(b"one ")
    output.feed(b"two")
    assert output.text() == "one two"
    assert output.dropped == 0


def test_long_output_keeps_its_beginning_and_its_end_and_says_how_much_is_missing() -> None:
    output = BoundedOutput(10)
    output.feed(b"begin" + b"-" * 1000)
    output.feed(b"the end")
    assert output.text() == "begin\n[... 1002 bytes of output dropped ...]\ne end"


@given(limit=st.integers(0, 40), chunks=st.lists(st.binary(max_size=60)))
def test_what_is_kept_is_exactly_the_ends(limit: int, chunks: list[bytes]) -> None:
    output = BoundedOutput(limit)
    for chunk in chunks:
        output.feed(chunk)
    whole = b"".join(chunks)
    kept = whole if len(whole) <= limit else whole[: (limit + 1) // 2] + whole[len(whole) - limit // 2 :]
    assert output.dropped == len(whole) - len(kept)
    if not output.dropped:
        assert output.text() == whole.decode("utf-8", "replace")
    else:
        assert output.text().startswith(whole[: (limit + 1) // 2].decode("utf-8", "replace") + "\n[...")
        assert output.text().endswith(" dropped ...]\n" + whole[len(whole) - limit // 2 :].decode("utf-8", "replace"))


def test_invalid_utf8_is_replaced_and_cut_characters_are_joined() -> None:
    told: list[str] = []
    output = BoundedOutput(100, told.append)
    for byte in "a\u00e9\u20ac".encode() + b"\xff\xe2\x82":
        output.feed(bytes([byte]))
    output.close()
    assert "".join(told) == output.text() == "a\u00e9\u20ac\ufffd\ufffd"


def test_endless_output_is_a_flood_but_a_talkative_build_is_not() -> None:
    output = BoundedOutput(10)
    output.feed(b"x" * 10 * FLOOD)
    assert not output.flooded
    output.feed(b"x")
    assert output.flooded


def test_memory_stays_bounded_with_many_small_chunks() -> None:
    output = BoundedOutput(1000)
    for _ in range(50_000):
        output.feed(b"ab")
    assert output.dropped == 99_000
    assert sum(map(len, output._tail)) <= 502  # pyright: ignore[reportPrivateUsage]
