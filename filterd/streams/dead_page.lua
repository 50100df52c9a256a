-- A page of dead letters without what they carry: KEYS: dead letters. ARGV: after which id, most.
-- Returns {last id or '', letter…}; a letter is {id, bytes carried, name, value, …} of its own fields.
local rows = {''}
walk(KEYS[1], ARGV[1], '+', tonumber(ARGV[2]), function(id, fields)
  local letter, carried = {id, 0}, 0
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 6) == 'field:' or fields[i] == 'fields:rest' then
      carried = carried + #fields[i] + #fields[i + 1]
    else
      letter[#letter + 1] = fields[i]
      letter[#letter + 1] = fields[i + 1]
    end
  end
  letter[2] = carried
  rows[1] = id
  rows[#rows + 1] = letter
end)
return rows
