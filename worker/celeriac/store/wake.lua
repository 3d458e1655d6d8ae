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

local moved = {}
for i = 1, #ARGV, 3 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  local found = score and (ARGV[i + 1] == '' or tonumber(score) == tonumber(ARGV[i + 1]))
  if found then
    local to = ARGV[i + 2]
    if to:sub(1, 1) == '+' then
      to = string.format('%.0f', now + tonumber(to))
    end
    redis.call('ZADD', KEYS[1], to, ARGV[i])
  end
  moved[#moved + 1] = found and 1 or 0
end
return moved
