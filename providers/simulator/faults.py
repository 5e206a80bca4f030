"""Failures on command: rules that say which requests fail, and how.

::

    faults.overloaded(size="4K")                    # every 4K request gets a 503, until the faults are cleared
    faults.rate_limited(count=1)                    # the next request gets a 429, the one after it an image
    faults.cut(0.3, model="gemini-3-pro-image")     # the connection closes after 30 % of the body

Every name here is also a word for the command line: ``overloaded@4K``, ``cut=0.3@gemini-3-pro-image``, ``region*2``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypedDict, Unpack

from providers.simulator import google_errors, openai_errors, refusals, spoiling
from providers.simulator.effects import (
    Cut,
    Drip,
    Effect,
    Framing,
    Garbage,
    Hang,
    Recode,
    Redraw,
    Reply,
    Reset,
    Spoil,
    Whole,
)
from providers.simulator.messages import Answer, answer, error
from providers.simulator.models import canonical
from providers.sizes import Size, parse_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A rule: what happens to the requests it matches.

    *model*, *size* and *path* (a part of it) narrow the rule; None matches any. *count* is how many requests it strikes
    before it is spent, None for no end. *delay* is seconds before the answer begins. *account* rules strike free calls
    (model lists) too, as a refused key does; the others strike only calls that draw, unless *path* names another.
    """

    name: str
    effect: Effect
    model: str | None = None
    size: Size | None = None
    path: str | None = None
    count: int | None = None
    delay: float = 0.0
    account: bool = False

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise ValueError(f"count must be at least 1, not {self.count}")
        if self.delay < 0:
            raise ValueError(f"delay must be seconds, not {self.delay}")


class Rule(TypedDict, total=False):
    """The fields of a :class:`Fault` that every named fault takes."""

    model: str | None
    size: Size | None
    path: str | None
    count: int | None
    delay: float


@dataclass(frozen=True, slots=True)
class NamedFault:
    """A common failure by its name: call it with the fields of a :class:`Rule` to get the :class:`Fault`."""

    name: str
    meaning: str
    effect: Effect
    account: bool = False

    def __call__(self, **rule: Unpack[Rule]) -> Fault:
        """The fault, narrowed by *rule*."""
        return Fault(name=self.name, effect=self.effect, account=self.account, **rule)


@dataclass(frozen=True, slots=True)
class Parametric:
    """How the command line makes a fault that takes a value: *parse* turns the text after ``=`` into it."""

    name: str
    meaning: str
    make: Callable[..., Fault]
    parse: Callable[[str], Any]


REGISTRY: Final[dict[str, NamedFault | Parametric]] = {}
"""Every named fault, in the order of this module."""


def _named(name: str, meaning: str, effect: Effect, account: bool = False) -> NamedFault:
    fault = NamedFault(name, meaning, effect, account)
    REGISTRY[name] = fault
    return fault


def _status(name: str, meaning: str, google: Answer, status: int | None = None, account: bool = False) -> NamedFault:
    return _named(name, meaning, Reply(google=google, status=status), account)


def _everywhere(name: str, meaning: str, reply: Answer, account: bool = False) -> NamedFault:
    return _named(name, meaning, Reply(google=reply, chat=reply, images=reply), account)


_CDN_PAGE: Final = Answer(
    status=502,
    media_type="text/html; charset=UTF-8",
    body=(
        b"<!DOCTYPE html><html><head><title>relay.example | 502: Bad gateway</title></head>"
        b"<body><h1>Bad gateway</h1><p>Error code 502</p><p>Ray ID: 8f00ba4</p></body></html>",
    ),
)
_CHALLENGE: Final = Answer(
    status=403,
    media_type="text/html; charset=UTF-8",
    body=(b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Checking</body></html>",),
    headers=(("cf-mitigated", "challenge"),),
)
_IN_BODY: Final = answer({"error": {"code": 502, "message": "Provider disconnected", "metadata": {}}})

# Status codes with the bodies that really come with them.
overloaded = _status("overloaded", "503: the model is overloaded", google_errors.OVERLOADED)
internal = _status("internal", "500: an internal error", google_errors.INTERNAL)
deadline = _status("deadline", "504: the upstream ran out of time", google_errors.DEADLINE)
rate_limited = _status(
    "rate_limited",
    "429: the quota per minute is used up; RetryInfo says 3 s",
    google_errors.quota(period="Minute", limit=None, retry_delay="3s"),
)
daily_quota = _status(
    "daily_quota",
    "429: the quota per day is used up, although RetryInfo says 47 s",
    google_errors.quota(period="Day", limit=250, retry_delay="47s"),
)
no_quota = _status(
    "no_quota",
    "429 with limit: 0: this tier never had a quota for the model",
    google_errors.quota(period="Day", limit=0, retry_delay="7.811233656s", free_tier=True),
)
throttled = _status(
    "throttled",
    "429 without any hint when to come back",
    error(429, "RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later."),
)
empty_429 = _everywhere("empty_429", "429 with an empty body", Answer(status=429, media_type="text/plain"))
region = _status("region", "400: the location is not supported", google_errors.REGION, account=True)
bad_key = _status("bad_key", "400 or 401: the key is refused", google_errors.BAD_KEY, 401, account=True)
bad_key_list = _everywhere(
    "bad_key_list",
    "400: the key is refused, in an error wrapped into a list",
    Answer(status=400, body=(b"[", *google_errors.BAD_KEY.body, b"]")),
    account=True,
)
leaked_key = _status("leaked_key", "403: the key was reported as leaked", google_errors.LEAKED_KEY, account=True)
balance = _everywhere("balance", "402: no credit left", openai_errors.BALANCE)
model_gone = _status(
    "model_gone", "404: the model is gone", google_errors.no_such_model("{model}", "v1beta", "generateContent")
)
invalid_argument = _status(
    "invalid_argument",
    "400: the request is refused",
    google_errors.invalid("Request contains an invalid argument."),
)
cdn_502 = _everywhere("cdn_502", "502: an HTML page from a CDN", _CDN_PAGE, account=True)
challenge = _everywhere("challenge", "403: an HTML challenge from a CDN", _CHALLENGE, account=True)
insufficient_quota = _everywhere(
    "insufficient_quota", "429 insufficient_quota, as OpenAI says it", openai_errors.INSUFFICIENT_QUOTA
)
moderation_blocked = _everywhere(
    "moderation_blocked", "400 moderation_blocked, as OpenAI says it", openai_errors.MODERATION_BLOCKED
)
prompt_blocked = _everywhere("prompt_blocked", "400 prompt_blocked, as new-api says it", openai_errors.PROMPT_BLOCKED)
empty_response = _everywhere("empty_response", "500 empty_response, as new-api says it", openai_errors.EMPTY_RESPONSE)
string_code = _everywhere("string_code", '429 with code "429" as a string, as LiteLLM says it', openai_errors.LITELLM)
error_in_200 = _everywhere("error_in_200", "200 with an error for a body", _IN_BODY)

# Refusals: 200, and no image.
prohibited = _named("prohibited", "200: IMAGE_PROHIBITED_CONTENT", refusals.PROHIBITED)
image_other = _named("image_other", "200: IMAGE_OTHER, not charged", refusals.IMAGE_OTHER)
recitation = _named("recitation", "200: IMAGE_RECITATION", refusals.RECITATION)
image_safety = _named("image_safety", "200: IMAGE_SAFETY", refusals.IMAGE_SAFETY)
no_candidates = _named("no_candidates", "200 without candidates", refusals.NO_CANDIDATES)
prompt_feedback = _named("prompt_feedback", "200: the prompt was blocked, not charged", refusals.PROMPT_FEEDBACK)
text_only = _named("text_only", "200: words instead of an image", refusals.TEXT_ONLY)
no_image = _named("no_image", "200: NO_IMAGE", refusals.NO_IMAGE)

# Other drawings than asked.
wrong_ratio = _named("wrong_ratio", "a square, whatever ratio was asked", Redraw(square=True))
fewer = _named("fewer", "one image, however many were asked", Redraw(n=1))
drafts = _named("drafts", "two drafts before the image, not marked as such", Redraw(drafts=2))

# Spoilt images.
bad_crc = _named("bad_crc", "a PNG with a wrong checksum", Spoil(spoiling.bad_crc, "image/png"))
short_pixels = _named("short_pixels", "an image that stops halfway", Spoil(spoiling.short_pixels))
truncated_base64 = _named("truncated_base64", "base64 that stops halfway", Spoil(spoiling.truncated_base64))
garbage_base64 = _named("garbage_base64", "base64 with foreign characters", Spoil(spoiling.garbage_in_base64))
not_an_image = _named("not_an_image", "text in place of the image", Spoil(spoiling.not_an_image))
html_image = _named("html_image", "HTML that claims to be a PNG", Spoil(spoiling.html_page, claims="image/png"))
svg_image = _named("svg_image", "SVG with a script that claims to be a PNG", Spoil(spoiling.svg, claims="image/png"))
polyglot = _named("polyglot", "an image with a script behind it", Spoil(spoiling.trailing_script))
giant_header = _named(
    "giant_header", "a PNG that claims 20000x20000 pixels", Spoil(spoiling.giant_header, claims="image/png")
)
wrong_mime = _named(
    "wrong_mime", "a JPEG that claims to be a PNG", Spoil(lambda *both: both, "image/jpeg", "image/png")
)

# Spoilt answers.
gzipped = _named("gzipped", "a body in gzip (not a fault, but not asked for)", Recode(spoiling.compressed))
corrupt_gzip = _named("corrupt_gzip", "gzip with a changed byte", Recode(spoiling.corrupt_gzip))
truncated_gzip = _named("truncated_gzip", "gzip that stops halfway", Recode(spoiling.truncated_gzip))
false_gzip = _named("false_gzip", "a plain body that says it is gzip", Recode(spoiling.false_gzip))
gzip_bomb = _named("gzip_bomb", "256 MB of blanks in gzip", Recode(spoiling.gzip_bomb))
wrong_type = _named("wrong_type", "the right body as text/html", Recode(spoiling.as_html))
trailing_garbage = _named(
    "trailing_garbage", "the right body with a comment behind it", Recode(spoiling.trailing_garbage)
)

# Broken connections. What was drawn by then is billed.
hang = _named("hang", "no answer until the client gives up", Hang())
reset = _named("reset", "connection reset after the request was read", Reset())
reset_early = _named("reset_early", "connection reset while the request is being sent", Reset(early=True), account=True)
garbage = _named("garbage", "bytes that are not HTTP", Garbage(), account=True)


def slow(seconds: float = 5.0, **rule: Unpack[Rule]) -> Fault:
    """The right answer, after *seconds*."""
    return Fault(name="slow", effect=Whole(), **(rule | Rule(delay=seconds)))


def wrong_size(drawn: Size = "1K", **rule: Unpack[Rule]) -> Fault:
    """An image of size *drawn*, whatever was asked."""
    return Fault(name="wrong_size", effect=Redraw(size=drawn), **rule)


def cut(at: float = 0.5, framing: Framing = "length", **rule: Unpack[Rule]) -> Fault:
    """The connection closes after the share *at* of the body."""
    return Fault(name="cut", effect=Cut(at, framing), **rule)


def drip(every: float = 0.1, piece: int = 1, **rule: Unpack[Rule]) -> Fault:
    """The body comes in pieces of *piece* bytes, one *every* so many seconds."""
    return Fault(name="drip", effect=Drip(every, piece), **rule)


def redirect(to: str = "http://127.0.0.1:9/", status: int = 307, **rule: Unpack[Rule]) -> Fault:
    """A redirect to the URL *to*."""
    reply = Answer(status=status, headers=(("Location", to),), media_type="text/html")
    return Fault(name="redirect", effect=Reply(google=reply, chat=reply, images=reply), account=True, **rule)


def retry_after(value: str = "3", **rule: Unpack[Rule]) -> Fault:
    """429 with the header ``Retry-After: value``, whatever that is, and no RetryInfo."""
    reply = error(429, "RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later.")
    reply = replace(reply, headers=(("Retry-After", value),))
    return Fault(name="retry_after", effect=Reply(google=reply, chat=reply, images=reply), **rule)


def status(code: int = 500, **rule: Unpack[Rule]) -> Fault:
    """Any status *code*, with a body in Google's form."""
    reply = error(code, "UNKNOWN", f"Simulated status {code}.")
    return Fault(name="status", effect=Reply(google=reply), **rule)


def _tier(text: str) -> Size:
    size = parse_size(text)
    if size is None:
        raise ValueError(f"{text!r} is not a size")
    return size


for _name, _make, _parse in (
    ("slow", slow, float),
    ("wrong_size", wrong_size, _tier),
    ("cut", cut, float),
    ("drip", drip, float),
    ("redirect", redirect, str),
    ("retry_after", retry_after, str),
    ("status", status, int),
):
    REGISTRY[_name] = Parametric(_name, str(_make.__doc__).rstrip("."), _make, _parse)


def parse_fault(text: str) -> Fault:
    """The fault that *text* names: ``name[=value][@size or @model][*count]``, with hyphens or underscores.

    Raises:
        ValueError: there is no such name, size or value; the message says which there are.
    """
    head, star, times = text.partition("*")
    head, _, target = head.partition("@")
    word, equals, value = head.partition("=")
    fault = _make_named(word.strip().replace("-", "_"), value.strip() if equals else None)
    if star:
        fault = replace(fault, count=int(times))
    return fault if not target else replace(fault, **_narrowing(target.strip()))


def _make_named(name: str, value: str | None) -> Fault:
    entry = REGISTRY.get(name)
    if entry is None:
        raise ValueError(f"unknown fault {name!r}; known faults: {', '.join(sorted(REGISTRY))}")
    if isinstance(entry, NamedFault):
        if value is not None:
            raise ValueError(f"fault {name!r} takes no value")
        return entry()
    return entry.make() if value is None else entry.make(entry.parse(value))


def _narrowing(target: str) -> dict[str, Any]:
    size = parse_size(target)
    return {"size": size} if size else {"model": canonical(target)}
