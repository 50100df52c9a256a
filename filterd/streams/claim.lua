-- Take over pending entries that nobody has given a sign of life for.
-- KEYS: input. ARGV: group, consumer, least idle ms, cursor, whose ('' is anybody's),
--   most entries, most bytes, entry limit, deliveries from which an entry is taken alone,
--   number of ids in flight here, those ids…, wanted names…
-- Returns {next cursor or '', ids that had no body any more, rows}.
local group, me, idle, cursor, whose = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local most, most_bytes, limit = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local alone, held, mine = tonumber(ARGV[9]), tonumber(ARGV[10]), {}
for i = 11, 10 + held do mine[ARGV[i]] = true end
local names = name_set(11 + held)

local query = {'XPENDING', KEYS[1], group, 'IDLE', idle, cursor, '+', most}
if whose ~= '' then query[#query + 1] = whose end
local found = redis.call(unpack(query))
local gone, rows, bytes = {}, {}, 0
for i, pending in ipairs(found) do
  local id, deliveries = pending[1], pending[4]
  local suspect = deliveries >= alone
  if suspect and #rows > 0 then return {cursor, gone, rows} end
  if not mine[id] then
    local claimed = redis.call('XCLAIM', KEYS[1], group, me, idle, id)
    if claimed[1] then
      local row, size = wanted_row(id, deliveries + 1, claimed[1][2], limit, names)
      rows[#rows + 1] = row
      bytes = bytes + size
    elseif #redis.call('XRANGE', KEYS[1], id, id) == 0 then
      redis.call('XACK', KEYS[1], group, id)
      gone[#gone + 1] = id
    end
  end
  cursor = '(' .. id
  if (suspect and #rows > 0) or bytes >= most_bytes then return {cursor, gone, rows} end
end
if #found < most then cursor = '' end
return {cursor, gone, rows}
