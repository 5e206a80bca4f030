"""The health of lanes in Redis: what each process learns, the others hear within an exchange. Time is the server's.

Each lane has keys of its own, which a cluster keeps in one slot: its facts, who may probe it, and what was taken of its
quota. They end by themselves. Nothing in them tells of a key, a provider or a request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

from gateway.health.fleet import PROBE_LEASE
from gateway.health.quotas import MINUTE, STEP
from gateway.health.sharing import SHARED, Counted, Facts, News, Opening, Reply, Rest
from gateway.state.redis import Letter, Script, Server, Word

WAIT: Final = 0.1
"""Seconds that a request waits at most, to hear whether another process probes the lane."""
KEPT_MS: Final = 600_000
"""Milliseconds for which facts are kept after the last of them has ended: the doubling of rests, and half-open breakers."""
DAY_KEPT_MS: Final = 172_800_000
"""Milliseconds for which a day's calls are counted after the last one: no clock is two days wrong."""

TELL: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end
local holder = redis.call('GET', KEYS[2])
if ARGV[3] == 'held' and (not holder or holder == ARGV[1]) then
  redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[4])
elseif ARGV[3] == 'freed' and holder == ARGV[1] then
  redis.call('DEL', KEYS[2])
end
local last, news = now, false
for i = 12, #ARGV, 3 do
  local ends = now + ARGV[i + 1]
  if ends > tonumber(redis.call('HGET', KEYS[1], 'rest:' .. ARGV[i]) or '0') then
    redis.call('HSET', KEYS[1], 'rest:' .. ARGV[i], text(ends), 'streak:' .. ARGV[i], ARGV[i + 2])
    last, news = math.max(last, ends), true
  end
end
if ARGV[6] ~= '' then
  local ends = ARGV[6] == 'closed' and 0 or now + ARGV[6]
  redis.call('HSET', KEYS[1], 'open', text(ends), 'openings', ARGV[7], 'paid', ARGV[8], 'proofs', ARGV[9])
  last, news = math.max(last, ends), true
end
local before = tonumber(redis.call('HGET', KEYS[1], 'failures') or '0')
local failures = (ARGV[11] == '1' and 0 or before) + ARGV[10]
if ARGV[6] ~= '' then failures = 0 end
if failures ~= before then
  redis.call('HSET', KEYS[1], 'failures', text(failures))
  news = true
end
if news then
  redis.call('HSET', KEYS[1], 'version', time[1] .. '.' .. time[2])
  redis.call('PEXPIRE', KEYS[1], text(math.max(redis.call('PTTL', KEYS[1]), last - now + ARGV[5])))
end
local version, probe = redis.call('HGET', KEYS[1], 'version') or '', 0
if holder and holder ~= ARGV[1] then probe = math.max(0, redis.call('PTTL', KEYS[2])) end
if version == ARGV[2] then return {version, probe} end
return {version, probe, text(now), unpack(redis.call('HGETALL', KEYS[1]))}
""")
"""KEYS: facts, probe. ARGV: worker, version seen, what it says of the probe, its lease (ms), time kept (ms), time for which
the breaker is still open (ms, ``closed``, or ``""`` for no news), openings, paid, proofs; the weight of failures in a row, and
whether a success preceded them; then for each rest its outcome, time left (ms) and streak. The last writer decides how the
breaker stands; rests only grow."""
COUNT: Final = Script("""
local time = redis.call('TIME')
local step = math.floor(time[1] / ARGV[5])
if ARGV[1] ~= '0' then
  redis.call('HINCRBY', KEYS[1], step .. ':calls', ARGV[1])
  redis.call('HINCRBY', KEYS[1], step .. ':images', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
if ARGV[3] ~= '0' then
  redis.call('INCRBY', KEYS[2], ARGV[3])
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
end
local taken = redis.call('HGETALL', KEYS[1])
if ARGV[1] ~= '0' then
  for i = 1, #taken, 2 do
    if tonumber(string.match(taken[i], '%d+')) < step - ARGV[4] / 1000 / ARGV[5] then
      redis.call('HDEL', KEYS[1], taken[i])
    end
  end
end
local today = tonumber(redis.call('GET', KEYS[2]) or '0')
return {step, today, time[1] * 1000 + math.floor(time[2] / 1000) - step * ARGV[5] * 1000, unpack(taken)}
""")
"""KEYS: minute, day. ARGV: calls and images taken within the minute, calls of the day, the minute and a step more (ms), a
step (s), time kept of the day (ms)."""
LEASE: Final = Script("""
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
""")
"""KEYS: lease. ARGV: worker, time (ms)."""
ALIVE: Final = Script("""
return redis.call('ZCOUNT', KEYS[1], redis.call('TIME')[1], '+inf')
""")
"""KEYS: workers. How many have a lease that is not over."""

_MINUTE_MS: Final = int((MINUTE + STEP) * 1000)


class RedisHealth:
    """The facts on *server*, and the exchanges in its thread."""

    shares: Final = True

    def __init__(self, server: Server) -> None:
        self._server = server

    @property
    def degraded(self) -> str:
        """See :class:`~gateway.state.stores.HealthStore`."""
        told = self._server.degraded
        return f"the state at {self._server.name} cannot be used: {told}" if told else ""

    def attend(self, exchange: Callable[[], Awaitable[bool]]) -> None:
        """See :class:`~gateway.state.stores.HealthStore`."""
        self._server.attend(exchange)

    def wake(self) -> None:
        """See :class:`~gateway.state.stores.HealthStore`."""
        self._server.wake()

    async def exchange(self, news: Sequence[News]) -> tuple[Sequence[Reply], int]:
        """See :class:`~gateway.state.stores.HealthStore`. One round trip."""
        letters = [Letter(ALIVE, [self._server.key("workers")])]
        letters += [self._telling(each) for each in news]
        letters += [self._counting(each) for each in news if each.quota]
        workers, *answers = await self._server.run_all(letters)
        counted = iter(answers[len(news) :])
        replies = [
            _reply(answer, next(counted) if each.quota else None) for each, answer in zip(news, answers, strict=False)
        ]
        return replies, workers

    async def lease(self, key: str, purpose: str, seconds: float) -> bool:
        """See :class:`~gateway.state.stores.HealthStore`."""
        words = self._server.worker, int(seconds * 1000)
        return bool(await self._server.run(LEASE, [self._key(key, purpose)], words, within=WAIT))

    def _telling(self, news: News) -> Letter:
        opening, words = news.facts.opening, list[Word]()
        for outcome, rest in news.facts.rests.items():
            words += [outcome, int(rest.seconds * 1000), rest.streak]
        told: tuple[Word, ...] = ("", 0, 0, 0)
        if opening is not None:
            left = "closed" if opening.seconds is None else int(opening.seconds * 1000)
            told = (left, opening.openings, int(opening.paid), opening.proofs)
        own = (self._server.worker, news.seen, news.probe, int(PROBE_LEASE * 1000), KEPT_MS)
        row = (news.facts.failures or 0, int(news.facts.succeeded))
        return Letter(TELL, [self._key(news.key, "facts"), self._key(news.key, "probe")], (*own, *told, *row, *words))

    def _counting(self, news: News) -> Letter:
        words = (news.calls, news.images, news.today, _MINUTE_MS, int(STEP), DAY_KEPT_MS)
        return Letter(COUNT, [self._key(news.key, "minute"), self._key(news.key, "day", news.day)], words)

    def _key(self, lane: str, *words: str) -> str:
        return self._server.key_of(lane, *words)


def _reply(answer: Sequence[Any], counted: Sequence[Any] | None) -> Reply:
    version, probe, *more = answer
    return Reply(
        version=version,
        facts=_facts(int(more[0]), dict(_pairs(more[1:]))) if more else Facts(),
        probe=probe / 1000,
        counted=_counted(*counted) if counted is not None else None,
    )


def _facts(now: int, fields: Mapping[str, str]) -> Facts:
    """What is in the facts of a lane at *now*, milliseconds of the server's clock."""
    rests = {
        cause: Rest(seconds=(int(fields[f"rest:{cause}"]) - now) / 1000, streak=int(fields[f"streak:{cause}"]))
        for cause in SHARED
        if int(fields.get(f"rest:{cause}", "0")) > now
    }
    failures = int(fields["failures"]) if "failures" in fields else None
    if "open" not in fields:
        return Facts(rests=rests, failures=failures)
    opened, openings = int(fields["open"]), int(fields["openings"])
    opening = Opening(
        seconds=max(0, opened - now) / 1000 if opened else None, openings=openings, paid=fields["paid"] == "1",
        proofs=int(fields["proofs"]),
    )  # fmt: skip
    return Facts(rests=rests, opening=opening, failures=failures)


def _counted(step: int, today: int, into: int, *fields: Any) -> Counted:
    """What was taken, *into* milliseconds of the *step*: the tokens of a step come back a minute after its end."""
    counts = {name: int(count) for name, count in _pairs(fields)}
    steps = sorted({int(name.partition(":")[0]) for name in counts})
    taken = {
        each: ((each + 1 - step) * STEP + MINUTE - into / 1000, counts[f"{each}:calls"], counts[f"{each}:images"])
        for each in steps
    }
    return Counted(step=step, taken={each: figures for each, figures in taken.items() if figures[0] > 0}, today=today)


def _pairs(flat: Sequence[Any]) -> Iterator[tuple[str, str]]:
    return zip(cast(Sequence[str], flat[::2]), cast(Sequence[str], flat[1::2]), strict=True)
