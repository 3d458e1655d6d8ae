-- Notes that a sweep got through every shard.
--
-- Owns: the mark of the newest sweep, by the clock of Redis.  Refuses to know: who reads it.
--
-- KEYS     the mark
-- ARGV     1 ms the entry longest due had waited, 2 ms the sweep took

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], 'at', string.format('%.0f', now), 'lag', ARGV[1], 'took', ARGV[2])
return 1
