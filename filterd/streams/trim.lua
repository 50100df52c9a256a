-- Trim settled entries older than the retention; never one that some group still has to settle.
-- KEYS: input. ARGV: retention ms, own group. Returns how many entries went: none while the own
-- group is gone, because what it still has to settle is unknown then.
local function below(a, b) -- ids as ms, seq: compared as texts, they are too wide for a double
  local am, as = string.match(a, '(%d+)-(%d+)')
  local bm, bs = string.match(b, '(%d+)-(%d+)')
  if #am ~= #bm then return #am < #bm end
  if am ~= bm then return am < bm end
  if #as ~= #bs then return #as < #bs end
  return as < bs
end

if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local time, own = redis.call('TIME'), false
local floor = string.format('%.0f-0', math.max(0, time[1] * 1000 - tonumber(ARGV[1])))
for _, info in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
  local group = {}
  for i = 1, #info, 2 do group[info[i]] = info[i + 1] end
  if group.name == ARGV[2] then own = true end
  local first = group['last-delivered-id']
  if group.pending > 0 then first = redis.call('XPENDING', KEYS[1], group.name)[2] end
  if below(first, floor) then floor = first end
end
if not own then return 0 end
return redis.call('XTRIM', KEYS[1], 'MINID', '~', floor)
