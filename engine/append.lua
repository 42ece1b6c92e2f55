-- ipledger: conditional append, version 1. The stream is the only write-side state.
--
-- KEYS[1]  the stream of a space                                    KEYS[2]  a mirror's marker
-- ARGV[1]  id of the last entry that the writer knows ("0-0": none)   ARGV[2]  its field c
-- ARGV[3]  positions voided so far by restorations                    ARGV[4]  writer's clock, ms
-- ARGV[5]  tail entries allowed                                       ARGV[6]  tail bytes allowed
-- ARGV[7]  number of proposals, and then for each of them:
--          not_before ms (0: any), not_after ms (0: any), reads, n, and n times: e, s, t, c
--
-- Returns {status, detail, ms, {verdict…}, {entry…}}. A verdict is the first position of the
-- commit, "conflict TAG POSITION", "early" or "late"; the entries are the tail that the writer
-- had not seen. Numbers are doubles here: exact to 2^53. Tags are compared as strings, so hex is
-- of fixed width; digits and a-f sort the same in every locale.
local SKEW_MS_MAX = 300000
local key = KEYS[1]

local function stop(status, detail) return {status, detail, '0', {}, {}} end
local function split(id)
  local ms, position = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(position)
end
local function digits(number) return string.format('%.0f', number) end

-- 0. A mirror takes copies only. Asked here, also a writer that was connected before is refused.
local source = redis.call('HGET', KEYS[2], 'source')
if source then return stop('mirror', source) end

-- 1. Is this the history that the writer knows, without a hole?
local _, after = split(ARGV[1])
local last_ms, last, first, length = 0, 0, 1, 0
if redis.call('EXISTS', key) == 1 then
  local info = redis.call('XINFO', 'STREAM', key)
  local newest
  for i = 1, #info, 2 do
    local name, value = info[i], info[i + 1]
    if name == 'length' then length = value
    elseif name == 'last-generated-id' then last_ms, last = split(value)
    elseif name == 'first-entry' and value then _, first = split(value[1])
    elseif name == 'last-entry' and value then _, newest = split(value[1]) end
  end
  -- Its newest entry was deleted. A stream that never had one (made for a group) is just empty.
  if last > 0 and newest ~= last then return stop('missing', digits(last)) end
end
if after > last then return stop('shorter', digits(last)) end
if after > 0 then
  local known = redis.call('XRANGE', key, ARGV[1], ARGV[1])[1]
  if not known or known[2][8] ~= ARGV[2] then return stop('diverged', digits(after)) end
end
if first ~= 1 and last > 0 then return stop('missing', '1') end -- trimmed by somebody else

-- 2. What was written since? Points go in a table, the few ranges in a list. Only addresses meet
-- ranges, so they are kept once more by themselves.
local written, addresses, ranges = {}, {}, {}
local function note(tags, position)
  for tag in string.gmatch(tags, '%S+') do
    local low, high = string.match(tag, '^([46]%x+)-([46]%x+)$')
    if low then ranges[#ranges + 1] = {low, high, position}
    else
      written[tag] = position
      if string.find(tag, '^[46]') then addresses[tag] = position end
    end
  end
end
local tail_max = tonumber(ARGV[5])
local tail = redis.call('XRANGE', key, '(' .. ARGV[1], '+', 'COUNT', tail_max + 1)
if #tail > tail_max then return stop('behind', digits(last)) end
local previous, bytes = after, 0
for _, entry in ipairs(tail) do
  local _, position = split(entry[1])
  local fields = entry[2]
  -- Somebody else's entry is no ground to write on: whoever reads it learns what is wrong.
  if #fields ~= 8 or fields[1] ~= 'e' or fields[3] ~= 's' or fields[5] ~= 't' or fields[7] ~= 'c'
  then return stop('behind', digits(last)) end
  local tags = fields[6]
  -- After a restoration the numbers of positions and of voided ones change: catch up first.
  if string.find(tags, ' h%x+-%x+') then return stop('behind', digits(last)) end
  if position ~= previous + 1 then return stop('missing', digits(previous + 1)) end
  previous = position
  for i = 2, #fields, 2 do bytes = bytes + #fields[i] end
  note(tags, digits(position))
end
if bytes > tonumber(ARGV[6]) then return stop('behind', digits(last)) end
if length ~= last - tonumber(ARGV[3]) then return stop('missing', '0') end

-- 3. Do the clocks agree?
local now = redis.call('TIME')
local server_ms = now[1] * 1000 + math.floor(now[2] / 1000)
if math.abs(server_ms - tonumber(ARGV[4])) > SKEW_MS_MAX then
  return stop('clock', digits(server_ms))
end
if last_ms - server_ms > SKEW_MS_MAX then return stop('clock', digits(server_ms)) end
local ms = math.max(server_ms, last_ms) -- time never runs backwards in a stream

-- 4. Which proposals stand? Nothing is written yet: a failed script would not be rolled back.
local function conflict(reads)
  for tag in string.gmatch(reads, '%S+') do
    local low, high = string.match(tag, '^([46]%x+)-([46]%x+)$')
    if written[tag] then return tag, written[tag] end
    if low then
      for point, position in pairs(addresses) do
        if #point == #low and point >= low and point <= high then return tag, position end
      end
    end
    if low or string.find(tag, '^[46]') then
      for _, range in ipairs(ranges) do
        if #range[1] == #(low or tag) and range[1] <= (high or tag) and range[2] >= (low or tag)
        then return tag, range[3] end
      end
    end
  end
end
local verdicts, accepted, at = {}, {}, 8
local position = last
for number = 1, tonumber(ARGV[7]) do
  local not_before, not_after = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  local reads, events = ARGV[at + 2], tonumber(ARGV[at + 3])
  at = at + 4
  local tag, where = conflict(reads)
  if tag then verdicts[number] = 'conflict ' .. tag .. ' ' .. where
  elseif ms < not_before then verdicts[number] = 'early'
  elseif not_after > 0 and ms > not_after then verdicts[number] = 'late'
  else
    verdicts[number] = digits(position + 1)
    for i = at, at + 4 * (events - 1), 4 do
      position = position + 1
      accepted[#accepted + 1] = i
      note(ARGV[i + 2], digits(position))
    end
  end
  at = at + 4 * events
end

-- 5. Write. From here on nothing can fail but memory, and that fails on the first entry.
-- A replica, which may lag, refuses to write by itself. What is decided on this answer without
-- writing must not be decided there either: so something is always written, if only what changes
-- nothing. It is not written before an entry, which would then not be held to maxmemory any more.
if #accepted == 0 then redis.call('HDEL', KEYS[2], 'source') end
position = last
local prefix = digits(ms) .. '-'
for _, i in ipairs(accepted) do
  position = position + 1
  redis.call('XADD', key, prefix .. digits(position),
    'e', ARGV[i], 's', ARGV[i + 1], 't', ARGV[i + 2], 'c', ARGV[i + 3])
end
return {'ok', '', digits(ms), verdicts, tail}
