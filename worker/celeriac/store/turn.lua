-- Takes the turn at a piece of housekeeping, unless somebody else has it.
--
-- Owns: that one does it at a time, by the clock of Redis, and that a turn ends by itself if
-- whoever took it died.  Refuses to know: what is done.
--
-- KEYS     the turns
-- ARGV     1 the name of the work, 2 for how many ms, 3 '1' to set it whoever has it
-- Returns  1 if it was taken

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] ~= '1' and tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0) > now then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now + ARGV[2]))
return 1
