"""Claims on idempotency keys in Redis. Time is the server's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from gateway.state.claims import KEPT, Answer, Claim, Held, Mismatch, New, Saved, Unknown
from gateway.state.redis import LEASE, Script, Server
from gateway.state.stores import StateUnavailable

CLAIM: Final = Script("""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = redis.call('HMGET', KEYS[1], 'fingerprint', 'owner', 'worker', 'until', 'state', 'reference')
if held[1] and held[2] ~= ARGV[2] then
  if held[1] ~= ARGV[1] then return {'mismatch'} end
  if held[5] == 'saved' then return {'saved', held[6]} end
  local lease = tonumber(redis.call('ZSCORE', KEYS[2], held[3]) or '0')
  local alive = tonumber(held[4]) > now and lease * 1000 > now
  if alive and held[5] ~= 'unknown' then return {'held', held[2]} end
  if held[5] ~= 'held' and ARGV[6] == '0' then return {'unknown', held[2]} end
end
local state, reference = 'held', ''
if held[5] and held[5] ~= 'held' and held[5] ~= 'saved' then
  state, reference = 'reopened', held[6] ~= '' and held[6] or held[2]
end
redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'owner', ARGV[2], 'worker', ARGV[3], 'until', now + ARGV[4],
  'state', state, 'reference', reference)
redis.call('PEXPIRE', KEYS[1], ARGV[4] + ARGV[5])
redis.call('ZADD', KEYS[2], 'GT', time[1] + ARGV[7], ARGV[3])
return {'new'}
""")
"""KEYS: claim, workers. ARGV: fingerprint, owner, worker, lease (ms), time kept (ms), again (0 or 1), worker's lease (s)."""
CHANGE: Final = Script("""
local held = redis.call('HMGET', KEYS[1], 'owner', 'state', 'reference')
if held[1] ~= ARGV[1] then return 0 end
if held[2] == 'reopened' and ARGV[2] == 'spending' then return 1 end
if held[2] == 'reopened' and ARGV[2] == 'free' then
  redis.call('HSET', KEYS[1], 'owner', held[3], 'state', 'unknown', 'reference', '')
  return 1
end
if ARGV[2] == 'free' then return redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'reference', ARGV[3])
redis.call('PEXPIRE', KEYS[1], math.max(redis.call('PTTL', KEYS[1]), tonumber(ARGV[4])))
return 1
""")
"""KEYS: claim. ARGV: owner, state (``free``: as if it had never been claimed), reference, time kept (ms)."""

_ANSWERS: Final[Mapping[str, Callable[..., Answer]]] = {
    "new": New, "saved": Saved, "held": Held, "mismatch": Mismatch, "unknown": Unknown,
}  # fmt: skip
_KEPT_MS: Final = int(KEPT.total_seconds() * 1000)


class RedisClaims:
    """The claims on *server*. A holder is dead when its worker's lease, or its own, is over."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def claim(self, claim: Claim) -> Answer:
        """See :class:`~gateway.state.stores.ClaimStore`."""
        server = self._server
        words = (
            claim.fingerprint, claim.owner, server.worker, int(claim.lease * 1000), _KEPT_MS, int(claim.again), int(LEASE),
        )  # fmt: skip
        try:
            kind, *more = await server.run(CLAIM, [self._key(claim.key), server.key("workers")], words)
        except StateUnavailable:
            self.abandon(claim.key, claim.owner)  # the server may have done it, or do it yet
            raise
        return _ANSWERS[kind](*more)

    async def spending(self, key: str, owner: str) -> bool:
        """See :class:`~gateway.state.stores.ClaimStore`."""
        return bool(await self._server.run(CHANGE, [self._key(key)], (owner, "spending", "", _KEPT_MS)))

    async def finish(self, key: str, owner: str, reference: str) -> None:
        """See :class:`~gateway.state.stores.ClaimStore`."""
        await self._server.run(CHANGE, [self._key(key)], (owner, "saved", reference, _KEPT_MS))

    def abandon(self, key: str, owner: str) -> None:
        """See :class:`~gateway.state.stores.ClaimStore`."""
        self._server.post(CHANGE, [self._key(key)], (owner, "free", "", _KEPT_MS))

    def doubt(self, key: str, owner: str) -> None:
        """See :class:`~gateway.state.stores.ClaimStore`."""
        self._server.post(CHANGE, [self._key(key)], (owner, "unknown", "", _KEPT_MS))

    def _key(self, key: str) -> str:
        return self._server.key("claim", key)
