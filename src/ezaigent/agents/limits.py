"""The bound on what a tool's result shows: the start and the end, where tools say what matters."""

from __future__ import annotations


def clip(text: str, most: int) -> str:
    """Return ``text`` cut in the middle to ``most`` characters, with a line that says so in place of the rest."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half:,} characters left out …]\n{text[-half:]}"
