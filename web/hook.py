"""The build hook of hatchling: the wheel and the source archive carry the built dashboard; editable installs do not."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DashboardHook(BuildHookInterface[Any]):
    """Builds the dashboard unless it is there already, as it is in the source archive."""

    PLUGIN_NAME = "dashboard"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build before the files are gathered. Raises ``RuntimeError`` with one line when that cannot be done."""
        del build_data
        if version == "editable":
            return
        place = Path(self.root, "web", "assets.py")
        spec = importlib.util.spec_from_file_location("ezaigent_web_assets", place)
        if spec is None or spec.loader is None:
            raise RuntimeError(f"{place} is missing: the dashboard cannot be built")
        assets = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(assets)
        try:
            assets.build()
        except assets.BuildError as error:
            raise RuntimeError(str(error)) from error
