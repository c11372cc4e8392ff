"""Commands say who gave them, also where the system does not know."""

from __future__ import annotations

import os
import pwd

import pytest

from ezaigent.cli.person import person


def test_who_runs_a_command_has_a_name_even_where_the_system_knows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("USER", "ada")
    assert person() == "ada"

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.delenv("USER")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert person() == f"uid-{os.getuid()}"
