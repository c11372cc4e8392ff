"""Which files a task will probably change, guessed from words alone: the repository is not touched.

Two sources. Paths and file names that the prompt mentions count as they stand. And where an earlier task of the same
repository was asked for in much the same words, the files that its change touched are expected again. Both are guesses:
a task that is to run beside others all the same says so (``overlap``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import orjson

from ezaigent.tasks.globs import NAMED, is_file

PROMPT: Final = "prompt"
"""Source of a glob that the prompt mentions; any other source is the id of the earlier task."""
ALIKE: Final = 0.5
"""Share of words that two prompts must have in common to be taken for much the same (Jaccard index)."""
LOOKED_AT: Final = 64
"""Newest changes of a repository that a new task is compared with."""

_READ: Final = 20_000  # characters of a prompt that are read: what comes later is material, such as a log
_MENTIONED: Final = 24  # globs of one task at most; more of them fall together into their folders
_LONGEST: Final = 300  # characters of a path
_WORDS: Final = 64
_URL: Final = re.compile(r"\b[a-zA-Z][\w+.-]{0,15}://\S+")
_TOKEN: Final = re.compile(r"`?[\w@+*?.\[\]/-]{2,}+(?::\d++)*+`?(?!\()")
_PRODUCTS: Final = re.compile(r"(?i:(?:node|next|nuxt|vue|three|d3|express|chart|ember|backbone|alpine|react)\.js)")
_FOLDERS: Final = """
.github app apps bin cmd config crates deploy doc docs examples include internal lib libs migrations packages pkg
scripts server source spec src static templates test tests tools web
"""
_TOPS: Final = frozenset(_FOLDERS.split())
_WORD: Final = re.compile(r"[^\W_]{3,}")
_FILLERS: Final = """
add all also and are but can change code does each every file files fix for from have into its make must new not now
one only out please should that the their them then there these this use was what when where which with you your
"""
_COMMON: Final = frozenset(_FILLERS.split())


class Guess(NamedTuple):
    """A glob that a task will probably change, and where that is known from: ``PROMPT`` or a task's id."""

    glob: str
    source: str


class Touched(NamedTuple):
    """An earlier change: the task, the words that it was asked for in, the files."""

    task_id: str
    words: frozenset[str]
    paths: Sequence[str]


def mentioned(text: str, repo: str = "") -> list[str]:
    """Return the paths and file names in a prompt as globs, in order; ``repo`` is where a local repository lies.

    A name with a known ending or a name in backticks is a file; a path of names that begins in a usual folder
    (``src``, ``tests``) or ends in a slash is a folder. Paths outside of the repository, addresses on the web and
    words such as and/or are none.
    """
    if not (
        "/" in text or "file" in text or "OWNERS" in text or text.count(".") - text.endswith(".") > text.count(". ")
    ):
        return []  # most prompts name no file, and their submit is not to be kept waiting by the rest
    text = text[:_READ]
    if repo.startswith("/"):
        text = text.replace(f"{repo.rstrip('/')}/", "")
    if "://" in text:
        text = _URL.sub(" ", text)
    found: dict[str, None] = {}
    for word in text.split():
        if "/" in word or "." in word[:-1]:
            for match in _TOKEN.finditer(word):
                token = match[0]
                glob = _glob(token.strip("`"), quoted=token[0] == token[-1] == "`") if len(token) <= _LONGEST else None
                if glob is not None:
                    found[glob] = None
    found |= dict.fromkeys(NAMED.findall(text))
    return together(list(found))


def _glob(token: str, *, quoted: bool) -> str | None:
    path = token.partition(":")[0].removeprefix("./").rstrip(".?")
    body = path.strip("/")
    parts = body.split("/")
    last = parts[-1]
    if path.startswith("/") or not body or any(part.strip(".") == "" for part in parts):
        return None
    if not last.strip("*?[]") and len(parts) == 1:
        return None
    if is_file(last):
        return None if _PRODUCTS.fullmatch(body) else body
    if len(parts) > 1 and (quoted or path.endswith("/") or parts[0] in _TOPS):
        return body if any(mark in last for mark in "*?[") else f"{body}/**"
    return f"/{body}/**" if path.endswith("/") and (quoted or body in _TOPS) else None


def together(globs: Sequence[str]) -> list[str]:
    """Return the globs, or the folders that they lie in where they are too many: the deepest fall together first."""
    while len(globs) > _MENTIONED and (deepest := max(map(_depth, globs))):
        globs = list(dict.fromkeys(_folder(glob) if _depth(glob) == deepest else glob for glob in globs))
    return list(globs[:_MENTIONED])


def _depth(glob: str) -> int:
    return glob.removesuffix("/**").strip("/").count("/")


def _folder(glob: str) -> str:
    return "/" + glob.removesuffix("/**").strip("/").rpartition("/")[0] + "/**"


def words(prompt: str) -> frozenset[str]:
    """Return what makes a prompt comparable: its first words, without the most common ones."""
    found = dict.fromkeys(word.lower() for word in _WORD.findall(prompt[:_READ]))
    return frozenset([word for word in found if word not in _COMMON][:_WORDS])


def literal(path: str) -> str:
    """Return the glob that matches this very path."""
    return "/" + re.sub(r"[*?\[]", r"[\g<0>]", path)


def alike(asked: frozenset[str], history: Sequence[Touched]) -> Touched | None:
    """Return the earlier change whose words are most like these, the newest of several; None when none is."""
    best, score = None, ALIKE
    for one in history:  # the newest comes first
        common = len(asked & one.words)
        share = common / (len(asked) + len(one.words) - common) if common else 0.0
        if share > score or (share == score and best is None):
            best, score = one, share
    return best


def stored(guesses: Sequence[Guess]) -> str:
    """Return guesses as the text that is kept with the task."""
    return orjson.dumps([[guess.glob, guess.source] for guess in guesses]).decode()


def predict(prompt: str, title: str, repo: str, history: Sequence[Touched]) -> list[Guess]:
    """Return the globs that a task will probably change, those that it names first."""
    guesses = dict.fromkeys(mentioned(f"{title}\n{prompt}" if title else prompt, repo), PROMPT)
    earlier = alike(words(prompt), history) if history else None
    if earlier is not None:
        for glob in together([literal(path) for path in earlier.paths]):
            guesses.setdefault(glob, earlier.task_id)
    return [Guess(glob, source) for glob, source in guesses.items()]
