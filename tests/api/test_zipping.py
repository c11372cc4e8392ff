"""Large answers come compressed to who takes that, and are what they are without it."""

from __future__ import annotations

import gzip
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send
from tests.api.conftest import Place

from ezaigent.api.zipping import Zipping, accepts

LARGE = b'{"items":[' + b",".join([b'{"name":"claude-1","status":"idle"}'] * 4000) + b"]}"


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


def over(pieces: list[bytes], *, kind: str = "application/json", **more: str) -> httpx.AsyncClient:
    """A client of an app that answers these pieces."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        size = {} if "without-length" in more else {"content-length": str(sum(map(len, pieces)))}
        named = {"content-type": kind, **size, **more}
        headers: list[tuple[bytes, bytes]] = [(name.encode(), value.encode()) for name, value in named.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for at, piece in enumerate(pieces):
            last: Message = {"type": "http.response.body", "body": piece, "more_body": at + 1 < len(pieces)}
            await send(last)

    transport: Any = httpx.ASGITransport(Zipping(app))
    return httpx.AsyncClient(transport=transport, base_url="http://here", headers={"Accept-Encoding": "gzip"})


async def test_what_is_very_large_comes_whole_too() -> None:
    async with over([LARGE]) as client:
        answer = await client.get("/")
        assert answer.headers["content-encoding"] == "gzip"
        assert answer.content == LARGE
        changed = await client.post("/")
        assert "content-encoding" not in changed.headers, "what is asked for with a secret is left alone"


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "text/event-stream"},
        {"content-encoding": "identity"},
        {"without-length": "1"},
    ],
)
async def test_streams_and_what_is_encoded_already_go_through(given: dict[str, Any]) -> None:
    async with over([LARGE], **given) as client:
        answer = await client.get("/")
        assert answer.headers.get("content-encoding") != "gzip"
        assert answer.content == LARGE


async def test_what_comes_in_pieces_stays_in_pieces() -> None:
    async with over([LARGE[:5000], LARGE[5000:]]) as client:
        answer = await client.get("/")
        assert "content-encoding" not in answer.headers
        assert answer.content == LARGE
