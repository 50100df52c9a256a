-- Shared by read.lua and claim.lua: put an entry into a row that carries only wanted fields.
-- A row is {id, deliveries, size, name, value, …}. What nobody asked for stays on the server,
-- and so does everything of an entry above the limit: the daemon learns its size alone.
-- Returned beside it: all bytes that went through the script, wanted or not.
-- Of a name that comes more than once the last value counts, as it does for clients' own reads.
local function wanted_row(id, deliveries, fields, limit, names)
  local row, size, seen, values, order = {id, deliveries, 0}, 0, 0, {}, {}
  for i = 1, #fields, 2 do
    local name, value = fields[i], fields[i + 1]
    seen = seen + #name + #value
    if names[name] then
      if not values[name] then order[#order + 1] = name end
      values[name] = value
    end
  end
  for _, name in ipairs(order) do
    size = size + #name + #values[name]
    row[#row + 1] = name
    row[#row + 1] = values[name]
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
