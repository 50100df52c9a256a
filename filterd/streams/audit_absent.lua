-- Which ids the stream does not hold, beside its first and its last id of the same moment.
-- KEYS: input. ARGV: ids… Returns {first id, last id ever, absent ids}; the first two are '0-0'
-- where there is no stream.
if redis.call('EXISTS', KEYS[1]) == 0 then return {'0-0', '0-0', {}} end
local absent, first, last = {}, '', ''
local info = redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #info, 2 do
  if info[i] == 'first-entry' and info[i + 1] then first = info[i + 1][1] end
  if info[i] == 'last-generated-id' then last = info[i + 1] end
end
for _, id in ipairs(ARGV) do
  if #redis.call('XRANGE', KEYS[1], id, id) == 0 then absent[#absent + 1] = id end
end
return {first, last, absent}
