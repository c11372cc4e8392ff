"""Lua that runs inside Redis, so that each step is atomic and measured by Redis's own clock.

The scripts are sent whole with EVAL: they are short, and so a flushed script cache changes nothing.
"""

from __future__ import annotations

from typing import Final

RING: Final = """
local room = tonumber(ARGV[2]) - redis.call('LLEN', KEYS[1])
local rings = {}
for i = 1, math.min(tonumber(ARGV[1]), room) do rings[i] = '1' end
if #rings > 0 then redis.call('RPUSH', KEYS[1], unpack(rings)) end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return #rings
"""
"""KEYS: list. ARGV: rings, rings that the list may hold, milliseconds to live."""

ANNOUNCE: Final = """
local time = redis.call('TIME')
local till = time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f|', till) .. ARGV[3])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
"""
"""KEYS: hash. ARGV: member, milliseconds to live, info."""

PRESENT: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = redis.call('HGETALL', KEYS[1])
local alive = {}
for i = 1, #kept, 2 do
  local bar = string.find(kept[i + 1], '|', 1, true)
  if tonumber(string.sub(kept[i + 1], 1, bar - 1)) > now then
    alive[#alive + 1] = kept[i]
    alive[#alive + 1] = string.sub(kept[i + 1], bar + 1)
  else
    redis.call('HDEL', KEYS[1], kept[i])
  end
end
return alive
"""
"""KEYS: hash. Returns member, info, member, info …"""

TAKE: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local amount, rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local kept = redis.call('HMGET', KEYS[1], 'level', 'at')
local level = burst
if kept[1] then
  local at = tonumber(kept[2])
  now = math.max(now, at)
  level = math.min(burst, tonumber(kept[1]) + (now - at) * rate)
end
local wait = 0
if level >= amount then level = level - amount else wait = (amount - level) / rate end
redis.call('HSET', KEYS[1], 'level', string.format('%.17g', level), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.min(burst / rate * 1000 + 1000, 1e12)))
return string.format('%.17g', wait)
"""
"""KEYS: hash. ARGV: amount, rate per second, burst. Returns the seconds to wait as text; 0: granted."""

PROBE: Final = "redis.call('SET', KEYS[1], '1', 'PX', 1000) return redis.call('TIME')[1]"
"""Whether scripts may run and write: a replica or a full server answers a ping, too."""
