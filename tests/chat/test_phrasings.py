"""The corpus of phrasings: how many are understood, and that none of them ever does harm."""

from __future__ import annotations

import pytest
from tests.chat.phrasings import KNOWN, load

from ezaigent.chat.commands import Submit, Tell, destructive, harmless
from ezaigent.chat.understanding import understand

FRAMES = (
    "do not {}",
    "don't {}",
    "please don't {} yet",
    "never {}",
    "you must not {}",
    "what would happen if I said {}",
    "if the build fails, {}",
    "should I {}?",
    "how do I {}?",
    "what does '{}' do?",
    "Bob said: {}",
    "yesterday somebody told you to {}",
    "tomorrow {}",
    "maybe {}",
    "I wonder whether to {}",
    "is it wise to {}",
    "{} unless the tests pass",
    "{} if nobody objects",
    "{} tomorrow",
    "{}? no, rather not",
    "there is no need to {}",
    "nobody should {}",
    "instead of that, do not {}",
    "remind me to {}",
    "I was about to {}",
)
"""Ways to speak about an order without giving it."""


PARTS = {"tuned": 1.0, "later": 0.95, "held_out": 0.95, "unseen": 0.7}
"""The parts of the corpus and how much of each must be right at least; each file says what its figure is worth."""


@pytest.mark.parametrize(("part", "least"), PARTS.items())
def test_phrasings_are_understood_and_none_does_harm(part: str, least: float) -> None:
    phrasings = load(part)
    results = [(phrasing, understand(phrasing.say, KNOWN).command) for phrasing in phrasings]
    right = sum(phrasing.met_by(command) for phrasing, command in results)
    strict = [(phrasing, command) for phrasing, command in results if not phrasing.trap]
    exact = sum(phrasing.met_exactly_by(command) for phrasing, command in strict)
    print(f"\n{part}: {right} of {len(results)} right; without alternatives {exact} of {len(strict)} orders")  # noqa: T201 - the figure is the point
    harm = [phrasing.say for phrasing, command in results if phrasing.harmed_by(command)]
    assert harm == []
    assert right / len(results) >= least


def test_the_corpus_is_as_large_as_it_claims() -> None:
    tuned, held_out = load("tuned"), load("held_out")
    assert len(tuned) + len(held_out) >= 300
    assert len(held_out) >= 120
    assert sum(one.trap for one in held_out) >= 40


def test_an_order_that_is_only_spoken_about_is_never_taken() -> None:
    """Every destructive phrasing inside every frame, sentences only: what begins with a slash is an order."""
    orders = [
        one.say
        for part in PARTS
        for one in load(part)
        if not one.say.startswith("/") and (command := understand(one.say, KNOWN).command) and destructive(command)
    ]
    assert len(orders) > 100
    harm: list[str] = []
    for frame in FRAMES:
        for order in orders:
            said = frame.format(order.rstrip(".!?"))
            command = understand(said, KNOWN).command
            if command is not None and not harmless(command) and not isinstance(command, Submit | Tell):
                harm.append(f"{said!r} became {command!r}")
    assert harm == []
