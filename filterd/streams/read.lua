-- Deliver new entries to a consumer until enough of them, or enough bytes, have been seen.
-- KEYS: input. ARGV: group, consumer, most entries, most bytes, entry limit, wanted names…
-- Returns {1 where it came to the end of the stream, else 0; row…}. At the end it looks at the key
-- with a command that only reads: a connection with CLIENT TRACKING is told when it changes next.
local group, consumer = ARGV[1], ARGV[2]
local most_bytes, limit, names = tonumber(ARGV[4]), tonumber(ARGV[5]), name_set(6)
local rows, bytes = {0}, 0
for i = 1, tonumber(ARGV[3]) do
  local reply = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', 1,
    'STREAMS', KEYS[1], '>')
  if not reply then
    redis.call('EXISTS', KEYS[1])
    rows[1] = 1
    break
  end
  local entry = reply[1][2][1]
  local row, size = wanted_row(entry[1], 1, entry[2], limit, names)
  rows[i + 1] = row
  bytes = bytes + size
  if bytes >= most_bytes then break end
end
return rows
