"""What a prompt mentions, and which earlier change it resembles."""

from __future__ import annotations

import time

import pytest

from ezaigent.tasks.globs import meet
from ezaigent.tasks.predicting import PROMPT, Guess, Touched, literal, mentioned, predict, together, words


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Mend the failing test in tests/test_parser.py and say what was wrong.", ["tests/test_parser.py"]),
        ("Rename Cart in cart.py, then in src/shop/order.py:12.", ["cart.py", "src/shop/order.py"]),
        ("Only ./src/shop/*.ts and src/** count", ["src/shop/*.ts", "src/**"]),
        ("Tidy src/shop, then `billing/invoices` and docs/", ["src/shop/**", "billing/invoices/**", "/docs/**"]),
        ("Write a Makefile and a Dockerfile", ["Makefile", "Dockerfile"]),
        ("Port it and/or say why; TCP/IP, 24/7, read/write, i.e. e.g. v1.2 ...", []),
        ("Use Node.js and vue.js as https://example.org/src/app.js says", []),
        ("See /etc/hosts and ../other/file.py and ~/notes.md", []),
        ("call response.json() until it is done", []),
        ("speed the parser up", []),
        ("ÄNDERE src/größe.py.", ["src/größe.py"]),
    ],
)
def test_paths_and_file_names_in_a_prompt(prompt: str, expected: list[str]) -> None:
    assert mentioned(prompt) == expected


def test_a_path_below_the_repository_is_one_in_it() -> None:
    assert mentioned("mend /srv/shop/src/cart.py", repo="/srv/shop/") == ["src/cart.py"]
    assert mentioned("mend /srv/other/src/cart.py", repo="/srv/shop") == []


def test_many_files_fall_together_into_their_folders() -> None:
    many = [f"src/shop/part{number}.py" for number in range(40)]
    assert together([*many, "README.md"]) == ["/src/shop/**", "README.md"]
    assert together(many[:3]) == many[:3]
    assert len(together([f"file{number}.py" for number in range(100)])) == 24


def test_a_path_with_special_characters_means_itself() -> None:
    path = "app/[id]/what*?.tsx"
    assert meet(literal(path), "app/**/*.tsx")
    assert not meet(literal(path), "/app/i/what.tsx")


HISTORY = [
    Touched("03", words("Mend the rounding of prices in the basket"), ["src/shop/basket.py"]),
    Touched("02", words("Write down how releases are made"), ["docs/releases.md"]),
    Touched("01", words("Mend the rounding of prices in the cart"), ["src/shop/cart.py", "src/[id].py"]),
]


def test_a_prompt_in_much_the_same_words_touches_much_the_same_files() -> None:
    assert predict("Mend the rounding of all prices in a cart!", "", "/r", HISTORY) == [
        Guess("/src/shop/cart.py", "01"),
        Guess("/src/[[]id].py", "01"),
    ]
    assert predict("Mend the rounding of prices, in the cart.py basket", "", "/r", HISTORY) == [
        Guess("cart.py", PROMPT),
        Guess("/src/shop/basket.py", "03"),
    ]


def test_a_prompt_in_other_words_predicts_nothing() -> None:
    assert predict("Translate every message to French", "", "/r", HISTORY) == []
    assert predict("", "", "/r", HISTORY) == []
    assert predict("Mend the rounding of prices in the cart", "", "/r", []) == []


def test_of_two_changes_that_are_equally_alike_the_newest_counts() -> None:
    twice = [Touched("09", HISTORY[2].words, ["new.py"]), HISTORY[2]]
    assert predict("Mend the rounding of prices in the cart", "", "/r", twice) == [Guess("/new.py", "09")]


def test_the_title_counts_too() -> None:
    assert predict("do what the title says", "Tidy src/shop/cart.py", "/r", []) == [Guess("src/shop/cart.py", PROMPT)]


@pytest.mark.parametrize("piece", ["a.", "a/", "a-", "`", "*", "[", "a:/", "x@", "../", "a.py "])
def test_no_prompt_takes_long(piece: str) -> None:
    began = time.process_time()
    predict(piece * 100_000, "", "/r", HISTORY)
    assert time.process_time() - began < 2.0
