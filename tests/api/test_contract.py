"""The live server against its own OpenAPI document, asked by schemathesis with what nobody would think of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.api.conftest import Place

_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "ignored_auth",
    "unsupported_method",
)


def test_every_answer_is_as_the_document_says(place: Place, tmp_path: Path) -> None:
    """No 5xx, no undocumented status, no body that its schema does not describe; streams never end, so are left out."""
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "schemathesis"),
            *("run", f"{place.url}/openapi.json", "-H", f"Authorization: Bearer {place.tokens['admin']}"),
            *("--exclude-path", "/api/v1/events", "--phases", "coverage,fuzzing", "--checks", ",".join(_CHECKS)),
            *("--max-examples", "12", "--seed", "1", "--no-color", "--request-timeout", "20", "--warnings", "off"),
            *("--suppress-health-check", "all", "--generation-database", "none"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
