-- Settle entries: each one's verdict or dead letter, and its ack, if it is still pending.
-- KEYS: input, output, dead letters, watermark. ARGV: group, most verdicts, outcomes as msgpack:
--   {id, 'verdict' or 'dead', {name, value, …}} of each entry
-- Returns {server's unix ms, result…}: 1 settled, 0 somebody else was first, or the refusal.
-- A script does not roll back. Hence the order: a refused XADD leaves the entry pending.
local group, most_verdicts = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = string.format('%d%03d', time[1], math.floor(time[2] / 1000))
local FIELDS = 3500 -- Lua's unpack() takes fewer than 8,000 values

-- Every original field, byte for byte; of an entry with thousands, the rest in one as msgpack.
local function copy_fields(id, parts)
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  if not entry then return end
  local fields, rest = entry[2], {}
  for i = 1, #fields, 2 do
    if i <= 2 * FIELDS then
      parts[#parts + 1] = 'field:' .. fields[i]
      parts[#parts + 1] = fields[i + 1]
    else
      rest[#rest + 1] = fields[i]
      rest[#rest + 1] = fields[i + 1]
    end
  end
  if #rest > 0 then
    parts[#parts + 1] = 'fields:rest'
    parts[#parts + 1] = cmsgpack.pack(rest)
  end
end

local function publish(id, kind, parts)
  parts[#parts + 1] = 'at'
  parts[#parts + 1] = now
  if kind == 'verdict' then
    return redis.pcall('XADD', KEYS[2], 'MAXLEN', '~', most_verdicts, '*', unpack(parts))
  end
  copy_fields(id, parts)
  return redis.pcall('XADD', KEYS[3], '*', unpack(parts))
end

-- Without the right to ack nothing may be added. (Servers before Redis 7 cannot be asked.)
if redis.acl_check_cmd and not redis.acl_check_cmd('XACK', KEYS[1], group, '0-0') then
  return redis.error_reply('NOPERM this user has no right to XACK')
end

local results = {now}
for _, outcome in ipairs(cmsgpack.unpack(ARGV[3])) do
  local id, kind, parts = outcome[1], outcome[2], outcome[3]
  if #redis.call('XPENDING', KEYS[1], group, id, id, 1) == 0 then
    results[#results + 1] = 0
  else
    local added = publish(id, kind, parts)
    if type(added) == 'table' and added.err then
      -- A demoted primary: an error, so that the client looks for the new one.
      if string.find(added.err, 'READONLY', 1, true) then return redis.error_reply(added.err) end
      results[#results + 1] = added.err
    else
      redis.call('XACK', KEYS[1], group, id)
      results[#results + 1] = 1
    end
  end
end

-- The watermark: below it all is settled, so a deleted group can be made again from here.
local pending = redis.call('XPENDING', KEYS[1], group)
local mark = pending[2] and '(' .. pending[2]
if not mark then
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local found = {}
    for i = 1, #info, 2 do found[info[i]] = info[i + 1] end
    if found.name == group then mark = found['last-delivered-id'] end
  end
end
if mark then redis.pcall('SET', KEYS[4], mark) end
return results
