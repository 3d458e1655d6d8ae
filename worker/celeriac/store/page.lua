-- Reads a page of the runs that are listed in each of several groups of indexes, at one moment:
-- a run that moves from one index to another meanwhile is not missed.  (MULTI would do the same,
-- but Redis 7 refuses it at maxmemory, even for reading.)
--
-- Owns: intersecting without reading whole indexes.  All of them have the same order, so whoever
-- is ahead jumps to the place of whoever is behind (the leapfrog join of Veldhuizen, 2014).  Bytes
-- are compared here: Lua compares text by the locale.  Refuses to know: what the groups stand for.
--
-- KEYS     the indexes of a shard
-- ARGV     1 the upper and 2 the lower bound, 3 how many members to find and 4 to look at, at
--          most; then for each of KEYS the number of its group, from 1
-- Returns  the members found, last first; and how far down all is known: '' for to the end

local lower, limit, most = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local bound = {text = ARGV[1]} -- and, once something is decided: member, time, whether it is out
local groups, looked = {}, 0

-- Whether the first of two members comes before the other, newest first.
local function ahead(member, time, other, its)
  if time ~= its then
    return time > its
  end
  for i = 1, math.min(#member, #other) do
    local x, y = member:byte(i), other:byte(i)
    if x ~= y then
      return x > y
    end
  end
  return #member > #other
end

local function passed(member, time)
  if not bound.member then
    return false
  end
  return (bound.out and member == bound.member) or ahead(member, time, bound.member, bound.time)
end

-- Sets an index to its first member that is not decided yet.
local function advance(index)
  while true do
    index.at = index.at + 1
    if index.at > #index.page then
      index.top = nil
      if index.over then
        return
      end
      index.page = redis.call(
        'ZRANGE', index.key, bound.text, lower, 'BYLEX', 'REV', 'LIMIT', 0, index.size)
      index.at, index.over = 1, #index.page < index.size
      looked = looked + 1 + #index.page
    end
    local member = index.page[index.at]
    if not member then
      return
    end
    local time = tonumber(member:sub(1, 13)) or 0
    if not passed(member, time) then
      index.top, index.time = member, time
      return
    end
  end
end

-- Everything ahead of a member is decided; the member itself too if it is out.
local function decide(member, time, out)
  bound = {text = (out and '(' or '[') .. member, member = member, time = time, out = out}
  for _, group in ipairs(groups) do
    for _, index in ipairs(group) do
      local top = index.top
      if top == member then
        if out then
          advance(index)
        end
      elseif top and not out and ahead(top, index.time, member, time) then
        advance(index)
      end
    end
  end
end

local function first(group)
  local best = {time = -1}
  for _, index in ipairs(group) do
    local time = index.time
    if index.top and (time > best.time
        or (time == best.time and ahead(index.top, time, best.top, time))) then
      best = index
    end
  end
  return best
end

for i, key in ipairs(KEYS) do
  local n = tonumber(ARGV[4 + i])
  groups[n] = groups[n] or {}
  table.insert(groups[n], {key = key, page = {}, at = 0})
end
for _, group in ipairs(groups) do
  for _, index in ipairs(group) do
    -- Alone, what is read is what is found; where groups meet, most of it is jumped over.
    index.size = #groups == 1 and math.ceil(limit / #group) or 8
    advance(index)
  end
end

local found = {}
while #found < limit do
  local low, high
  for _, group in ipairs(groups) do
    local index = first(group)
    if not index.top then
      return {found, ''}
    end
    if not low or ahead(low.top, low.time, index.top, index.time) then
      low = index
    end
    if not high or ahead(index.top, index.time, high.top, high.time) then
      high = index
    end
  end
  if low.top == high.top then
    found[#found + 1] = low.top
    decide(low.top, low.time, true)
  elseif looked >= most then
    return {found, high.top} -- not in all of the groups: decided, and so is all ahead of it
  else
    decide(low.top, low.time, false)
  end
end
return {found, found[#found]}
