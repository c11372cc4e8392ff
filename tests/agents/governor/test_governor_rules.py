"""The governor's pure parts: what headers say, how knowledge changes, what it allows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ezaigent.agents.governor import accounts_of
from ezaigent.agents.governor.changes import (
    FAILURES,
    FIRST_PARK,
    LONGEST_PARK,
    PROBE,
    Change,
    answered,
    failed,
    first_rate,
    learned,
    limited,
    parked,
    probing,
    unprobed,
)
from ezaigent.agents.governor.headers import Told, read_limits
from ezaigent.agents.governor.pace import SAFETY, UNLIMITED, paces, request_rate
from ezaigent.agents.governor.standing import Closed, Go, Pause, blocked, standing
from ezaigent.agents.governor.state import Limit, ModelState, Span, dump, load
from ezaigent.core.settings import Settings

NOW = 1_800_000_000.0


def after(*changes: Change, state: ModelState | None = None) -> ModelState:
    state = state or ModelState()
    for change in changes:
        state = change(state)
    return state


def slow(
    at: float,
    *,
    since: float | None = None,
    asked: float | None = 1.0,
    total: float | None = None,
    known: dict[str, Limit] | None = None,
) -> Change:
    return limited("a", now=at, since=at if since is None else since, asked=asked, total=total, known=known or {})


def near(found: float | None, wanted: float) -> bool:
    return found is not None and abs(found - wanted) < 1e-6 * wanted


def rate(state: ModelState, now: float) -> float:
    found = request_rate(state.account("a"), {}, now)
    assert found is not None
    return found


# --- headers


@pytest.mark.parametrize(
    ("reset", "seconds"), [("6m0s", 360.0), ("120ms", 0.12), ("1.5s", 1.5), ("1h30m", 5400.0), ("2d", 172800.0)]
)
def test_openais_headers_tell_limit_rest_and_refill(reset: str, seconds: float) -> None:
    headers = {
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": reset,
        "x-ratelimit-limit-tokens": "30000",
        "x-ratelimit-remaining-tokens": "29000",
    }
    requests, tokens = read_limits(headers, NOW)
    assert (requests.meter, requests.limit, requests.remaining) == ("requests", 500, 499)
    assert near(requests.reset, seconds)
    assert tokens == Told("tokens", 30_000, 29_000, None, 0.001)


def test_anthropics_headers_tell_input_and_output_apart() -> None:
    reset = datetime.fromtimestamp(NOW + 30, UTC).isoformat().replace("+00:00", "Z")
    headers: dict[str, str] = {}
    for name, limit in (("requests", 50), ("tokens", 90), ("input-tokens", 80), ("output-tokens", 10)):
        headers[f"anthropic-ratelimit-{name}-limit"] = str(limit)
        headers[f"anthropic-ratelimit-{name}-remaining"] = str(limit // 2)
        headers[f"anthropic-ratelimit-{name}-reset"] = reset
    found = {told.meter: told for told in read_limits(headers, NOW)}
    assert set(found) == {"requests", "input_tokens", "output_tokens"}
    assert (found["requests"].remaining, found["requests"].reset) == (25, 30.0)


def test_mistrals_headers_are_of_a_minute() -> None:
    headers = {"x-ratelimit-limit-req-minute": "60", "x-ratelimit-remaining-req-minute": "59"}
    assert read_limits(headers, NOW) == [Told("requests", 60, 59)]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ratelimit-limit-requests": "many", "x-ratelimit-remaining-requests": "1"},
        {"x-ratelimit-limit-requests": "0", "x-ratelimit-remaining-requests": "0"},
        {"x-ratelimit-limit-requests": "-5", "x-ratelimit-remaining-requests": "1"},
        {"anthropic-ratelimit-requests-limit": "50"},
    ],
)
def test_headers_that_say_nothing_are_passed_over(headers: dict[str, str]) -> None:
    assert read_limits(headers, NOW) == []


def test_a_reset_that_cannot_be_read_is_no_reset() -> None:
    headers = {"anthropic-ratelimit-requests-limit": "50", "anthropic-ratelimit-requests-remaining": "5"}
    for wrong in ("soon", "1x"):
        [told] = read_limits({**headers, "anthropic-ratelimit-requests-reset": wrong}, NOW)
        assert told.reset is None
    openai = {"x-ratelimit-limit-tokens": "9", "x-ratelimit-remaining-tokens": "5", "x-ratelimit-reset-tokens": "5 m"}
    assert read_limits(openai, NOW)[0].reset is None


# --- learning limits


def test_a_limit_without_a_refill_is_of_a_minute_and_the_refill_corrects_it() -> None:
    first = after(learned("a", [Told("requests", 600, 599, 0.01, 0.001)]))
    assert first.account("a").limits["requests"].rate == 10
    second = after(learned("a", [Told("requests", 600, 559.5, 4.0, 0.001)]), state=first)
    assert near(second.account("a").limits["requests"].rate, 10)
    fast = after(learned("a", [Told("requests", 600, 499.5, 1.0, 0.001)]))
    assert near(fast.account("a").limits["requests"].rate, 100)


def test_a_limit_of_a_day_is_found_as_one() -> None:
    state = after(learned("a", [Told("requests", 200, 190, 4320.0 * 0.95, 0.001)]))
    assert near(state.account("a").limits["requests"].rate * 86_400, 200)


def test_what_is_told_again_changes_nothing_and_a_new_limit_everything() -> None:
    told = Told("requests", 600, 500, 10.0, 0.001)
    state = after(learned("a", [told]))
    assert after(learned("a", [told]), state=state) is state
    raised = after(learned("a", [Told("requests", 6000, 5999)]), state=state)
    assert raised.account("a").limits["requests"].rate == 100


# --- 429s


def test_a_429_pauses_and_what_had_left_before_does_not_count_again() -> None:
    state = after(first_rate("a", 40.0), slow(NOW, asked=2.0))
    assert state.account("a").slow is not None
    assert isinstance(standing(state, ["a"], NOW + 1), Pause)
    assert isinstance(standing(state, ["a"], NOW + 2.1), Go)
    again = after(slow(NOW + 0.2, since=NOW - 3, asked=1.0), state=state)
    assert again is state
    longer = after(slow(NOW + 0.2, since=NOW - 3, asked=9.0), state=state)
    assert isinstance(standing(longer, ["a"], NOW + 9), Pause)
    assert rate(longer, NOW + 20) <= rate(state, NOW + 20)


def test_without_a_retry_after_the_pauses_grow() -> None:
    state, at, lengths = ModelState(), NOW, list[float]()
    for _ in range(8):
        state = after(slow(at, asked=None), state=state)
        kept = state.account("a").slow
        assert kept is not None
        lengths.append(kept.pause.length)
        at += kept.pause.length + 1
    assert lengths == [1, 2, 4, 8, 16, 32, 60, 60]


def test_the_rate_falls_at_once_and_grows_back_with_time() -> None:
    state = after(slow(NOW), first_rate("a", 100.0))
    assert rate(state, NOW + 1) == 50
    assert 50 < rate(state, NOW + 5) < rate(state, NOW + 30)
    lower = after(slow(NOW + 31), state=state)
    assert rate(lower, NOW + 32) < rate(state, NOW + 31)


def test_between_two_429s_the_true_rate_is_measured() -> None:
    state = after(slow(NOW, total=1000.0), first_rate("a", 200.0))
    state = after(slow(NOW + 40, total=1400.0), state=state)
    assert near(rate(state, NOW + 41), 9.0)
    assert 9 < rate(state, NOW + 41 + 30) < 11
    assert rate(state, NOW + 41 + 3600) > 100, "old knowledge must not hold the fleet back for ever"


def test_a_told_limit_is_reached_again_within_a_minute() -> None:
    state = after(learned("a", [Told("requests", 600, 300)]), slow(NOW))
    right = paces(state.account("a"), {}, NOW + 1)["requests"]
    assert right.rate < 10 * SAFETY
    assert right.burst == 1
    later = paces(state.account("a"), {}, NOW + 62)["requests"]
    assert near(later.rate, 10 * SAFETY)
    assert 300 < later.burst < 600


def test_nothing_known_is_no_limit_and_settings_are_one() -> None:
    assert paces(ModelState().account("a"), {}, NOW)["requests"].rate == UNLIMITED
    known = {"requests": Limit(1.0, 60.0), "tokens": Limit(100.0, 6000.0)}
    found = paces(after(learned("a", [Told("requests", 600, 1)])).account("a"), known, NOW)
    assert (found["requests"].rate, found["tokens"].rate) == (SAFETY, 100 * SAFETY)
    assert next(iter(found)) == "requests"


@given(now=st.floats(NOW - 7200, NOW + 7200), length=st.floats(0.1, 600), jump=st.sampled_from([-3600.0, 0.0, 3600.0]))
def test_a_clock_that_jumps_never_makes_a_pause_longer(now: float, length: float, jump: float) -> None:
    assert 0 <= Span(now, length).left(now + jump) <= length
    assert Span(now, length).past(now + jump) >= 0


# --- parking


def test_an_empty_quota_parks_with_growing_intervals_and_one_probe_at_a_time() -> None:
    def empty(at: float) -> Change:
        return parked("a", kind="quota", reason="used up", now=at, since=at, until=None)

    state = after(empty(NOW))
    found = standing(state, ["a"], NOW + 1)
    assert isinstance(found, Closed)
    assert (found.final, found.failure.kind) == (True, "quota")
    assert "used up" in found.failure.message
    assert after(empty(NOW + 1), state=state) is state
    due = NOW + FIRST_PARK + 1
    assert standing(state, ["a"], due) == Go(("a",), probe=True, probed="a")
    probed = after(probing("a", due), state=state)
    assert isinstance(standing(probed, ["a"], due + 1), Closed)
    assert standing(probed, ["a"], due + PROBE + 1) == Go(("a",), probe=True, probed="a")
    assert standing(after(unprobed("a"), state=probed), ["a"], due + 1) == Go(("a",), probe=True, probed="a")
    for _ in range(8):
        state = after(empty(due), state=state)
        kept = state.account("a").parked
        assert kept is not None
        due = kept.span.at + kept.span.length + 1
    parked_now = state.account("a").parked
    assert parked_now is not None
    assert parked_now.span.length == LONGEST_PARK
    assert standing(after(answered("a", due), state=state), ["a"], due) == Go(("a",))


def test_an_answer_that_had_left_before_does_not_unpark() -> None:
    state = after(parked("a", kind="billing", reason="no money", now=NOW, since=NOW, until=None))
    assert after(answered("a", NOW - 5), state=state) is state


def test_a_known_end_is_kept() -> None:
    state = after(parked("a", kind="quota", reason="daily", now=NOW, since=NOW, until=7200.0))
    found = standing(state, ["a"], NOW)
    assert isinstance(found, Closed)
    assert found.seconds == 7200
    assert "2.0 h" in found.failure.message


def test_a_parked_key_is_left_out_and_the_others_go_on() -> None:
    state = after(parked("a", kind="billing", reason="no money", now=NOW, since=NOW, until=None))
    assert standing(state, ["a", "b"], NOW) == Go(("b",))
    both = after(limited("b", now=NOW, since=NOW, asked=3.0, total=None, known={}), state=state)
    assert isinstance(standing(both, ["a", "b"], NOW + 1), Pause)
    assert standing(state, ["a", "b"], NOW + FIRST_PARK + 1) == Go(("a",), probe=True, probed="a")


# --- the breaker


def broken(at: float, since: float | None = None, asked: float | None = None) -> Change:
    return failed(reason="503: down", now=at, since=at if since is None else since, asked=asked)


def test_failures_in_a_row_open_the_breaker_and_an_answer_closes_it() -> None:
    state = after(*(broken(NOW + n) for n in range(FAILURES - 1)))
    assert standing(state, ["a"], NOW + 10) == Go(("a",))
    assert after(answered("a", NOW + 9), state=state).breaker.failures == 0
    opened = after(broken(NOW + 10), state=state)
    found = standing(opened, ["a"], NOW + 11)
    assert isinstance(found, Closed)
    assert (found.final, found.failure.kind) == (False, "overload")
    assert standing(opened, ["a"], NOW + 20) == Go(("a",), probe=True)
    probed = after(probing(None, NOW + 20), state=opened)
    assert isinstance(standing(probed, ["a"], NOW + 21), Closed)
    assert standing(after(unprobed(None), state=probed), ["a"], NOW + 21) == Go(("a",), probe=True)
    assert after(broken(NOW + 21, since=NOW + 5), state=probed) is probed, "it had left before"
    worse = after(broken(NOW + 22), state=probed)
    assert isinstance(standing(worse, ["a"], NOW + 30), Closed)
    assert standing(after(answered("a", NOW + 40), state=worse), ["a"], NOW + 40) == Go(("a",))


def test_a_late_answer_of_a_call_from_before_leaves_the_breaker_open() -> None:
    state = after(*(broken(NOW + n) for n in range(FAILURES)))
    assert after(answered("a", NOW), state=state) is state


def test_failures_far_apart_are_no_row_and_a_429_is_a_sign_of_life() -> None:
    assert standing(after(*(broken(NOW + 1000 * n) for n in range(9))), ["a"], NOW + 9000) == Go(("a",))
    state = after(*(broken(NOW + n) for n in range(3)), slow(NOW + 4))
    assert state.breaker.failures == 0


def test_a_retry_after_keeps_the_breaker_open() -> None:
    state = after(*(broken(NOW, asked=40.0) for _ in range(FAILURES)))
    found = standing(state, ["a"], NOW)
    assert isinstance(found, Closed)
    assert found.seconds == 40


# --- on the bus


def test_a_state_travels_as_it_is_and_a_foreign_one_is_nothing() -> None:
    state = after(
        learned("a", [Told("requests", 600, 300, 30.0, 0.001)]),
        slow(NOW, total=7.0),
        parked("b", kind="quota", reason="daily", now=NOW, since=NOW, until=5.0),
        probing("b", NOW),
        *(broken(NOW + n) for n in range(FAILURES)),
        probing(None, NOW),
    )
    assert load(dump(state)) == state
    assert load(b"") == load(b"{") == load(b'{"accounts": 3}') == ModelState()


@given(st.lists(st.sampled_from(["slow", "park", "fail", "answer"]), max_size=12))
def test_a_change_made_twice_is_made_once(kinds: list[str]) -> None:
    """A change that a second worker makes again, to a state that has it already, changes nothing."""
    state, at = ModelState(), NOW
    for kind in kinds:
        at += 3.0
        change = {
            "slow": slow(at),
            "park": parked("a", kind="quota", reason="r", now=at, since=at, until=None),
            "answer": answered("a", at),
            "fail": broken(at),
        }[kind]
        state = change(state)
        if kind != "fail":  # of failures each one counts
            assert change(state) == state


# --- accounts


def test_accounts_have_names_that_tell_nothing() -> None:
    given_settings = {
        "home": "/nowhere",
        "providers": {
            "openai": {
                "requests_per_minute": 60,
                "keys": [
                    {"api_key": "sk-first-0123456789", "weight": 3, "tokens_per_minute": 6000},
                    {"api_key": "sk-second-0123456789", "requests_per_minute": 120},
                    {"api_key": "sk-first-0123456789"},
                ],
            },
            "local": {"base_url": "http://127.0.0.1:1/v1"},
        },
    }
    settings = Settings.model_validate(given_settings)
    first, second = accounts_of("openai", settings)
    assert (first.weight, second.weight) == (3, 1)
    assert first.known == {"requests": Limit(1.0, 60), "tokens": Limit(100.0, 6000)}
    assert second.known == {"requests": Limit(2.0, 120)}
    for account in (first, second):
        assert account.key is not None
        assert "first" not in repr(account)
        assert "0123456789" not in repr(account)
        assert len(account.name) == 8
    [local] = accounts_of("local", settings)
    assert local.known == {}


def test_a_model_is_parked_only_where_all_its_accounts_are() -> None:
    shut = parked("a", kind="billing", reason="no money", now=NOW, since=NOW, until=10.0)
    one = after(shut)
    both = after(shut, parked("b", kind="quota", reason="used up", now=NOW, since=NOW, until=60.0))
    for seconds in (5, 11):
        assert blocked(one, ["a", "b"], NOW + seconds) is None, "the other account can be used"
    assert standing(one, ["a", "b"], NOW + 11) == Go(("a",), probe=True, probed="a"), "a call finds out all the same"
    first, then = (blocked(both, ["a", "b"], NOW + seconds) for seconds in (5, 11))
    assert first is not None
    assert (first.until, first.trial) == (NOW + 10, False)
    assert then is not None
    assert (then.until, then.trial) == (None, True)
