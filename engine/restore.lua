-- ipledger: accept a shorter history, version 1. Only an operator's `doctor` calls it.
--
-- KEYS[1]  the stream                                             KEYS[2]  a mirror's marker
-- ARGV[1]  id of the last entry to keep                           ARGV[2]  its field c
-- ARGV[3]  the stream's last-generated-id, as the operator saw it ARGV[4]  position to void through
-- ARGV[5]  writer's clock, ms                                     ARGV[6…9]  e, s, t, c
-- ARGV[10] "promote": it is a mirror, and from now on it is none; "": it must not be one
--
-- Returns {status, id}: removes what follows the kept entry and writes HistoryRestored behind the
-- voided positions, the only jump that positions ever make.
local key = KEYS[1]
local function split(id)
  local ms, position = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(position)
end

local source = redis.call('HGET', KEYS[2], 'source')
if (source and 'promote' or '') ~= ARGV[10] then return {'mirror', source or ''} end
local known = redis.call('XRANGE', key, ARGV[1], ARGV[1])[1]
if not known or known[2][8] ~= ARGV[2] then return {'diverged', ''} end
local info = redis.call('XINFO', 'STREAM', key)
local last_id
for i = 1, #info, 2 do
  if info[i] == 'last-generated-id' then last_id = info[i + 1] end
end
if last_id ~= ARGV[3] then return {'moved', last_id} end
local last_ms, last = split(last_id)
if tonumber(ARGV[4]) < last then return {'low', last_id} end
local now = redis.call('TIME')
local ms = math.max(now[1] * 1000 + math.floor(now[2] / 1000), last_ms)
local id = string.format('%.0f-%.0f', ms, tonumber(ARGV[4]) + 1)

while true do
  local rest = redis.call('XRANGE', key, '(' .. ARGV[1], '+', 'COUNT', 1000)
  if #rest == 0 then break end
  for _, entry in ipairs(rest) do redis.call('XDEL', key, entry[1]) end
end
redis.call('XADD', key, id, 'e', ARGV[6], 's', ARGV[7], 't', ARGV[8], 'c', ARGV[9])
redis.call('DEL', KEYS[2]) -- after the entry: without memory for it, the mirror stays one
return {'ok', id}
