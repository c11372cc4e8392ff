"""Logins inside URLs: git needs them, nobody needs to see them."""

from __future__ import annotations

import re
from typing import Final

_LOGIN: Final = re.compile(r"(?<=://)[^/\s]+@")


def without_login(text: str) -> str:
    """Return the text with the login left out of every URL in it: ``https://ada:secret@host/x`` is ``https://host/x``.

    Everything up to the last ``@`` before the path counts, so a password that holds one itself goes as a whole.
    """
    return _LOGIN.sub("", text)
