"""
The Lua scripts of ``RedisStore``: atomic steps of more than one command. Each touches one key.

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
TAKE_SLOT = f"""{_NOW}
local living = '(' .. string.format('%.0f', now)
local own = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ARGV[2] ~= '' and redis.call('ZCOUNT', KEYS[1], living, '+inf') >= tonumber(ARGV[2])
    and not (own and tonumber(own) > now) then
  return 0
end
-- ZADD first: Redis checks for OOM only before the first write command of a script.
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[3]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1
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
