"""The lean client sends what the SDK's own client sends."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import pytest
from openai import AsyncOpenAI
from pydantic_ai.exceptions import UnexpectedModelBehavior
from pydantic_ai.messages import (
    BinaryContent,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition
from tests.agents.canned_server import Answer, canned_server, chat, responses

from ezaigent.agents.lean_openai import LeanOpenAI

PNG = BinaryContent(b"\x89PNG\r\n", media_type="image/png")
HISTORY: list[ModelMessage] = [
    ModelRequest(
        parts=[
            SystemPromptPart("be exact"),
            UserPromptPart(content=["look", ImageUrl("https://example.com/a.png"), PNG]),
        ],
        instructions="be brief",
    ),
    ModelResponse(
        parts=[
            ThinkingPart("hm", id="rs_1", signature="sealed", provider_name="openai"),
            TextPart("reading"),
            ToolCallPart(tool_name="read", args={"path": "ä/b"}, tool_call_id="call_1"),
            ToolCallPart(tool_name="read", args='{"path": "c"}', tool_call_id="call_2"),
        ],
        provider_name="openai",
        model_name="gpt-6.1-sol",
    ),
    ModelRequest(
        parts=[
            ToolReturnPart(tool_name="read", content="x" * 50, tool_call_id="call_1"),
            ToolReturnPart(tool_name="read", content={"lines": [1, None, 2.5, True]}, tool_call_id="call_2"),
        ]
    ),
]
PARAMETERS = ModelRequestParameters(
    function_tools=[
        ToolDefinition(
            name=name,
            description="Read a file.",
            parameters_json_schema={
                "type": "object",
                "properties": {"path": {"type": "string"}, "lines": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
                "required": ["path"],
            },
        )
        for name in ("read", "list")
    ],
    output_mode="native",
    output_object=OutputObjectDefinition(name="end", json_schema={"type": "object", "properties": {}}),
)
SETTINGS = [
    ModelSettings(max_tokens=99),
    ModelSettings(max_tokens=99, parallel_tool_calls=False, extra_body={"top_k": 4, "metadata": {"a": "b"}}),
    ModelSettings(max_tokens=99, tool_choice="required", extra_headers={"x-trace": "1"}),
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(("kind", "body"), [(OpenAIChatModel, chat()), (OpenAIResponsesModel, responses())])
async def test_both_clients_send_the_same(kind: type[Model], body: Any, settings: ModelSettings) -> None:
    async with canned_server(Answer(body=body)) as server:
        for client_type in (AsyncOpenAI, LeanOpenAI):
            async with client_type(api_key="k", base_url=server.url + "/v1", max_retries=0) as client:
                make: Any = kind
                model: Model = make("gpt-6.1-sol", provider=OpenAIProvider(openai_client=client))
                for parameters in (PARAMETERS, replace(PARAMETERS, output_mode="text", output_object=None)):
                    answer = await model.request(HISTORY, settings, parameters)
                    assert answer.text == "done"
                with contextlib.suppress(UnexpectedModelBehavior):
                    async with model.request_stream(HISTORY, settings, PARAMETERS):
                        pass
    plain, lean = server.requests[:3], server.requests[3:]
    assert lean == plain
    assert "ä/b" in str(lean[0])


async def test_an_answer_that_is_not_as_the_type_says_is_read_alike() -> None:
    odd = chat()
    odd["created"] = None
    odd["choices"][0]["finish_reason"] = ""
    odd["mine"] = {"kept": [1]}
    async with canned_server(Answer(body=odd)) as server:
        found: list[Any] = []
        for client_type in (AsyncOpenAI, LeanOpenAI):
            async with client_type(api_key="k", base_url=server.url + "/v1", max_retries=0) as client:
                answer = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}])
                found.append(answer.model_dump(warnings=False))
    assert found[0] == found[1]
    assert found[0]["mine"] == {"kept": [1]}
