"""Read the settings: defaults < ``ezaigent.toml`` < ``EZAIGENT_*`` variables < the command line."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import platformdirs
from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from ezaigent.core.errors import UsageError
from ezaigent.core.settings import Settings

FILE_NAME: Final = "ezaigent.toml"


class _Loader(Settings, BaseSettings):
    """The settings plus where they are read from; only this file knows it."""

    model_config = SettingsConfigDict(
        env_prefix="EZAIGENT_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the environment above the file; the file comes in as the key ``file`` of the arguments."""
        del dotenv_settings, file_secret_settings
        given: dict[str, Any] = dict(getattr(init_settings, "init_kwargs", {}))
        file: dict[str, Any] = given.pop("_file", {})
        return (
            InitSettingsSource(settings_cls, init_kwargs=given),
            env_settings,
            InitSettingsSource(settings_cls, init_kwargs=file),
        )


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Return the settings in force.

    ``config`` names the file; left out, ``EZAIGENT_CONFIG``, then ``ezaigent.toml`` in the current folder, then in
    the user's configuration folder. ``overrides`` are fields set by the caller. Raises ``UsageError`` with one line
    that names the first wrong field, its place and its value (never a secret's).
    """
    path = config or _find()
    values = _read(path) if path else {}
    overrides.setdefault("home", None)
    home = overrides.pop("home")
    if home is not None:
        overrides["home"] = home
    elif "home" not in values and not os.environ.get("EZAIGENT_HOME"):
        values = {**values, "home": platformdirs.user_data_path("ezaigent")}
    try:
        loaded = _Loader(_file=values, **overrides)  # pyright: ignore[reportCallIssue]
    except ValidationError as error:
        raise UsageError(_explain(error, values, path)) from None
    except SettingsError as error:
        raise UsageError(f"an EZAIGENT_ variable cannot be read: {error}; nested values are JSON") from None
    try:
        place = loaded.home.expanduser().absolute()
    except RuntimeError:
        raise UsageError(f"the home folder {str(loaded.home)!r} is in the home of nobody; give a full path") from None
    data = {name: getattr(loaded, name) for name in Settings.model_fields}
    return Settings.model_construct(**data).model_copy(update={"home": place})


def _find() -> Path | None:
    named = os.environ.get("EZAIGENT_CONFIG")
    if named:
        return Path(named)
    places = (Path.cwd() / FILE_NAME, platformdirs.user_config_path("ezaigent") / FILE_NAME)
    return next((place for place in places if place.is_file()), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"no settings file at {str(path)!r}; check the path given by --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the settings file {str(path)!r} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{str(path)!r} is not valid TOML: {error}") from None


def _explain(error: ValidationError, values: Mapping[str, Any], path: Path | None) -> str:
    first = error.errors(include_url=False)[0]
    loc = [str(part) for part in first["loc"]]
    where: Any = values
    for part in loc:
        where = where.get(part) if isinstance(where, Mapping) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    variable = "EZAIGENT_" + "__".join(loc).upper()
    source = variable if variable in os.environ else (str(path) if where is not None and path else variable)
    name = ".".join(loc)
    if first["type"] == "extra_forbidden":
        return f"unknown setting {name!r} (from {source}); see docs/settings.md for the list"
    if first["type"] == "value_error":  # a section whose values contradict each other, already told in one line
        text = " and ".join(first["msg"].removeprefix("Value error, ").splitlines())
        return f"setting {name!r} is wrong (from {source}): {text}"
    secret = loc[0] in {"providers", "database_url", "redis_url"} or any(
        word in name for word in ("key", "token", "secret")
    )
    value = "" if secret else f", got {first.get('input')!r}"
    return f"setting {name!r} is wrong (from {source}): {first['msg'].lower()}{value}"
