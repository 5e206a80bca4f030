"""The index of the cache in Redis. Time is the server's. All its keys go when no entry was put for as long as one lives."""

from __future__ import annotations

import json
from typing import Final

from gateway.state.redis import Script, Server
from gateway.state.stores import CacheEntry

_COMMON: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local entries, used, ends, refs, total = unpack(KEYS)
local freed = {}
local function gone(key)
  local text = redis.call('HGET', entries, key)
  redis.call('HDEL', entries, key)
  redis.call('ZREM', used, key)
  redis.call('ZREM', ends, key)
  if not text then return end
  local entry = cjson.decode(text)
  redis.call('DECRBY', total, entry.bytes)
  for _, blob in ipairs(entry.blobs) do
    if redis.call('HINCRBY', refs, blob, -1) <= 0 then
      redis.call('HDEL', refs, blob)
      freed[blob] = true
    end
  end
end
local function unused()
  local blobs = {}
  for blob in pairs(freed) do
    if redis.call('HEXISTS', refs, blob) == 0 then blobs[#blobs + 1] = blob end
  end
  return blobs
end
"""
"""KEYS: entries, by key; when each was used, in turn by a counter's number; when each ends; entries by blob; bytes."""
FIND: Final = Script(
    _COMMON
    + """
if tonumber(redis.call('ZSCORE', ends, ARGV[1]) or '0') <= now then return false end
local last = redis.call('ZREVRANGE', used, 0, 0, 'WITHSCORES')
redis.call('ZADD', used, last[2] + 1, ARGV[1])
return redis.call('HGET', entries, ARGV[1])
"""
)
"""ARGV: key."""
KEEP: Final = Script(
    _COMMON
    + """
local key, text, life, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
for _, over in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now)) do gone(over) end
gone(key)
local last = redis.call('ZREVRANGE', used, 0, 0, 'WITHSCORES')
local entry = cjson.decode(text)
redis.call('HSET', entries, key, text)
redis.call('ZADD', used, (last[2] or 0) + 1, key)
redis.call('ZADD', ends, now + life, key)
for _, blob in ipairs(entry.blobs) do redis.call('HINCRBY', refs, blob, 1) end
local sum = redis.call('INCRBY', total, entry.bytes)
while sum > limit do
  local oldest = redis.call('ZRANGE', used, 0, 0)[1]
  if not oldest then break end
  gone(oldest)
  sum = tonumber(redis.call('GET', total))
end
for _, each in ipairs(KEYS) do
  redis.call('PEXPIRE', each, math.max(redis.call('PTTL', each), life))
end
return unused()
"""
)
"""ARGV: key, entry as JSON, life (ms), limit (bytes)."""
DROP: Final = Script(
    _COMMON
    + """
local text = redis.call('HGET', entries, ARGV[1])
if text and cjson.decode(text).reference == ARGV[2] then gone(ARGV[1]) end
return unused()
"""
)
"""ARGV: key, reference."""


class RedisCache:
    """The entries on *server*."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._keys = [server.key("cache", name) for name in ("entries", "used", "ends", "blobs", "bytes")]

    async def find(self, key: str) -> CacheEntry | None:
        """See :class:`~gateway.state.stores.CacheStore`."""
        text = await self._server.run(FIND, self._keys, [key])
        if text is None:
            return None
        facts = json.loads(text)
        return CacheEntry(**{**facts, "key": key, "blobs": tuple(facts["blobs"])})

    async def keep(self, entry: CacheEntry, limit: int) -> tuple[str, ...]:
        """See :class:`~gateway.state.stores.CacheStore`."""
        facts = {
            "reference": entry.reference, "blobs": list(dict.fromkeys(entry.blobs)), "bytes": entry.bytes,
            "life": entry.life,
        }  # fmt: skip
        words = (entry.key, json.dumps(facts), max(1, int(entry.life * 1000)), limit)
        return tuple(await self._server.run(KEEP, self._keys, words))

    async def drop(self, key: str, reference: str) -> tuple[str, ...]:
        """See :class:`~gateway.state.stores.CacheStore`."""
        return tuple(await self._server.run(DROP, self._keys, [key, reference]))

    async def blobs(self) -> frozenset[str]:
        """See :class:`~gateway.state.stores.CacheStore`."""
        (found,) = await self._server.ask(("HKEYS", self._keys[3]))
        return frozenset(found)
