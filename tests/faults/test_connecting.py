"""Rows 1 to 5: calls that never reach the upstream, or never whole. Nothing of that is billed."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tests.faults.socket_time import SocketTime
from tests.faults.stage import Ended, both, delivers, fate, moves_on, played, staged
from tests.providers.wire import Authority, Upstream, Wire, answering

NEVER_SENT = moves_on("transport", "no", 4)


async def closed_port() -> str:
    """The address of a port at which nobody listens any more."""
    async with Upstream(answering(b"")) as upstream:
        return upstream.url


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@both
def test_row_01_a_refused_connection_costs_nothing_and_the_other_lane_is_asked_at_once(kind: str) -> None:
    address = asyncio.run(closed_port())
    assert fate(kind, delivers(kind), urls={"first": address}) == NEVER_SENT
    assert played(kind, delivers(kind), urls={"first": address}).seconds == 0


@both
def test_row_01_a_name_that_does_not_resolve_costs_nothing_and_the_other_lane_is_asked_at_once(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = socket.getaddrinfo

    def unknown(host: Any, *rest: Any, **more: Any) -> Any:
        if "invalid" in str(host):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    nowhere = {"first": "http://nowhere.invalid"}
    assert fate(kind, delivers(kind), urls=nowhere) == NEVER_SENT
    assert played(kind, delivers(kind), urls=nowhere).seconds == 0


@both
@pytest.mark.parametrize(("address", "days"), [("127.0.0.1", -1), ("127.0.0.2", 1)], ids=["expired", "wrong host"])
def test_row_02_a_wrong_certificate_costs_nothing_and_the_call_is_never_made_without_tls(
    kind: str, address: str, days: int, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    time, shown = SocketTime(), authority.server(address, days)

    async def main() -> tuple[Ended, int, int]:
        async with Upstream(delivers(kind), tls=shown) as behind:

            async def passes_on(wire: Wire) -> None:
                await wire.join("127.0.0.1", behind.port)

            async with staged(kind, passes_on, time=time, scheme="https") as stage:
                ended = await stage.draw()
                return ended, stage.upstreams["first"].connections, len(behind.requests)

    ended, connections, requests = time.run(main)
    assert (ended.told, ended.asked) == ((("transport", "no"), ("ok", "yes")), ("first", "second"))
    assert "certificate" in ended.attempts[0].detail
    assert (connections, requests) == (1, 0)  # one attempt at TLS, and no second connection without
    assert fate(kind, delivers(kind), tls=shown) == NEVER_SENT


@both
def test_row_03_tls_that_stalls_is_given_up_after_five_seconds(kind: str) -> None:
    async def never_a_word(wire: Wire) -> None:
        await wire.client_left()

    ended = played(kind, never_a_word, scheme="https")
    assert ended.told == (("transport", "no"), ("ok", "yes"))
    assert ended.attempts[0].duration == ended.seconds == pytest.approx(5.0)
    assert fate(kind, never_a_word, scheme="https") == NEVER_SENT


@both
def test_row_04_a_call_that_finds_no_room_costs_nothing_and_is_not_the_lanes_fault(kind: str) -> None:
    time = SocketTime()

    async def never_answers(wire: Wire) -> None:
        await wire.request()
        await asyncio.Event().wait()

    async def main() -> tuple[Ended, int]:
        async with staged(kind, never_answers, time=time, max_concurrency=1) as stage:
            holder = asyncio.create_task(stage.draw(deadline=600))
            await asyncio.sleep(1)
            ended = await stage.draw(deadline=40)
            calls = stage.calls()
            holder.cancel()
            return ended, calls

    ended, calls = time.run(main)
    assert (ended.told, ended.asked, ended.spent, calls) == ((("ok", "yes"),), ("second",), "0.10", 1)
    assert (ended.health["first"].state, ended.health["first"].success_rate) == ("closed", pytest.approx(0.9))


@both
def test_row_05_a_reset_while_sending_costs_nothing(kind: str) -> None:
    async def script(wire: Wire) -> None:
        await wire.head()
        wire.reset()

    long = "x" * 24 * 2**20  # beyond what the kernel's buffers take in
    assert fate(kind, script, {"prompt": long}) == NEVER_SENT
