"""Settings that a person changes while the fleet runs: kept in the store, on top of the file's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import orjson

from ezaigent.core.errors import UsageError
from ezaigent.core.scaling import ScalingSettings
from ezaigent.store import Connection, Sql, emit

SETTINGS: Final = "scaling"
SWITCH: Final = "scaler"

_read = Sql("SELECT value FROM overrides WHERE name = $1")
_lock = Sql("SELECT value FROM overrides WHERE name = $1 {for_update}")
_open = Sql(
    """INSERT INTO overrides (name, value, "by", updated_at) VALUES ($1, $2, $3, {now}) ON CONFLICT (name) DO NOTHING"""
)
_write = Sql("""UPDATE overrides SET value = $2, "by" = $3, updated_at = {now} WHERE name = $1""")


@dataclass(frozen=True, slots=True)
class InForce:
    """What holds now."""

    settings: ScalingSettings
    changes: Mapping[str, Any]
    """What was changed at run time; the rest is the file's."""
    stopped: bool
    problem: str = ""
    """Why the changes do not hold: they contradict the file, which was changed since."""


def in_force(conn: Connection, file: ScalingSettings) -> InForce:
    """Return what holds now, on top of the settings in ``file``."""
    changes, stopped = _value(_read.first(conn, SETTINGS)), bool(_value(_read.first(conn, SWITCH)).get("stopped"))
    try:
        return InForce(file.with_changes(changes), changes, stopped)
    except UsageError as error:
        return InForce(file, changes, stopped, str(error))


def configure(conn: Connection, file: ScalingSettings, changes: Mapping[str, Any], by: str) -> InForce:
    """Change settings, all of ``changes`` or none; what they do not name stays as it is.

    A value of ``None`` takes a change back, so that the file's value holds again; a pool given as ``None`` loses all
    its changes. Raises ``UsageError`` with one line for each wrong value.
    """
    kept = _locked(conn, SETTINGS, by)
    merged = _merged(kept, changes)
    settings = file.with_changes(merged)
    merged = _typed(merged, settings)
    if merged != kept:
        _write.run(conn, SETTINGS, orjson.dumps(merged).decode(), by)
        emit(conn, "scaler.configured", data={"by": by, "changes": changes})
    return InForce(settings, merged, bool(_value(_read.first(conn, SWITCH)).get("stopped")))


def tried(file: ScalingSettings, force: InForce, changes: Mapping[str, Any]) -> ScalingSettings:
    """Return the settings as ``configure`` would make them, and change nothing.

    Raises ``UsageError`` with one line for each wrong value.
    """
    return file.with_changes(_merged(force.changes, changes))


def switch(conn: Connection, by: str, *, stopped: bool) -> bool:
    """Stop the autoscaler or let it go on; return whether that changed anything."""
    before = _locked(conn, SWITCH, by)
    if bool(before.get("stopped")) is stopped:
        return False
    _write.run(conn, SWITCH, orjson.dumps({"stopped": stopped}).decode(), by)
    emit(conn, "scaler.stopped" if stopped else "scaler.started", data={"by": by})
    return True


def _locked(conn: Connection, name: str, by: str) -> dict[str, Any]:
    _open.run(conn, name, "{}", by)
    return _value(_lock.first(conn, name))


def _value(row: tuple[Any, ...] | None) -> dict[str, Any]:
    return dict(orjson.loads(row[0])) if row is not None else {}


def _merged(kept: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    plain = _without_none({**kept, **{key: value for key, value in changes.items() if key != "pools"}})
    given: object = changes.get("pools", {})
    if not isinstance(given, Mapping):
        return {**plain, "pools": given}  # refused when it is checked
    pools: dict[str, Any] = dict(plain.pop("pools", {}))
    for name, own in cast("Mapping[str, Any]", given).items():
        if isinstance(own, Mapping):
            pools[name] = _without_none({**pools.get(name, {}), **cast("Mapping[str, Any]", own)})
        else:
            pools[name] = own
        if not pools[name] and not isinstance(pools[name], int):
            del pools[name]
    return {**plain, "pools": pools} if pools else plain


def _typed(changes: Mapping[str, Any], settings: ScalingSettings) -> dict[str, Any]:
    """Return the changes with the values as they were understood: a number for the text that was typed."""
    whole = settings.model_dump(mode="json")
    typed = {key: whole[key] for key in changes if key != "pools"}
    pools = {name: {key: whole["pools"][name][key] for key in own} for name, own in changes.get("pools", {}).items()}
    return {**typed, "pools": pools} if pools else typed


def _without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
