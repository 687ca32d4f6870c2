"""
The Lua scripts of ``RedisStore``: atomic steps of more than one command. Each touches one key, or the two keys of
slots and quotas under one name. The arguments of those two are one JSON document: redis-py takes some microseconds for
each argument.

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
-- Each quota has a counter, a limit or null, the milliseconds of its window, and an amount.
local function use_of(quota)
  local kept = redis.call('HMGET', KEYS[2], quota[1] .. ':n', quota[1] .. ':e')
  local ends = tonumber(kept[2] or '0')
  if ends > now then return tonumber(kept[1]), ends - now end
  return 0, quota[3]
end
local function add(quota, used, left)
  local total = used + quota[4]
  redis.call('HSET', KEYS[2], quota[1] .. ':n', whole(total), quota[1] .. ':e', whole(now + left))
  if redis.call('PTTL', KEYS[2]) < left then redis.call('PEXPIRE', KEYS[2], whole(left)) end
  return total
end
"""
TAKE_SLOT = f"""{_NOW}{_WHOLE}{_QUOTAS}
local owner, limit, ttl, settled, quotas = unpack(cjson.decode(ARGV[1]))
local own = redis.call('ZSCORE', KEYS[1], owner)
local held = redis.call('ZCOUNT', KEYS[1], '(' .. whole(now), '+inf')
local holds = own and tonumber(own) > now
local taken = holds or limit == cjson.null or held < limit
local uses = {{}}
for at, quota in ipairs(quotas) do
  local used, left = use_of(quota)
  uses[2 * at - 1], uses[2 * at] = used, left
  if not own and quota[2] ~= cjson.null and used + math.max(quota[4], 1) > quota[2] then taken = false end
end
if not taken then return {{0, held, unpack(uses)}} end
-- ZADD first: Redis checks for OOM only before the first write command of a script.
redis.call('ZADD', KEYS[1], whole(now + ttl), owner)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now - settled))
local kept = ttl + settled
if redis.call('PTTL', KEYS[1]) < kept then redis.call('PEXPIRE', KEYS[1], whole(kept)) end
for at, quota in ipairs(quotas) do
  if not own and quota[4] ~= 0 then uses[2 * at - 1] = add(quota, uses[2 * at - 1], uses[2 * at]) end
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
local owner, quotas = unpack(cjson.decode(ARGV[1]))
if not redis.call('ZSCORE', KEYS[1], owner) then return 0 end
-- HSET first, as above: if it is refused, the slot stays for another try.
for _, quota in ipairs(quotas) do
  local used, left = use_of(quota)
  if quota[4] ~= 0 then add(quota, used, left) end
end
redis.call('ZREM', KEYS[1], owner)
return 1
"""
QUOTA_USES = f"""{_NOW}{_QUOTAS}
local uses = {{}}
for _, quota in ipairs(cjson.decode(ARGV[1])) do
  local used, left = use_of(quota)
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
