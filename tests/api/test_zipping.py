"""Large answers come compressed to who takes that, and are what they are without it."""

from __future__ import annotations

import gzip

import pytest
from tests.api.conftest import Place

from ezaigent.api.dashboard import accepts


@pytest.mark.parametrize(
    ("takes", "taken"),
    [
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("br,gzip", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("br", False),
        ("x-gzip", False),
        ("", False),
    ],
)
def test_a_coding_is_taken_by_name_unless_refused(takes: str, *, taken: bool) -> None:
    assert accepts(takes, "gzip") is taken


def test_a_large_list_is_compressed_and_a_small_answer_is_not(place: Place) -> None:
    with place.client() as client:
        with client.stream("GET", "/openapi.json", headers={"Accept-Encoding": "gzip"}) as answer:
            assert answer.headers["content-encoding"] == "gzip"
            assert answer.headers["vary"] == "Accept-Encoding"
            raw = b"".join(answer.iter_raw())
        assert int(answer.headers["content-length"]) == len(raw)
        plain = client.get("/openapi.json", headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert gzip.decompress(raw) == plain.content
        assert len(raw) < len(plain.content) / 4
        assert "content-encoding" not in client.get("/healthz", headers={"Accept-Encoding": "gzip"}).headers


def test_events_are_not_held_back_to_be_compressed(place: Place) -> None:
    with (
        place.client() as client,
        client.stream("GET", "/api/v1/events", headers={"Accept-Encoding": "gzip"}) as answer,
    ):
        assert "content-encoding" not in answer.headers
        assert next(answer.iter_lines())
