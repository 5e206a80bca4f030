"""The keys of one provider: which is used next, and which rest for how long."""

from __future__ import annotations

import threading

import pytest

from gateway.configuration.credentials import Credentials
from gateway.health.cooldowns import Cause
from providers.outcome import OutcomeName
from providers.provider import ProviderSettings
from tests.gateway.upstreams import Scripted, fails, relay, studio, two

NOW = 50_000.0
MODEL, OTHER = "painter", "sketcher"


def keys(count: int) -> Credentials:
    settings = ProviderSettings(name="first", kind="openai")
    return Credentials([Scripted(settings, two()) for _ in range(count)])


def trouble(outcome: OutcomeName, reset: float | None = None, luck: float = 0.0) -> Cause:
    return Cause(outcome=outcome, reset=reset, luck=luck)


def test_the_first_key_is_used_as_long_as_it_works() -> None:
    assert [keys(3).pick(MODEL, NOW) for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("outcome", "seconds"), [("balance", 900.0), ("quota_exhausted", 3000.0)]
)  # fmt: skip
def test_a_key_in_trouble_is_passed_over_to_the_second(outcome: OutcomeName, seconds: float) -> None:
    credentials = keys(2)
    assert credentials.rest(0, MODEL, trouble(outcome, reset=3000.0), NOW) is True
    picked = [credentials.pick(MODEL, NOW + after) for after in (0.0, seconds - 0.1, seconds)]
    assert picked == [1, 1, 0]


@pytest.mark.parametrize(("outcome", "picked"), [("auth", 1), ("balance", 1), ("quota_exhausted", 0)])
def test_a_refusal_and_a_balance_belong_to_the_key_and_a_quota_to_one_model(outcome: OutcomeName, picked: int) -> None:
    credentials = keys(2)
    credentials.rest(0, MODEL, trouble(outcome, reset=3000.0), NOW)
    assert credentials.pick(OTHER, NOW) == picked


def test_with_every_key_at_rest_none_is_left_and_the_one_that_rests_the_shortest_is_used() -> None:
    credentials = keys(2)
    assert credentials.rest(1, MODEL, trouble("balance"), NOW) is True
    assert credentials.rest(0, MODEL, trouble("balance"), NOW + 100) is False
    assert credentials.pick(MODEL, NOW + 200) == 1


def test_a_key_left_for_one_model_is_not_one_left_for_another() -> None:
    credentials = keys(2)
    credentials.rest(1, OTHER, trouble("quota_exhausted", reset=3000.0), NOW)
    assert credentials.rest(0, MODEL, trouble("balance"), NOW) is True
    assert credentials.rest(0, OTHER, trouble("balance"), NOW) is False


def test_the_longest_of_several_troubles_counts() -> None:
    credentials = keys(2)
    credentials.rest(0, MODEL, trouble("quota_exhausted", reset=3000.0), NOW)
    credentials.rest(0, MODEL, trouble("balance"), NOW)
    assert [credentials.pick(MODEL, NOW + after) for after in (901.0, 2999.0, 3000.0)] == [1, 1, 0]


def test_a_refused_key_is_passed_over_until_it_is_found_good() -> None:
    credentials = keys(2)
    credentials.rest(0, MODEL, trouble("auth"), NOW)
    assert (credentials.pick(MODEL, NOW + 1e9), credentials.refused()) == (1, (0,))
    credentials.absolve(0)
    assert (credentials.pick(MODEL, NOW), credentials.refused()) == (0, ())


def emptied(credentials: Credentials, now: float) -> float:
    """Seconds for which the first key rests when its account is found empty at *now*."""
    credentials.rest(0, MODEL, trouble("balance"), now)
    return next(seconds for seconds in (900.0, 1800.0, 3600.0) if credentials.pick(MODEL, now + seconds) == 0)


def test_a_balance_found_empty_again_and_again_rests_twice_as_long_each_time() -> None:
    credentials = keys(2)
    assert [emptied(credentials, NOW + 10_000 * time) for time in range(3)] == [900, 1800, 3600]


def test_an_answer_in_between_ends_the_doubling() -> None:
    credentials = keys(2)
    emptied(credentials, NOW)
    credentials.worked(0, MODEL, NOW + 900)
    assert emptied(credentials, NOW + 10_000) == 900


def test_an_answer_to_a_call_from_before_ends_neither_rest_nor_doubling() -> None:
    credentials = keys(2)
    emptied(credentials, NOW)
    credentials.worked(0, MODEL, NOW - 5)
    assert credentials.pick(MODEL, NOW + 10) == 1
    assert emptied(credentials, NOW + 10_000) == 1800


def test_the_answer_of_one_key_says_nothing_about_another() -> None:
    credentials = keys(2)
    emptied(credentials, NOW)
    credentials.worked(1, MODEL, NOW + 5000)
    assert emptied(credentials, NOW + 10_000) == 1800


def test_what_is_remembered_does_not_grow_with_the_traffic() -> None:
    credentials = keys(2)
    for time in range(500):
        credentials.rest(time % 2, MODEL, trouble("quota_exhausted", reset=10.0), NOW + time)
    assert len(credentials._rests) == 2


def test_threads_that_meet_the_same_trouble_together_double_nothing() -> None:
    credentials = keys(2)
    refused = [
        threading.Thread(target=credentials.rest, args=(0, MODEL, trouble("balance"), NOW)) for _ in range(8)
    ]  # fmt: skip
    for thread in refused:
        thread.start()
    for thread in refused:
        thread.join()
    assert [credentials.pick(MODEL, NOW + after) for after in (899.0, 900.0)] == [1, 0]


def test_a_request_that_is_answered_ends_the_doubling_of_the_key_it_used() -> None:
    painters = studio(first=relay(keys=("key-1", "key-2")))

    def emptied_at(now: float) -> list[str | None]:
        """The keys that are used when the account of the first is found empty, and once it has rested for 15 minutes."""
        painters.time.now, before = now, len(painters.calls)
        painters.script("first", fails("balance"))
        painters.draw()
        painters.time.now = now + 902
        painters.draw()
        return [call.key for call in painters.calls[before:]]

    assert [emptied_at(10_000.0 * time) for time in (1, 2)] == [["key-1", "key-2", "key-1"]] * 2
