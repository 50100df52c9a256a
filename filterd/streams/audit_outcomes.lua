-- A page of a stream of outcomes: which input entry each names.
-- KEYS: output, dead letters or closed letters. ARGV: after which id, most entries, input stream.
-- Returns {last id or '', entry…}: '' for what names none; outcomes of another stream are left out.
local rows = {''}
walk(KEYS[1], ARGV[1], '+', tonumber(ARGV[2]), function(id, fields)
  local entry, stream = '', ARGV[3]
  for i = 1, #fields, 2 do
    if fields[i] == 'entry' then entry = fields[i + 1] end
    if fields[i] == 'stream' then stream = fields[i + 1] end
  end
  rows[1] = id
  if stream == ARGV[3] then rows[#rows + 1] = string.sub(entry, 1, 64) end
end)
return rows
