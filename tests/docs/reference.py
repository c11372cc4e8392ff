"""Write the reference pages from the code: ``python tests/docs/reference.py``. A test compares them."""

from __future__ import annotations

import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from ezaigent.core.described import meanings
from ezaigent.core.events import KINDS
from ezaigent.core.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


def _kind(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kind(get_args(annotation)[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(part) for part in get_args(annotation) if part is not type(None))
    if origin is list:
        return f"list of {_kind(get_args(annotation)[0])}"
    if origin is dict:
        return f"table of {_kind(get_args(annotation)[1])}"
    names = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "SecretStr": "secret"}
    name = str(annotation.__name__)
    return names.get(name, name.lower())


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if field.is_required():
        return "your user data folder" if field.annotation is Path else "needed"
    if value is None or value in ({}, []):
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _meaning(model: type[BaseModel], name: str) -> str:
    return " ".join((model.model_fields[name].description or meanings(model).get(name, "")).split())


def _rows(model: type[BaseModel]) -> list[str]:
    rows = ["| field | kind | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if _section(field.annotation) is None and _entry(field.annotation) is None:
            rows.append(f"| `{name}` | {_kind(field.annotation)} | {_default(field)} | {_meaning(model, name)} |")
    return rows


def _section(annotation: Any) -> type[BaseModel] | None:
    if get_origin(annotation) is dict:
        annotation = get_args(annotation)[1]
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _entry(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a list's entries."""
    return _section(get_args(annotation)[0]) if get_origin(annotation) is list else None


def _described(title: str, meaning: str, model: type[BaseModel]) -> list[str]:
    lines = ["", f"## `{title}`", "", meaning, "", *_rows(model)]
    for name, inner in model.model_fields.items():
        if (entry := _entry(inner.annotation)) is not None:
            lines += _described(f"[{title.removesuffix(']')}.{name}]]", _meaning(model, name), entry)
        elif (entry := _section(inner.annotation)) is not None:
            below = f"{title.removesuffix(']')}.{name}.<name>]"
            lines += _repeated(below, _meaning(model, name), entry, model, title)
    return lines


def _repeated(title: str, meaning: str, entry: type[BaseModel], whole: type[BaseModel], above: str) -> list[str]:
    """Describe a section whose fields are those of the one above, but for some."""
    assert entry.model_fields.keys() <= whole.model_fields.keys(), title
    left_out = " and ".join(f"`{name}`" for name in whole.model_fields if name not in entry.model_fields)
    same = f"The fields are those of `{above}` but {left_out}; what is left out is taken from there."
    return ["", f"## `{title}`", "", f"{meaning} {same}"]


def settings_page() -> str:
    """Return docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Read, later ones winning, from `ezaigent.toml` (in the current folder, or your user configuration folder, or",
        "named by `--config` or `EZAIGENT_CONFIG`), from variables `EZAIGENT_<FIELD>` with `__` between section and",
        "field (`EZAIGENT_QUEUE__LEASE=60`, `EZAIGENT_PROVIDERS__OPENAI__BASE_URL=…`), and from the command line.",
        "An unknown or wrong entry is refused with one line that names it; an empty variable counts as not set.",
        "Durations are seconds, sizes bytes, money USD.",
        "",
        "Keys are usually given by the providers' own variables: `ANTHROPIC_API_KEY`, `OPENAI_API_KEY`,",
        "`DEEPSEEK_API_KEY`, `MISTRAL_API_KEY`, `GEMINI_API_KEY`. They never enter a sandbox, a log or an event.",
        "",
        "This page is written from the code by `python tests/docs/reference.py`.",
        "",
        "## Top level",
        "",
        *_rows(Settings),
    ]
    for name, field in Settings.model_fields.items():
        model = _section(field.annotation)
        if model is None:
            continue
        title = f"[{name}.<name>]" if get_origin(field.annotation) is dict else f"[{name}]"
        lines += _described(title, _meaning(Settings, name), model)
    return "\n".join(lines) + "\n"


def events_page() -> str:
    """Return docs/events.md."""
    rows = [f"| `{kind}` | {meaning} |" for kind, meaning in sorted(KINDS.items())]
    return "\n".join(
        [
            "# Events",
            "",
            "Append-only facts with a sequence number, written in the transaction that makes them true.",
            "`ezaigent tasks logs ID --json` and `Fleet.events()` print them. This page is written from the code by",
            "`python tests/docs/reference.py`.",
            "",
            "| kind | meaning |",
            "|---|---|",
            *rows,
            "",
        ]
    )


PAGES: dict[str, typing.Callable[[], str]] = {"settings.md": settings_page, "events.md": events_page}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (DOCS / page).write_text(write(), encoding="utf-8")
