"""What processes tell each other of a lane, and what follows from hearing it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.health.breaker import Breaker
from gateway.health.cooldowns import JITTER, Cooldown
from gateway.health.health import FRESH, Event, LaneState, next_state, shut
from gateway.health.sharing import (
    ELSEWHERE,
    NOTHING,
    SHARED,
    Facts,
    Opening,
    Rest,
    heard,
    identity,
    probed_elsewhere,
    probes,
    told,
)
from providers.outcome import Billed, OutcomeName
from providers.provider import ProviderSettings
from providers.secret import Secret
from tests.gateway.lanes import FLASH, NOW

KEY = "canary-key-0123456789"
LATER = NOW + 5.0

seconds = st.floats(0.1, 90_000.0)
rests = st.dictionaries(
    st.sampled_from(sorted(SHARED)), st.builds(Rest, seconds=seconds, streak=st.integers(1, 5)), max_size=3
)
openings = st.builds(
    Opening, seconds=st.none() | st.just(0.0) | seconds, openings=st.integers(0, 9), paid=st.booleans(),
    proofs=st.integers(0, 1),
)  # fmt: skip
facts = st.builds(Facts, rests=rests, opening=st.none() | openings, failures=st.none() | st.integers(0, 9))
cooldowns = st.dictionaries(
    st.sampled_from([*sorted(SHARED), "auth", "region"]),
    st.builds(Cooldown, until=st.floats(NOW - 100, NOW + 90_000) | st.just(math.inf), latched=st.booleans()),
    max_size=3,
)
breakers = st.just(Breaker()) | st.builds(
    Breaker, opened=st.just(NOW - 1), until=st.floats(NOW - 1, NOW + 120), openings=st.integers(1, 9),
    probe=st.sampled_from([None, ELSEWHERE, 7]), lease=st.just(NOW + 80), paid=st.booleans(),
)  # fmt: skip
states = st.builds(LaneState, cooldowns=cooldowns, breaker=breakers)
luck = st.floats(0.0, 1.0)


def after(*outcomes: OutcomeName, billed: Billed = "no", now: float = NOW, state: LaneState = FRESH) -> LaneState:
    for outcome in outcomes:
        state = next_state(state, Event(outcome=outcome, billed=billed, size="1K", duration=1.0, luck=0.0), now)
    return state


# Merging


@given(states, facts, luck)
def test_hearing_the_same_twice_changes_nothing(state: LaneState, news: Facts, luck: float) -> None:
    once = heard(state, news, NOW, luck)
    assert heard(once, news, NOW, luck) == once


@given(states, rests, rests)
def test_rests_are_the_same_in_whatever_order_they_are_heard(
    state: LaneState, one: dict[OutcomeName, Rest], other: dict[OutcomeName, Rest]
) -> None:
    first = heard(heard(state, Facts(rests=one), NOW), Facts(rests=other), NOW)
    assert first == heard(heard(state, Facts(rests=other), NOW), Facts(rests=one), NOW)


@given(states, facts, luck)
def test_hearing_never_shortens_a_rest_nor_ends_a_latch(state: LaneState, news: Facts, luck: float) -> None:
    merged = heard(state, news, NOW, luck).cooldowns
    for cause, rest in state.cooldowns.items():
        assert merged[cause].until >= rest.until
        assert merged[cause].latched == rest.latched


@given(states, openings.filter(lambda opening: opening.seconds is not None))
def test_hearing_of_an_open_breaker_never_opens_one_for_a_shorter_time(state: LaneState, opening: Opening) -> None:
    merged = heard(state, Facts(opening=opening), NOW).breaker
    assert merged.opened is not None
    assert merged.until >= max(state.breaker.until, NOW + (opening.seconds or 0.0))


@given(states, facts)
def test_what_was_heard_is_not_told_again(state: LaneState, news: Facts) -> None:
    assert told(heard(state, news, NOW), heard(state, news, NOW), NOW) == NOTHING


@given(states, states)
def test_what_is_told_lets_others_shut_the_lane_for_as_long(before: LaneState, own: LaneState) -> None:
    news = told(FRESH, replace(own, reached=NOW), NOW)
    there = heard(FRESH, news, NOW)
    for cause in SHARED:
        rest = own.cooldowns.get(cause)
        if rest is not None and not rest.latched and NOW < rest.until < math.inf:
            assert there.cooldowns[cause].until == pytest.approx(rest.until)
    if own.breaker.opened is not None:
        assert there.breaker.until == pytest.approx(max(own.breaker.until, NOW))


# What is told


@pytest.mark.parametrize(
    ("outcome", "seconds"), [("rate_limited", 20.0), ("quota_exhausted", 86_400.0), ("balance", 900.0), ("model_gone", 3600.0)]
)  # fmt: skip
def test_a_rest_that_holds_for_everybody_is_shared(outcome: OutcomeName, seconds: float) -> None:
    there = heard(FRESH, told(FRESH, after(outcome), NOW), NOW)
    assert shut(there, NOW) == seconds


@pytest.mark.parametrize("outcome", ["auth", "region"])
def test_what_each_process_must_find_out_itself_is_not_shared(outcome: OutcomeName) -> None:
    assert shut(after(outcome), NOW) is not None
    assert told(FRESH, after(outcome), NOW) == NOTHING


def test_a_lasting_refusal_is_not_shared_since_only_the_configuration_ends_it() -> None:
    event = Event(outcome="quota_exhausted", billed="no", size="1K", duration=1.0, lasting=True, reset=600.0)
    assert told(FRESH, next_state(FRESH, event, NOW), NOW) == NOTHING


def test_a_breaker_that_opened_on_answers_of_the_upstream_is_shared() -> None:
    news = told(FRESH, after(*["overloaded"] * 4), NOW)
    assert news.opening == Opening(seconds=8.0, openings=1)
    assert shut(heard(FRESH, news, LATER), LATER) == 8.0


def test_calls_that_never_left_this_machine_open_no_breaker_elsewhere() -> None:
    unreachable = after(*["transport"] * 4)
    assert shut(unreachable, NOW) is not None
    assert told(FRESH, unreachable, NOW) == NOTHING


def test_calls_that_broke_off_after_they_were_sent_do() -> None:
    assert told(FRESH, after("transport", "transport", billed="maybe"), NOW).opening is not None


def test_a_success_closes_the_breaker_everywhere_and_lets_calls_in_slowly() -> None:
    here = after(*["overloaded"] * 4)
    there = heard(FRESH, told(FRESH, here, NOW), NOW)
    closed = replace(here, breaker=Breaker(openings=0, calm=LATER, allowed=1.0, reset=LATER))
    back = heard(there, told(here, closed, LATER), LATER)
    assert shut(back, LATER) is None
    assert (back.breaker.allowed, back.breaker.reset, back.failures) == (1.0, LATER, 0.0)


def test_a_closed_breaker_elsewhere_says_nothing_to_one_that_is_closed_here() -> None:
    state = after("overloaded", "overloaded")
    assert heard(state, Facts(opening=Opening(seconds=None)), NOW) is state


def test_failures_in_a_row_are_those_of_the_whole_fleet() -> None:
    here = after("overloaded")
    assert told(FRESH, here, NOW) == Facts(failures=1)
    there = heard(FRESH, Facts(failures=3), NOW)
    assert shut(there, NOW) is None
    assert shut(after("overloaded", state=there), NOW) is not None


def test_a_success_ends_the_row_and_what_failed_after_it_begins_another() -> None:
    before = heard(FRESH, Facts(failures=3), NOW)
    assert told(before, after("ok", now=LATER, state=before), LATER) == Facts(succeeded=True)
    news = told(before, after("ok", "overloaded", now=LATER, state=before), LATER)
    assert (news.failures, news.succeeded) == (1, True)
    assert heard(before, Facts(failures=0), NOW).breaker.streak == 0


def test_failures_that_never_left_this_machine_are_no_part_of_the_row() -> None:
    assert told(FRESH, after("transport"), NOW) == NOTHING


@given(luck)
def test_the_end_of_a_rate_limit_is_spread_over_the_fleet(luck: float) -> None:
    news = Facts(rests={"rate_limited": Rest(seconds=20.0), "balance": Rest(seconds=900.0)})
    there = heard(FRESH, news, NOW, luck).cooldowns
    assert there["rate_limited"].until == pytest.approx(NOW + 20.0 * (1 + JITTER * luck))
    assert there["balance"].until == NOW + 900.0


# Probes


def half_open(**facts: Any) -> LaneState:
    return LaneState(breaker=Breaker(opened=NOW - 10, until=NOW, openings=1, **facts))


def test_while_another_process_probes_the_lane_is_shut() -> None:
    assert shut(half_open(), NOW) is None
    state = probed_elsewhere(half_open(), 5.0, NOW)
    assert shut(state, NOW) == 5.0
    assert not probes(state)
    assert shut(probed_elsewhere(state, 0.0, NOW), NOW) is None


def test_the_own_probe_is_not_given_up_because_of_a_lease_elsewhere() -> None:
    state = half_open(probe=3, lease=NOW + 60)
    assert probes(state)
    assert probed_elsewhere(state, 5.0, NOW) is state
    assert probed_elsewhere(state, 0.0, NOW) is state


def test_a_probe_elsewhere_that_is_never_heard_of_again_ends() -> None:
    state = probed_elsewhere(half_open(), 5.0, NOW)
    assert shut(state, NOW + 5.0) is None


# Who is meant


def settings(*keys: str, **facts: Any) -> Sequence[ProviderSettings]:
    return [ProviderSettings(name="acme", kind="openai", api_key=Secret(key), **facts) for key in keys]


def test_only_who_has_the_same_keys_and_address_means_the_same_lane() -> None:
    mine = identity(FLASH, settings(KEY, base_url="https://relay.example/v1"))
    assert mine == identity(replace(FLASH, provider="other-name"), settings(KEY, base_url="https://relay.example/v1"))
    others = [
        identity(FLASH, settings("another-key", base_url="https://relay.example/v1")),
        identity(FLASH, settings(KEY, "another-key", base_url="https://relay.example/v1")),
        identity(FLASH, settings(KEY, base_url="https://other.example/v1")),
        identity(FLASH, settings(KEY, base_url="https://relay.example/v1", headers={"x-team": "art"})),
        identity(replace(FLASH, upstream_model="flash-002"), settings(KEY, base_url="https://relay.example/v1")),
        identity(replace(FLASH, egress_country="DE"), settings(KEY, base_url="https://relay.example/v1")),
    ]
    assert len({mine, *others}) == 7


def test_a_name_tells_nothing_of_the_key() -> None:
    name = identity(FLASH, settings(KEY))
    assert KEY not in name
    assert set(name) <= set("0123456789abcdef")
