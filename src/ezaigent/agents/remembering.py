"""Models that adapt the tools' schemas to their provider once, not before each request.

An agent offers the same tools at every step, and walking their schemas is a sixth of what a step costs.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, TypeVar, cast

from pydantic_ai.models import Model, ModelRequestParameters

ModelT = TypeVar("ModelT", bound=Model)

_KEPT: Final = 8
"""Sets of tools that one model remembers: all runs offer the same few."""


def remembering(kind: type[ModelT]) -> type[ModelT]:
    """Return a subclass of ``kind`` that returns what it made of equal request parameters before."""
    return cast("type[ModelT]", _subclass(kind))


@cache
def _subclass(kind: type[Any]) -> type[Model]:
    return type(kind.__name__, (_Remembering, kind), {})


class _Remembering(Model):
    _made: tuple[tuple[ModelRequestParameters, ModelRequestParameters], ...] = ()

    def customize_request_parameters(self, model_request_parameters: ModelRequestParameters) -> ModelRequestParameters:
        for given, made in self._made:
            if given == model_request_parameters:
                return made
        made = super().customize_request_parameters(model_request_parameters)
        self._made = ((model_request_parameters, made), *self._made[: _KEPT - 1])
        return made
