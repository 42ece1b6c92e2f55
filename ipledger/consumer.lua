-- Save a consumer's cursor, if nobody else has saved one under its name since.
-- KEYS: 1 the hash of cursors.
-- ARGV: 1 name, 2 the value that the caller knows ('' for none), 3 the value to write.
-- Returns false when it was written, else the value that is there instead ('' for none).
local found = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if found ~= ARGV[2] then
  return found
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return false
