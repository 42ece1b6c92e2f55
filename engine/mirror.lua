-- ipledger: copy entries as they are to a mirror, version 1. Only `ipledger mirror` calls it.
--
-- KEYS[1]  the stream                          KEYS[2]  the marker beside it
-- ARGV[1]  id of the entry to go on behind ("0-0": none)   ARGV[2]  its field c
-- ARGV[3]  the stream's last-generated-id, as the caller saw it
-- ARGV[4]  space id, hex                       ARGV[5]  where the entries come from
-- ARGV[6]  positions voided, with these        ARGV[7]  when nothing was left to copy, ms; 0: is left
-- ARGV[8…] n times: id, e, s, t, c
--
-- Returns {status, last-generated-id}. Whatever stands behind the entry to go on behind is removed:
-- nothing, unless the source gave it up. Everything is checked before the first write.
local key, marker = KEYS[1], KEYS[2]
local function split(id)
  local ms, position = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(position)
end

-- 1. Is this our mirror, or an empty place, and as the caller saw it?
local last_id = '0-0'
if redis.call('EXISTS', key) == 1 then
  local info = redis.call('XINFO', 'STREAM', key)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then last_id = info[i + 1] end
  end
end
local space_id = redis.call('HGET', marker, 'space_id')
if not space_id and last_id ~= '0-0' then return {'occupied', last_id} end
if space_id and space_id ~= ARGV[4] then return {'other', last_id} end
if last_id ~= ARGV[3] then return {'moved', last_id} end
if ARGV[1] ~= '0-0' then
  local known = redis.call('XRANGE', key, ARGV[1], ARGV[1])[1]
  if not known or known[2][8] ~= ARGV[2] then return {'diverged', last_id} end
end
local last_ms, last = split(last_id)
for i = 8, #ARGV, 5 do
  local ms, position = split(ARGV[i])
  if ms < last_ms or position <= last then return {'low', last_id} end
  last_ms, last = ms, position
end

-- 2. Write. If there is no memory for it, the marker fails, and nothing is written.
redis.call('HSET', marker, 'format', '1', 'space_id', ARGV[4], 'source', ARGV[5], 'voided', ARGV[6])
if ARGV[7] ~= '0' then redis.call('HSET', marker, 'level_at_ms', ARGV[7]) end
while ARGV[1] ~= last_id do
  local rest = redis.call('XRANGE', key, '(' .. ARGV[1], '+', 'COUNT', 1000)
  if #rest == 0 then break end
  for _, entry in ipairs(rest) do redis.call('XDEL', key, entry[1]) end
end
for i = 8, #ARGV, 5 do
  redis.call('XADD', key, ARGV[i],
    'e', ARGV[i + 1], 's', ARGV[i + 2], 't', ARGV[i + 3], 'c', ARGV[i + 4])
  last_id = ARGV[i]
end
return {'ok', last_id}
