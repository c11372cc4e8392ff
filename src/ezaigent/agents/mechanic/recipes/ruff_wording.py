"""The wordings that ask for what ruff does."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ezaigent.agents.mechanic.wording import QUANTITY, QUOTED, SPOT, pattern

_FAULT = (
    r"(?:errors?|issues?|warnings?|violations?|problems?|findings?|failures?|complaints?|offen[cs]es?|mistakes|"
    r"fix(?:es)?)"
)
_MEND = (
    r"(?:(?:auto-?)?fix(?: up)?|resolve|clean(?: up)?|clear(?: up)?|correct|eliminate|address|solve|repair|"
    r"get rid of|remove|apply)"
)
_DROP = r"(?:remove|delete|drop|clean(?: up)?|strip(?: out)?|get rid of|prune|eliminate|fix)"
_HAPPY = r"(?:to )?(?:be )?(?:happy|pass|clean|green|quiet|succeed)"
_CODE = r"[A-Z]{1,6}\d{1,4}"


@dataclass(frozen=True, slots=True)
class Rules:
    """A wording that stands for certain ruff rules."""

    form: re.Pattern[str]
    select: tuple[str, ...]
    unsafe: bool = False
    """Whether ruff marks the asked-for fix as one that a person must have wanted."""


LINT = pattern(
    rf"{_MEND}\s+{QUANTITY}(?:(?:(?:auto-?)?fixable|simple|safe|new|python)\s+)*"
    r"(?:lint(?:er|ing)?|ruff(?:'s)?(?: check| lint(?:er|ing)?)?|flake8|pyflakes|pycodestyle)"
    rf"(?:\s+{_FAULT})?"
    rf"|{_MEND}\s+{QUANTITY}{_FAULT}\s+"
    r"(?:(?:that are |that is )?(?:reported|found|flagged|raised|shown) by|from|that)\s+"
    rf"(?:ruff(?: check)?|the linter|{QUOTED})(?:\s+(?:reports?|finds?|flags?|raises?|shows?))?"
    rf"|(?:make|get)\s+(?:ruff(?: check)?|the linter|lint(?:ing)?|the lint check)\s+{_HAPPY}"
    r"|run\s+(?:ruff|the linter)(?:\s+check)?(?:\s+--fix|\s+with(?: automatic)? fixes)?"
    rf"|(?:auto-?fix|lint)(?:\s+(?P<object>{QUANTITY}"
    rf"(?:code|python code|sources?|repository|repo|project|package|code ?base|everything|{SPOT})))?"
)
FORMAT = pattern(
    rf"(?:re-?|auto-?)?format\s+{QUANTITY}(?:(?:python|whole|entire|source)\s+)*"
    r"(?:code(?: ?base)?|source(?: code)?|sources|files|modules|python|repository|repo|project|package|everything|"
    rf"tree|(?P<object>{SPOT}(?:\s+(?:folder|directory|package|module|file))?"
    rf"(?:(?:,| and|, and)\s+{SPOT})*))"
    r"|(?:re-?|auto-?)?format"
    rf"|(?:{_MEND}|run)\s+{QUANTITY}(?:(?:code|python|ruff(?:'s)?)\s+)*format(?:ting|ter|s)?(?:\s+{_FAULT})?"
    r"|run\s+(?:ruff format|the (?:code |ruff )?formatter)"
    rf"|(?:make|get)\s+(?:ruff format|the format(?:ting|ter)(?: check)?)\s+{_HAPPY}"
)
_OLD_FORMATTING = (
    r"(?:(?:%|percent|old|old-style|\.format|str\.format|format|string)[\w()-]*\s*"
    r"(?:formatting|formats?|strings?|calls?|interpolation)?(?:\s+calls?)?)"
)
_UNUSED = r"(?:unused|unnecessary|unneeded|superfluous|dead|redundant)"
SELECTED = (
    Rules(
        pattern(rf"{_DROP}\s+{QUANTITY}{_UNUSED}\s+(?:python\s+)?imports?(?:\s+statements?)?"),
        ("F401",),
    ),
    Rules(
        pattern(rf"{_DROP}\s+{QUANTITY}(?:unused|dead)\s+(?:local\s+)?variables?"),
        ("F841",),
        unsafe=True,
    ),
    Rules(
        pattern(rf"{_DROP}\s+{QUANTITY}{_UNUSED}\s+imports?\s+and\s+(?:unused\s+)?(?:local\s+)?variables?"),
        ("F401", "F841"),
        unsafe=True,
    ),
    Rules(
        pattern(
            r"(?:sort|organi[sz]e|re-?order|order|group|isort|tidy(?: up)?|arrange|alphabeti[sz]e)\s+"
            rf"{QUANTITY}(?:python\s+)?imports?(?:\s+(?:statements?|blocks?))?"
            rf"|fix\s+{QUANTITY}(?:import\s+(?:order|sorting|ordering)|order\s+of\s+{QUANTITY}imports)"
            rf"(?:\s+{_FAULT})?|run isort"
        ),
        ("I",),
    ),
    Rules(pattern(rf"{_DROP}\s+{QUANTITY}trailing\s+white ?spaces?"), ("W291", "W293")),
    Rules(
        pattern(
            r"(?:use|switch to|move to|convert to|adopt)\s+f-?strings?"
            r"(?:\s+instead of\s+(?:%|percent|\.?format)[\w%().-]*(?:\s+\w+)?)?"
            rf"|(?:replace|convert|turn|change)\s+{QUANTITY}{_OLD_FORMATTING}\s+(?:to|with|by|into)\s+f-?strings?"
        ),
        ("UP030", "UP031", "UP032"),
        unsafe=True,
    ),
)
MODERN = pattern(
    rf"(?:(?:moderni[sz]e)\s+{QUANTITY}(?:(?:python|old|legacy|outdated|code's)\s+)*"
    r"(?:syntax|code ?base|code|sources?|(?:type )?(?:annotations|hints))(?:\s+syntax)?"
    rf"|(?:upgrade|update|migrate|convert)\s+{QUANTITY}(?:(?:python|old|legacy|outdated|code's)\s+)*syntax"
    rf"|(?:upgrade|update|migrate|convert|port|bring)(?:\s+{QUANTITY}(?:(?:python|old|legacy)\s+)*"
    r"(?:syntax|code ?base|code|sources?|(?:type )?(?:annotations|hints)|project|package|repository|repo))?"
    r"(?=\s+(?:to|for|up to)\s))"
    r"(?:\s+(?:to|for|up to)\s+(?:use\s+)?(?:modern\s+)?python\s*(?P<version>3\.\d+)(?:\s*\+)?"
    r"(?:\s+(?:syntax|style|features|idioms))?)?"
    r"|use\s+(?:modern|new|newer|current)\s+(?:python\s*)?(?P<version2>3\.\d+)?\s*(?:syntax|idioms)"
    r"|run pyupgrade"
)
NAMED = pattern(
    rf"{_MEND}\s+{QUANTITY}(?:(?:ruff|lint|flake8|rules?|codes?|{_FAULT}|of|for)\s+)*"
    rf"(?P<codes>(?:{_CODE}|{QUOTED})(?:(?:,\s*|\s+and\s+|,\s+and\s+|\s+)(?:{_CODE}|{QUOTED}))*)"
    rf"(?:\s+(?:rules?|{_FAULT}))?"
)
GIVEN = pattern(rf"(?:run|apply|execute)\s+(?P<given>{QUOTED})")
