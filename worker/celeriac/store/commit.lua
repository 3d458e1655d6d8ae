-- Compare and commit: the only thing that writes a run.
--
-- Owns: doing all of a change or nothing.  Refuses to know: what a change means; it decodes no
-- JSON and decides nothing.  Redis keeps what a script wrote before it failed (F7), so this reads
-- all, guards all, and only then writes: nothing after the first write can fail.  Guarded is also
-- what only a mistake could break: the form of each write, and whether an ACL permits it.
--
-- KEYS     the run's hash, then every other key that is read or written
-- ARGV     1  how the run's head must begin; '' if there must be no such run
--          2  where to publish that the run came to rest; '' if it did not
--          3  which key holds a score to compare, 4 its member, 5 the score; '' for none
--          6  the type each of KEYS must have if it exists ('' is any), one argument each
--          then the writes: command, which key, how many arguments follow, these arguments
-- Returns  1 if it was written, 0 if a guard failed.

for i, key in ipairs(KEYS) do
  local found, wanted = redis.call('TYPE', key).ok, ARGV[5 + i]
  if found ~= 'none' and wanted ~= '' and found ~= wanted then
    return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. found .. ', not a ' .. wanted)
  end
end

local head = redis.call('HGET', KEYS[1], 'h') or ''
if head:sub(1, #ARGV[1]) ~= ARGV[1] or (ARGV[1] == '' and head ~= '') then
  return 0
end
if ARGV[3] ~= '' then
  local score = redis.call('ZSCORE', KEYS[tonumber(ARGV[3])], ARGV[4])
  if not score or tonumber(score) ~= tonumber(ARGV[5]) then
    return 0
  end
end

-- What a write takes after its key: arguments at least, at most, and in groups of how many.
local forms = {
  HSET = {2, 8000, 2}, ZADD = {2, 8000, 2}, RPUSH = {1, 8000, 1}, SADD = {1, 8000, 1},
  ZREM = {1, 8000, 1}, LTRIM = {2, 2, 2}, SET = {1, 2, 1}, DEL = {0, 0, 1}, LSET = {2, 2, 2},
  LREM = {2, 2, 2},
}
-- Which of them are numbers: from the first on, up to how many, and every how many.
local numbers = {ZADD = {8000, 2}, LTRIM = {2, 1}, LSET = {1, 1}, LREM = {1, 1}}

local function fits(command, first, last)
  if command == 'ZADD' and (ARGV[first] == 'GT' or ARGV[first] == 'LT') then
    first = first + 1
  end
  local form, count = forms[command], last - first + 1
  if not form or count < form[1] or count > form[2] or count % form[3] ~= 0 then
    return false
  end
  local most, every = unpack(numbers[command] or {0, 1})
  for i = first, math.min(last, first + most - 1), every do
    if not ARGV[i]:find('^%-?%d+$') then -- a score or a place that Redis would not take
      return false
    end
  end
  return command ~= 'SET' or count == 1 or ARGV[last] == 'NX'
end

local at = 6 + #KEYS
while at <= #ARGV do
  local command, key = ARGV[at], KEYS[tonumber(ARGV[at + 1]) or 0]
  local last = at + 2 + (tonumber(ARGV[at + 2]) or -1)
  if not key or last < at + 2 or last > #ARGV or not fits(command, at + 3, last) then
    return redis.error_reply('ERR this is no write: ' .. command)
  end
  -- Redis 7 can tell in advance; 6.2 refuses when it is too late.
  if redis.acl_check_cmd and not redis.acl_check_cmd(command, key) then
    return redis.error_reply('NOPERM the ACL forbids ' .. command .. ' on ' .. key)
  end
  at = last + 1
end

-- Publishing comes first: it may be forbidden, and nobody can look before the script has ended.
if ARGV[2] ~= '' then
  redis.call('PUBLISH', ARGV[2], '')
end

at = 6 + #KEYS
while at <= #ARGV do
  local key, last = KEYS[tonumber(ARGV[at + 1])], at + 2 + tonumber(ARGV[at + 2])
  -- A list that is shorter than it was said to be has lost what was to be overwritten.
  if ARGV[at] ~= 'LSET' or redis.call('LLEN', key) >= -tonumber(ARGV[at + 3]) then
    redis.call(ARGV[at], key, unpack(ARGV, at + 3, last))
  end
  at = last + 1
end
return 1
