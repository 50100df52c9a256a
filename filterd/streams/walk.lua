-- Shared by audit_entries.lua, audit_outcomes.lua and dead_page.lua: visit entries one by one, so that the server
-- never holds two bodies for us, until enough of them, or enough bytes, have been seen.
-- Returns the id to go on after, '' at the end.
local MOST_BYTES = 16777216
local function walk(key, after, upto, most, visit)
  local bytes = 0
  for _ = 1, most do
    local entry = redis.call('XRANGE', key, '(' .. after, upto, 'COUNT', 1)[1]
    if not entry then return '' end
    after = entry[1]
    visit(after, entry[2])
    for _, part in ipairs(entry[2]) do bytes = bytes + #part end
    if bytes >= MOST_BYTES then break end
  end
  return after
end
