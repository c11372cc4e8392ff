"""The bound on a prompt's tokens is never below one token a byte of what is new."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from pydantic_ai.messages import (
    BinaryContent,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RequestUsage

from ezaigent.agents.prompt_bound import PREAMBLE, WINDOW, PromptMeasure

NO_TOOLS = ModelRequestParameters()
TOOLS = ModelRequestParameters(
    function_tools=[
        ToolDefinition(
            name="read",
            description="Read a file. " * 50,
            parameters_json_schema={
                "type": "object",
                "properties": {"path": {"type": "string", "description": "p" * 900}},
            },
        )
    ],
    output_object=OutputObjectDefinition(json_schema={"type": "object", "title": "T" * 300}),
)


def user(text: str, *, instructions: str | None = None) -> ModelRequest:
    return ModelRequest.user_text_prompt(text, instructions=instructions)


def answer(text: str, *, output_tokens: int = 0) -> ModelResponse:
    return ModelResponse(parts=[TextPart(text)], usage=RequestUsage(output_tokens=output_tokens))


@given(st.text(max_size=2_000), st.text(max_size=2_000), st.text(max_size=2_000))
def test_a_first_prompt_has_no_more_tokens_than_bytes(one: str, two: str, standing: str) -> None:
    messages: list[ModelMessage] = [user(one), answer(two), user(one + two, instructions=standing)]
    text = one + two + one + two + standing
    bound = PromptMeasure().bound("m:x", messages, TOOLS, window=None)
    assert bound.tokens >= len(text.encode()) + 900 + 300 + PREAMBLE
    assert not bound.media


@given(st.text(max_size=500), st.text(max_size=500), st.integers(1, 10_000), st.integers(0, 10_000))
def test_a_known_prompt_counts_as_the_provider_said_and_the_rest_by_bytes(
    one: str, two: str, counted: int, produced: int
) -> None:
    measure = PromptMeasure()
    first: list[ModelMessage] = [user("x" * 50_000)]
    measure.bound("m:x", first, TOOLS, window=None)
    measure.answered("m:x", first, TOOLS, counted)
    longer = [*first, answer(one, output_tokens=produced), user(two)]
    bound = measure.bound("m:x", longer, TOOLS, window=None)
    assert bound.tokens >= counted + max(len(one.encode()), produced) + len(two.encode())
    assert bound.tokens < counted + produced + 6 * (len(one.encode()) + len(two.encode())) + 5_000


def test_another_model_another_history_or_other_tools_are_counted_anew() -> None:
    first: list[ModelMessage] = [user("x" * 50_000)]
    changed: list[ModelMessage] = [user("y" + "x" * 49_999), answer("z"), user("w")]
    measure = PromptMeasure()
    measure.answered("m:x", first, NO_TOOLS, 10)
    same = [*first, answer("z"), user("w")]
    assert measure.bound("m:x", same, NO_TOOLS, window=None).tokens < 10_000
    copied = [replace(first[0]), *same[1:]]
    assert measure.bound("m:x", copied, NO_TOOLS, window=None).tokens < 10_000
    assert measure.bound("m:y", same, NO_TOOLS, window=None).tokens > 50_000
    assert measure.bound("m:x", changed, NO_TOOLS, window=None).tokens > 50_000
    assert measure.bound("m:x", [], NO_TOOLS, window=None).tokens == PREAMBLE
    with_tools = measure.bound("m:x", same, TOOLS, window=None).tokens
    assert with_tools >= measure.bound("m:x", same, NO_TOOLS, window=None).tokens + 1_200
    measure.answered("m:x", same, NO_TOOLS, 0)  # a provider that counts nothing teaches nothing
    assert measure.bound("m:x", same, NO_TOOLS, window=None).tokens < 10_000


def test_no_prompt_is_larger_than_the_window() -> None:
    assert PromptMeasure().bound("m:x", [user("x" * 50_000)], NO_TOOLS, window=8_192).tokens == 8_192


def test_pictures_and_files_may_fill_the_window() -> None:
    picture = BinaryContent(b"x" * 10, media_type="image/png")
    for request in (
        ModelRequest(parts=[UserPromptPart(content=["look", ImageUrl("https://example.com/a.png")])]),
        ModelRequest(parts=[ToolReturnPart(tool_name="see", content=picture, tool_call_id="1")]),
    ):
        messages: list[ModelMessage] = [request]
        assert PromptMeasure().bound("m:x", messages, NO_TOOLS, window=None) == (WINDOW, True)
        assert PromptMeasure().bound("m:x", messages, NO_TOOLS, window=9).tokens == 9


def test_tool_calls_and_results_count_with_their_text() -> None:
    messages: list[ModelMessage] = [
        user("go"),
        ModelResponse(parts=[ToolCallPart(tool_name="read", args={"path": "p" * 1_000}, tool_call_id="1")]),
        ModelRequest(parts=[ToolReturnPart(tool_name="read", content="c" * 4_000, tool_call_id="1")]),
    ]
    assert PromptMeasure().bound("m:x", messages, NO_TOOLS, window=None).tokens >= 5_000
