"""What is written beneath a field is part of its schema."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from ezaigent.core.described import described, meanings

T = TypeVar("T")


class Above(BaseModel):
    model_config = ConfigDict(frozen=True, json_schema_extra=described)

    kept: int = 0
    """Told by the class above.

    In two lines.
    """
    changed: int = 0
    """The old meaning."""
    silent: int = 0


class Below(Above, Generic[T]):
    changed: int = 1
    """The new meaning."""
    given: int = Field(0, description="Told with the field.")
    """Told beneath it, too."""
    thing: T


def test_the_text_beneath_a_field_is_its_description_also_in_classes_below() -> None:
    for model in (Below, Below[int]):
        fields = model.model_json_schema()["properties"]
        assert {name: field.get("description") for name, field in fields.items()} == {
            "kept": "Told by the class above.\n\nIn two lines.",
            "changed": "The new meaning.",
            "silent": None,
            "given": "Told with the field.",
            "thing": None,
        }


def test_a_model_without_a_source_has_no_texts() -> None:
    made: dict[str, type[BaseModel]] = {}
    exec("class Typed(Above):\n    new: int = 0\n    '''Lost.'''", {"Above": Above, "__name__": "typed"}, made)  # noqa: S102
    assert set(meanings(made["Typed"])) == {"kept", "changed"}
