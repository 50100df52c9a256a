-- A page of entries' ids, the pending ids among them, and how far the group was delivered: all of
-- one moment. KEYS: input. ARGV: group, after which id, up to which, most entries.
-- Returns {where to go on or '', last delivered id or '', ids, pending ids}. Of the pending at most
-- as many as asked for are told: where there are so many, the page ends with the last of them.
local group, after, upto, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local ids = {}
local cursor = walk(KEYS[1], after, upto, most, function(id) ids[#ids + 1] = id end)

local delivered = ''
if redis.call('EXISTS', KEYS[1]) == 1 then
  for _, info in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local found = {}
    for i = 1, #info, 2 do found[info[i]] = info[i + 1] end
    if found.name == group then delivered = found['last-delivered-id'] end
  end
end
if delivered == '' then return {cursor, '', ids, {}} end

local last, pending = cursor == '' and upto or cursor, {}
for i, row in ipairs(redis.call('XPENDING', KEYS[1], group, '(' .. after, last, most)) do
  pending[i] = row[1]
end
return {cursor, delivered, ids, pending}
