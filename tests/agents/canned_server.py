"""A real HTTP server that gives prepared answers, in order, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Answer:
    """One prepared answer; ``cut`` breaks the connection after the headers, ``hang`` never answers."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cut: bool = False
    drop: bool = False
    hang: bool = False


@dataclass
class CannedServer:
    """Answers each request with the next answer; the last one stays."""

    answers: list[Answer] = field(default_factory=list[Answer])
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    paths: list[str] = field(default_factory=list[str])
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        self.requests.append(json.loads(text) if text.startswith("{") else {"text": text})
        self.headers.append(dict(request.headers))
        self.paths.append(request.path)
        self.asked.set()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer.drop:
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        if answer.hang:
            await self.release.wait()
        if answer.cut:
            response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "5000"})
            await response.prepare(request)
            await response.write(b'{"id": "x", ')
            assert request.transport is not None
            request.transport.close()
            return response
        raw = answer.body if isinstance(answer.body, (str, bytes)) else json.dumps(answer.body)
        data = raw.encode() if isinstance(raw, str) else raw
        headers = {"Content-Type": "application/json", **answer.headers}
        return web.Response(status=answer.status, body=data, headers=headers)


@asynccontextmanager
async def canned_server(*answers: Answer) -> AsyncGenerator[CannedServer]:
    """Run a server on a free port of this machine."""
    server = CannedServer(answers=list(answers))
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        server.release.set()
        await runner.cleanup()


def chat(
    text: str = "done", *, model: str = "gpt-6.1-sol", prompt: int = 100, cached: int = 0, output: int = 20
) -> Any:
    """An answer of the Chat Completions API."""
    answer: dict[str, Any] = {
        "id": "c1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": prompt + output,
            "prompt_tokens_details": {"cached_tokens": cached},
            "completion_tokens_details": {"reasoning_tokens": 5},
        },
    }
    return answer


def responses(text: str = "done", *, model: str = "gpt-6.1-sol", prompt: int = 100, output: int = 20) -> Any:
    """An answer of the Responses API."""
    answer: dict[str, Any] = {
        "id": "r1",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": model,
        "status": "completed",
        "output": [
            {
                "type": "message",
                "id": "m1",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": text, "annotations": []}],
            }
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": 3},
            "total_tokens": prompt + output,
        },
    }
    return answer


def anthropic(text: str = "done", *, model: str = "claude-opus-5-5", prompt: int = 100, output: int = 20) -> Any:
    """An answer of the Anthropic Messages API."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": prompt,
            "cache_creation_input_tokens": 300,
            "cache_read_input_tokens": 500,
            "cache_creation": {"ephemeral_5m_input_tokens": 200, "ephemeral_1h_input_tokens": 100},
            "output_tokens": output,
        },
    }


def gemini(text: str = "done", *, model: str = "gemini-4-argon", prompt: int = 100, output: int = 20) -> Any:
    """An answer of the Gemini API."""
    return {
        "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {
            "promptTokenCount": prompt,
            "candidatesTokenCount": output,
            "thoughtsTokenCount": 7,
            "totalTokenCount": prompt + output + 7,
        },
        "modelVersion": model,
        "responseId": "g1",
    }


def mistral(text: str = "done", *, model: str = "mistral-large-4", prompt: int = 100, output: int = 20) -> Any:
    """An answer of the Mistral API."""
    answer = chat(text, model=model, prompt=prompt, output=output)
    answer["usage"] = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
    return answer
