"""Rows 12 and 55 to 60: what must not get out, and where nobody may lead us."""

from __future__ import annotations

import logging
import pickle
import socket
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from gateway import GatewayError
from gateway.events import Event
from tests.conftest import Canary
from tests.faults.answers import FAILING, OVERLOADED, REGION, THROTTLED, WRONG_KEY, refuses
from tests.faults.socket_time import SocketTime
from tests.faults.stage import Ended, both, delivers, fate, moves_on, played, poster, staged
from tests.providers.bodies import written
from tests.providers.wire import KEY, Script, Upstream, Wire, answer, answering

DRAWN = ("ok", "yes")
ONLY_FIRST: dict[str, Any] = {"providers": {"only": ["first"]}}


@both
def test_row_12_proxies_of_the_environment_are_ignored(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    time = SocketTime()

    async def main() -> tuple[Ended, int]:
        async with Upstream(answering(answer(b"{}"))) as proxy:
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
                monkeypatch.setenv(name, proxy.url)
            for name in ("NO_PROXY", "no_proxy"):
                monkeypatch.delenv(name, raising=False)
            async with staged(kind, delivers(kind), time=time) as stage:
                return await stage.draw(), proxy.connections

    ended, through_the_proxy = time.run(main)
    assert (ended.told, ended.asked, ended.spent) == ((DRAWN,), ("first",), "0.05")
    assert (through_the_proxy, ended.health["first"].state) == (0, "closed")


@both
def test_row_12_a_proxy_that_is_configured_is_used(kind: str) -> None:
    time = SocketTime()

    async def main() -> tuple[Ended, list[str], int]:
        async with Upstream(delivers(kind)) as proxy:
            urls = {"first": "http://upstream.invalid"}
            async with staged(kind, delivers(kind), time=time, urls=urls, proxy=proxy.url) as stage:
                ended = await stage.draw()
                return ended, [request.target for request in proxy.requests], stage.calls()

    ended, targets, direct = time.run(main)
    assert (ended.told, ended.spent, direct) == ((DRAWN,), "0.05", 0)
    assert all(target.startswith("http://upstream.invalid/v1") for target in targets)
    assert len(targets) == 1


def echoes(line: str) -> Script:
    """Plays the whole head of the request back, in an error, as careless proxies do."""

    async def script(wire: Wire) -> None:
        request = await wire.request()
        document = {"error": {"message": f"bad request: {request.line} {request.headers}", "code": int(line[:3])}}
        await wire.send(answer(written(document), status=line, framing="close", headers=[f"X-Key: {KEY}"]))

    return script


async def cut_echo(wire: Wire) -> None:
    await wire.request()
    await wire.send(b"HTTP/1.1 200 " + KEY.encode() + b"\r\nX-Key: " + KEY.encode() + b"\r\n" + KEY.encode())


LEAKS: dict[str, Script] = {
    **{line: echoes(line) for line in ("200 OK", "400 Bad Request", WRONG_KEY, THROTTLED, FAILING, OVERLOADED)},
    "bytes that are not HTTP": cut_echo,
    "a redirect": answering(answer(b"", status="302 Found", headers=[f"Location: http://127.0.0.1:9/?key={KEY}"])),
}


@both
@pytest.mark.parametrize("script", LEAKS.values(), ids=LEAKS.keys())
def test_row_55_a_key_shows_in_no_log_error_repr_event_pickle_or_address(
    kind: str, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    time, events = SocketTime(), list[Event]()

    async def main() -> None:
        async with staged(kind, script, time=time) as stage:
            stage.gateway.on_event(events.append)
            ended = await stage.draw(**ONLY_FIRST)
            error = ended.error
            assert error is not None
            held = (stage.gateway, stage.gateway.config, stage.gateway.health(), stage.gateway.plan("a fox"), *events)
            told = [*map(repr, held), repr(error), *map(repr, chain_of(error)), *traceback.format_exception(error)]
            told += [record.getMessage() for record in caplog.records] + [caplog.text]
            assert events
            assert len(caplog.records) > 2
            assert [text[:300] for text in told if KEY in text] == []
            assert KEY.encode() not in pickle.dumps(error)
            requests = stage.upstreams["first"].requests
            assert requests
            assert all(KEY not in request.target and KEY.encode() not in request.body for request in requests)
            assert all(any(KEY in value for value in request.headers.values()) for request in requests)

    time.run(main)


def chain_of(error: BaseException) -> list[object]:
    """What an error carries, and the errors behind it carry."""
    chain: list[object] = []
    each: BaseException | None = error
    while each is not None:
        chain += [each, vars(each), each.args]
        each = each.__cause__ or each.__context__
    return chain


def test_row_55_the_whole_suite_is_watched(canary: Canary) -> None:
    played("openai", delivers("openai"))
    assert KEY in canary.keys
    assert canary in logging.getLogger().handlers
    canary.look("a careless line", f"key={KEY}")
    assert canary.seen == ["a key shows in a careless line"]
    canary.seen.clear()  # what the fixture would have failed this test for


WILD = (
    'a fox\r\nimage_attempt forged\x1b[31m\x1b]0;title\x07 \u202egnp.exe\u2066 %s %(x)s {} {0} \u2028 "quoted"\x00\x85'
)


OTHER = WILD.replace("fox", "wolf")
"""Wild as well, and not the prompt itself, which details leave out."""


def is_one_plain_line(text: str) -> bool:
    return text.isprintable() and len(text.splitlines()) <= 1


@both
def test_row_56_a_wild_prompt_that_is_played_back_becomes_one_escaped_line(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "image_gateway")
    script = refuses("400 Bad Request", message=f"cannot draw {WILD}; {OTHER}")
    ended = played(kind, script, fields={"prompt": WILD, "tags": {"title\n": WILD}, **ONLY_FIRST})
    (attempt,) = ended.attempts
    assert (attempt.outcome, attempt.billed, ended.spent) == ("invalid", "no", "0.00")
    assert is_one_plain_line(attempt.detail)
    assert "wolf" in attempt.detail
    assert len(attempt.detail) <= 200
    assert is_one_plain_line(str(ended.error))
    assert fate(kind, script) == moves_on("invalid", "no", None)
    lines = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("image_attempt") for line in lines)
    assert [line for line in lines if not is_one_plain_line(line)] == []


@both
def test_row_56_a_wild_prompt_reaches_the_upstream_as_it_is_and_no_log(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    time = SocketTime()

    async def main() -> bytes:
        async with staged(kind, delivers(kind), time=time) as stage:
            assert (await stage.draw(WILD)).told == (DRAWN,)
            return stage.upstreams["first"].requests[0].body

    body = time.run(main).decode()
    assert "forged" in body
    assert [record.name for record in caplog.records if "forged" in record.getMessage()] == []


def linking(*links: str) -> Script:
    """Answers with links instead of images."""
    return answering(answer(written({"data": [{"url": link} for link in links]})))


def resolving(monkeypatch: pytest.MonkeyPatch, names: Mapping[str, list[list[str]]]) -> list[str]:
    """Have names resolve to each of these lists of addresses in turn, the last one for ever; returns the names asked."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if name not in names:
            return real(host, port, *rest, **more)
        answers = names[name]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        asked.append(name)
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in each], socket.SOCK_STREAM, 6, "", (each, port)) for each in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that anybody connects to."""
    addresses: list[str] = []

    class Noting(socket.socket):
        def connect(self, address: Any) -> None:
            addresses.append(str(address[0]))
            super().connect(address)

    monkeypatch.setattr(socket, "socket", Noting)
    return addresses


ELSEWHERE = {
    "link-local": "https://169.254.169.254/latest/meta-data/a.png",
    "decimal": "https://2852039166/a.png",
    "octal": "https://0251.0376.0251.0376/a.png",
    "hexadecimal": "https://0xa9.0xfe.0xa9.0xfe/a.png",
    "mapped": "https://[::ffff:169.254.169.254]/a.png",
    "NAT64": "https://[64:ff9b::a9fe:a9fe]/a.png",
    "6to4": "https://[2002:a9fe:a9fe::1]/a.png",
    "shared address space": "https://100.64.0.1/a.png",
    "loopback": "https://127.0.0.1:9/a.png",
    "private": "https://10.0.0.1/a.png",
    "a name for link-local": "https://metadata.example/a.png",
    "one bad address among good ones": "https://mixed.example/a.png",
    "plain http": "http://pictures.example/a.png",
    "a file": "file:///etc/passwd",
}
NAMES = {
    "metadata.example": [["169.254.169.254"]],
    "mixed.example": [["93.184.216.34", "10.0.0.1"]],
    "pictures.example": [["93.184.216.34"]],
}


@pytest.mark.parametrize("link", ELSEWHERE.values(), ids=ELSEWHERE.keys())
def test_row_57_a_link_to_an_address_that_is_not_public_is_refused_after_resolving_and_the_image_is_paid(
    link: str, monkeypatch: pytest.MonkeyPatch, connected: list[str]
) -> None:
    resolving(monkeypatch, dict(NAMES))
    assert fate("openai", linking(link)) == moves_on("bad_response", "yes", 2)
    assert set(connected) == {"127.0.0.1"}  # the two upstreams
    ended = played("openai", linking(link), fields=ONLY_FIRST)
    assert len(ended.attempts[0].detail) <= 200
    assert "meta-data" not in ended.attempts[0].detail


def host(*answers: bytes) -> Script:
    """A host of images that gives *answers* in turn, each on a connection of its own."""
    left = list(answers)

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(left.pop(0) if len(left) > 1 else left[0])

    return script


def file(image: bytes) -> bytes:
    return answer(image, framing="close", headers=["Content-Type: image/png"])


def moved(to: str) -> bytes:
    return answer(b"", status="302 Found", framing="close", headers=[f"Location: {to}"])


def linked(
    script: Script, hosts: Callable[[int], list[str]], link: Callable[[int], str], **fields: Any
) -> tuple[Ended, Upstream]:
    """How a request ends whose image is behind *link*, a function of the port of a host that plays *script*; the
    configuration excepts *hosts*. And that host."""
    time = SocketTime()

    async def main() -> tuple[Ended, Upstream]:
        async with Upstream(script) as pictures:
            port = pictures.port
            async with staged("openai", linking(link(port)), time=time, download_hosts=hosts(port)) as stage:
                return await stage.draw(**fields), pictures

    return time.run(main)


def test_row_57_the_connection_goes_to_the_address_that_was_checked(
    monkeypatch: pytest.MonkeyPatch, connected: list[str]
) -> None:
    asked = resolving(monkeypatch, {"pictures.example": [["127.0.0.1"], ["169.254.169.254"]]})
    ended, pictures = linked(
        host(file(poster())),
        lambda port: [f"pictures.example:{port}"],
        lambda port: f"http://pictures.example:{port}/a.png",
    )
    assert (ended.told, ended.asked, ended.spent) == ((DRAWN,), ("first",), "0.05")
    assert asked == ["pictures.example"]
    assert set(connected) == {"127.0.0.1"}
    assert pictures.requests[0].headers["host"].startswith("pictures.example:")
    assert not any(KEY in value for value in pictures.requests[0].headers.values())


def test_row_58_a_name_that_resolves_differently_the_second_time_is_checked_again_at_the_next_hop(
    monkeypatch: pytest.MonkeyPatch, connected: list[str]
) -> None:
    asked = resolving(monkeypatch, {"rebinding.example": [["169.254.169.254"]], "pictures.example": [["127.0.0.1"]]})
    ended, pictures = linked(
        host(moved("https://rebinding.example/latest/meta-data/")),
        lambda port: [f"pictures.example:{port}"],
        lambda port: f"http://pictures.example:{port}/a.png",
    )
    assert (ended.told, ended.asked, ended.spent) == ((("bad_response", "yes"), DRAWN), ("first", "second"), "0.15")
    assert ended.health["first"].state == "closed"
    assert asked == ["pictures.example", "rebinding.example"]
    assert set(connected) == {"127.0.0.1"}
    assert len(pictures.requests) == 1


@pytest.mark.parametrize("target", [*ELSEWHERE.values(), "https://user:pass@pictures.example/a.png"])
def test_row_58_a_redirect_to_an_address_that_is_not_public_is_not_followed(
    target: str, monkeypatch: pytest.MonkeyPatch, connected: list[str]
) -> None:
    resolving(monkeypatch, dict(NAMES))
    ended, pictures = linked(
        host(moved(target)), lambda port: [f"127.0.0.1:{port}"], lambda port: f"http://127.0.0.1:{port}/a.png"
    )
    assert (ended.told, ended.spent) == ((("bad_response", "yes"), DRAWN), "0.15")
    assert (len(pictures.requests), set(connected)) == (1, {"127.0.0.1"})


@pytest.mark.parametrize(("hops", "told"), [(3, (DRAWN,)), (4, (("bad_response", "yes"), DRAWN))])
def test_row_58_three_redirects_are_followed_and_no_fourth(hops: int, told: tuple[tuple[str, str], ...]) -> None:
    ended, pictures = linked(
        host(*[moved("/next.png")] * hops, file(poster())),
        lambda port: [f"127.0.0.1:{port}"],
        lambda port: f"http://127.0.0.1:{port}/a.png",
    )
    assert ended.told == told
    assert len(pictures.requests) == 4


@both
@pytest.mark.parametrize(
    "line", ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary Redirect", "308 x"]
)
def test_row_59_a_redirect_of_the_api_to_another_host_is_not_followed(kind: str, line: str) -> None:
    time = SocketTime()

    async def main() -> tuple[Ended, int, int]:
        async with Upstream(delivers(kind)) as other:
            script = answering(answer(b"", status=line, headers=[f"Location: {other.url}/elsewhere"]))
            async with staged(kind, script, time=time) as stage:
                return await stage.draw(), stage.calls(), other.connections

    ended, calls, elsewhere = time.run(main)
    assert (ended.told, ended.asked, ended.spent) == ((("bad_response", "no"), DRAWN), ("first", "second"), "0.10")
    assert (calls, elsewhere) == (1, 0)
    assert fate(kind, answering(answer(b"", status=line, headers=["Location: http://x.invalid/"]))).shut_after == 2


FAILURES: dict[str, Script] = {
    "ContentBlocked": refuses("400 Bad Request", code="content_policy_violation"),
    "InvalidRequest": refuses("400 Bad Request"),
    "AllAttemptsFailed": refuses(FAILING),
    "a region": refuses("400 Bad Request", **REGION),
    "a throttle": refuses(THROTTLED, headers=["Retry-After: 30"]),
}


@both
def test_row_60_errors_pickle_and_come_back(kind: str) -> None:
    time = SocketTime()
    errors: list[GatewayError] = []

    async def main() -> None:
        for script in FAILURES.values():
            async with staged(kind, script, time=time) as stage:
                wishes: tuple[dict[str, Any], ...] = (
                    {},
                    {"deadline": 1},
                    {"max_cost": 0.001},
                    {"size": "4K", "min_size": "4K"},
                )
                for fields in wishes:
                    ended = await stage.draw(**{**ONLY_FIRST, **fields})
                    if ended.error is not None:
                        errors.append(ended.error)
        async with staged(kind, delivers(kind), time=time) as stage:  # an error that carries what was paid for
            ended = await stage.draw(**ONLY_FIRST, size="2K", min_size="2K")
            assert ended.error is not None
            assert ended.error.images
            errors.append(ended.error)

    time.run(main)
    names = {type(error).__name__ for error in errors}
    assert {"ContentBlocked", "InvalidRequest", "AllAttemptsFailed", "DeadlineExceeded", "BudgetExceeded"} <= names
    for error in errors:
        back = pickle.loads(pickle.dumps(error))
        assert type(back) is type(error)
        assert (str(back), vars(back)) == (str(error), vars(error))
        assert pickle.dumps(back) == pickle.dumps(pickle.loads(pickle.dumps(back)))
