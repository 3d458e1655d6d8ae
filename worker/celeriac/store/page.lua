-- Reads the same range of several indexes at one moment.
--
-- Owns: that a run which moves from one index to another meanwhile is not missed.  (MULTI would
-- do the same, but Redis 7 refuses it at maxmemory, even for reading.)
--
-- KEYS     the indexes of a shard
-- ARGV     1 the upper and 2 the lower bound, 3 how many members at most
-- Returns  the members of each index, last first

local pages = {}
for i, key in ipairs(KEYS) do
  pages[i] = redis.call('ZRANGE', key, ARGV[1], ARGV[2], 'BYLEX', 'REV', 'LIMIT', 0, ARGV[3])
end
return pages
