-- Notes a sign of life of a worker, and an outage it went through.
--
-- Owns: the pulse of a shard.  Refuses to know: what is concluded from it.  Outages that touch
-- are kept as one, so that many workers telling of the same one do not push out older ones; it
-- also makes telling twice harmless.
--
-- KEYS     1 the pulse, 2 the outages
-- ARGV     1 ms of silence after which a new `since` begins, 2 ms the store was out of reach (0)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = tonumber(redis.call('HGET', KEYS[1], 'last') or 0)
local from, to = now - tonumber(ARGV[2]), now
local touching = redis.call('ZRANGEBYSCORE', KEYS[2], from, '+inf')

local alive = {'last', string.format('%.0f', math.max(now, last))}
if now - last > tonumber(ARGV[1]) then
  alive[3], alive[4] = 'since', string.format('%.0f', now)
end
-- Redis 7 can tell in advance what an ACL forbids: all of it is written, or nothing (I12).
if redis.acl_check_cmd then
  for command, key in pairs({HSET = 1, ZREM = 2, ZADD = 2, ZREMRANGEBYRANK = 2}) do
    if not redis.acl_check_cmd(command, KEYS[key]) then
      return redis.error_reply('NOPERM the ACL forbids ' .. command .. ' on ' .. KEYS[key])
    end
  end
end

redis.call('HSET', KEYS[1], unpack(alive))

if from < to then
  for _, outage in ipairs(touching) do
    local first, second = string.match(outage, '^(%d+)-(%d+)$')
    from = math.min(from, tonumber(first) or from)
    to = math.max(to, tonumber(second) or to)
    redis.call('ZREM', KEYS[2], outage)
  end
  to = string.format('%.0f', to)
  redis.call('ZADD', KEYS[2], to, string.format('%.0f', from) .. '-' .. to)
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -101)
end
return 1
