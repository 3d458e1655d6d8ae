-- Removes a plan, if no run can follow it any more.
--
-- Owns: that no run of its saga is left which started before a certain time, and that none has
-- started with this plan since it was looked at, all at one moment.  Refuses to know: how long ago
-- is long enough.
--
-- KEYS     the plans' last use, the plan, then every index of the runs of its saga
-- ARGV     1 the plan's member of the first, 2 its score there, 3 the upper bound of members that
--          must not exist any more
-- Returns  1 if it was removed

local used = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not used or tonumber(used) ~= tonumber(ARGV[2]) then
  return 0
end
for i = 3, #KEYS do
  if redis.call('ZLEXCOUNT', KEYS[i], '-', ARGV[3]) > 0 then
    return 0
  end
end
-- Redis 7 can tell in advance what an ACL forbids: both are removed, or neither (I12).
for i, command in ipairs({'ZREM', 'DEL'}) do
  if redis.acl_check_cmd and not redis.acl_check_cmd(command, KEYS[i]) then
    return redis.error_reply('NOPERM the ACL forbids ' .. command .. ' on ' .. KEYS[i])
  end
end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2])
return 1
