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

SWAP: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local kept = redis.call('HMGET', KEYS[1], 'version', 'text')
local version = tonumber(kept[1] or '0')
local text = kept[2] or ''
if version == tonumber(ARGV[1]) then
  version = version > 0 and version + 1 or math.floor(now * 1000) + 1
  text = ARGV[2]
  redis.call('HSET', KEYS[1], 'version', string.format('%.0f', version), 'text', text)
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return {string.format('%.0f', version), text, string.format('%.6f', now)}
"""
"""KEYS: hash. ARGV: version, text, milliseconds to live. Returns version, text, the time."""

DRAW: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local kept = redis.call('HMGET', KEYS[1], 'version', 'text')
local reply = {'granted', kept[1] or '0', kept[2] or '', string.format('%.6f', now), '0'}
if ARGV[1] ~= '' and ARGV[1] ~= reply[2] then
  reply[1] = 'stale'
  return reply
end
local wait, after = 0, {}
for i = 4, #ARGV, 7 do
  local amount, rate, burst = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local names = {'level:' .. ARGV[i], 'at:' .. ARGV[i], 'total:' .. ARGV[i]}
  local state = redis.call('HMGET', KEYS[1], unpack(names))
  local level, total = burst, 0
  if state[1] then
    level = math.min(burst, tonumber(state[1]) + math.max(0, now - tonumber(state[2])) * rate)
    total = tonumber(state[3])
  end
  local later = ARGV[i + 6] ~= '' and total - tonumber(ARGV[i + 6]) or 0
  if ARGV[i + 5] ~= '' then level = math.max(level, tonumber(ARGV[i + 5]) - later) end
  if ARGV[i + 4] ~= '' then level = math.min(level, tonumber(ARGV[i + 4]) - later) end
  level, total = math.min(burst, level - amount), total + amount
  if amount > 0 then wait = math.max(wait, -level / rate) end
  after[#after + 1] = names[1]
  after[#after + 1] = string.format('%.17g', level)
  after[#after + 1] = names[2]
  after[#after + 1] = reply[4]
  after[#after + 1] = names[3]
  after[#after + 1] = string.format('%.17g', total)
  reply[#reply + 1] = string.format('%.17g', total)
end
reply[5] = string.format('%.17g', wait)
if wait > tonumber(ARGV[2]) then
  reply[1] = 'refused'
else
  redis.call('HSET', KEYS[1], unpack(after))
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
return reply
"""
"""KEYS: hash. ARGV: version or empty, patience in seconds, milliseconds to live; then for each draw its bucket, amount,
rate, burst, and (or empty) highest level, lowest level and the total for which they were true. Returns how it went,
version, text, the time, the wait, and the buckets' totals. A clock that is set back stops no bucket: it goes on filling
from where it is."""

PROBE: Final = "redis.call('SET', KEYS[1], '1', 'PX', 1000) return redis.call('TIME')[1]"
"""Whether scripts may run and write: a replica or a full server answers a ping, too."""
