"""
The Lua scripts of ``RedisStore``: atomic steps of more than one command. Each touches one key, or the two keys of
slots and quotas under one name.

They use commands of Redis 6.2. Scripts that read the clock (``TIME``) are safe: Redis 5 and newer replicates the
effects of scripts. After ``NOSCRIPT`` (a restarted server) redis-py sends the script again.
"""

WRITE = """
local stands = redis.call('HMGET', KEYS[1], 'v', 'b')
if (stands[1] or '0') ~= ARGV[1] then
  return {stands[1] or '0', stands[2] or ''}
end
redis.call('HSET', KEYS[1], 'v', ARGV[2], 'b', ARGV[3])
if ARGV[4] == '' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return false
"""
DELETE = """
if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
LEASE_LEFT = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
-- PTTL 0 means that less than 1 ms is left: the lease is still held.
return math.max(redis.call('PTTL', KEYS[1]), 1)
"""
_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""
_WHOLE = """
local function whole(number) return string.format('%.0f', number) end
"""
_QUOTAS = """
-- Each quota is four arguments: counter, limit or nothing, milliseconds of its window, amount.
local function use_of(place)
  local kept = redis.call('HMGET', KEYS[2], ARGV[place] .. ':n', ARGV[place] .. ':e')
  local ends = tonumber(kept[2] or '0')
  if ends > now then return tonumber(kept[1]), ends - now end
  return 0, tonumber(ARGV[place + 2])
end
local function add(place, used, left)
  local total = used + tonumber(ARGV[place + 3])
  redis.call('HSET', KEYS[2], ARGV[place] .. ':n', whole(total), ARGV[place] .. ':e', whole(now + left))
  if redis.call('PTTL', KEYS[2]) < left then redis.call('PEXPIRE', KEYS[2], whole(left)) end
  return total
end
"""
TAKE_SLOT = f"""{_NOW}{_WHOLE}{_QUOTAS}
local own = redis.call('ZSCORE', KEYS[1], ARGV[1])
local held = redis.call('ZCOUNT', KEYS[1], '(' .. whole(now), '+inf')
local holds = own and tonumber(own) > now
local taken = holds or ARGV[2] == '' or held < tonumber(ARGV[2])
local uses = {{}}
for place = 5, #ARGV, 4 do
  local used, left = use_of(place)
  uses[#uses + 1] = used
  uses[#uses + 1] = left
  local wanted = math.max(tonumber(ARGV[place + 3]), 1)
  if not own and ARGV[place + 1] ~= '' and used + wanted > tonumber(ARGV[place + 1]) then taken = false end
end
if not taken then return {{0, held, unpack(uses)}} end
-- ZADD first: Redis checks for OOM only before the first write command of a script.
redis.call('ZADD', KEYS[1], whole(now + ARGV[3]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now - ARGV[4]))
local kept = ARGV[3] + ARGV[4]
if redis.call('PTTL', KEYS[1]) < kept then redis.call('PEXPIRE', KEYS[1], whole(kept)) end
for place = 5, #ARGV, 4 do
  local at = (place - 5) / 2 + 1
  if not own and ARGV[place + 3] ~= '0' then uses[at] = add(place, uses[at], uses[at + 1]) end
end
return {{1, held + (holds and 0 or 1), unpack(uses)}}
"""
EXTEND_SLOTS = f"""{_NOW}{_WHOLE}
for place = 3, #ARGV do
  redis.call('ZADD', KEYS[1], 'XX', whole(now + ARGV[1]), ARGV[place])
end
local kept = ARGV[1] + ARGV[2]
if redis.call('PTTL', KEYS[1]) < kept then redis.call('PEXPIRE', KEYS[1], whole(kept)) end
"""
FREE_SLOT = f"""{_NOW}{_WHOLE}{_QUOTAS}
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
-- HSET first, as above: if it is refused, the slot stays for another try.
for place = 2, #ARGV, 4 do
  local used, left = use_of(place)
  if ARGV[place + 3] ~= '0' then add(place, used, left) end
end
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
"""
QUOTA_USES = f"""{_NOW}{_QUOTAS}
local uses = {{}}
for place = 1, #ARGV, 4 do
  local used, left = use_of(place)
  uses[#uses + 1] = used
  uses[#uses + 1] = left
end
return uses
"""
SLOTS_TAKEN = f"""{_NOW}
return redis.call('ZCOUNT', KEYS[1], '(' .. string.format('%.0f', now), '+inf')
"""
OBSERVE = """
local kept = redis.call('HGET', KEYS[1], 's')
if kept and tonumber(kept) > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 's', ARGV[1], 'b', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
ADD = """
-- For a Cluster, where no transaction spans nodes: milliseconds to live or nothing, then each counter and its amount.
for place = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[place], ARGV[place + 1]) end
if ARGV[1] == '' then redis.call('PERSIST', KEYS[1]) else redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
"""
APPEND = """
redis.call('LPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], 0, ARGV[2] - 1)
"""
