from __future__ import annotations

from dataclasses import replace

from openai import AsyncOpenAI
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.tools import ToolDefinition

from ezaigent.agents.remembering import remembering


def _model(*, remember: bool) -> OpenAIChatModel:
    kind = remembering(OpenAIChatModel) if remember else OpenAIChatModel
    return kind("gpt-5.2", provider=OpenAIProvider(openai_client=AsyncOpenAI(api_key="none")))


def _offer(*names: str) -> ModelRequestParameters:
    schema = {"type": "object", "properties": {"path": {"type": "string", "title": "Path"}}, "required": ["path"]}
    tools = [ToolDefinition(name=name, description=f"The {name}.", parameters_json_schema=schema) for name in names]
    return ModelRequestParameters(function_tools=tools)


def test_equal_tools_are_adapted_once_and_as_the_plain_model_does() -> None:
    model, plain = _model(remember=True), _model(remember=False)
    first = model.customize_request_parameters(_offer("read", "write"))
    assert first == plain.customize_request_parameters(_offer("read", "write"))
    assert first != _offer("read", "write"), "the provider asks for changes, or this test shows nothing"
    assert model.customize_request_parameters(_offer("read", "write")) is first


def test_other_tools_are_adapted_anew() -> None:
    model, plain = _model(remember=True), _model(remember=False)
    for number in range(20):
        offer = _offer("read", f"write_{number}")
        assert model.customize_request_parameters(offer) == plain.customize_request_parameters(offer)
    changed = replace(_offer("read"), allow_text_output=False)
    assert model.customize_request_parameters(changed).allow_text_output is False
    assert model.customize_request_parameters(_offer("read")).allow_text_output is True


def test_the_subclass_is_made_once() -> None:
    assert remembering(OpenAIChatModel) is remembering(OpenAIChatModel)
    assert isinstance(_model(remember=True), OpenAIChatModel)
