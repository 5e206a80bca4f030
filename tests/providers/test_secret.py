"""A secret shows itself to nobody who does not ask."""

from __future__ import annotations

import copy
import io
import json
import logging
import pickle
import pprint
import traceback
from dataclasses import asdict
from typing import Any

import pytest

from providers.provider import ProviderSettings
from providers.secret import Secret

CANARY = "canary-key-0123456789"
SECRET = Secret(CANARY)
SETTINGS = ProviderSettings(name="test", kind="google", api_key=SECRET)


PRINTED = [
    repr(SECRET), str(SECRET), ascii(SECRET), format(SECRET, ""), f"{SECRET}", f"{SECRET!r}", f"{SECRET!s}",
    f"{SECRET!a}", f"{SECRET:>60}", f"{SECRET:s}", f"{SECRET!r:>60}", "%s %r %a".__mod__((SECRET, SECRET, SECRET)),
    repr([SECRET]), str({"key": SECRET}), repr({SECRET}), pprint.pformat({"key": SECRET}), repr(SETTINGS),
    str(asdict(SETTINGS)), str(Exception(SECRET)), repr(ValueError("x", SECRET)),
]  # fmt: skip


class TestPrinting:
    @pytest.mark.parametrize("text", PRINTED)
    def test_never_shows_it(self, text: str) -> None:
        assert CANARY not in text
        assert "Secret(" in text

    def test_in_a_log_never_shows_it(self, caplog: pytest.LogCaptureFixture) -> None:
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        logger = logging.getLogger("test.secret")
        logger.addHandler(handler)
        try:
            logger.error("%s %r %s", SECRET, SECRET, {"key": SECRET}, extra={"key": SECRET})
        finally:
            logger.removeHandler(handler)
        assert "Secret(" in stream.getvalue()
        assert CANARY not in stream.getvalue() + caplog.text

    def test_in_a_traceback_never_shows_it(self) -> None:
        with pytest.raises(AttributeError) as raised:
            SECRET.missing  # noqa: B018
        shown = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
        assert CANARY not in "".join(shown.format())

    def test_has_no_dictionary_to_look_into(self) -> None:
        with pytest.raises(TypeError):
            vars(SECRET)


class TestTakingItAlong:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    @pytest.mark.parametrize("holder", [SECRET, [SECRET], {"key": SECRET}, SETTINGS])
    def test_by_pickle_is_refused_without_showing_it(self, protocol: int, holder: Any) -> None:
        with pytest.raises(TypeError, match="cannot be pickled") as raised:
            pickle.dumps(holder, protocol)
        assert CANARY not in str(raised.value)

    def test_by_json_is_refused_without_showing_it(self) -> None:
        with pytest.raises(TypeError) as raised:
            json.dumps({"key": SECRET})
        assert CANARY not in str(raised.value)
        assert CANARY not in json.dumps({"key": SECRET}, default=str)

    def test_by_a_shallow_copy_is_refused(self) -> None:
        with pytest.raises(TypeError, match="copied"):
            copy.copy(SECRET)

    def test_by_a_deep_copy_of_its_holder_keeps_the_one_secret(self) -> None:
        holder = {"key": SECRET}
        assert copy.deepcopy(holder)["key"] is SECRET


class TestASecret:
    def test_reveals_itself_when_asked(self) -> None:
        assert SECRET.reveal() == CANARY

    def test_equals_secrets_alone(self) -> None:
        assert Secret(CANARY) == SECRET
        assert Secret("other") != SECRET
        assert SECRET != CANARY
        assert len({SECRET, Secret(CANARY), Secret("other")}) == 2

    def test_does_not_hash_like_its_text(self) -> None:
        assert hash(SECRET) == hash(Secret(CANARY)) != hash(CANARY)

    def test_cannot_be_changed_by_name(self) -> None:
        with pytest.raises(AttributeError):
            SECRET.value = "x"
