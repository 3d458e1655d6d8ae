-- Moves entries of a wake index, each only if it is still there and where it was found.
--
-- Owns: comparing and moving in one go.  Refuses to know: why; runs are not touched.
--
-- KEYS     the wake index
-- ARGV     for each entry: member, the score it must have ('' is any), the new score ('+500' is
--          500 ms from now)
-- Returns  1 or 0 for each entry: whether it was moved.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- All is read before anything is written: an entry that is garbage moves none of the others (I12).
local moved, writes = {}, {}
for i = 1, #ARGV, 3 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  local found = score and (ARGV[i + 1] == '' or tonumber(score) == tonumber(ARGV[i + 1]))
  local to = ARGV[i + 2]
  if to:sub(1, 1) == '+' then
    to = string.format('%.0f', now + tonumber(to))
  end
  if not to:find('^%-?%d+$') then
    return redis.error_reply('ERR this is no time: ' .. to)
  end
  if found then
    writes[#writes + 1] = {to, ARGV[i]}
  end
  moved[#moved + 1] = found and 1 or 0
end
for _, write in ipairs(writes) do
  redis.call('ZADD', KEYS[1], write[1], write[2])
end
return moved
