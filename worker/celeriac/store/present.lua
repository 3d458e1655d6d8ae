-- Keeps what a worker says of itself, or what was found out about it.
--
-- Owns: the time of a sign of life, by the clock of Redis, and that a newer one is never
-- overwritten.  Refuses to know: who lives.
--
-- KEYS     the workers
-- ARGV     1 the id of the worker, 2 what is to be kept of it ('' to forget it), 3 the time of the
--          sign of life that must still be the newest; '' for a new one
-- Returns  1 if it was kept

local time = redis.call('TIME')
local at = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
if ARGV[3] ~= '' then
  at = ARGV[3]
  local found = redis.call('HGET', KEYS[1], ARGV[1]) or ''
  if found:sub(1, #at + 1) ~= at .. ' ' then
    return 0
  end
end
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], at .. ' ' .. ARGV[2])
end
return 1
