-- Shared by read.lua and claim.lua: put an entry into a row that carries only wanted fields.
-- A row is {id, deliveries, size, name, value, …}. What nobody asked for stays on the server,
-- and so does everything of an entry above the limit: the daemon learns its size alone.
-- Returned beside it: all bytes that went through the script, wanted or not.
local function wanted_row(id, deliveries, fields, limit, names)
  local row, size, seen = {id, deliveries, 0}, 0, 0
  for i = 1, #fields, 2 do
    seen = seen + #fields[i] + #fields[i + 1]
    if names[fields[i]] then
      size = size + #fields[i] + #fields[i + 1]
      row[#row + 1] = fields[i]
      row[#row + 1] = fields[i + 1]
    end
  end
  if size > limit then row = {id, deliveries, 0} end
  row[3] = size
  return row, seen
end

local function name_set(first)
  local names = {}
  for i = first, #ARGV do names[ARGV[i]] = true end
  return names
end
