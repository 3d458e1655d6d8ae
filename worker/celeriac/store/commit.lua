-- Compare and commit: the only thing that writes a run.
--
-- Owns: doing all of a change or nothing.  Refuses to know: what a change means; it decodes no
-- JSON and decides nothing.  Redis keeps what a script wrote before it failed (F7), so this reads
-- all, guards all, and only then writes: nothing after the first write can fail.
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

-- Publishing comes first: it may be forbidden, and nobody can look before the script has ended.
if ARGV[2] ~= '' then
  redis.call('PUBLISH', ARGV[2], '')
end

local at = 6 + #KEYS
while at <= #ARGV do
  local last = at + 2 + tonumber(ARGV[at + 2])
  redis.call(ARGV[at], KEYS[tonumber(ARGV[at + 1])], unpack(ARGV, at + 3, last))
  at = last + 1
end
return 1
